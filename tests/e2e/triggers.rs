//! When syncs start, and when they do not.

use crate::support::replication::{SYNC, is};
use crate::support::site::site;
use crate::support::until::until;
use jiff::{SignedDuration, Timestamp};
use kube::ResourceExt;
use serde_json::json;

/// Whatever text a tag is, `lastManualSync` repeats it exactly, and a tag that comes back is a sync of its own.
#[tokio::test]
async fn a_tag_starts_one_sync_and_is_repeated_exactly() {
    site("tags", async |site| {
        let _source = site.filled("data").await;
        let history = site.history().await;
        let push = site.source("push", "data", json!({ "rclone": { "copyMethod": "Direct" } }));
        push.synced("first").await;
        let tags = [" a tag with \"quotes\", spaces,\n a line break and ümläuts ‛✓ ", "0", "first"];
        let mut ended = Vec::new();
        for tag in tags {
            let status = push.sync(tag).await;
            assert!(is(&status, "Synchronizing", "False", "WaitingForManual"), "{status:#?}");
            ended.push(status.last_sync_time.unwrap().0);
        }
        assert!(ended.is_sorted());
        site.only_children(&[]).await;
        assert_eq!(history.made("Job").len(), 1 + tags.len());
    })
    .await;
}

#[tokio::test]
async fn a_schedule_fires_in_its_minute() {
    site("schedule", async |site| {
        let _source = site.filled("data").await;
        let history = site.history().await;
        // So late in a minute its end would come before anybody has seen the waiting.
        until("the next slot is some seconds away", 15, async || {
            let second = Timestamp::now().as_second() % 60;
            if second < 50 { Ok(()) } else { Err(second) }
        })
        .await;
        let trigger = json!({ "schedule": "* * * * *", "manual": null, "runOnCreate": false });
        let push = site.source("push", "data", json!({ "rclone": { "copyMethod": "Direct" }, "trigger": trigger }));
        let waiting = push.until("it knows its slot", 30, |s| s.next_sync_time.is_some()).await;
        let slot = waiting.next_sync_time.as_ref().unwrap().0;
        assert_eq!(slot.as_second() % 60, 0, "{slot}");
        assert!(slot.duration_since(Timestamp::now()) <= SignedDuration::from_secs(60), "{slot}");
        assert!(is(&waiting, "Synchronizing", "False", "WaitingForSchedule"), "{waiting:#?}");
        assert_eq!(history.made("Job"), Vec::<String>::new());

        let synced = push.until("the slot's sync is complete", 60 + SYNC, |s| s.last_sync_time.is_some()).await;
        let late = synced.last_sync_start_time.as_ref().unwrap().0.duration_since(slot);
        assert!(late >= SignedDuration::ZERO && late < SignedDuration::from_secs(15), "started {late:?} after its slot {slot}");
        assert_eq!(synced.next_sync_time.as_ref().unwrap().0.as_second() % 60, 0);
    })
    .await;
}

/// Without a trigger the next sync starts by itself, the interval after the last one ended.
#[tokio::test]
async fn without_a_trigger_syncs_follow_one_another() {
    site("continuous", async |site| {
        let _source = site.filled("data").await;
        let push = site.source("push", "data", json!({ "rclone": { "copyMethod": "Direct" }, "trigger": null }));
        let first = push.until("the first sync is complete", SYNC, |s| s.last_sync_time.is_some()).await;
        let second = push.until("another follows", SYNC, |s| s.last_sync_time > first.last_sync_time).await;
        // Two seconds are the interval of the tests' agents.
        let pause = second.last_sync_start_time.unwrap().0.duration_since(first.last_sync_time.unwrap().0);
        assert!(pause >= SignedDuration::from_secs(1), "{pause:?}");
    })
    .await;
}

/// A paused object lets its slots and a tag pass, and makes nothing, not even a snapshot. Its neighbour, with the same
/// schedule, shows that the slots came.
#[tokio::test]
async fn a_paused_object_starts_nothing() {
    site("paused", async |site| {
        let _source = site.filled("data").await;
        let history = site.history().await;
        let trigger = json!({ "schedule": "@every 2s", "manual": "tag" });
        let paused = site.source("paused", "data", json!({ "paused": true, "trigger": trigger }));
        let path = format!("{}/neighbour", site.namespace);
        let direct = json!({ "copyMethod": "Direct", "rcloneDestPath": path });
        let neighbour = site.source("neighbour", "data", json!({ "trigger": { "schedule": "@every 2s" }, "rclone": direct }));

        let first = neighbour.until("the neighbour syncs", SYNC, |s| s.last_sync_time.is_some()).await;
        neighbour.until("and does so again", SYNC, |s| s.last_sync_time > first.last_sync_time).await;
        let status = paused.status().await;
        assert!(is(&status, "Synchronizing", "False", "Paused"), "{status:#?}");
        assert!(status.run.is_none() && status.last_sync_start_time.is_none(), "{status:#?}");
        let uid = paused.object().await.uid().unwrap();
        for kind in ["Job", "Pod", "PersistentVolumeClaim", "VolumeSnapshot"] {
            let made = history.all(kind).into_iter().find(|seen| seen.object.labels().get("scribe.backube/owner-uid") == Some(&uid));
            assert!(made.is_none(), "{made:#?}");
        }

        paused.patch(json!({ "paused": false })).await;
        paused.synced("tag").await;
    })
    .await;
}
