//! Names: the same on both sides, and as long as people make them.

use crate::support::replication::image_of;
use crate::support::site::site;
use kube::ResourceExt;
use serde_json::json;

/// A source and a destination of one name, at work at the same time, have nothing in common but the name.
#[tokio::test]
async fn a_source_and_a_destination_may_have_one_name() {
    site("twins", async |site| {
        let source = site.filled("data").await;
        let push = site.source("twin", "data", json!({}));
        push.synced("first").await;
        let history = site.history().await;
        let pull = site.destination("twin", json!({}));
        push.patch(json!({ "trigger": { "manual": "second" } })).await;
        push.synced("second").await;
        let image = image_of(&pull.synced("first").await);

        let jobs = history.made("Job");
        for job in ["scribe-rclone-src-twin", "scribe-rclone-dest-twin"] {
            assert!(jobs.iter().any(|name| name == job), "{jobs:?}");
        }
        site.listing_of_image(&image).await.assert_is(&source.listing());
        site.only_children(&["PersistentVolumeClaim/scribe-dest-twin", &format!("VolumeSnapshot/{image}")]).await;
    })
    .await;
}

/// Two hundred characters, of which the first hundred and ninety-nine are alike: cut names must not collide.
#[tokio::test]
async fn names_may_be_long() {
    site("long", async |site| {
        let source = site.filled("data").await;
        let long = |last: &str| format!("{}.{}{last}", "a".repeat(100), "b".repeat(98));
        let push = site.source(&long("1"), "data", json!({}));
        push.synced("first").await;
        let pulls = [site.destination(&long("1"), json!({})), site.destination(&long("2"), json!({}))];
        for pull in &pulls {
            assert_eq!(pull.object().await.name_any().len(), 200);
            let image = image_of(&pull.synced("first").await);
            site.listing_of_image(&image).await.assert_is(&source.listing());
        }
        let children = site.children().await;
        assert_eq!(children.len(), 4, "a PVC and an image for each: {children:#?}");
        assert!(!push.events().await.is_empty(), "no event about an object of such a name");
    })
    .await;
}
