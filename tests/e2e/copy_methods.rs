//! Every copy method on both sides moves the same data, and makes exactly the children that it promises.

use crate::support::replication::image_of;
use crate::support::site::site;
use crate::support::volume::Claim;
use rstest::rstest;
use serde_json::json;

/// What the temporary PVC of a source is made from.
#[rstest]
#[case::by_snapshot("Snapshot", Some("VolumeSnapshot"))]
#[case::by_clone("Clone", Some("PersistentVolumeClaim"))]
#[case::in_place("Direct", None)]
#[case::in_place_by_another_word("None", None)]
#[tokio::test]
async fn a_source_is_captured(#[case] method: &str, #[case] origin: Option<&str>) {
    site("capture", async |site| {
        let source = site.filled("data").await;
        let history = site.history().await;
        let push = site.source("push", "data", json!({ "rclone": { "copyMethod": method } }));
        let status = push.synced("first").await;
        site.only_children(&[]).await;

        let made = |kind: &str| history.made(kind);
        let temporary: &[&str] = if origin.is_some() { &["scribe-src-push"] } else { &[] };
        assert_eq!(made("PersistentVolumeClaim"), temporary);
        assert_eq!(made("VolumeSnapshot"), if method == "Snapshot" { temporary } else { &[] });
        assert_eq!(made("Job"), ["scribe-rclone-src-push"]);
        let claims = history.all("PersistentVolumeClaim");
        let claim = claims.iter().find(|seen| seen.made("PersistentVolumeClaim", "scribe-src-push"));
        assert_eq!(claim.and_then(|seen| seen.object.data["spec"]["dataSource"]["kind"].as_str()), origin);
        let job = &history.all("Job")[0].object;
        let pod = &job.data["spec"]["template"]["spec"];
        assert_eq!(pod["volumes"][0]["persistentVolumeClaim"]["claimName"], if origin.is_some() { "scribe-src-push" } else { "data" });
        assert_eq!(pod["containers"][0]["volumeMounts"][0]["readOnly"], true, "a push never writes to the volume");

        let pull = site.destination("pull", json!({ "rclone": { "copyMethod": "Direct" } }));
        let pulled = pull.synced("first").await;
        assert_eq!((&pulled.revision, pulled.files, pulled.bytes), (&status.revision, status.files, status.bytes));
        site.listing_of_claim("scribe-dest-pull").await.assert_is(&source.listing());
    })
    .await;
}

/// What stands for the last good copy of a destination that has a volume of its own.
#[rstest]
#[case::as_a_snapshot("Snapshot")]
#[case::as_the_claim("Direct")]
#[case::as_the_claim_by_another_word("None")]
#[tokio::test]
async fn a_destination_is_kept(#[case] method: &str) {
    site("keep", async |site| {
        let source = site.filled("data").await;
        site.source("push", "data", json!({ "rclone": { "copyMethod": "Direct" } })).synced("first").await;
        let status = site.destination("pull", json!({ "rclone": { "copyMethod": method } })).synced("first").await;

        let (image, name) = (status.latest_image.as_ref().unwrap(), image_of(&status));
        if method == "Snapshot" {
            assert_eq!((image.api_group.as_str(), image.kind.as_str()), ("snapshot.storage.k8s.io", "VolumeSnapshot"));
            site.listing_of_image(&name).await.assert_is(&source.listing());
            site.only_children(&["PersistentVolumeClaim/scribe-dest-pull", &format!("VolumeSnapshot/{name}")]).await;
        } else {
            assert_eq!((image.api_group.as_str(), image.kind.as_str(), name.as_str()), ("", "PersistentVolumeClaim", "scribe-dest-pull"));
            site.listing_of_claim(&name).await.assert_is(&source.listing());
            site.only_children(&["PersistentVolumeClaim/scribe-dest-pull"]).await;
        }
    })
    .await;
}

/// A claim of the user's is pulled into, becomes like the source, and is never the agent's own.
#[rstest]
#[case::as_a_snapshot("Snapshot")]
#[case::as_the_claim("Direct")]
#[tokio::test]
async fn a_users_claim_is_pulled_into(#[case] method: &str) {
    site("existing", async |site| {
        let source = site.filled("data").await;
        site.source("push", "data", json!({ "rclone": { "copyMethod": "Direct" } })).synced("first").await;
        site.claim(&Claim { name: "theirs", class: None, image: None });
        let theirs = site.hand("theirs").await;
        theirs.run("echo old >plain; mkdir -p own/folder; echo mine >own/folder/file");

        let pull = site.destination("pull", json!({ "rclone": { "copyMethod": method, "destinationPVC": "theirs", "capacity": null } }));
        let status = pull.synced("first").await;
        theirs.listing().assert_is(&source.listing());
        let image = image_of(&status);
        if method == "Snapshot" {
            site.listing_of_image(&image).await.assert_is(&source.listing());
            site.only_children(&[&format!("VolumeSnapshot/{image}")]).await;
        } else {
            assert_eq!(image, "theirs");
            site.only_children(&[]).await;
        }
    })
    .await;
}
