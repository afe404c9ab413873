//! What a source leaves out stays where it is, and a pattern that cannot be meant is told.

use crate::support::replication::{SYNC, image_of, is};
use crate::support::s3;
use crate::support::site::site;
use crate::support::volume::Claim;
use serde_json::json;

#[tokio::test]
async fn what_is_left_out_stays_at_the_source() {
    site("exclude", async |site| {
        site.claim(&Claim { name: "data", class: None, image: None });
        let data = site.hand("data").await;
        data.run("mkdir cache deep; echo a >kept; echo b >cache/b; echo c >deep/c.tmp; echo d >keep.tmp; echo e >-e");
        let push = site.source("push", "data", json!({ "rclone": { "exclude": ["*.tmp", "!keep.tmp", "/cache/", "-$(HOSTNAME)", "-e"] } }));
        push.synced("first").await;
        let pull = site.destination("pull", json!({}));
        pull.synced("first").await;
        let objects: Vec<_> = s3::list(&site.path).into_iter().filter(|object| !object.starts_with(".scribe/")).collect();
        assert_eq!(objects, ["keep.tmp", "kept"]);

        // Without what was left out, the source is what the destination has.
        data.run("rm -r cache deep/c.tmp ./-e; echo more >>kept");
        push.sync("second").await;
        let image = image_of(&pull.sync("second").await);
        site.listing_of_image(&image).await.assert_is(&data.listing());

        push.patch(json!({ "rclone": { "exclude": ["[a"] } })).await;
        let stopped = push.until("the pattern is refused", SYNC, |s| is(s, "Stalled", "True", "InvalidSpec")).await;
        let message = stopped.message.unwrap_or_default();
        assert!(message.contains("spec.rclone.exclude: pattern \"[a\""), "{message}");
        push.patch(json!({ "rclone": { "exclude": null } })).await;
        push.sync("third").await;
    })
    .await;
}
