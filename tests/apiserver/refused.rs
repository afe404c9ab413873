//! What cannot work is refused by the API server, in words that say what to write instead.

use crate::objects::Kind::{Destination, Source};
use crate::objects::{Kind, changed, tried};
use rstest::rstest;
use serde_json::{Value, json};

const SCHEDULE: &str = "write five cron fields (minute hour day-of-month month day-of-week) such as '*/6 * * * *', a descriptor such as '@hourly', or '@every 90m'";
const SECTION: &str = "write the name of a section of rclone.conf as it stands between the brackets, without a colon";
const PATH: &str = "write a path such as 'bucket/database', without '.', '..' or '.scribe' components and control characters";
const SIZE: &str = "write a size such as '10Gi'";
const ZONE: &str = "write an IANA time zone name such as 'Europe/Berlin' or 'UTC'";
const RETENTION: &str = "write at least one of last, hourly, daily, weekly and monthly, such as {last: 3, daily: 7}: maxAge alone keeps nothing but the newest copy";
const SNAPSHOT_CLASS: &str = "volumeSnapshotClassName only has a meaning with copyMethod Snapshot: remove it or change copyMethod";
const TEMPORARY: &str = "capacity, accessModes and storageClassName describe the temporary PVC, and copyMethod Direct or None makes none: remove them or use Snapshot or Clone";

/// The object is refused, the message is in the refusal, and the refusal names the field.
pub async fn refuses(kind: Kind, spec: Value, field: &str, message: &str) {
    match tried(kind, &changed(kind, &spec)).await {
        Ok(_) => panic!("accepted: {spec}"),
        Err(refusal) => {
            assert!(refusal.contains(message), "expected {message:?}, but the refusal is: {refusal}");
            assert!(refusal.contains(field), "the refusal does not name {field}: {refusal}");
        }
    }
}

#[rstest]
#[case::four_fields(json!({"schedule": "* * * *"}), "schedule", SCHEDULE)]
#[case::six_fields(json!({"schedule": "0 */6 * * * *"}), "schedule", SCHEDULE)]
#[case::an_unknown_word(json!({"schedule": "@fortnightly"}), "schedule", SCHEDULE)]
#[case::a_period_without_a_length(json!({"schedule": "@every"}), "schedule", SCHEDULE)]
#[case::nothing(json!({"schedule": ""}), "schedule", SCHEDULE)]
#[case::a_zone_by_offset(json!({"schedule": "@daily", "timeZone": "+02:00"}), "timeZone", ZONE)]
#[case::a_zone_with_a_space(json!({"schedule": "@daily", "timeZone": "Europe/Ber lin"}), "timeZone", ZONE)]
#[case::two_zones(
    json!({"schedule": "TZ=UTC @daily", "timeZone": "Europe/Berlin"}),
    "trigger",
    "the time zone is given twice: keep either timeZone or the TZ= prefix of schedule"
)]
#[case::a_jitter_without_a_schedule(
    json!({"jitterSeconds": 60, "manual": "a"}),
    "trigger",
    "jitterSeconds moves the scheduled times: add schedule or remove jitterSeconds"
)]
#[case::a_jitter_below_zero(json!({"schedule": "@daily", "jitterSeconds": -1}), "jitterSeconds", "greater than or equal to 0")]
#[case::a_jitter_of_days(json!({"schedule": "@daily", "jitterSeconds": 86401}), "jitterSeconds", "less than or equal to 86400")]
#[case::an_empty_tag(json!({"manual": ""}), "manual", "at least 1 chars long")]
#[case::a_schedule_of_another_type(json!({"schedule": 6}), "schedule", "must be of type string")]
#[tokio::test]
async fn a_trigger_is_refused(
    #[values(Source, Destination)] kind: Kind,
    #[case] trigger: Value,
    #[case] field: &str,
    #[case] message: &str,
) {
    refuses(kind, json!({ "trigger": trigger }), field, message).await;
}

/// Retention counts in it as well.
#[rstest]
#[tokio::test]
async fn a_zone_in_which_nothing_is_counted_is_refused(#[values(Source, Destination)] kind: Kind) {
    let message = "trigger.timeZone only has a meaning beside trigger.schedule or rclone.retention: add one of them or remove timeZone";
    refuses(kind, json!({ "trigger": { "timeZone": "UTC", "manual": "a" } }), "trigger", message).await;
}

