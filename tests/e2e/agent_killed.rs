//! The agent is killed at the worst moments: as soon as a watch shows one of its writes, and before its next. The sync ends once, with the
//! right data, and nothing is left over.

use crate::support::history::{History, Seen};
use crate::support::replication::{SYNC, image_of, status_of};
use crate::support::site::{Site, site};
use crate::support::until::until;
use kube::ResourceExt;
use rstest::rstest;
use serde_json::json;

/// The writes of a push, by what a watch shows of them.
#[rstest]
#[case::as_the_run_is_opened(|seen: &Seen| seen.kind == "ReplicationSource" && status_of(&seen.object).run.is_some())]
#[case::as_the_snapshot_is_made(|seen: &Seen| seen.made("VolumeSnapshot", "scribe-src-push"))]
#[case::as_the_job_is_made(|seen: &Seen| seen.made("Job", "scribe-rclone-src-push"))]
#[case::as_the_run_is_closed(|seen: &Seen| seen.kind == "ReplicationSource" && status_of(&seen.object).last_sync_time.is_some())]
#[tokio::test]
async fn in_a_push(#[case] moment: impl Fn(&Seen) -> bool) {
    site("kill-push", async |site| {
        let source = site.filled("data").await;
        let mut history = site.history().await;
        let agent = site.agent().await;
        let push = site.source("push", "data", json!({}));
        history.until("the moment to kill the agent", SYNC, moment).await;
        agent.kill();

        push.synced("first").await;
        recovered(site).await;
        site.only_children(&[]).await;
        once(&history, "VolumeSnapshot", &["scribe-src-push"]);
        once(&history, "PersistentVolumeClaim", &["scribe-src-push"]);
        once(&history, "Job", &["scribe-rclone-src-push"]);

        let pull = site.destination("pull", json!({ "rclone": { "copyMethod": "Direct" } }));
        pull.synced("first").await;
        site.listing_of_claim("scribe-dest-pull").await.assert_is(&source.listing());
    })
    .await;
}

/// The writes of a pull.
#[rstest]
#[case::as_the_job_is_made(|seen: &Seen| seen.made("Job", "scribe-rclone-dest-pull"))]
#[case::as_the_image_is_made(|seen: &Seen| seen.kind == "VolumeSnapshot" && seen.ours())]
#[case::as_the_run_is_closed(|seen: &Seen| seen.kind == "ReplicationDestination" && status_of(&seen.object).last_sync_time.is_some())]
#[tokio::test]
async fn in_a_pull(#[case] moment: impl Fn(&Seen) -> bool) {
    site("kill-pull", async |site| {
        let source = site.filled("data").await;
        site.source("push", "data", json!({ "rclone": { "copyMethod": "Direct" } })).synced("first").await;
        let mut history = site.history().await;
        let agent = site.agent().await;
        let pull = site.destination("pull", json!({}));
        history.until("the moment to kill the agent", SYNC, moment).await;
        agent.kill();

        let image = image_of(&pull.synced("first").await);
        recovered(site).await;
        site.only_children(&["PersistentVolumeClaim/scribe-dest-pull", &format!("VolumeSnapshot/{image}")]).await;
        once(&history, "VolumeSnapshot", &[&image]);
        once(&history, "PersistentVolumeClaim", &["scribe-dest-pull"]);
        once(&history, "Job", &["scribe-rclone-dest-pull"]);
        site.listing_of_image(&image).await.assert_is(&source.listing());
    })
    .await;
}

/// The agent was really killed, serves again, and has looked at everything since.
async fn recovered(site: &Site) {
    until("the agent was started again", 60, async || match site.restarts().await {
        1 => Ok(()),
        other => Err(other),
    })
    .await;
    site.agent().await;
}

/// Exactly these were made, each once; and the sync that the events tell of ended once.
#[track_caller]
fn once(history: &History, kind: &str, names: &[&str]) {
    assert_eq!(history.made(kind), names, "{kind}");
    let objects = ["ReplicationSource", "ReplicationDestination"].map(|kind| history.all(kind)).concat();
    let mut ends: Vec<_> =
        objects.iter().filter_map(|seen| Some((seen.object.name_any(), status_of(&seen.object).last_sync_time?.0))).collect();
    ends.dedup();
    assert_eq!(ends.len(), 1, "the sync ended more than once: {ends:?}");
}
