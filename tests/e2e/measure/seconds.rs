//! Time of a push and a pull, ours and VolSync's, beside the least that Kubernetes itself needs for a snapshot, a volume made from it and a pod on it.

use super::support::cluster::given;
use super::support::history::History;
use super::support::namespace::random;
use super::support::replication::{Replication, SYNC};
use super::support::site::Site;
use super::volsync::{KINDS, Peer};
use super::{Pair, Row, row};
use kube::ResourceExt;
use serde_json::json;
use std::time::{Duration, Instant};

const ROUNDS: usize = 9;

/// From a new manual tag to `lastManualSync`, and by hand, in turns; medians and all values.
pub async fn of_syncs(site: &Site, pair: &Pair<'_>, peer: &mut Peer<'_>) -> Vec<Row> {
    let mut history = site.history().await;
    let (mut ours, mut theirs, mut bare) = ([Vec::new(), Vec::new()], [Vec::new(), Vec::new()], Vec::new());
    for round in 0..ROUNDS {
        pair.change();
        for (index, replication) in [&pair.source, &pair.destination].into_iter().enumerate() {
            // Whoever comes second finds files in the page cache: each of the two does in its turn.
            if round % 2 == 0 {
                ours[index].push(sync(replication, &mut history).await);
                theirs[index].push(peer.sync(KINDS[index]).await);
            } else {
                theirs[index].push(peer.sync(KINDS[index]).await);
                ours[index].push(sync(replication, &mut history).await);
            }
        }
        bare.push(by_hand(site, &mut history).await);
        let last = [&ours[0], &theirs[0], &ours[1], &theirs[1], &bare].map(|values| format!("{:.2}", values[round]));
        eprintln!("round {} of {ROUNDS}: push, VolSync's, pull, VolSync's, by hand: {} s", round + 1, last.join(", "));
    }
    let [push, pull] = ours;
    let [their_push, their_pull] = theirs;
    vec![
        row("manual tag → lastManualSync, Snapshot push of ten changed files", in_words(&push)),
        row("the same, VolSync", in_words(&their_push)),
        row("manual tag → lastManualSync, Snapshot pull of ten changed files", in_words(&pull)),
        row("the same, VolSync", in_words(&their_pull)),
        row("snapshot, PVC from it and pod by hand", in_words(&bare)),
        row("ratio of a push to VolSync's; to that by hand", ratios(&push, &their_push, &bare)),
        row("ratio of a pull to VolSync's; to that by hand", ratios(&pull, &their_pull, &bare)),
    ]
}

async fn sync(replication: &Replication<'_>, history: &mut History) -> f64 {
    let tag = format!("round {}", random());
    let began = Instant::now();
    replication.patch(json!({ "trigger": { "manual": tag } })).await;
    let done = history.until("the sync is complete", SYNC, |seen| seen.object.data["status"]["lastManualSync"] == tag.as_str());
    done.await;
    let took = began.elapsed();
    // A destination's volume and image stay.
    replication
        .site
        .only_children_like(|name| {
            name.starts_with("PersistentVolumeClaim/scribe-dest-") || name.starts_with("VolumeSnapshot/scribe-dest-")
        })
        .await;
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

fn median(values: &[f64]) -> f64 {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// The median and all values in the order in which they were measured.
fn in_words(values: &[f64]) -> String {
    let all: Vec<_> = values.iter().map(|value| format!("{value:.2}")).collect();
    format!("median **{:.2} s** of {}: {}", median(values), values.len(), all.join(", "))
}

fn ratios(ours: &[f64], theirs: &[f64], bare: &[f64]) -> String {
    format!("**{:.2}**; **{:.2}**", median(ours) / median(theirs), median(ours) / median(bare))
}
