//! `retention` of a destination: the images that its rules keep are there and listed, and one that a user keeps stays besides.

use crate::support::replication::image_of;
use crate::support::site::site;
use crate::support::until::until;
use kube::ResourceExt;
use kube::api::ListParams;
use serde_json::json;
use std::collections::BTreeSet;

/// Five syncs within an hour or two: `hourly` keeps none that `last` does not keep, unless an hour ends between them.
#[tokio::test]
async fn images_are_kept_as_the_rules_say() {
    site("retention", async |site| {
        let retention = json!({ "rclone": { "retention": { "last": 2, "hourly": 1, "maxAge": "90d" } } });
        let (source, push, pull, first) = site.replicated(json!({ "rclone": { "copyMethod": "Direct" } }), retention).await;
        let snapshots = site.api("snapshot.storage.k8s.io", "v1", "VolumeSnapshot");
        let mut images = vec![first.clone()];
        let mut listings = vec![source.listing()];
        for round in ["second", "third", "fourth", "fifth"] {
            if round == "third" {
                site.kubectl(&["label", "volumesnapshot", &first, "scribe.backube/do-not-delete=yes"]);
                until("the first image is let go", 30, async || {
                    let image = snapshots.get(&first).await.unwrap();
                    if image.metadata.owner_references.is_none() { Ok(()) } else { Err(image.metadata) }
                })
                .await;
            }
            source.run(&format!("echo {round} >plain"));
            push.sync(round).await;
            let status = pull.sync(round).await;
            images.push(image_of(&status));
            listings.push(source.listing());
            let listed: Vec<_> = status.images.iter().map(|image| image.name.clone()).collect();
            // The newest first, or last: what is listed are the last two.
            let newest: BTreeSet<_> = images.iter().rev().take(2).cloned().collect();
            assert_eq!(listed.iter().cloned().collect::<BTreeSet<_>>(), newest, "after the {round} of {images:?}");
            assert!(status.images.iter().all(|image| image.revision.is_some()));
        }
        let newest: Vec<_> = images.iter().rev().take(2).map(|image| format!("VolumeSnapshot/{image}")).collect();
        site.only_children(&["PersistentVolumeClaim/scribe-dest-pull", &newest[0], &newest[1]]).await;
        // All that is left in the cluster: these, and the one that was let go.
        until("the others are gone", 60, async || {
            let all = snapshots.list(&ListParams::default()).await.unwrap();
            let there: BTreeSet<_> = all.iter().map(ResourceExt::name_any).filter(|name| images.contains(name)).collect();
            let expected: BTreeSet<_> = [0, 3, 4].map(|number: usize| images[number].clone()).into();
            if there == expected { Ok(()) } else { Err(there) }
        })
        .await;
        for number in [0, 3] {
            site.listing_of_image(&images[number]).await.assert_is(&listings[number]);
        }

        // Fewer are wanted: the older one goes with the next sync at the latest, and the one that was let go stays.
        pull.patch(json!({ "rclone": { "retention": { "last": 1, "hourly": null } } })).await;
        site.only_children(&["PersistentVolumeClaim/scribe-dest-pull", &newest[0]]).await;
        assert_eq!(pull.status().await.images.len(), 1);
        assert!(snapshots.get_opt(&first).await.unwrap().is_some());
    })
    .await;
}
