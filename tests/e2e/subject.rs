//! A spec that names other data than were synced last.

use crate::support::history::{Change, Seen};
use crate::support::replication::{SYNC, image_of, is, status_of};
use crate::support::s3;
use crate::support::site::{Site, site};
use crate::support::volume::SECOND_TREE;
use kube::ResourceExt;
use serde_json::json;

/// Where another source pushes.
fn other(site: &Site) -> String {
    format!("{}/other", site.namespace)
}

fn at(path: &str) -> serde_json::Value {
    json!({ "rclone": { "rcloneDestPath": path } })
}

/// No slot and no tag: the edit alone makes a sync due, on both sides.
#[tokio::test]
async fn a_path_edited_while_idle_is_synced_at_once() {
    site("edited", async |site| {
        let source = site.filled("data").await;
        let trigger = json!({ "trigger": { "schedule": "@yearly" } });
        let push = site.source("push", "data", trigger.clone());
        push.synced("first").await;
        let pull = site.destination("pull", trigger);
        let first = image_of(&pull.synced("first").await);

        source.run(SECOND_TREE);
        let (path, remote) = (other(site), format!("{}:{}", s3::SECTION, other(site)));
        let moved = |status: &scribe_agent::api::Status| status.synced.as_ref().is_some_and(|synced| synced.remote == remote);
        push.patch(at(&path)).await;
        let pushed = push.until("the new path is pushed to", SYNC, moved).await;
        assert!(is(&pushed, "Ready", "True", "Synced"), "{pushed:#?}");
        assert!(s3::list(&path).iter().any(|object| object == ".scribe/commit.json"));

        pull.patch(at(&path)).await;
        let pulled = pull.until("the new path is pulled", SYNC, moved).await;
        let second = image_of(&pulled);
        assert_ne!(first, second);
        assert_eq!(pulled.revision, pushed.revision);
        assert_eq!(pulled.images[0].revision, pushed.revision);
        site.listing_of_image(&second).await.assert_is(&source.listing());
    })
    .await;
}

/// The pull from the path of before ends, and nothing comes of it: the image that is published is of the path that the spec names.
#[tokio::test]
async fn an_image_is_of_the_path_that_the_spec_names() {
    site("overtaken", async |site| {
        let old = site.filled("data").await;
        old.run("head -c 3000000 /dev/urandom >large");
        let before = site.source("before", "data", json!({})).synced("first").await;
        let new = site.filled("other").await;
        new.run(SECOND_TREE);
        let path = other(site);
        let after = site.source("after", "other", at(&path)).synced("first").await;

        let mut history = site.history().await;
        site.slow_down(300_000);
        let pull = site.destination("pull", json!({}));
        let mover = |seen: &Seen| seen.kind == "Pod" && seen.object.data["status"]["phase"] == "Running" && seen.ours();
        history.until("the pull from the old path runs", SYNC, mover).await;
        pull.patch(at(&path)).await;
        site.speed_up();

        let pulled = pull.synced("first").await;
        assert_eq!(pulled.revision, after.revision);
        site.listing_of_image(&image_of(&pulled)).await.assert_is(&new.listing());
        let published = history.all("ReplicationDestination").into_iter().flat_map(|seen| status_of(&seen.object).images);
        let revisions: Vec<_> = published.map(|image| image.revision).collect();
        assert!(!revisions.is_empty() && revisions.iter().all(|revision| *revision != before.revision), "{revisions:?}");
        // Two movers: one of each path, the first of which was let to its end.
        let jobs = history.all("Job").into_iter().filter(|seen| seen.change == Change::Made);
        let subjects: Vec<_> = jobs.map(|seen| seen.object.annotations()["scribe.backube/subject"].clone()).collect();
        assert_eq!(subjects.len(), 2, "{subjects:?}");
        assert!(subjects[0].contains(&site.path) && subjects[1].contains(&path), "{subjects:?}");
        site.only_children(&["PersistentVolumeClaim/scribe-dest-pull", &format!("VolumeSnapshot/{}", image_of(&pulled))]).await;
    })
    .await;
}

/// A push that an edit overtakes is finished where it began, and the one to the new path follows by itself.
#[tokio::test]
async fn a_push_to_the_new_path_follows_by_itself() {
    site("follows", async |site| {
        let source = site.filled("data").await;
        source.run("head -c 3000000 /dev/urandom >large");
        let mut history = site.history().await;
        site.slow_down(300_000);
        let push = site.source("push", "data", json!({}));
        let mover = |seen: &Seen| seen.kind == "Pod" && seen.object.data["status"]["phase"] == "Running" && seen.ours();
        history.until("the push to the old path runs", SYNC, mover).await;
        let path = other(site);
        push.patch(at(&path)).await;
        site.speed_up();

        let remotes = [&site.path, &path].map(|path| format!("{}:{path}", s3::SECTION));
        let of = |remote: &String| {
            let remote = remote.clone();
            move |status: &scribe_agent::api::Status| status.synced.as_ref().is_some_and(|synced| synced.remote == remote)
        };
        push.until("the new path is pushed to", SYNC, of(&remotes[1])).await;
        let synced = history.all("ReplicationSource").into_iter().filter_map(|seen| status_of(&seen.object).synced);
        let mut synced: Vec<_> = synced.map(|synced| synced.remote).collect();
        synced.dedup();
        assert_eq!(synced, remotes);
        let pull = site.destination("pull", json!({ "rclone": { "copyMethod": "Direct", "rcloneDestPath": path } }));
        pull.synced("first").await;
        site.listing_of_claim("scribe-dest-pull").await.assert_is(&source.listing());
    })
    .await;
}

/// A new value of the annotation is a push of its own, which lists and repairs.
#[tokio::test]
async fn a_verification_that_is_asked_for_repairs_at_once() {
    site("verify", async |site| {
        let _source = site.filled("data").await;
        let push = site.source("push", "data", json!({}));
        push.synced("first").await;
        let before = s3::list(&site.path);
        s3::remove_one(&format!("{}/plain", site.path));
        assert_ne!(s3::list(&site.path), before);
        push.patch_object(json!({ "metadata": { "annotations": { "scribe.backube/verify-now": "now" } } })).await;
        push.until("the verification is done", SYNC, |s| s.last_handled_verify_now.as_deref() == Some("now")).await;
        assert_eq!(s3::list(&site.path), before);
    })
    .await;
}
