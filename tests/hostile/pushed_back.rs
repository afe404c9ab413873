//! A source and a destination of one PVC and path, and two sources of one PVC: what the cache does not show yet, and what is not finished.

use super::proxy::{Call, Fault};
use super::site::{Replication, Site};
use super::until::until;
use kube::api::{Patch, PatchParams};
use scribe_agent::api::Status;
use serde_json::{Value, json};

fn manual(tag: &str) -> Value {
    json!({ "trigger": { "manual": tag } })
}

/// A destination that goes back to what the source x pushed last.
async fn back(site: &Site) -> Replication<'_> {
    let rclone = json!({ "destinationPVC": "data-x", "capacity": null, "rcloneDestPath": "bucket/x", "copyMethod": "Direct" });
    site.destination("back", json!({ "trigger": { "manual": "0" }, "rclone": rclone })).await
}

fn says(status: &Status, kind: &str, words: &str) -> bool {
    status.conditions.iter().any(|c| c.type_ == kind && c.message.contains(words))
}

/// An outsider read that a source which is resumed during a restore would push what has been restored so far in the place of the last push.
#[tokio::test]
async fn a_source_that_is_resumed_waits_for_the_restore() {
    let site = Site::start("resumed").await;
    let source = site.source("x", manual("0")).await;
    source.sync("1", 60).await;
    source.edit(json!({ "paused": true })).await;
    source.until("it is paused", 60, |s| s.observed_generation > Some(2)).await;
    site.world.record.lock().unwrap().asleep = true;
    let destination = back(&site).await;
    destination.until("it pulls", 60, |s| s.unfinished_pulls.len() == 1).await;
    source.edit(json!({ "paused": false, "trigger": { "manual": "2" } })).await;
    let named = "ReplicationDestination \"back\" pulls s3:bucket/x into PVC \"data-x\"";
    source.until("it waits, and names the destination", 60, |s| says(s, "Stalled", named)).await;
    assert_eq!(site.children("snapshot.storage.k8s.io", "v1", "VolumeSnapshot").await, Vec::<String>::new());
    assert_eq!(site.children("batch", "v1", "Job").await, ["scribe-rclone-dest-back"]);
    // The restore goes on.
    site.world.record.lock().unwrap().asleep = false;
    let awake = json!({ "metadata": { "annotations": { "awake": "true" } } });
    site.api("batch", "v1", "Job").patch("scribe-rclone-dest-back", &PatchParams::default(), &Patch::Merge(awake)).await.unwrap();
    destination.until("it is done", 60, |s| s.last_sync_time.is_some() && s.run.is_none()).await;
    source.until("it pushes again", 60, |s| s.last_manual_sync.as_deref() == Some("2")).await;
}

fn silent_sources(call: &Call) -> Fault {
    if call.watch && call.path.ends_with("/replicationsources") { Fault::Silent } else { Fault::None }
}

/// An agent whose watch of the sources shows nothing that comes from now on.
async fn without_new_sources(site: &Site) {
    site.proxy.rule(silent_sources);
    let before = site.agent.starts();
    site.agent.kill();
    until("the agent runs again, and has listed the sources", 60, async || {
        let watches = site.proxy.counted().get(&Fault::Silent).copied().unwrap_or_default();
        if site.agent.starts() > before && watches > 0 { Ok(()) } else { Err(watches) }
    })
    .await;
}

/// Both are created by one `kubectl apply`, and the cache shows the destination first: what the application has written would be lost.
#[tokio::test]
async fn a_source_that_the_cache_does_not_show_is_not_pulled_over() {
    let site = Site::start("first-apply").await;
    without_new_sources(&site).await;
    site.source("x", manual("0")).await;
    let destination = back(&site).await;
    destination.until("it is refused", 60, |s| says(s, "Stalled", "ReplicationSource \"x\" pushes PVC")).await;
    assert_eq!(site.children("batch", "v1", "Job").await, Vec::<String>::new());
}

/// It is there, and makes its copy, whatever the cache shows: its value and its state stay on the PVC.
#[tokio::test]
async fn a_source_that_the_cache_does_not_show_is_not_gone() {
    let site = Site::start("unseen-source").await;
    let source = site.source("x", manual("0")).await;
    source.sync("1", 60).await;
    let claims = site.api("", "v1", "PersistentVolumeClaim");
    let annotate = async |annotations: Value| {
        let patch = Patch::Merge(json!({ "metadata": { "annotations": annotations } }));
        claims.patch("data-x", &PatchParams::default(), &patch).await.unwrap();
    };
    annotate(json!({ "scribe.backube/use-copy-trigger": "" })).await;
    source.edit(manual("2")).await;
    source.until("it waits", 60, |s| says(s, "Synchronizing", "Waiting for a new value")).await;
    without_new_sources(&site).await;
    site.source("other", json!({ "sourcePVC": "data-x", "trigger": { "manual": "0" } })).await;
    let uid = site.api("scribe.backube", "v1alpha1", "ReplicationSource").get("other").await.unwrap().metadata.uid;
    let by = json!({ "source": "other", "uid": uid, "run": "r", "attempt": 1, "taken": "one" }).to_string();
    annotate(json!({ "scribe.backube/copy-trigger": "two", "scribe.backube/latest-copy-status": "InProgress",
        "scribe.backube/latest-copy-trigger-waiting-since": null, "scribe.backube/latest-copy-by": by }))
    .await;
    source.until("it waits for the other one", 60, |s| says(s, "Synchronizing", "Waiting for ReplicationSource \"other\"")).await;
    let kept = claims.get("data-x").await.unwrap().metadata.annotations.unwrap();
    assert_eq!(kept["scribe.backube/latest-copy-by"], by);
}
