//! Images that somebody needs or wants are not deleted.

use crate::support::replication::image_of;
use crate::support::site::site;
use crate::support::until::until;
use crate::support::volume::{Claim, SECOND_TREE};
use rstest::rstest;
use serde_json::json;

/// Between the making of a PVC from an image and its binding lies any amount of time; meanwhile the image has to stay.
#[tokio::test]
async fn an_image_stays_while_a_claim_made_from_it_is_unbound() {
    site("unbound", async |site| {
        let (source, push, pull, first) = site.replicated(json!({}), json!({})).await;
        let before = source.listing();
        // Bound only when a pod wants it, and none does yet.
        site.claim(&Claim { name: "restored", class: Some("csi-btrfs-late"), image: Some(&first) });

        source.run(SECOND_TREE);
        push.sync("second").await;
        let second = image_of(&pull.sync("second").await);
        assert_ne!(first, second);
        // One sync more, so that the agent has looked at the old image again after publishing the new one.
        assert_eq!(image_of(&pull.sync("third").await), second);
        let (old, new) = (format!("VolumeSnapshot/{first}"), format!("VolumeSnapshot/{second}"));
        site.only_children(&["PersistentVolumeClaim/scribe-dest-pull", &old, &new]).await;

        site.listing_of_claim("restored").await.assert_is(&before);
        site.only_children(&["PersistentVolumeClaim/scribe-dest-pull", &new]).await;
    })
    .await;
}

/// An image with the label is let go: it outlives its successor, and even the object that it was made for.
#[tokio::test]
async fn an_image_that_a_user_wants_to_keep_is_let_go() {
    site("kept", async |site| {
        let (source, push, pull, first) = site.replicated(json!({}), json!({})).await;
        let before = source.listing();
        site.kubectl(&["label", "volumesnapshot", &first, "scribe.backube/do-not-delete=yes"]);

        let images = site.api("snapshot.storage.k8s.io", "v1", "VolumeSnapshot");
        until("the image is let go", 30, async || {
            let image = images.get(&first).await.unwrap();
            if image.metadata.owner_references.is_none() { Ok(()) } else { Err(image.metadata) }
        })
        .await;
        source.run(SECOND_TREE);
        push.sync("second").await;
        let second = image_of(&pull.sync("second").await);
        site.only_children(&["PersistentVolumeClaim/scribe-dest-pull", &format!("VolumeSnapshot/{second}")]).await;

        pull.delete().await;
        site.only_children(&[]).await;
        site.listing_of_image(&first).await.assert_is(&before);
    })
    .await;
}

/// The newest images are kept, in the order in which they were published, and the status lists them.
#[rstest]
#[tokio::test]
async fn as_many_images_are_kept_as_are_wanted(#[values("Files", "Packs")] layout: &str) {
    site("retain", async |site| {
        let (source, push, pull, first) =
            site.replicated(json!({ "rclone": { "copyMethod": "Direct", "layout": layout } }), json!({ "rclone": { "retain": 2 } })).await;
        let mut images = vec![first];
        for round in ["second", "third"] {
            source.run(&format!("echo {round} >plain"));
            push.sync(round).await;
            images.push(image_of(&pull.sync(round).await));
        }
        let (old, kept) = images.split_first().unwrap();
        let listed: Vec<_> = pull.status().await.images.into_iter().map(|image| image.name).collect();
        assert!(!listed.contains(old) && kept.iter().all(|image| listed.contains(image)), "{listed:?} of {images:?}");
        let kept: Vec<_> = kept.iter().map(|image| format!("VolumeSnapshot/{image}")).collect();
        site.only_children(&["PersistentVolumeClaim/scribe-dest-pull", &kept[0], &kept[1]]).await;

        // One that a person deletes is not listed any more, and the latest is made again.
        site.kubectl(&["delete", "volumesnapshot", images.last().unwrap()]);
        let again = image_of(&pull.sync("fourth").await);
        assert!(!images.contains(&again));
        site.listing_of_image(&again).await.assert_is(&source.listing());
    })
    .await;
}
