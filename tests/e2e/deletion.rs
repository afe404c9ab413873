//! An object that is deleted in the middle of a sync leaves nothing of the agent's behind.

use crate::support::site::site;
use crate::support::until::until;
use serde_json::json;

/// Deleted while its mover moves data: Job, pod, temporary PVC and snapshot go with it.
#[tokio::test]
async fn a_source_leaves_no_child() {
    site("delete-source", async |site| {
        let _source = site.filled("data").await;
        site.slow_down(20_000);
        let push = site.source("push", "data", json!({}));
        site.mover().await;
        push.delete().await;
        site.only_children(&[]).await;
    })
    .await;
}

/// The same for a destination, whose volume and images go too.
#[tokio::test]
async fn a_destination_leaves_no_child() {
    site("delete-dest", async |site| {
        let (source, push, pull, _) = site.replicated(json!({ "rclone": { "copyMethod": "Direct" } }), json!({})).await;
        source.run("head -c 300000 /dev/urandom >more");
        push.sync("second").await;
        site.slow_down(20_000);
        pull.patch(json!({ "trigger": { "manual": "second" } })).await;
        site.mover().await;
        pull.delete().await;
        site.only_children(&[]).await;
    })
    .await;
}

/// While a source's snapshot is being taken, before there is any mover.
#[tokio::test]
async fn a_source_that_is_capturing_leaves_no_child() {
    site("delete-early", async |site| {
        let _source = site.filled("data").await;
        let mut history = site.history().await;
        let push = site.source("push", "data", json!({}));
        history.until("the temporary snapshot is made", 60, |seen| seen.made("VolumeSnapshot", "scribe-src-push")).await;
        push.delete().await;
        until("the source is gone", 30, async || {
            let left = site.kubectl(&["get", "replicationsources", "--output=name"]);
            if left.is_empty() { Ok(()) } else { Err(left) }
        })
        .await;
        site.only_children(&[]).await;
    })
    .await;
}
