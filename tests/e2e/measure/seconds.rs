//! Time of a push, beside the least that Kubernetes itself needs for a snapshot, a volume made from it and a pod on that volume.

use super::support::cluster::given;
use super::support::history::History;
use super::support::namespace::random;
use super::support::replication::{SYNC, status_of};
use super::support::site::Site;
use super::{Pair, Row, row};
use kube::ResourceExt;
use serde_json::json;
use std::time::{Duration, Instant};

const ROUNDS: usize = 7;

/// From a new manual tag to `lastManualSync`, and by hand, in turns; medians.
pub async fn of_a_push(site: &Site, pair: &Pair<'_>) -> Vec<Row> {
    let mut history = site.history().await;
    let (mut ours, mut bare) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        pair.change();
        ours.push(push(pair, &mut history).await);
        bare.push(by_hand(site, &mut history).await);
    }
    let (ours, bare) = (median(ours), median(bare));
    vec![
        row("manual tag → lastManualSync, Snapshot push of ten changed files (median of 7)", format!("{ours:.2} s")),
        row("snapshot, PVC from it and pod by hand in the same run (median of 7)", format!("{bare:.2} s")),
        row("ratio", format!("**{:.2}**", ours / bare)),
    ]
}

async fn push(pair: &Pair<'_>, history: &mut History) -> f64 {
    let tag = format!("round {}", random());
    let began = Instant::now();
    pair.source.patch(json!({ "trigger": { "manual": tag } })).await;
    let done = history.until("the push is complete", SYNC, |seen| {
        seen.kind == "ReplicationSource" && status_of(&seen.object).last_manual_sync.as_ref() == Some(&tag)
    });
    done.await;
    let took = began.elapsed();
    pair.source.site.only_children_like(|name| !name.contains("scribe-src-") && !name.contains("scribe-rclone-")).await;
    seconds(took)
}

async fn by_hand(site: &Site, history: &mut History) -> f64 {
    let name = format!("bare-{}", random());
    let meta = json!({ "name": name });
    let snapshots = site.api("snapshot.storage.k8s.io", "v1", "VolumeSnapshot");
    let create = async |api: kube::Api<kube::api::DynamicObject>, object: serde_json::Value| {
        api.create(&kube::api::PostParams::default(), &serde_json::from_value(object).unwrap()).await.unwrap();
    };
    let began = Instant::now();
    create(
        snapshots,
        json!({
            "apiVersion": "snapshot.storage.k8s.io/v1", "kind": "VolumeSnapshot", "metadata": meta,
            "spec": { "source": { "persistentVolumeClaimName": "data" } },
        }),
    )
    .await;
    let ready = history.until("the snapshot is ready", SYNC, |seen| {
        seen.kind == "VolumeSnapshot" && seen.object.name_any() == name && seen.object.data["status"]["readyToUse"] == true
    });
    ready.await;
    create(
        site.api("", "v1", "PersistentVolumeClaim"),
        json!({
            "apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": meta,
            "spec": {
                "accessModes": ["ReadWriteOnce"],
                "resources": { "requests": { "storage": "1Gi" } },
                "dataSource": { "apiGroup": "snapshot.storage.k8s.io", "kind": "VolumeSnapshot", "name": name },
            },
        }),
    )
    .await;
    create(site.api("", "v1", "Pod"), json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": meta,
        "spec": {
            "restartPolicy": "Never",
            "automountServiceAccountToken": false,
            "containers": [{
                "name": "bare", "image": given("E2E_SHELL_IMAGE"), "command": ["true"], "volumeMounts": [{ "name": "data", "mountPath": "/data" }],
            }],
            "volumes": [{ "name": "data", "persistentVolumeClaim": { "claimName": name } }],
        },
    }))
    .await;
    let ended = history.until("the pod has ended", SYNC, |seen| {
        seen.kind == "Pod" && seen.object.name_any() == name && seen.object.data["status"]["phase"] == "Succeeded"
    });
    ended.await;
    let took = began.elapsed();
    for kind in ["pod", "pvc", "volumesnapshot"] {
        site.kubectl(&["delete", kind, &name, "--wait=true"]);
    }
    seconds(took)
}

fn seconds(duration: Duration) -> f64 {
    duration.as_secs_f64()
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
