//! A volume that a pod uses on one node: the mover runs there, or nowhere. The other node is an object that the test keeps alive.

use crate::support::cluster::{apply, given, kubectl, try_kubectl};
use crate::support::namespace::random;
use crate::support::replication::SYNC;
use crate::support::site::{Site, site};
use crate::support::until::until;
use futures::FutureExt;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{Node, Pod};
use k8s_openapi::jiff::Timestamp;
use kube::api::{ListParams, Patch, PatchParams};
use kube::{Api, Client, ResourceExt};
use serde_json::{Value, json};
use std::panic::{AssertUnwindSafe, resume_unwind};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Keeps all pods of other tests away from the node; and the mover, unless it gets what its pod has.
const TAINT: &str = "scribe.test/far";

/// A node without a kubelet, and a volume that every node can use: a folder of this machine.
struct Far {
    name: String,
    folder: PathBuf,
}

impl Far {
    fn new() -> Far {
        let name = format!("far-{}", random());
        let folder = Path::new(&given("KUBECONFIG")).parent().unwrap().join(&name);
        std::fs::create_dir(&folder).unwrap();
        apply(&json!({
            "apiVersion": "v1", "kind": "Node",
            "metadata": { "name": name, "labels": { "kubernetes.io/hostname": name } },
            "spec": { "taints": [{ "key": TAINT, "effect": "NoSchedule" }] },
        }));
        apply(&json!({
            "apiVersion": "v1", "kind": "PersistentVolume", "metadata": { "name": name },
            "spec": {
                "capacity": { "storage": "1Gi" }, "accessModes": ["ReadWriteOnce"], "storageClassName": "",
                "persistentVolumeReclaimPolicy": "Retain", "hostPath": { "path": folder, "type": "Directory" },
            },
        }));
        Far { name, folder }
    }

    /// Says that the node is well, as its kubelet would, again and again.
    async fn live(&self, client: &Client) {
        let (nodes, leases) = (Api::<Node>::all(client.clone()), Api::<Lease>::namespaced(client.clone(), "kube-node-lease"));
        let mut every = tokio::time::interval(Duration::from_secs(5));
        loop {
            every.tick().await;
            let now = Timestamp::now().to_string();
            let spec = json!({ "holderIdentity": self.name, "leaseDurationSeconds": 40, "renewTime": micro(&now) });
            let lease = json!({ "apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": { "name": self.name }, "spec": spec });
            leases.patch(&self.name, &PatchParams::apply("test").force(), &Patch::Apply(lease)).await.unwrap();
            let room = json!({ "cpu": "8", "memory": "8Gi", "pods": "110", "ephemeral-storage": "100Gi" });
            let ready = json!({ "type": "Ready", "status": "True", "reason": "Test", "message": "", "lastHeartbeatTime": now, "lastTransitionTime": now });
            let status = json!({ "status": { "capacity": room, "allocatable": room, "conditions": [ready] } });
            nodes.patch_status(&self.name, &PatchParams::default(), &Patch::Strategic(status)).await.unwrap();
        }
    }

    /// The volume's claim in the site, and a pod on the node that uses it.
    async fn app(&self, site: &Site) {
        let spec = json!({
            "accessModes": ["ReadWriteOnce"], "storageClassName": "", "volumeName": self.name, "resources": { "requests": { "storage": "1Gi" } },
        });
        site.apply(json!({ "apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": { "name": "data" }, "spec": spec }));
        let container = json!({ "name": "app", "image": "localhost/none:1", "volumeMounts": [{ "name": "data", "mountPath": "/data" }] });
        let spec = json!({
            "nodeName": self.name, "automountServiceAccountToken": false, "containers": [container],
            "tolerations": [{ "key": TAINT, "operator": "Exists" }],
            "volumes": [{ "name": "data", "persistentVolumeClaim": { "claimName": "data" } }],
        });
        site.apply(json!({ "apiVersion": "v1", "kind": "Pod", "metadata": { "name": "app" }, "spec": spec }));
        phase(site, "app", "Running").await;
    }

