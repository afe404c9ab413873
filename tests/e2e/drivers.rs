//! Drivers and storage classes that behave differently: the data arrives through all of them.

use crate::support::replication::image_of;
use crate::support::site::site;
use crate::support::volume::{Claim, FIRST_TREE, Listing, SECOND_TREE};
use rstest::rstest;
use serde_json::json;

/// Two syncs through snapshots on both sides. `csi-btrfs-late` gives a volume only to a pod that wants it: whoever waits
/// for the claim before making the pod waits for ever. `csi-hostpath` copies, with new inodes and times cut to the second.
#[rstest]
#[case::that_binds_at_first_use("csi-btrfs-late", false)]
#[case::that_copies("csi-hostpath", true)]
#[tokio::test]
async fn a_class_works_on_both_sides(#[case] class: &str, #[case] cuts_times: bool) {
    site("class", async |site| {
        site.claim(&Claim { name: "data", class: Some(class), image: None });
        let source = site.hand("data").await;
        let comparable = |listing: Listing| if cuts_times { listing.whole_seconds() } else { listing };
        source.run(FIRST_TREE);
        let push = site.source("push", "data", json!({}));
        push.synced("first").await;
        let pull = site.destination("pull", json!({ "rclone": { "storageClassName": class } }));
        pull.synced("first").await;

        source.run(SECOND_TREE);
        push.sync("second").await;
        let status = pull.sync("second").await;
        let image = image_of(&status);
        let copy = format!("copy-{}", crate::support::namespace::random());
        site.claim(&Claim { name: &copy, class: Some(class), image: Some(&image) });
        comparable(site.listing_of_claim(&copy).await).assert_is(&comparable(source.listing()));
        site.only_children(&["PersistentVolumeClaim/scribe-dest-pull", &format!("VolumeSnapshot/{image}")]).await;
    })
    .await;
}

/// From a driver of one kind to one of another: nothing of the source's driver is needed at the destination.
#[tokio::test]
async fn the_two_sides_need_not_agree() {
    site("across", async |site| {
        let source = site.filled("data").await;
        site.source("push", "data", json!({})).synced("first").await;
        let pull = site.destination("pull", json!({ "rclone": { "storageClassName": "csi-hostpath", "copyMethod": "Direct" } }));
        pull.synced("first").await;
        site.listing_of_claim("scribe-dest-pull").await.assert_is(&source.listing());
    })
    .await;
}
