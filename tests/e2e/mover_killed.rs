//! The promise: the committed revision is whole at every moment, also when a mover dies in the middle of replacing it.

use crate::support::replication::{SYNC, laid_out};
use crate::support::s3;
use crate::support::site::site;
use crate::support::until::until;
use rstest::rstest;
use serde_json::json;

/// Every file of the second revision replaces one of the first, or is new, or is gone.
const FIRST: &str = "for i in $(seq 20); do head -c 40000 /dev/urandom >file-$i; done; echo stays >stays; echo goes >goes";
const SECOND: &str = "for i in $(seq 20); do head -c 40000 /dev/urandom >file-$i; done; rm goes; head -c 40000 /dev/urandom >new";

#[rstest]
#[tokio::test]
async fn a_push_that_dies_leaves_the_last_revision_whole(#[values("Files", "Packs")] layout: &str) {
    site("dying-push", async |site| {
        let claim = crate::support::volume::Claim { name: "data", class: None, image: None };
        site.claim(&claim);
        let source = site.hand("data").await;
        source.run(FIRST);
        let before = source.listing();
        let push = site.source("push", "data", laid_out(layout));
        let first = push.synced("first").await;
        let objects = s3::list(&site.path);

        // At this speed the second push takes half a minute. It is killed when some of its data is there; of layout Packs, where all of it is one
        // object, when it has claimed the path.
        source.run(SECOND);
        site.slow_down(30_000);
        push.patch(json!({ "trigger": { "manual": "second" } })).await;
        let mover = site.mover().await;
        until("some new data is on the remote", SYNC, async || {
            let now = s3::list(&site.path);
            let new: Vec<_> = now.iter().filter(|object| !objects.contains(object)).collect();
            let (claims, data): (Vec<_>, Vec<_>) = new.into_iter().partition(|object| *object == ".scribe/claim.json");
            if data.len() >= 3 || layout == "Packs" && claims.len() == 1 { Ok(()) } else { Err(now) }
        })
        .await;
        // No second attempt until the destination has looked.
        push.patch(json!({ "paused": true })).await;
        mover.kill();
        let failed = push.until("the agent knows", SYNC, |s| s.last_error.is_some()).await;
        assert_eq!(failed.last_error.as_ref().unwrap().reason, "MoverKilled", "{failed:#?}");
        assert_eq!(failed.revision, first.revision);
        site.speed_up();

        let pull = site.destination("late", json!({ "rclone": { "copyMethod": "Direct" } }));
        let pulled = pull.synced("first").await;
        assert_eq!(pulled.revision, first.revision);
        site.listing_of_claim("scribe-dest-late").await.assert_is(&before);

        // The next attempt finishes what the dead one began.
        push.patch(json!({ "paused": false })).await;
        let second = push.synced("second").await;
        assert_ne!(second.revision, first.revision);
        assert_eq!(pull.sync("second").await.revision, second.revision);
        site.listing_of_claim("scribe-dest-late").await.assert_is(&source.listing());
        let left: Vec<_> = s3::list(&site.path).into_iter().filter(|o| o.starts_with(".scribe/staged") || o.contains(".partial")).collect();
        assert_eq!(left, Vec::<String>::new());
    })
    .await;
}

/// A pull that dies leaves what it has not finished out of the live tree; the next one is right.
#[rstest]
#[tokio::test]
async fn a_pull_that_dies_is_made_good(#[values("Files", "Packs")] layout: &str) {
    site("dying-pull", async |site| {
        let source = site.filled("data").await;
        source.run(FIRST);
        site.source("push", "data", json!({ "rclone": { "copyMethod": "Direct", "layout": layout } })).synced("first").await;
        site.slow_down(60_000);
        let pull = site.destination("pull", json!({ "rclone": { "copyMethod": "Direct" } }));
        site.mover().await.kill();
        pull.until("the agent knows", SYNC, |s| s.last_error.as_ref().is_some_and(|error| error.reason == "MoverKilled")).await;
        site.speed_up();
        pull.synced("first").await;
        site.listing_of_claim("scribe-dest-pull").await.assert_is(&source.listing());
    })
    .await;
}
