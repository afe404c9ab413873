//! What users write is accepted, the document's two manifests first of all.

use crate::objects::Kind::{Destination, Source};
use crate::objects::{Kind, changed, tried};
use crate::support::seeds;
use rstest::rstest;
use serde_json::{Value, json};

/// Nothing of what the document writes is dropped or changed on the way into the store. Only the namespace is another.
#[rstest]
#[case::source(Source, seeds::SOURCE)]
#[case::destination(Destination, seeds::DESTINATION)]
#[tokio::test]
async fn the_documents_manifest_is_stored_as_it_stands(#[case] kind: Kind, #[case] manifest: &str) {
    let mut object: Value = serde_saphyr::from_str(manifest).unwrap();
    object["metadata"]["namespace"] = json!(crate::objects::NAMESPACE);
    let stored = tried(kind, &object).await.unwrap();
    assert_eq!(stored.data["spec"], object["spec"]);
}

#[rstest]
#[case::cron_with_names_ranges_and_steps(json!({"schedule": "0,30 8-18/2 1 JAN-MAR mon-fri"}))]
#[case::a_word(json!({"schedule": "@hourly"}))]
#[case::another_word(json!({"schedule": "@midnight"}))]
#[case::a_period(json!({"schedule": "@every 90m"}))]
#[case::a_zone_beside_the_schedule(json!({"schedule": "0 3 * * *", "timeZone": "America/Argentina/Buenos_Aires"}))]
#[case::a_zone_with_a_sign(json!({"schedule": "0 3 * * *", "timeZone": "Etc/GMT+5"}))]
#[case::a_zone_within_the_schedule(json!({"schedule": "CRON_TZ=Europe/Berlin 0 3 * * *"}))]
#[case::the_short_form_of_it(json!({"schedule": "TZ=UTC @daily"}))]
#[case::a_tag_of_any_text(json!({"manual": "before the upgrade to 2.0: läuft?"}))]
#[case::a_tag_beside_a_schedule(json!({"manual": "now", "schedule": "0 3 * * *", "runOnCreate": false}))]
#[case::a_jitter(json!({"schedule": "@hourly", "jitterSeconds": 120}))]
#[case::nothing(json!({}))]
#[tokio::test]
async fn a_trigger_is_accepted(#[values(Source, Destination)] kind: Kind, #[case] trigger: Value) {
    tried(kind, &changed(kind, &json!({ "trigger": trigger }))).await.unwrap();
}

#[rstest]
#[case::a_section_with_a_space("rcloneConfigSection", json!("my remote"))]
#[case::a_path_of_one_part("rcloneDestPath", json!("bucket"))]
#[case::a_path_with_dots_in_names("rcloneDestPath", json!("bucket/.hidden/a..b/v1.0"))]
#[case::an_absolute_path("rcloneDestPath", json!("/srv/backup"))]
#[case::a_path_with_a_slash_at_its_end("rcloneDestPath", json!("bucket/database/"))]
#[case::a_path_beyond_ascii("rcloneDestPath", json!("bücket/日本 語"))]
#[case::a_guard_of_both_numbers("deletionGuard", json!({"percent": 50, "floor": 0}))]
#[case::a_guard_of_one_number("deletionGuard", json!({"floor": 1000}))]
#[case::a_size_in_powers_of_two("capacity", json!("1.5Ti"))]
#[case::a_size_in_bytes("capacity", json!("1073741824"))]
#[tokio::test]
async fn a_remote_is_accepted(#[values(Source, Destination)] kind: Kind, #[case] field: &str, #[case] value: Value) {
    tried(kind, &changed(kind, &json!({ "rclone": { field: value } }))).await.unwrap();
}