    fn remove(&self) {
        for kind in ["node", "persistentvolume"] {
            try_kubectl(&["delete", kind, &self.name, "--ignore-not-found", "--wait=false"]);
        }
        try_kubectl(&["--namespace=kube-node-lease", "delete", "lease", &self.name, "--ignore-not-found"]);
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// A time as Leases have it.
fn micro(time: &str) -> String {
    let second = time.split(['.', 'Z']).next().unwrap();
    format!("{second}.000000Z")
}

/// Does to a pod of the node what its kubelet would.
async fn phase(site: &Site, pod: &str, phase: &str) {
    let pods: Api<Pod> = Api::namespaced(site.client.clone(), &site.namespace);
    pods.patch_status(pod, &PatchParams::default(), &Patch::Merge(json!({ "status": { "phase": phase } }))).await.unwrap();
}

async fn movers(site: &Site) -> Vec<Pod> {
    let pods: Api<Pod> = Api::namespaced(site.client.clone(), &site.namespace);
    pods.list(&ListParams::default().labels("app.kubernetes.io/component=mover")).await.unwrap().items
}

fn node_of(pod: &Pod) -> Option<&str> {
    pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref())
}

async fn follows(site: &Site, far: &Far) {
    far.app(site).await;
    let push = site.source("push", "data", json!({ "rclone": { "copyMethod": "Direct" } }));
    let mover = until("the mover has a node", SYNC, async || {
        let movers = movers(site).await;
        movers.iter().find(|pod| node_of(pod).is_some()).cloned().ok_or(movers)
    })
    .await;
    assert_eq!(node_of(&mover), Some(far.name.as_str()), "beside the pod that has the volume");
    let status = mover.status.as_ref().unwrap();
    assert_eq!(status.phase.as_deref(), Some("Pending"), "there is no kubelet: {status:#?}");
    let told = format!("to start on node {}, where pod app uses PVC data", far.name);
    let status = push.until("it is said where and why", SYNC, |s| s.message.as_ref().is_some_and(|message| message.contains(&told))).await;
    assert_eq!((status.attempts, &status.last_sync_time), (None, &None));

    // Without that pod, the next mover runs where it can.
    site.kubectl(&["delete", "pod", "app", "--grace-period=0", "--force"]);
    phase(site, &mover.name_any(), "Failed").await;
    let history = site.history().await;
    push.synced("first").await;
    let ran: Vec<Value> =
        history.all("Pod").iter().filter(|seen| seen.ours()).map(|seen| seen.object.data["spec"]["nodeName"].clone()).collect();
    assert!(ran.iter().any(|node| node.is_string() && *node != far.name.as_str()), "{ran:?}");
    site.destination("pull", json!({ "rclone": { "copyMethod": "Direct" } })).synced("first").await;
    assert_eq!(site.hand("scribe-dest-pull").await.run("cat file"), "content\n");
}

#[tokio::test]
async fn a_mover_follows_the_pod_that_uses_its_volume() {
    let far = Far::new();
    std::fs::write(far.folder.join("file"), "content\n").unwrap();
    let test = site("placed", async |site| {
        tokio::select! {
            () = far.live(&site.client) => {}
            () = follows(site, &far) => {}
        }
    });
    let result = AssertUnwindSafe(test).catch_unwind().await;
    far.remove();
    result.unwrap_or_else(|panic| resume_unwind(panic));
}

/// What the driver can mount read-only alone is only read, its temporary volume as well.
#[tokio::test]
async fn a_source_that_can_only_be_read_is_pushed() {
    site("read-only", async |site| {
        let (source, _, _, image) = site.replicated(json!({}), json!({})).await;
        let before = source.listing();
        for method in ["Snapshot", "Direct"] {
            let name = format!("read-{}", method.to_lowercase());
            let image = json!({ "apiGroup": "snapshot.storage.k8s.io", "kind": "VolumeSnapshot", "name": image });
            let spec = json!({ "accessModes": ["ReadOnlyMany"], "dataSource": image, "resources": { "requests": { "storage": "1Gi" } } });
            site.apply(json!({ "apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": { "name": name }, "spec": spec }));
            let path = format!("{}/{name}", site.namespace);
            let rclone = json!({ "copyMethod": method, "rcloneDestPath": path });
            site.source(&name, &name, json!({ "rclone": rclone })).synced("first").await;
            let pull = site.destination(&name, json!({ "rclone": { "copyMethod": "Direct", "rcloneDestPath": path } }));
            pull.synced("first").await;
            site.listing_of_claim(&format!("scribe-dest-{name}")).await.assert_is(&before);
        }
        assert!(!kubectl(&["--namespace", &site.namespace, "get", "pvc", "--output=name"]).contains("scribe-src"));
    })
    .await;
}
