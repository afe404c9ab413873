//! Layout Packs from a source to its sites: what a push of a few changed blocks sends, and destinations that stay at an older revision.

use crate::support::replication::{SYNC, image_of, is};
use crate::support::site::site;
use jiff::SignedDuration;
use serde_json::json;

/// Of a file of 48 MiB that cannot be compressed, ten blocks change. What is sent, stored and fetched is in proportion to that.
#[tokio::test]
async fn ten_changed_blocks_are_sent_alone() {
    site("packs", async |site| {
        let source = site.filled("data").await;
        source.run("head -c 50331648 /dev/urandom >big");
        let push = site.source("push", "data", json!({ "rclone": { "layout": "Packs" } }));
        let first = push.synced("first").await;
        let pull = site.destination("pull", json!({}));
        site.listing_of_image(&image_of(&pull.synced("first").await)).await.assert_is(&source.listing());
        let (sent, stored) = (first.sent.unwrap(), first.stored.unwrap());
        assert!(sent > 48 << 20 && stored > 48 << 20 && stored < 56 << 20, "sent {sent}, stored {stored}");

        source.run("for i in $(seq 10); do dd if=/dev/urandom of=big bs=16384 count=1 seek=$((i * 251)) conv=notrunc 2>/dev/null; done");
        let second = push.sync("second").await;
        let (sent, grown) = (second.sent.unwrap(), second.stored.unwrap() - stored);
        assert!((10 * 16_384..=20 * 16_384).contains(&sent), "ten blocks of 16 KiB were sent as {sent} bytes");
        assert!((10 * 16_384..=20 * 16_384).contains(&grown), "the path has grown by {grown} bytes");
        let pulled = pull.sync("second").await;
        assert_eq!(pulled.revision, second.revision);
        assert!(pulled.transferred.unwrap() <= 20 * 16_384, "{pulled:#?}");
        site.listing_of_image(&image_of(&pulled)).await.assert_is(&source.listing());

        let third = push.sync("third").await;
        assert_eq!((third.revision, third.sent), (second.revision, Some(0)), "nothing new");
    })
    .await;
}

/// To one by its name, to one by a time, to one that was never there, and back to the newest: each has an image of its very own content.
#[tokio::test]
async fn a_destination_stays_at_the_revision_that_it_is_pinned_to() {
    site("pinned", async |site| {
        let source = site.filled("data").await;
        let push = site.source("push", "data", json!({ "rclone": { "layout": "Packs", "retain": 3, "copyMethod": "Direct" } }));
        let mut revisions = vec![(push.synced("first").await, source.listing())];
        for round in ["second", "third"] {
            source.run(&format!("echo {round} >plain; echo {round} >{round}"));
            revisions.push((push.sync(round).await, source.listing()));
        }
        let [(first, as_first), (second, as_second), (third, as_third)] = &revisions[..] else { panic!("{}", revisions.len()) };
        let pull = site.destination("pull", json!({}));
        assert_eq!(pull.synced("first").await.revision, third.revision);

        pull.patch(json!({ "rclone": { "pin": { "revision": first.revision } } })).await;
        let pinned = pull.until("it is back", SYNC, |s| s.run.is_none() && s.revision == first.revision).await;
        assert_eq!((pinned.pinned.clone().map(|pinned| pinned.revision), &pinned.data_time), (first.revision.clone(), &first.data_time));
        site.listing_of_image(&image_of(&pinned)).await.assert_is(as_first);

        // Whole seconds stand in the status, and the revision may be of any moment within.
        let before_the_third = third.data_time.as_ref().unwrap().0 - SignedDuration::from_secs(1);
        pull.patch(json!({ "rclone": { "pin": { "revision": null, "asOf": before_the_third.to_string() } } })).await;
        let pinned = pull.until("it is at that time", SYNC, |s| s.run.is_none() && s.revision == second.revision).await;
        site.listing_of_image(&image_of(&pinned)).await.assert_is(as_second);
        // And stays there, without another image.
        let again = pull.sync("again").await;
        assert_eq!((&again.revision, &again.latest_image, &again.pinned), (&second.revision, &pinned.latest_image, &pinned.pinned));

        let unknown = "20210119T221500Z-00000000-1-0000";
        pull.patch(json!({ "rclone": { "pin": { "revision": unknown, "asOf": null } } })).await;
        let stalled = pull.until("it is told", SYNC, |s| is(s, "Stalled", "True", "RevisionMissing")).await;
        assert_eq!((&stalled.revision, &stalled.latest_image), (&second.revision, &pinned.latest_image));

        pull.patch(json!({ "rclone": { "pin": null } })).await;
        let newest = pull.until("it is at the newest again", SYNC, |s| s.run.is_none() && s.revision == third.revision).await;
        assert_eq!(newest.pinned, None);
        site.listing_of_image(&image_of(&newest)).await.assert_is(as_third);
    })
    .await;
}