#[rstest]
#[case::a_section_with_its_colon("rcloneConfigSection", json!("remote:"), SECTION)]
#[case::a_section_in_brackets("rcloneConfigSection", json!("[remote]"), SECTION)]
#[case::a_section_that_ends_in_a_space("rcloneConfigSection", json!("remote "), SECTION)]
#[case::a_section_that_looks_like_a_flag("rcloneConfigSection", json!("--config"), SECTION)]
#[case::no_section("rcloneConfigSection", json!(null), "Required value")]
#[case::a_path_up("rcloneDestPath", json!("bucket/../other"), PATH)]
#[case::a_path_that_ends_above("rcloneDestPath", json!("bucket/.."), PATH)]
#[case::a_path_that_goes_nowhere("rcloneDestPath", json!("./bucket"), PATH)]
#[case::a_path_with_a_line_break("rcloneDestPath", json!("bucket/a\nb"), PATH)]
#[case::a_path_of_slashes_alone("rcloneDestPath", json!("//"), PATH)]
#[case::an_empty_path("rcloneDestPath", json!(""), "at least 1 chars long")]
#[case::no_path("rcloneDestPath", json!(null), "Required value")]
#[case::an_empty_secret_name("rcloneConfig", json!(""), "at least 1 chars long")]
#[case::no_secret_name("rcloneConfig", json!(null), "Required value")]
#[case::a_size_in_words("capacity", json!("10 GB"), SIZE)]
#[case::a_negative_size("capacity", json!("-1Gi"), SIZE)]
#[case::a_secret_that_cannot_be("rcloneConfig", json!("Secret"), "write the name of a Secret of this namespace, such as 'rclone-secret'")]
#[case::a_storage_class_that_cannot_be("storageClassName", json!("Fast"), "write the name of a StorageClass, such as 'standard'")]
#[case::a_snapshot_class_without_snapshots("volumeSnapshotClassName", json!("c"), SNAPSHOT_CLASS)]
#[case::more_than_all("deletionGuard", json!({"percent": 101}), "less than or equal to 100")]
#[case::fewer_than_none("deletionGuard", json!({"floor": -1}), "greater than or equal to 0")]
#[case::an_unknown_access_mode("accessModes", json!(["ReadWriteSometimes"]), "supported values")]
#[case::no_access_mode_at_all("accessModes", json!([]), "at least 1 items")]
#[tokio::test]
async fn a_remote_is_refused(#[values(Source, Destination)] kind: Kind, #[case] field: &str, #[case] value: Value, #[case] message: &str) {
    let mut rclone = json!({ field: value });
    if field == "volumeSnapshotClassName" {
        rclone["copyMethod"] = json!("Direct");
    }
    // The rule compares fields, so the refusal names their parent.
    let named = if field == "volumeSnapshotClassName" { "spec.rclone" } else { field };
    refuses(kind, json!({ "rclone": rclone }), named, message).await;
}

#[rstest]
#[case::no_claim(json!({"sourcePVC": null}), "sourcePVC", "Required value")]
#[case::an_empty_claim_name(json!({"sourcePVC": ""}), "sourcePVC", "at least 1 chars long")]
#[case::a_claim_that_cannot_be(
    json!({"sourcePVC": "My_Data"}),
    "sourcePVC",
    "write the name of a PersistentVolumeClaim of this namespace, such as 'data'"
)]
#[case::a_snapshot_class_that_cannot_be(
    json!({"rclone": {"volumeSnapshotClassName": "csi_snapshots"}}),
    "volumeSnapshotClassName",
    "write the name of a VolumeSnapshotClass, such as 'csi-snapshots'"
)]
#[case::an_unknown_method(json!({"rclone": {"copyMethod": "Restic"}}), "copyMethod", "supported values")]
#[case::a_destinations_layout(json!({"rclone": {"layout": "Plain"}}), "layout", "supported values")]
#[case::revisions_of_files(
    json!({"rclone": {"retain": 3}}),
    "spec.rclone",
    "retain counts the revisions to keep at the path, and layout Files keeps one: remove it or write layout: Packs"
)]
#[case::revisions_of_files_by_age(
    json!({"rclone": {"layout": "Files", "retention": {"daily": 7}}}),
    "spec.rclone",
    "retention says which revisions to keep at the path, and layout Files keeps one: remove it or write layout: Packs"
)]
#[case::not_one_revision(json!({"rclone": {"layout": "Packs", "retain": 0}}), "retain", "greater than or equal to 1")]
#[case::no_rule_for_revisions(json!({"rclone": {"layout": "Packs", "retention": {"maxAge": "90d"}}}), "retention", RETENTION)]
#[case::a_size_of_no_temporary_claim(json!({"rclone": {"copyMethod": "Direct", "capacity": "1Gi"}}), "spec.rclone", TEMPORARY)]
#[case::a_class_of_no_temporary_claim(json!({"rclone": {"copyMethod": "None", "storageClassName": "s"}}), "spec.rclone", TEMPORARY)]
#[case::modes_of_no_temporary_claim(json!({"rclone": {"copyMethod": "None", "accessModes": ["ReadOnlyMany"]}}), "spec.rclone", TEMPORARY)]
#[case::no_pattern_at_all(json!({"rclone": {"exclude": []}}), "exclude", "at least 1 items")]
#[case::an_empty_pattern(json!({"rclone": {"exclude": [""]}}), "exclude", "at least 1 chars long")]
#[case::a_pattern_that_is_too_long(json!({"rclone": {"exclude": ["a".repeat(257)]}}), "exclude", "may not be more than 256")]
#[case::too_many_patterns(json!({"rclone": {"exclude": vec!["a"; 101]}}), "exclude", "must have at most 100 items")]
#[case::a_snapshot_class_for_a_clone(
    json!({"rclone": {"copyMethod": "Clone", "volumeSnapshotClassName": "c"}}),
    "spec.rclone",
    SNAPSHOT_CLASS
)]
#[tokio::test]
async fn a_source_is_refused(#[case] spec: Value, #[case] field: &str, #[case] message: &str) {
    refuses(Source, spec, field, message).await;
}

