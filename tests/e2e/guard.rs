//! A typing mistake deletes nothing: large deletions wait for a person, on both sides, and are let through once.

use crate::support::replication::{Replication, SYNC, image_of, is};
use crate::support::s3;
use crate::support::site::site;
use crate::support::volume::Claim;
use serde_json::json;

#[tokio::test]
async fn large_deletions_wait_for_their_token() {
    site("guard", async |site| {
        site.claim(&Claim { name: "data", class: None, image: None });
        let data = site.hand("data").await;
        data.run("for i in $(seq 40); do echo $i >file-$i; done");
        let push = site.source("push", "data", json!({}));
        push.synced("first").await;
        let pull = site.destination("pull", json!({}));
        let image = image_of(&pull.synced("first").await);
        let (objects, before) = (s3::list(&site.path), data.listing());

        data.run("for i in $(seq 2 40); do rm file-$i; done");
        stops(&push, "39 of the 40").await;
        assert_eq!(s3::list(&site.path), objects, "nothing is deleted before it is allowed");
        allow(&push).await;
        let pushed = push.synced("delete").await;

        stops(&pull, "39 of the 40").await;
        assert_eq!(image_of(&pull.status().await), image);
        site.listing_of_claim("scribe-dest-pull").await.assert_is(&before);
        allow(&pull).await;
        let pulled = pull.synced("delete").await;
        assert_eq!(pulled.revision, pushed.revision);
        site.listing_of_image(&image_of(&pulled)).await.assert_is(&data.listing());

        // The token was good for this once.
        data.run("for i in $(seq 2 40); do echo $i >file-$i; done");
        push.sync("fill").await;
        data.run("for i in $(seq 2 40); do rm file-$i; done");
        push.patch(json!({ "trigger": { "manual": "delete again" } })).await;
        push.until("it stops again", SYNC, |s| is(s, "Stalled", "True", "DeletionGuard")).await;
        // A spec that says so needs none.
        push.patch(json!({ "rclone": { "deletionGuard": { "percent": 100 } } })).await;
        push.synced("delete again").await;
    })
    .await;
}

async fn stops(replication: &Replication<'_>, words: &str) {
    replication.patch(json!({ "trigger": { "manual": "delete" } })).await;
    let stopped = replication.until("it stops", SYNC, |s| is(s, "Stalled", "True", "DeletionGuard")).await;
    let message = stopped.last_error.unwrap().message;
    assert!(message.contains(words), "{message}");
}

/// Does what the message says.
async fn allow(replication: &Replication<'_>) {
    let message = replication.status().await.last_error.unwrap().message;
    let (_, token) = message.split_once("scribe.backube/allow-deletions: ").unwrap_or_else(|| panic!("it does not say how: {message}"));
    let token = token.split([' ', ';']).next().unwrap();
    replication.patch_object(json!({ "metadata": { "annotations": { "scribe.backube/allow-deletions": token } } })).await;
}
