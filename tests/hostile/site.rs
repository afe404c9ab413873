//! Everything together: a control plane, a proxy before it, a played cluster behind it, and an agent.

use super::agent::{Agent, Launch};
use super::control_plane::ControlPlane;
use super::proxy::{Fault, Proxy, Rule};
use super::until::pause;
use super::world::{World, namespaced};
use k8s_openapi::api::core::v1::{Namespace, Pod};
use kube::api::{DynamicObject, ListParams, Patch, PatchParams, PostParams};
use kube::runtime::wait::await_condition;
use kube::{Api, Client, ResourceExt};
use scribe_agent::api::Status;
use serde_json::{Value, json};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// The agent's own pod.
pub const POD: &str = "agent-0";
/// The agent's settings: it tries again soon, and is not held up by its own budget.
pub const SETTINGS: &str =
    "{continuousInterval: 1h, maxConcurrentSyncs: 20, kubeAPIQPS: 500, kubeAPIBurst: 500, retry: {initial: 1s, max: 4s}}";

/// A site. Everything ends when it is dropped, the agent first.
pub struct Site {
    /// The agent.
    pub agent: Agent,
    /// What is played.
    pub world: World,
    /// What stands between the agent and the API server.
    pub proxy: Proxy,
    /// Without the proxy.
    pub client: Client,
    /// The namespace, of this site alone.
    pub namespace: String,
    /// Where the agent's files are.
    pub dir: PathBuf,
    /// What the agent talks to in the end.
    plane: Arc<ControlPlane>,
}

impl Site {
    /// A site whose agent has all that it needs.
    pub async fn start(name: &str) -> Site {
        Site::start_with(name, SETTINGS).await
    }

    /// The same with other settings.
    pub async fn start_with(name: &str, settings: &str) -> Site {
        Site::on(ControlPlane::shared().await, name, settings, Box::new(|_| Fault::None)).await
    }

    /// The same with a proxy that misbehaves from the beginning.
    pub async fn behind(name: &str, rule: Rule) -> Site {
        Site::on(ControlPlane::shared().await, name, SETTINGS, rule).await
    }

    /// A site whose cluster is of no other test, which may change its CRDs.
    pub async fn alone(name: &str) -> Site {
        let site = Site::without_crds(name).await;
        site.install_crds().await;
        site
    }

    /// A site in a cluster without snapshots.
    pub async fn without_snapshots(name: &str) -> Site {
        let site = Site::without_crds(name).await;
        site.plane.install_crds().await;
        site
    }

    /// A site in whose cluster nobody has installed the CRDs.
    pub async fn without_crds(name: &str) -> Site {
        Site::on(Arc::new(ControlPlane::start(name).await), name, SETTINGS, Box::new(|_| Fault::None)).await
    }

    async fn on(plane: Arc<ControlPlane>, name: &str, settings: &str, rule: Rule) -> Site {
        let client = plane.client().await;
        let (namespace, dir) = (format!("played-{name}"), plane.dir().join(format!("site-{name}")));
        std::fs::create_dir(&dir).unwrap_or_else(|error| panic!("{}: {error}; each site needs a name of its own", dir.display()));
        let object: Namespace = serde_json::from_value(json!({ "metadata": { "name": namespace } })).unwrap();
        Api::<Namespace>::all(client.clone()).create(&PostParams::default(), &object).await.unwrap();
        let proxy = Proxy::start(client.clone(), rule).await;
        let world = World::start(&client, &namespace);
        let pod = json!({ "apiVersion": "v1", "kind": "Pod", "metadata": { "name": POD },
            "spec": { "containers": [{ "name": "agent", "image": "played" }] } });
        let pods = Api::<Pod>::namespaced(client.clone(), &namespace);
        pods.create(&PostParams::default(), &serde_json::from_value(pod).unwrap()).await.unwrap();
        let agent = Agent::start(&Launch { dir: &dir, server: &proxy.url, namespace: &namespace, settings });
        Site { agent, world, proxy, client, namespace, dir, plane }
    }

    /// Installs all of them.
    pub async fn install_crds(&self) {
        self.plane.install_crds().await;
        self.plane.install_snapshots().await;
    }

    /// Installs the one of snapshots.
    pub async fn install_snapshots(&self) {
        self.plane.install_snapshots().await;
    }

