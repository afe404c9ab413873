//! What a second sync changes, and what it leaves alone.

use crate::support::history::{History, Seen};
use crate::support::replication::{image_of, laid_out, status_of};
use crate::support::s3;
use crate::support::site::site;
use crate::support::volume::SECOND_TREE;
use kube::ResourceExt;
use rstest::rstest;
use serde_json::json;

/// Files change, come and go; `latestImage` moves to a snapshot that is ready, and only then does the old one go.
#[rstest]
#[tokio::test]
async fn a_new_image_takes_the_old_ones_place(#[values("Files", "Packs")] layout: &str) {
    site("second", async |site| {
        let source = site.filled("data").await;
        let push = site.source("push", "data", laid_out(layout));
        push.synced("first").await;
        let history = site.history().await;
        let pull = site.destination("pull", json!({}));
        let first = image_of(&pull.synced("first").await);
        let before = source.listing();
        site.listing_of_image(&first).await.assert_is(&before);

        source.run(SECOND_TREE);
        let pushed = push.sync("second").await;
        let pulled = pull.sync("second").await;
        let second = image_of(&pulled);
        assert_ne!(first, second);
        assert_ne!(source.listing(), before);
        assert_eq!((&pulled.revision, pulled.data_time.as_ref()), (&pushed.revision, pushed.data_time.as_ref()));
        site.listing_of_image(&second).await.assert_is(&source.listing());
        site.only_children(&["PersistentVolumeClaim/scribe-dest-pull", &format!("VolumeSnapshot/{second}")]).await;
        in_order(&history, &first, &second);
    })
    .await;
}

/// The new image was ready before it was published, and published before the old one was deleted.
fn in_order(history: &History, first: &str, second: &str) {
    let order = |kind: &str, what: &str, wanted: &dyn Fn(&Seen) -> bool| {
        history.all(kind).iter().find(|seen| wanted(seen)).unwrap_or_else(|| panic!("never seen: {what}")).order
    };
    let ready = order("VolumeSnapshot", "the new image is ready", &|seen| {
        seen.object.name_any() == second && seen.object.data["status"]["readyToUse"] == true
    });
    let published = order("ReplicationDestination", "the new image is published", &|seen| {
        status_of(&seen.object).latest_image.is_some_and(|image| image.name == second)
    });
    let deleted = order("VolumeSnapshot", "the old image is deleted", &|seen| {
        seen.object.name_any() == first && seen.object.metadata.deletion_timestamp.is_some()
    });
    assert!(ready < published && published < deleted, "ready {ready}, published {published}, old one deleted {deleted}");
}

/// Nothing new: the syncs are complete, but there is no new revision and no new image.
#[rstest]
#[tokio::test]
async fn an_unchanged_source_makes_no_new_image(#[values("Files", "Packs")] layout: &str) {
    site("unchanged", async |site| {
        let _source = site.filled("data").await;
        let history = site.history().await;
        let push = site.source("push", "data", laid_out(layout));
        let pushed = push.synced("first").await;
        let pull = site.destination("pull", json!({}));
        let pulled = pull.synced("first").await;
        let objects = s3::list(&site.path);

        let (pushed_again, pulled_again) = (push.sync("second").await, pull.sync("second").await);
        assert_eq!(pushed_again.revision, pushed.revision);
        assert!(pushed_again.last_sync_time > pushed.last_sync_time);
        assert_eq!((&pulled_again.revision, &pulled_again.latest_image), (&pushed.revision, &pulled.latest_image));
        assert!(pulled_again.last_sync_time > pulled.last_sync_time);
        assert_eq!(s3::list(&site.path), objects);
        let images: Vec<_> = history.made("VolumeSnapshot").into_iter().filter(|name| name.starts_with("scribe-dest-")).collect();
        assert_eq!(images, [image_of(&pulled)]);
    })
    .await;
}