#[rstest]
#[case::neither_size_nor_claim(
    json!({"rclone": {"capacity": null}}),
    "spec.rclone",
    "write capacity (the size of the volume to create, such as 10Gi) or destinationPVC (an existing claim to pull into)"
)]
#[case::a_volume_that_cannot_be_written(
    json!({"rclone": {"accessModes": ["ReadOnlyMany"]}}),
    "accessModes",
    "the mover has to write to this volume: add ReadWriteOnce, ReadWriteMany or ReadWriteOncePod"
)]
#[case::no_images_to_count(
    json!({"rclone": {"copyMethod": "Direct", "retain": 2}}),
    "spec.rclone",
    "retain counts the VolumeSnapshots to keep, and copyMethod Direct or None makes none: remove it or use Snapshot"
)]
#[case::not_one_image(json!({"rclone": {"retain": 0}}), "retain", "greater than or equal to 1")]
#[case::no_rule_at_all(json!({"rclone": {"retention": {}}}), "retention", RETENTION)]
#[case::an_age_alone(json!({"rclone": {"retention": {"maxAge": "90d"}}}), "retention", RETENTION)]
#[case::none_of_the_last(json!({"rclone": {"retention": {"last": 0}}}), "last", "greater than or equal to 1")]
#[case::too_many_hours(json!({"rclone": {"retention": {"hourly": 101}}}), "hourly", "less than or equal to 100")]
#[case::an_age_in_words(json!({"rclone": {"retention": {"last": 1, "maxAge": "3 months"}}}), "maxAge", "write a duration such as '90d', '36h' or '1d12h'")]
#[case::no_age_at_all(json!({"rclone": {"retention": {"last": 1, "maxAge": "0d"}}}), "maxAge", "write a duration such as '90d', '36h' or '1d12h'")]
#[case::no_images_to_keep(
    json!({"rclone": {"copyMethod": "Direct", "retention": {"last": 3}}}),
    "spec.rclone",
    "retention says which VolumeSnapshots to keep, and copyMethod Direct or None makes none: remove it or use Snapshot"
)]
#[case::the_only_copy_cleaned_up(
    json!({"rclone": {"copyMethod": "None", "cleanupTempPVC": true}}),
    "spec.rclone",
    "cleanupTempPVC would delete the only copy with copyMethod Direct or None: remove it or use Snapshot"
)]
#[case::the_users_claim_cleaned_up(
    json!({"rclone": {"destinationPVC": "claim", "cleanupTempPVC": true}}),
    "spec.rclone",
    "cleanupTempPVC deletes the PVC that is created for this object, and with destinationPVC none is created: remove one of the two"
)]
#[case::no_pin_at_all(json!({"rclone": {"pin": {}}}), "pin", "write revision or asOf, one of the two")]
#[case::two_pins(
    json!({"rclone": {"pin": {"revision": "20261123T042858Z-1c9a77e0-17-5f2e", "asOf": "2026-11-23T06:00:00Z"}}}),
    "pin",
    "write revision or asOf, one of the two"
)]
#[case::a_revision_that_cannot_be(
    json!({"rclone": {"pin": {"revision": "latest"}}}),
    "pin",
    "write a revision as status.revision shows it, such as '20261123T042858Z-1c9a77e0-17-5f2e'"
)]
#[case::a_time_that_cannot_be(json!({"rclone": {"pin": {"asOf": "yesterday"}}}), "asOf", "must be of type date-time")]
#[case::a_revision_of_another_tool(
    json!({"rclone": {"layout": "Plain", "pin": {"asOf": "2026-11-23T06:00:00Z"}}}),
    "spec.rclone",
    "pin names a revision, and a path of layout Plain has none: remove one of the two"
)]
#[case::a_sources_method(json!({"rclone": {"copyMethod": "Clone"}}), "copyMethod", "supported values")]
#[tokio::test]
async fn a_destination_is_refused(#[case] spec: Value, #[case] field: &str, #[case] message: &str) {
    refuses(Destination, spec, field, message).await;
}

/// A null is a field left out: it must not slip past the rule that asks for one of two fields.
#[tokio::test]
async fn a_null_does_not_stand_for_a_value() {
    let mut object = Destination.minimal();
    object["spec"]["rclone"]["capacity"] = json!(null);
    let refusal = tried(Destination, &object).await.map(|stored| stored.data).unwrap_err();
    assert!(refusal.contains("write capacity"), "{refusal}");
}
