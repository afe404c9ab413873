//! A destination that is there before anything was pushed: it waits calmly, and then pulls.

use crate::support::replication::{SYNC, image_of, is};
use crate::support::site::site;
use serde_json::json;

#[tokio::test]
async fn a_destination_waits_calmly_for_the_first_push() {
    site("first-push", async |site| {
        let pull = site.destination("pull", json!({}));
        let waiting = pull.until("it waits for the first push", SYNC, |s| is(s, "Synchronizing", "False", "WaitingForFirstPush")).await;
        assert!(is(&waiting, "Stalled", "False", "NotStalled"), "{waiting:#?}");
        assert!(is(&waiting, "Ready", "False", "NeverSynced"), "{waiting:#?}");
        assert!(waiting.last_error.is_none() && waiting.latest_image.is_none(), "{waiting:#?}");
        site.only_children(&["PersistentVolumeClaim/scribe-dest-pull"]).await;
        let warnings: Vec<_> = pull.events().await.into_iter().filter(|event| event.type_.as_deref() == Some("Warning")).collect();
        assert!(warnings.is_empty(), "{warnings:#?}");

        let source = site.filled("data").await;
        site.source("push", "data", json!({})).synced("first").await;
        // It looks again by itself, one to two minutes after its first look.
        let status = pull.until("it has looked again and pulled", 120 + SYNC, |s| s.last_manual_sync.is_some()).await;
        site.listing_of_image(&image_of(&status)).await.assert_is(&source.listing());
    })
    .await;
}

/// A new tag has it look at once.
#[tokio::test]
async fn a_tag_ends_the_waiting() {
    site("first-tag", async |site| {
        let pull = site.destination("pull", json!({}));
        pull.until("it waits for the first push", SYNC, |s| is(s, "Synchronizing", "False", "WaitingForFirstPush")).await;
        let source = site.filled("data").await;
        site.source("push", "data", json!({})).synced("first").await;
        let status = pull.sync("now").await;
        site.listing_of_image(&image_of(&status)).await.assert_is(&source.listing());
    })
    .await;
}
