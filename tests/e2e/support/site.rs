//! A site: a namespace with an agent, a Secret and a path on the remote that no other test knows.

use super::cluster::{self, apply, given};
use super::namespace::{create, random, removed_afterwards};
use super::overlay::Overlay;
use super::s3::{self, Server};
use kube::Client;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::Duration;

/// Name of the Secret that every site has.
pub const SECRET: &str = "rclone-secret";

/// What agents are set to, unless a test says otherwise: quick to try again, patient with a loaded machine.
pub const SETTINGS: &str = "{continuousInterval: 2s, snapshotTimeout: 60s, podStartTimeout: 60s, retry: {initial: 1s, max: 4s}}";

/// Hardly any test takes longer; one that hangs fails and shows what it hangs on.
const LONGEST_TEST: Duration = Duration::from_secs(240);

/// A namespace with an agent.
pub struct Site {
    /// Client of this test.
    pub client: Client,
    /// Its namespace.
    pub namespace: String,
    /// The storage server.
    pub s3: &'static Server,
    /// A path of its own on the server.
    pub path: String,
}

/// Runs `test` in a new namespace that an agent works in.
pub async fn site(name: &str, test: impl AsyncFnOnce(&Site)) {
    site_with(name, SETTINGS, test).await;
}

/// The same with other settings of the agent.
pub async fn site_with(name: &str, settings: &str, test: impl AsyncFnOnce(&Site)) {
    site_for(LONGEST_TEST, name, settings, test).await;
}

/// The same for a test that may take longer than most.
pub async fn site_for(longest: Duration, name: &str, settings: &str, test: impl AsyncFnOnce(&Site)) {
    site_in(longest, name, settings, "", test).await;
}

/// The same with an agent whose kustomization says `more`.
pub async fn site_overlaid(name: &str, more: &str, test: impl AsyncFnOnce(&Site)) {
    site_in(LONGEST_TEST, name, SETTINGS, more, test).await;
}

async fn site_in(longest: Duration, name: &str, settings: &str, more: &str, test: impl AsyncFnOnce(&Site)) {
    let namespace = format!("{name}-{}", random());
    let client = cluster::client().await;
    removed_afterwards(&client, &[&namespace], async || {
        let all = async { test(&Site::overlaid(&client, &namespace, settings, more).await).await };
        assert!(tokio::time::timeout(longest, all).await.is_ok(), "not over after {longest:?}");
    })
    .await;
}

impl Site {
    /// Makes the namespace and what belongs into it. Does not wait for the agent: it finds whatever is there when it starts.
    pub async fn new(client: &Client, namespace: &str, settings: &str) -> Site {
        Site::overlaid(client, namespace, settings, "").await
    }

    /// The same with an agent whose kustomization says `more`.
    pub async fn overlaid(client: &Client, namespace: &str, settings: &str, more: &str) -> Site {
        create(client, namespace).await;
        let s3 = s3::server(client).await;
        let site = Site { client: client.clone(), namespace: namespace.to_owned(), s3, path: format!("{namespace}/data") };
        site.install_as(settings, more, &[]);
        site.secret(SECRET, &[("rclone.conf", &s3.config())]);
        site
    }

    /// Installs the agent.
    pub fn install(&self, settings: &str) {
        self.install_as(settings, "", &[]);
    }

    /// Installs the agent with components of `kustomize/components`, or adds them to it.
    pub fn install_with(&self, settings: &str, components: &[&str]) {
        self.install_as(settings, "", components);
    }

    fn install_as(&self, settings: &str, more: &str, components: &[&str]) {
        Overlay { namespace: &self.namespace, image: &given("E2E_IMAGE"), settings, replicas: 1, more, components }.apply();
    }

    /// Makes or replaces a Secret.
    pub fn secret(&self, name: &str, data: &[(&str, &str)]) {
        let data: BTreeMap<_, _> = data.iter().copied().collect();
        self.apply(json!({ "apiVersion": "v1", "kind": "Secret", "metadata": { "name": name }, "stringData": data }));
    }

    /// Has movers that start from now on send and fetch no more than this many bytes a second.
    pub fn slow_down(&self, bytes_per_second: u64) {
        self.secret(SECRET, &[("rclone.conf", &self.s3.config()), ("RCLONE_BWLIMIT", &format!("{bytes_per_second}B"))]);
    }

    /// The opposite.
    pub fn speed_up(&self) {
        self.kubectl(&["patch", "secret", SECRET, "--type=json", r#"--patch=[{"op": "remove", "path": "/data/RCLONE_BWLIMIT"}]"#]);
    }

    /// Applies an object in the site's namespace.
    pub fn apply(&self, mut object: Value) {
        object["metadata"]["namespace"] = json!(self.namespace);
        apply(&object);
    }

    /// Runs kubectl in the site's namespace.
    pub fn kubectl(&self, arguments: &[&str]) -> String {
        cluster::kubectl(&[&["--namespace", &self.namespace], arguments].concat())
    }
}
