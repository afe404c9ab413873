//! `ReplicationDestination`: pulls what a source pushed and keeps a snapshot of the last good copy.

use super::mover::NAME;
use super::pin::PinSpec;
use super::rclone::{AccessMode, RcloneSpec, SIZE, SIZE_MESSAGE, SNAPSHOT_CLASS, SNAPSHOT_CLASS_MESSAGE};
use super::retention::RetentionSpec;
use super::status::Status;
use super::trigger::TriggerSpec;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Pulls a volume from an rclone remote and keeps an image of the last complete copy.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
#[kube(
    group = "scribe.backube",
    version = "v1alpha1",
    kind = "ReplicationDestination",
    plural = "replicationdestinations",
    shortname = "rdst",
    category = "scribe",
    namespaced,
    derive = "PartialEq",
    status = "Status",
    doc = "Pulls a volume from an rclone remote and keeps an image of the last complete copy."
)]
#[kube(
    printcolumn = r#"{"name":"Trigger","type":"string","jsonPath":".status.trigger","description":"What starts syncs: Schedule, Continuous or Manual"}"#,
    printcolumn = r#"{"name":"Image","type":"string","jsonPath":".status.latestImage.name","description":"The last complete copy"}"#,
    printcolumn = r#"{"name":"Last sync","type":"date","jsonPath":".status.lastSyncTime"}"#,
    printcolumn = r#"{"name":"Data age","type":"date","jsonPath":".status.dataTime","description":"How long ago the source volume was captured"}"#,
    printcolumn = r#"{"name":"Ready","type":"string","jsonPath":".status.conditions[?(@.type==\"Ready\")].status"}"#,
    printcolumn = r#"{"name":"Reason","type":"string","jsonPath":".status.reason","description":"What it is at, or why it is stalled"}"#,
    printcolumn = r#"{"name":"Pinned","type":"string","jsonPath":".status.pinned.revision","description":"The revision that spec.rclone.pin keeps it at","priority":1}"#,
    printcolumn = r#"{"name":"Message","type":"string","jsonPath":".status.message","description":"The same in a sentence","priority":1}"#
)]
#[x_kube(validation = Rule::new("!has(self.trigger) || !has(self.trigger.timeZone) || has(self.trigger.schedule) || has(self.rclone.retention)")
    .message("trigger.timeZone only has a meaning beside trigger.schedule or rclone.retention: add one of them or remove timeZone"))]
pub struct ReplicationDestinationSpec {
    /// Suspends the object: while true, no sync starts. A running mover finishes. Default: false.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub paused: bool,

    /// When to sync. Default: continuously, one sync after another.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trigger: Option<TriggerSpec>,

    /// Where to pull from, and which volume to pull into.
    pub rclone: DestinationRclone,
}

/// Where a destination pulls from, and which volume it pulls into.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.capacity) || has(self.destinationPVC)")
    .message("write capacity (the size of the volume to create, such as 10Gi) or destinationPVC (an existing claim to pull into)"))]
#[x_kube(validation = Rule::new(SNAPSHOT_CLASS).message(SNAPSHOT_CLASS_MESSAGE))]
#[x_kube(validation = Rule::new("!has(self.retain) || !has(self.copyMethod) || self.copyMethod == 'Snapshot'")
    .message("retain counts the VolumeSnapshots to keep, and copyMethod Direct or None makes none: remove it or use Snapshot"))]
#[x_kube(validation = Rule::new("!has(self.retention) || !has(self.copyMethod) || self.copyMethod == 'Snapshot'")
    .message("retention says which VolumeSnapshots to keep, and copyMethod Direct or None makes none: remove it or use Snapshot"))]
#[x_kube(validation = Rule::new("!has(self.cleanupTempPVC) || !self.cleanupTempPVC || !has(self.copyMethod) || self.copyMethod == 'Snapshot'")
    .message("cleanupTempPVC would delete the only copy with copyMethod Direct or None: remove it or use Snapshot"))]
#[x_kube(validation = Rule::new("!has(self.cleanupTempPVC) || !self.cleanupTempPVC || !has(self.destinationPVC)")
    .message("cleanupTempPVC deletes the PVC that is created for this object, and with destinationPVC none is created: remove one of the two"))]