#[rstest]
#[case::copied_by_snapshot(Source, json!({"copyMethod": "Snapshot", "volumeSnapshotClassName": "c", "capacity": "1Gi", "storageClassName": "s"}))]
#[case::a_snapshot_class_without_a_method(Source, json!({"volumeSnapshotClassName": "c"}))]
#[case::a_read_only_copy(Source, json!({"accessModes": ["ReadOnlyMany"]}))]
#[case::copied_by_clone(Source, json!({"copyMethod": "Clone", "capacity": "1Gi", "accessModes": ["ReadWriteOncePod"]}))]
#[case::read_in_place(Source, json!({"copyMethod": "Direct"}))]
#[case::read_in_place_by_another_word(Source, json!({"copyMethod": "None"}))]
#[case::laid_out_in_packs(Source, json!({"layout": "Packs"}))]
#[case::revisions_by_number(Source, json!({"layout": "Packs", "retain": 3}))]
#[case::revisions_by_age(Source, json!({"layout": "Packs", "retention": {"last": 3, "hourly": 24, "daily": 7, "weekly": 4, "monthly": 6, "maxAge": "90d"}}))]
#[case::laid_out_in_files(Source, json!({"layout": "Files"}))]
#[case::pulled_from_packs(Destination, json!({"layout": "Packs"}))]
#[case::patterns(Source, json!({"exclude": ["*.tmp", "!keep.tmp", "/cache/", "a/**/b"]}))]
#[case::kept_as_a_snapshot(Destination, json!({"copyMethod": "Snapshot", "volumeSnapshotClassName": "c"}))]
#[case::kept_as_the_claim(Destination, json!({"copyMethod": "Direct"}))]
#[case::kept_as_the_claim_by_another_word(Destination, json!({"copyMethod": "None"}))]
#[case::three_images_and_no_claim(Destination, json!({"retain": 3, "cleanupTempPVC": true}))]
#[case::images_by_age(Destination, json!({"retention": {"last": 3, "hourly": 24, "daily": 7, "weekly": 4, "monthly": 6, "maxAge": "90d"}}))]
#[case::images_by_age_and_a_floor_for_older_agents(Destination, json!({"retain": 30, "retention": {"daily": 7}}))]
#[case::images_by_one_rule(Destination, json!({"retention": {"daily": 7}}))]
#[case::pinned_to_a_revision(Destination, json!({"pin": {"revision": "20261123T042858Z-1c9a77e0-17-5f2e"}}))]
#[case::pinned_to_a_time(Destination, json!({"layout": "Packs", "pin": {"asOf": "2026-11-23T06:00:00+01:00"}}))]
#[case::no_cleaning_up(Destination, json!({"copyMethod": "Direct", "cleanupTempPVC": false}))]
#[case::an_existing_claim_instead_of_a_size(Destination, json!({"destinationPVC": "claim", "capacity": null}))]
#[case::read_and_written_by_many(Destination, json!({"accessModes": ["ReadWriteMany", "ReadWriteOnce"], "storageClassName": "s"}))]
#[tokio::test]
async fn a_way_of_copying_is_accepted(#[case] kind: Kind, #[case] rclone: Value) {
    tried(kind, &changed(kind, &json!({ "rclone": rclone }))).await.unwrap();
}

#[rstest]
#[tokio::test]
async fn a_pause_is_accepted(#[values(Source, Destination)] kind: Kind, #[values(true, false)] paused: bool) {
    tried(kind, &changed(kind, &json!({ "paused": paused }))).await.unwrap();
}

/// Retention counts days in it.
#[tokio::test]
async fn a_zone_without_a_schedule_is_accepted_beside_retention() {
    let spec = json!({ "trigger": { "timeZone": "Europe/Berlin" }, "rclone": { "retention": { "daily": 7 } } });
    tried(Destination, &changed(Destination, &spec)).await.unwrap();
    let spec = json!({ "trigger": { "timeZone": "Europe/Berlin" }, "rclone": { "layout": "Packs", "retention": { "daily": 7 } } });
    tried(Source, &changed(Source, &spec)).await.unwrap();
}
