//! `ReplicationSource`: pushes a point-in-time copy of a PVC to an rclone remote.

use super::mover::NAME;
use super::rclone::{AccessMode, RcloneSpec, SIZE, SIZE_MESSAGE, SNAPSHOT_CLASS, SNAPSHOT_CLASS_MESSAGE};
use super::retention::RetentionSpec;
use super::status::Status;
use super::trigger::TriggerSpec;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Pushes a point-in-time copy of a volume to an rclone remote.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
#[kube(
    group = "scribe.backube",
    version = "v1alpha1",
    kind = "ReplicationSource",
    plural = "replicationsources",
    shortname = "rsrc",
    category = "scribe",
    namespaced,
    derive = "PartialEq",
    status = "Status",
    doc = "Pushes a point-in-time copy of a volume to an rclone remote."
)]
#[kube(
    printcolumn = r#"{"name":"PVC","type":"string","jsonPath":".spec.sourcePVC","description":"The volume that is replicated"}"#,
    printcolumn = r#"{"name":"Trigger","type":"string","jsonPath":".status.trigger","description":"What starts syncs: Schedule, Continuous or Manual"}"#,
    printcolumn = r#"{"name":"Schedule","type":"string","jsonPath":".spec.trigger.schedule"}"#,
    printcolumn = r#"{"name":"Last sync","type":"date","jsonPath":".status.lastSyncTime"}"#,
    printcolumn = r#"{"name":"Next sync","type":"string","jsonPath":".status.nextStartTime","description":"When the next sync or attempt starts"}"#,
    printcolumn = r#"{"name":"Ready","type":"string","jsonPath":".status.conditions[?(@.type==\"Ready\")].status"}"#,
    printcolumn = r#"{"name":"Reason","type":"string","jsonPath":".status.reason","description":"What it is at, or why it is stalled"}"#,
    printcolumn = r#"{"name":"Sent","type":"integer","jsonPath":".status.sent","description":"Bytes that the last push of layout Packs sent","priority":1}"#,
    printcolumn = r#"{"name":"Stored","type":"integer","jsonPath":".status.stored","description":"Bytes of all packs at the path","priority":1}"#,
    printcolumn = r#"{"name":"Message","type":"string","jsonPath":".status.message","description":"The same in a sentence","priority":1}"#
)]
#[x_kube(validation = Rule::new("!has(self.trigger) || !has(self.trigger.timeZone) || has(self.trigger.schedule) || has(self.rclone.retention)")
    .message("trigger.timeZone only has a meaning beside trigger.schedule or rclone.retention: add one of them or remove timeZone"))]
pub struct ReplicationSourceSpec {
    /// Name of the `PersistentVolumeClaim` to replicate.
    #[serde(rename = "sourcePVC")]
    #[x_kube(validation = Rule::new(NAME)
        .message("write the name of a PersistentVolumeClaim of this namespace, such as 'data'"))]
    #[schemars(length(min = 1, max = 253))]
    pub source_pvc: String,

    /// Suspends the object: while true, no sync starts. A running mover finishes. Default: false.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub paused: bool,

    /// When to sync. Default: continuously, one sync after another.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trigger: Option<TriggerSpec>,

    /// Where to push to, and how to capture the volume.
    pub rclone: SourceRclone,
}

/// Where a source pushes to, and how its volume is captured.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new(SNAPSHOT_CLASS).message(SNAPSHOT_CLASS_MESSAGE))]
#[x_kube(validation = Rule::new("!has(self.copyMethod) || self.copyMethod in ['Snapshot', 'Clone'] || !(has(self.capacity) || has(self.accessModes) || has(self.storageClassName))")
    .message("capacity, accessModes and storageClassName describe the temporary PVC, and copyMethod Direct or None makes none: remove them or use Snapshot or Clone"))]
#[x_kube(validation = Rule::new("!has(self.retain) || (has(self.layout) && self.layout == 'Packs')")
    .message("retain counts the revisions to keep at the path, and layout Files keeps one: remove it or write layout: Packs"))]
#[x_kube(validation = Rule::new("!has(self.retention) || (has(self.layout) && self.layout == 'Packs')")
    .message("retention says which revisions to keep at the path, and layout Files keeps one: remove it or write layout: Packs"))]
pub struct SourceRclone {
    /// The remote, and what both kinds have.
    #[serde(flatten)]
    pub shared: RcloneSpec,

    /// How the volume is captured: from a `VolumeSnapshot` (the default), from a clone, or read in place (`Direct`, or its synonym `None`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub copy_method: Option<SourceCopyMethod>,

    /// How the path is laid out: every file under its own name (`Files`, the default), or blocks in packs, of which a push sends those that
    /// have changed (`Packs`), for example for a database.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub layout: Option<SourceLayout>,

    /// Number of revisions to keep restorable at the path, the newest ones, 1 to 100: the short form of `retention` with `last` alone. Beside
    /// `retention` only for agents that do not know it. Needs `layout: Packs`. Default: the
    /// latest revision alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100))]
    pub retain: Option<u32>,

    /// Which revisions to keep restorable at the path, by their age, for example `{last: 3, daily: 7}`. Needs `layout: Packs`. An edit takes effect
    /// with the next push of something new. Default: as `retain` says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retention: Option<RetentionSpec>,

    /// What to leave out of the revisions: patterns as in a `.gitignore` in the volume's root, for example `["*.tmp", "/cache/"]`. The last one
    /// that matches decides, and `!` takes back what an earlier one leaves out. Default: nothing is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 100), inner(length(min = 1, max = 256)))]
    pub exclude: Option<Vec<String>>,

    /// Minimum size of the temporary PVC, for example `10Gi`. Default: the size of the source or of the snapshot, whichever is larger.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new(SIZE).message(SIZE_MESSAGE))]
    #[schemars(length(max = 32))]
    pub capacity: Option<String>,

    /// Access modes of the temporary PVC, for example `[ReadWriteOnce]`. Default: those of the source.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 4))]
    pub access_modes: Option<Vec<AccessMode>>,

    /// Storage class of the temporary PVC. Default: that of the source.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new(NAME)
        .message("write the name of a StorageClass, such as 'standard'"))]
    #[schemars(length(min = 1, max = 253))]
    pub storage_class_name: Option<String>,
}

// The CRD shows this comment, not that of the field.
/// How the volume is captured: from a `VolumeSnapshot` (`Snapshot`, the default), from a clone of the PVC (`Clone`), or read in place
/// (`Direct`, or its synonym `None`).
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub enum SourceCopyMethod {
    /// Through a `VolumeSnapshot`.
    Snapshot,
    /// Through a clone of the PVC.
    Clone,
    /// Not at all: the PVC itself is read.
    Direct,
    /// A synonym of `Direct`.
    None,
}

// The CRD shows this comment, not that of the field.
/// How the path is laid out: every file under its own name, so that any rclone can read it (`Files`, the default), or blocks in packs, of which
/// a push sends those that have changed (`Packs`), for example for a database or an image of a disk. An edit starts a sync.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub enum SourceLayout {
    /// Files under their own names. One that has changed is sent whole.
    Files,
    /// Blocks of files, many in one object. A block that has changed is sent alone.
    Packs,
}
