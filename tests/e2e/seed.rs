//! The document's two manifests, applied as they stand (but for the access mode, which is one that the driver has), do what the document says.

use crate::support::cluster;
use crate::support::history::Change;
use crate::support::namespace::{gone, removed_afterwards};
use crate::support::replication::{SYNC, condition, image_of, is, merged};
use crate::support::s3;
use crate::support::seeds;
use crate::support::site::{SETTINGS, Site};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use kube::ResourceExt;
use scribe_agent::api::Status;
use serde_json::{Value, json};

#[tokio::test]
async fn the_document_is_right() {
    let client = cluster::client().await;
    s3::server(&client).await;
    s3::remove("scribe-test-bucket");
    gone(&client, &["source", "dest"]).await;
    removed_afterwards(&client, &["source", "dest"], async || {
        let source = Site::new(&client, "source", SETTINGS).await;
        let dest = Site::new(&client, "dest", SETTINGS).await;
        let data = source.filled("mysql-pv-claim").await;
        push(&source).await;
        let image = pull(&dest).await;
        dest.listing_of_image(&image).await.assert_is(&data.listing());
        pull_without_image(&dest).await;
    })
    .await;
}

async fn push(site: &Site) {
    let mut history = site.history().await;
    cluster::apply(&manifest(seeds::SOURCE));
    let push = site.existing("ReplicationSource", "database-source");
    history.until("the temporary PVC is made", SYNC, |seen| seen.made("PersistentVolumeClaim", "scribe-src-database-source")).await;
    let status = push.until("the first sync is complete", SYNC, |s| s.last_sync_time.is_some()).await;
    site.only_children(&[]).await;
    let gone = |seen: &crate::support::history::Seen| seen.change == Change::Gone && seen.object.name_any() == "scribe-src-database-source";
    assert!(history.all("PersistentVolumeClaim").iter().any(gone), "the temporary PVC is not gone after the sync");

    // Slots of `*/6 * * * *` are the multiples of six minutes, here in UTC.
    // One may have come while the sync ran: counted from its start.
    let (next, last) = (status.next_sync_time.as_ref().unwrap().0, status.last_sync_start_time.as_ref().unwrap().0);
    let slot = next.to_zoned(TimeZone::UTC);
    assert_eq!((slot.minute() % 6, slot.second()), (0, 0), "{slot}");
    assert!(next > last && next.duration_since(last).as_mins() < 6, "{last} → {next}");
    reconciled(&status);
    assert!(status.latest_image.is_none());
}

async fn pull(site: &Site) -> String {
    let started = Timestamp::now();
    cluster::apply(&merged(manifest(seeds::DESTINATION), json!({ "spec": { "rclone": { "accessModes": ["ReadWriteOnce"] } } })));
    let pull = site.existing("ReplicationDestination", "database-destination");
    let status = pull.until("the first sync is complete", SYNC, |s| s.last_sync_time.is_some()).await;
    reconciled(&status);

    let image = status.latest_image.clone().unwrap();
    assert_eq!((image.api_group.as_str(), image.kind.as_str()), ("snapshot.storage.k8s.io", "VolumeSnapshot"));
    let stamp = image.name.strip_prefix("scribe-dest-database-destination-").unwrap_or_else(|| panic!("{}", image.name));
    let time =
        jiff::fmt::strtime::parse("%Y%m%d%H%M%S", stamp).unwrap().to_datetime().unwrap().to_zoned(TimeZone::UTC).unwrap().timestamp();
    let ended = status.last_sync_time.as_ref().unwrap().0;
    assert!(time.as_second() >= started.as_second() && time <= ended, "{stamp} is not between {started} and {ended}");
    let snapshot = site.api("snapshot.storage.k8s.io", "v1", "VolumeSnapshot").get(&image.name).await.unwrap();
    assert_eq!(snapshot.data["status"]["readyToUse"], true);
    assert_eq!(snapshot.data["spec"]["source"]["persistentVolumeClaimName"], "scribe-dest-database-destination");
    image.name
}

/// "If the copyMethod is None, this will be the PVC that is used as the destination."
async fn pull_without_image(site: &Site) {
    let change = json!({
        "metadata": { "name": "without-image" },
        "spec": { "rclone": { "accessModes": ["ReadWriteOnce"], "copyMethod": "None" } },
    });
    cluster::apply(&merged(manifest(seeds::DESTINATION), change));
    let pull = site.existing("ReplicationDestination", "without-image");
    let status = pull.until("the first sync is complete", SYNC, |s| s.last_sync_time.is_some()).await;
    assert_eq!(status.latest_image.as_ref().unwrap().kind, "PersistentVolumeClaim");
    assert_eq!(image_of(&status), "scribe-dest-without-image");
}

fn manifest(text: &str) -> Value {
    serde_saphyr::from_str(text).unwrap()
}

/// The condition of the document, word by word, and a duration as Go writes it.
fn reconciled(status: &Status) {
    assert!(is(status, "Reconciled", "True", "ReconcileComplete"), "{status:#?}");
    assert_eq!(condition(status, "Reconciled").message, "Reconcile complete");
    let duration = status.last_sync_duration.as_deref().unwrap();
    let seconds =
        duration.rsplit_once('m').map_or(duration, |(_, seconds)| seconds).strip_suffix('s').unwrap_or_else(|| panic!("{duration}"));
    assert!(seconds.parse::<f64>().is_ok_and(|s| s > 0.0 && s < 60.0), "{duration}");
}
