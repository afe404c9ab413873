//! A path belongs to the object that pushed to it first.

use crate::support::replication::{SYNC, is};
use crate::support::s3;
use crate::support::site::site;
use serde_json::json;

/// The second owner stops before it has changed anything, and says whose the path is.
#[tokio::test]
async fn a_path_of_another_source_is_left_alone() {
    site("owner", async |site| {
        let _source = site.filled("data").await;
        let push = site.source("push", "data", json!({}));
        push.synced("first").await;
        let (objects, commit) = (s3::list(&site.path), s3::read(&format!("{}/.scribe/commit.json", site.path)));

        let other = site.filled("other").await;
        other.run("echo other >plain; echo more >more");
        let intruder = site.source("intruder", "other", json!({}));
        let status = intruder.until("it stops", SYNC, |s| is(s, "Stalled", "True", "PathNotOurs")).await;
        let message = &status.last_error.as_ref().unwrap().message;
        let owner = format!("{}/push", site.namespace);
        assert!(message.contains(&owner) && message.contains("adopt-path"), "{message}");
        assert_eq!(s3::list(&site.path), objects);
        assert_eq!(s3::read(&format!("{}/.scribe/commit.json", site.path)), commit);
        push.sync("second").await;
    })
    .await;
}

/// Files that nobody owns are not taken over either, unless the user says so, naming the path.
#[tokio::test]
async fn files_of_no_known_owner_are_left_alone_until_adopted() {
    site("foreign", async |site| {
        let foreign = format!("{}/foreign/file", site.path);
        s3::touch(&foreign);
        let source = site.filled("data").await;
        let push = site.source("push", "data", json!({}));
        let status = push.until("it stops", SYNC, |s| is(s, "Stalled", "True", "PathNotOurs")).await;
        assert!(status.last_error.as_ref().unwrap().message.contains("adopt-path"), "{status:#?}");
        assert_eq!(s3::list(&site.path), ["foreign/file"]);

        push.patch_object(json!({ "metadata": { "annotations": { "scribe.backube/adopt-path": site.path } } })).await;
        push.synced("first").await;
        site.destination("pull", json!({ "rclone": { "copyMethod": "Direct" } })).synced("first").await;
        site.listing_of_claim("scribe-dest-pull").await.assert_is(&source.listing());
    })
    .await;
}

/// Nothing of the source is on the remote but its files under their own names, and the agent's folder.
#[tokio::test]
async fn any_user_of_rclone_can_read_the_files() {
    site("readable", async |site| {
        let source = site.filled("data").await;
        site.source("push", "data", json!({})).synced("first").await;
        let files = source.run("find . -type f ! -name '*‛*' | sort | sed 's|^./||'");
        let objects = s3::list(&site.path);
        for file in files.lines() {
            assert!(objects.iter().any(|object| object == file), "{file} is not in {objects:#?}");
        }
        assert_eq!(s3::read(&format!("{}/plain", site.path)), "one\n");
    })
    .await;
}
