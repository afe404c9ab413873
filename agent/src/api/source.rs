//! `ReplicationSource`: pushes a point-in-time copy of a PVC to an rclone remote.

use super::guard::DeletionGuard;
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
    printcolumn = r#"{"name":"Schedule","type":"string","jsonPath":".spec.trigger.schedule"}"#,
    printcolumn = r#"{"name":"Last sync","type":"date","jsonPath":".status.lastSyncTime"}"#,
    printcolumn = r#"{"name":"Next sync","type":"string","jsonPath":".status.nextSyncTime"}"#,
    printcolumn = r#"{"name":"Ready","type":"string","jsonPath":".status.conditions[?(@.type==\"Ready\")].status"}"#
)]
pub struct ReplicationSourceSpec {
    /// Name of the `PersistentVolumeClaim` to replicate.
    #[serde(rename = "sourcePVC")]
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
#[x_kube(validation = Rule::new("!has(self.volumeSnapshotClassName) || !has(self.copyMethod) || self.copyMethod == 'Snapshot'")
    .message("volumeSnapshotClassName only has a meaning with copyMethod Snapshot: remove it or change copyMethod"))]
#[x_kube(validation = Rule::new("!has(self.copyMethod) || self.copyMethod in ['Snapshot', 'Clone'] || !(has(self.capacity) || has(self.accessModes) || has(self.storageClassName))")
    .message("capacity, accessModes and storageClassName describe the temporary PVC, and copyMethod Direct or None makes none: remove them or use Snapshot or Clone"))]
pub struct SourceRclone {
    /// Name of the Secret whose key `rclone.conf` configures the remote, for example `rclone-secret`.
    #[schemars(length(min = 1, max = 253))]
    pub rclone_config: String,

    /// Section of `rclone.conf` that describes the remote, without brackets, for example `minio`.
    #[x_kube(validation = Rule::new(r"self.matches('^[A-Za-z0-9_.+@][A-Za-z0-9_.+@ -]*$') && !self.endsWith(' ')")
        .message("write the name of a section of rclone.conf as it stands between the brackets, without a colon"))]
    #[schemars(length(min = 1, max = 253))]
    pub rclone_config_section: String,

    /// Path on the remote, for example `bucket/database`. Each source needs a path of its own, not inside the path of another source.
    #[x_kube(validation = Rule::new(r"!self.matches('[\\x00-\\x1f\\x7f]') && !self.matches('(^|/)\\.\\.?(/|$)') && !self.matches('^/*$')")
        .message("write a path such as 'bucket/database', without '.' or '..' components and control characters"))]
    #[schemars(length(min = 1, max = 1024))]
    pub rclone_dest_path: String,

    /// How the volume is captured: from a `VolumeSnapshot` (the default), from a clone, or read in place (`Direct`, or its synonym `None`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub copy_method: Option<SourceCopyMethod>,

    /// Minimum size of the temporary PVC, for example `10Gi`. Default: the size of the source or of the snapshot, whichever is larger.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new(r"self.matches('^[0-9]+(\\.[0-9]+)?(Ki|Mi|Gi|Ti|Pi|Ei|k|M|G|T|P|E)?$')")
        .message("write a size such as '10Gi'"))]
    #[schemars(length(max = 32))]
    pub capacity: Option<String>,

    /// Access modes of the temporary PVC, for example `[ReadWriteOnce]`. Default: those of the source.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 4))]
    pub access_modes: Option<Vec<AccessMode>>,

    /// Storage class of the temporary PVC. Default: that of the source.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub storage_class_name: Option<String>,

    /// `VolumeSnapshotClass` to use. Default: the cluster's default for the volume's driver.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub volume_snapshot_class_name: Option<String>,

    /// How much a sync may delete without approval. The annotation `scribe.backube/allow-deletions` approves one refused deletion.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deletion_guard: Option<DeletionGuard>,
}

/// How a source's volume is captured.
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

/// The access modes of Kubernetes.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
#[allow(clippy::enum_variant_names, reason = "the names are those of Kubernetes")]
pub enum AccessMode {
    /// Mounted for reading and writing by one node.
    ReadWriteOnce,
    /// Mounted for reading by many nodes.
    ReadOnlyMany,
    /// Mounted for reading and writing by many nodes.
    ReadWriteMany,
    /// Mounted for reading and writing by one pod.
    ReadWriteOncePod,
}

impl AccessMode {
    /// The name in a `PersistentVolumeClaim`.
    pub fn as_str(self) -> &'static str {
        match self {
            AccessMode::ReadWriteOnce => "ReadWriteOnce",
            AccessMode::ReadOnlyMany => "ReadOnlyMany",
            AccessMode::ReadWriteMany => "ReadWriteMany",
            AccessMode::ReadWriteOncePod => "ReadWriteOncePod",
        }
    }
}