#[x_kube(validation = Rule::new("!has(self.pin) || !has(self.layout) || self.layout != 'Plain'")
    .message("pin names a revision, and a path of layout Plain has none: remove one of the two"))]
pub struct DestinationRclone {
    /// The remote, and what both kinds have.
    #[serde(flatten)]
    pub shared: RcloneSpec,

    /// What wrote to the path: a `ReplicationSource` (`Files`, the default, or `Packs`), or another tool such as rclone, Scribe or VolSync (`Plain`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub layout: Option<Layout>,

    /// How the last complete copy is published: as a `VolumeSnapshot` (the default), or as the PVC itself (`Direct`, or its synonym `None`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub copy_method: Option<DestinationCopyMethod>,

    /// Size of the volume to create, for example `10Gi`. Required unless `destinationPVC` is set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new(SIZE).message(SIZE_MESSAGE))]
    #[schemars(length(max = 32))]
    pub capacity: Option<String>,

    /// Access modes of the volume to create. Default: `[ReadWriteOnce]`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 4))]
    #[x_kube(validation = Rule::new("self.exists(m, m != 'ReadOnlyMany')")
        .message("the mover has to write to this volume: add ReadWriteOnce, ReadWriteMany or ReadWriteOncePod"))]
    pub access_modes: Option<Vec<AccessMode>>,

    /// Storage class of the volume to create. Default: the cluster's default class.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new(NAME)
        .message("write the name of a StorageClass, such as 'standard'"))]
    #[schemars(length(min = 1, max = 253))]
    pub storage_class_name: Option<String>,

    /// The revision to pull instead of the newest, for as long as this is set: `{revision: …}`, or `{asOf: 2026-11-23T06:00:00Z}` for the newest one
    /// of that time. An edit starts a sync. Default: the newest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new("has(self.revision) != has(self.asOf)").message("write revision or asOf, one of the two"))]
    #[x_kube(validation = Rule::new(r"!has(self.revision) || self.revision.matches('^[0-9]{8}T[0-9]{6}Z-[0-9a-f]{8}-[1-9][0-9]*-[0-9a-f]{4}$')")
        .message("write a revision as status.revision shows it, such as '20261123T042858Z-1c9a77e0-17-5f2e'"))]
    pub pin: Option<PinSpec>,

    /// Name of an existing PVC to pull into, instead of one created for this object. Files in it that the source does not have are deleted.
    #[serde(default, rename = "destinationPVC", skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new(NAME)
        .message("write the name of a PersistentVolumeClaim of this namespace, such as 'data'"))]
    #[schemars(length(min = 1, max = 253))]
    pub destination_pvc: Option<String>,

    /// Number of images to keep, the newest ones, 1 to 100: the short form of `retention` with `last` alone. Beside `retention` only for agents
    /// that do not know it. Default: 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100))]
    pub retain: Option<u32>,

    /// Which images to keep, by their age. Default: as `retain` says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retention: Option<RetentionSpec>,

    /// Deletes the PVC created for this object after each sync; the next sync creates it from the latest image. Default: false.
    #[serde(default, rename = "cleanupTempPVC", skip_serializing_if = "Option::is_none")]
    pub cleanup_temp_pvc: Option<bool>,
}

// The CRD shows this comment, not that of the field.
/// What wrote to the path: a `ReplicationSource` (`Files`, the default, or `Packs`; either is good for both of its layouts, which a pull tells
/// apart by itself), or another tool such as rclone, Scribe or VolSync (`Plain`).
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// A `ReplicationSource`: whole revisions, all metadata, every byte verified.
    Files,
    /// The same: which of its layouts a source uses is seen at the path.
    Packs,
    /// Another tool: plain files, and the `permissions.facl` of Scribe and VolSync. Pulled only while the path does not change.
    Plain,
}

// The CRD shows this comment, not that of the field.
/// How the last complete copy is published: as a `VolumeSnapshot` (`Snapshot`, the default), or as the PVC itself (`Direct`, or its
/// synonym `None`).
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub enum DestinationCopyMethod {
    /// As a `VolumeSnapshot`, created after each sync that transferred something new.
    Snapshot,
    /// As the PVC itself.
    Direct,
    /// A synonym of `Direct`.
    None,
}
