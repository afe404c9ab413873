//! A namespace of its own for each test, made before it and removed after it, however it ends.

use super::dump;
use super::until::until;
use futures::FutureExt;
use k8s_openapi::api::core::v1::Namespace;
use kube::api::{DeleteParams, PostParams};
use kube::{Api, Client, Resource};
use std::panic::{AssertUnwindSafe, resume_unwind};

/// Makes the namespace `<name>-<random>`, runs `test` in it and removes it. On a failure everything in it is printed first.
pub async fn in_new_namespace<T>(client: &Client, name: &str, test: impl AsyncFnOnce(&str) -> T) -> T {
    let name = format!("{name}-{}", random());
    create(client, &name).await;
    removed_afterwards(client, &[&name], async || test(&name).await).await
}

/// Runs `test` and removes the namespaces, which may or may not have been made. On a failure everything in them is printed first.
pub async fn removed_afterwards<T>(client: &Client, namespaces: &[&str], test: impl AsyncFnOnce() -> T) -> T {
    let result = AssertUnwindSafe(test()).catch_unwind().await;
    if result.is_err() {
        for namespace in namespaces {
            dump::namespace(namespace);
        }
    }
    let api: Api<Namespace> = Api::all(client.clone());
    for namespace in namespaces {
        if result.is_err() && std::env::var_os("E2E_KEEP").is_some() {
            eprintln!("namespace {namespace} is kept, because of E2E_KEEP");
        } else if let Err(error) = api.delete(namespace, &DeleteParams::default()).await {
            eprintln!("namespace {namespace} is not removed: {error}");
        }
    }
    result.unwrap_or_else(|panic| resume_unwind(panic))
}

/// Makes a namespace.
pub async fn create(client: &Client, name: &str) {
    let mut namespace = Namespace::default();
    namespace.meta_mut().name = Some(name.to_owned());
    namespace.meta_mut().labels = Some([("app.kubernetes.io/part-of".to_owned(), "scribe-tests".to_owned())].into());
    Api::<Namespace>::all(client.clone()).create(&PostParams::default(), &namespace).await.unwrap();
}

/// Removes namespaces that an interrupted run may have left, and waits until they are gone.
pub async fn gone(client: &Client, namespaces: &[&str]) {
    let api: Api<Namespace> = Api::all(client.clone());
    for namespace in namespaces {
        until(&format!("namespace {namespace} is gone"), 60, async || match api.delete(namespace, &DeleteParams::default()).await {
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
            other => Err(other.map(|left| left.map_left(|namespace| namespace.status))),
        })
        .await;
    }
}

/// Six characters that no other test has.
pub fn random() -> String {
    let uuid = std::fs::read_to_string("/proc/sys/kernel/random/uuid").unwrap();
    uuid[..6].to_owned()
}
