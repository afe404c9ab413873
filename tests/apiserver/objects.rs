//! Objects to try on the API server.

use crate::support::until::until;
use crate::support::{cluster, namespace};
use futures::FutureExt;
use kube::api::{DeleteParams, DynamicObject, Patch, PatchParams, PostParams};
use kube::core::{ApiResource, GroupVersionKind};
use kube::{Api, Client, ResourceExt};
use serde_json::{Value, json};
use std::panic::{AssertUnwindSafe, resume_unwind};
use std::path::PathBuf;
use tokio::sync::OnceCell;

/// Where objects are tried. No agent runs there.
pub const NAMESPACE: &str = "default";

/// Which of the two kinds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Source,
    Destination,
}

impl Kind {
    /// The least that is accepted.
    pub fn minimal(self) -> Value {
        let rclone = json!({ "rcloneConfig": "secret", "rcloneConfigSection": "section", "rcloneDestPath": "bucket/path" });
        let mut object = json!({
            "apiVersion": "scribe.backube/v1alpha1",
            "kind": self.name(),
            "metadata": { "name": "tried", "namespace": NAMESPACE },
            "spec": { "rclone": rclone },
        });
        match self {
            Kind::Source => object["spec"]["sourcePVC"] = json!("claim"),
            Kind::Destination => object["spec"]["rclone"]["capacity"] = json!("1Gi"),
        }
        object
    }

    pub fn name(self) -> &'static str {
        match self {
            Kind::Source => "ReplicationSource",
            Kind::Destination => "ReplicationDestination",
        }
    }

    pub fn api(self, client: &Client) -> Api<DynamicObject> {
        let resource = ApiResource::from_gvk(&GroupVersionKind::gvk("scribe.backube", "v1alpha1", self.name()));
        Api::namespaced_with(client.clone(), NAMESPACE, &resource)
    }
}

/// The minimal object with `spec` merged into its own; null removes a field.
pub fn changed(kind: Kind, spec: &Value) -> Value {
    let mut object = kind.minimal();
    merge(&mut object["spec"], spec);
    object
}

fn merge(into: &mut Value, change: &Value) {
    let Value::Object(change) = change else {
        *into = change.clone();
        return;
    };
    if !into.is_object() {
        // An object without fields is one, too.
        *into = json!({});
    }
    for (key, value) in change {
        if value.is_null() {
            into.as_object_mut().unwrap().remove(key);
        } else {
            merge(&mut into[key], value);
        }
    }
}

/// What the API server would say to this object: itself as it would be stored, or the refusal. Nothing is stored.
pub async fn tried(kind: Kind, object: &Value) -> Result<DynamicObject, String> {
    let client = client_with_crds().await;
    let object: DynamicObject = serde_json::from_value(object.clone()).unwrap();
    let dry_run = PostParams { dry_run: true, ..PostParams::default() };
    match kind.api(&client).create(&dry_run, &object).await {
        Ok(stored) => Ok(stored),
        Err(kube::Error::Api(status)) if status.code == 422 => Err(status.message.clone()),
        Err(other) => panic!("neither accepted nor refused: {other}"),
    }
}

/// Stores the object under a name of its own, runs `test` with that name and its resourceVersion, and removes it.
pub async fn stored<T>(client: &Client, kind: Kind, object: &Value, test: impl AsyncFnOnce(&str, &str) -> T) -> T {
    let name = format!("stored-{}", namespace::random());
    let mut object: DynamicObject = serde_json::from_value(object.clone()).unwrap();
    object.metadata.name = Some(name.clone());
    let made = kind.api(client).create(&PostParams::default(), &object).await.unwrap();
    let result = AssertUnwindSafe(test(&name, &made.resource_version().unwrap())).catch_unwind().await;
    kind.api(client).delete(&name, &DeleteParams::default()).await.unwrap();
    result.unwrap_or_else(|panic| resume_unwind(panic))
}

/// A client, once the CRDs as they are in `kustomize/crds` are served.
pub async fn client_with_crds() -> Client {
    static INSTALLED: OnceCell<()> = OnceCell::const_new();
    let client = cluster::client().await;
    INSTALLED.get_or_init(|| install(client.clone())).await;
    client
}

async fn install(client: Client) {
    let crds: PathBuf = cluster::root().join("kustomize/crds");
    cluster::kubectl(&["apply", "--kustomize", crds.to_str().unwrap()]);
    for kind in [Kind::Source, Kind::Destination] {
        until(&format!("the API server serves {}", kind.name()), 20, async || {
            kind.api(&client).list(&kube::api::ListParams::default()).await.map(|_| ())
        })
        .await;
    }
}

/// Server-side apply of a status, as the agent does it.
pub async fn apply_status(client: &Client, kind: Kind, name: &str, resource_version: &str, status: &Value) -> kube::Result<DynamicObject> {
    let body = json!({
        "apiVersion": "scribe.backube/v1alpha1",
        "kind": kind.name(),
        "metadata": { "name": name, "resourceVersion": resource_version },
        "status": status,
    });
    kind.api(client).patch_status(name, &PatchParams::apply("test").force(), &Patch::Apply(body)).await
}