    /// Makes a source and the volume that it replicates.
    pub async fn source(&self, name: &str, spec: Value) -> Replication<'_> {
        let claim = json!({ "apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": { "name": format!("data-{name}") },
            "spec": { "accessModes": ["ReadWriteOnce"], "resources": { "requests": { "storage": "1Gi" } } } });
        self.create("", "v1", "PersistentVolumeClaim", claim).await;
        let mut whole = json!({ "sourcePVC": format!("data-{name}"), "rclone": rclone(name) });
        merge(&mut whole, spec);
        self.replication("ReplicationSource", name, whole).await
    }

    /// Makes a destination.
    pub async fn destination(&self, name: &str, spec: Value) -> Replication<'_> {
        let mut rclone = rclone(name);
        rclone["capacity"] = json!("1Gi");
        let mut whole = json!({ "rclone": rclone });
        merge(&mut whole, spec);
        self.replication("ReplicationDestination", name, whole).await
    }

    async fn replication(&self, kind: &'static str, name: &str, spec: Value) -> Replication<'_> {
        let object = json!({ "apiVersion": "scribe.backube/v1alpha1", "kind": kind, "metadata": { "name": name }, "spec": spec });
        self.create("scribe.backube", "v1alpha1", kind, object).await;
        Replication { site: self, kind, name: name.to_owned() }
    }

    async fn create(&self, group: &str, version: &str, kind: &str, object: Value) {
        let object: DynamicObject = serde_json::from_value(object).unwrap();
        self.api(group, version, kind).create(&PostParams::default(), &object).await.unwrap();
    }

    /// Any kind of object of the namespace, without the proxy.
    pub fn api(&self, group: &str, version: &str, kind: &str) -> Api<DynamicObject> {
        namespaced(&self.client, &self.namespace, (group, version, kind))
    }

    /// Every object's status.
    pub async fn statuses(&self) -> Vec<Status> {
        let mut all = Vec::new();
        for kind in ["ReplicationSource", "ReplicationDestination"] {
            let objects = self.api("scribe.backube", "v1alpha1", kind).list(&ListParams::default()).await.unwrap();
            all.extend(objects.iter().map(status_of));
        }
        all
    }

    /// Names of all children of this kind.
    pub async fn children(&self, group: &str, version: &str, kind: &str) -> Vec<String> {
        let ours = ListParams::default().labels("app.kubernetes.io/managed-by=scribe-agent");
        self.api(group, version, kind).list(&ours).await.unwrap().iter().map(ResourceExt::name_any).collect()
    }
}

/// An object of the user's.
pub struct Replication<'a> {
    site: &'a Site,
    kind: &'static str,
    /// Its name.
    pub name: String,
}

impl Replication<'_> {
    fn api(&self) -> Api<DynamicObject> {
        self.site.api("scribe.backube", "v1alpha1", self.kind)
    }

    /// Starts a sync and waits until it has ended well.
    pub async fn sync(&self, tag: &str, seconds: u64) -> Status {
        self.edit(json!({ "trigger": { "manual": tag } })).await;
        self.until(&format!("sync {tag}"), seconds, |status| status.last_manual_sync.as_deref() == Some(tag)).await
    }

    /// Changes its spec.
    pub async fn edit(&self, spec: Value) {
        self.api().patch(&self.name, &PatchParams::default(), &Patch::Merge(json!({ "spec": spec }))).await.unwrap();
    }

    /// Waits until its status is as wanted.
    pub async fn until(&self, what: &str, seconds: u64, wanted: impl Fn(&Status) -> bool) -> Status {
        let holds = |object: Option<&DynamicObject>| object.is_some_and(|object| wanted(&status_of(object)));
        let found = async {
            loop {
                // A watch ends when its kind changes, for one.
                match await_condition(self.api(), &self.name, holds).await {
                    Ok(Some(object)) => return object,
                    _ => pause().await,
                }
            }
        };
        if let Ok(object) = tokio::time::timeout(Duration::from_secs(seconds), found).await {
            return status_of(&object);
        }
        panic!("{} {}: waited {seconds} s in vain for: {what}; last seen: {:#?}", self.kind, self.name, self.status().await)
    }

    /// Its spec as it is.
    pub async fn spec(&self) -> Value {
        self.api().get(&self.name).await.unwrap().data["spec"].clone()
    }

    /// Its status as it is.
    pub async fn status(&self) -> Status {
        status_of(&self.api().get(&self.name).await.unwrap())
    }
}

fn status_of(object: &DynamicObject) -> Status {
    object.data.get("status").map(|status| serde_json::from_value(status.clone()).unwrap()).unwrap_or_default()
}

/// What is an object in both is merged, anything else replaced.
fn merge(into: &mut Value, from: Value) {
    match (into, from) {
        (Value::Object(into), Value::Object(from)) => {
            from.into_iter().for_each(|(key, value)| merge(into.entry(key).or_insert(Value::Null), value));
        }
        (into, from) => *into = from,
    }
}

fn rclone(path: &str) -> Value {
    json!({ "rcloneConfig": "secret", "rcloneConfigSection": "s3", "rcloneDestPath": format!("bucket/{path}") })
}
