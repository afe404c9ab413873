//! A sync that its user ends: its mover goes, nothing has failed, and what was committed is whole.

use crate::support::replication::SYNC;
use crate::support::s3;
use crate::support::site::site;
use crate::support::until::until;
use scribe_agent::api::Status;
use serde_json::json;

const FILES: &str = "for i in $(seq 20); do head -c 40000 /dev/urandom >file-$i; done; rm plain";
const FILE: i64 = 40_000;
const BYTES: i64 = 20 * FILE;

fn annotation(run: &str) -> serde_json::Value {
    json!({ "metadata": { "annotations": { "scribe.backube/abort": run } } })
}

#[tokio::test]
async fn a_push_is_aborted_and_the_next_one_goes_on() {
    site("aborted", async |site| {
        let source = site.filled("data").await;
        let push = site.source("push", "data", json!({}));
        let first = push.synced("first").await;
        site.only_children(&[]).await;
        let before = source.listing();

        source.run(FILES);
        let history = site.history().await;
        site.slow_down(30_000);
        push.patch(json!({ "trigger": { "manual": "second" } })).await;
        let there = until("some new data is on the remote", SYNC, async || {
            let there = s3::list(&site.path).iter().filter(|object| object.starts_with("file-")).count();
            if there >= 3 { Ok(i64::try_from(there).unwrap()) } else { Err(there) }
        })
        .await;
        let run = push.status().await.run.unwrap().id;
        push.patch_object(annotation(&run)).await;
        let aborted = push.until("it is aborted", SYNC, |s| s.last_handled_abort.is_some()).await;
        let recorded = aborted.aborted.clone().unwrap();
        assert_eq!(
            (recorded.run.as_str(), recorded.manual.as_deref(), aborted.last_handled_abort),
            (run.as_str(), Some("second"), Some(run.clone()))
        );
        assert_eq!((aborted.run, aborted.last_manual_sync.as_deref(), &aborted.revision), (None, Some("first"), &first.revision));
        site.only_children(&[]).await;
        site.speed_up();

        // Another value is acknowledged, and starts nothing; nor has anything started since.
        push.patch_object(annotation("another")).await;
        let still = push.until("it is acknowledged", SYNC, |s| s.last_handled_abort.as_deref() == Some("another")).await;
        assert_eq!((&still.run, still.attempts, &still.last_error, still.aborted.as_ref()), (&None, None, &None, Some(&recorded)));
        assert_eq!(history.made("Job").len(), 1);
        let reasons: Vec<_> = push.events().await.into_iter().filter_map(|event| event.reason).collect();
        let count = |reason: &str| reasons.iter().filter(|seen| *seen == reason).count();
        assert_eq!((count("SyncAborted"), count("AnnotationIgnored")), (1, 1), "{reasons:?}");

        let pull = site.destination("pull", json!({ "rclone": { "copyMethod": "Direct" } }));
        assert_eq!(pull.synced("first").await.revision, first.revision);
        site.listing_of_claim("scribe-dest-pull").await.assert_is(&before);

        let third = push.sync("third").await;
        let sent = third.transferred.unwrap();
        assert!(sent <= BYTES - there * FILE, "{sent} bytes were sent, although {there} files were there");
        assert_eq!(third.aborted, None);
        assert_eq!(pull.sync("second").await.revision, third.revision);
        site.listing_of_claim("scribe-dest-pull").await.assert_is(&source.listing());
    })
    .await;
}

/// A volume that was pulled into in part is compared as a whole by the next pull, and is not what is published until then.
#[tokio::test]
async fn a_pull_in_place_is_aborted_and_made_good() {
    site("aborted-pull", async |site| {
        let source = site.filled("data").await;
        source.run(FILES);
        site.source("push", "data", json!({})).synced("first").await;
        site.slow_down(60_000);
        let pull =
            site.destination("pull", json!({ "trigger": { "schedule": "@yearly", "manual": null }, "rclone": { "copyMethod": "Direct" } }));
        site.mover().await;
        let run = pull.status().await.run.unwrap().id;
        pull.patch_object(annotation(&run)).await;
        let aborted = pull.until("it is aborted", SYNC, |s: &Status| s.aborted.as_ref().is_some_and(|aborted| aborted.run == run)).await;
        assert!(aborted.volume_touched && aborted.run.is_none() && aborted.last_sync_time.is_none(), "{aborted:#?}");
        site.only_children(&["PersistentVolumeClaim/scribe-dest-pull"]).await;
        site.speed_up();
        pull.patch_object(json!({ "metadata": { "annotations": { "scribe.backube/sync-now": "now" } } })).await;
        let pulled = pull.until("it is synced", SYNC, |s| s.last_handled_sync_now.as_deref() == Some("now")).await;
        assert!(!pulled.volume_touched && pulled.attempts.is_none(), "{pulled:#?}");
        site.listing_of_claim("scribe-dest-pull").await.assert_is(&source.listing());
    })
    .await;
}
