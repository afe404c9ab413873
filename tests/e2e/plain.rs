//! A path that no source of ours wrote: pulled as it is, if the user says that it is plain, and told otherwise.

use crate::support::replication::{SYNC, image_of, is};
use crate::support::s3;
use crate::support::site::site;
use serde_json::json;

#[tokio::test]
async fn what_others_wrote_is_pulled_as_plain_files() {
    site("plain", async |site| {
        s3::touch(&format!("{}/empty", site.path));
        s3::copy("/etc/rclone/rclone.conf", &format!("{}/deep/rclone.conf", site.path));
        let pull = site.destination("pull", json!({}));
        let told = pull.until("it says whose it is", SYNC, |s| is(s, "Stalled", "True", "PathNotOurs")).await;
        assert!(told.last_error.unwrap().message.contains("layout: Plain"));

        pull.patch(json!({ "rclone": { "layout": "Plain" } })).await;
        let image = image_of(&pull.synced("first").await);
        site.claim(&crate::support::volume::Claim { name: "look", class: None, image: Some(&image) });
        let hand = site.hand("look").await;
        assert_eq!(hand.run("find . -type f | sort").trim(), "./deep/rclone.conf\n./empty");
        assert_eq!(hand.run("cat deep/rclone.conf").trim(), s3::read(&format!("{}/deep/rclone.conf", site.path)).trim());

        // Nothing has changed: no other image.
        assert_eq!(image_of(&pull.sync("second").await), image);
    })
    .await;
}
