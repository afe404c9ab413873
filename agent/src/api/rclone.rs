//! The part of `spec.rclone` that both kinds share, and the rules of fields that both have.

use super::guard::DeletionGuard;
use super::mover::{MoverPod, NAME};
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A size such as `10Gi`: digits with a binary or decimal suffix.
pub(super) const SIZE: &str = r"self.matches('^[0-9]+(\\.[0-9]+)?(Ki|Mi|Gi|Ti|Pi|Ei|k|M|G|T|P|E)?$')";
pub(super) const SIZE_MESSAGE: &str = "write a size such as '10Gi'";

/// A snapshot class needs a snapshot.
pub(super) const SNAPSHOT_CLASS: &str = "!has(self.volumeSnapshotClassName) || !has(self.copyMethod) || self.copyMethod == 'Snapshot'";
pub(super) const SNAPSHOT_CLASS_MESSAGE: &str =
    "volumeSnapshotClassName only has a meaning with copyMethod Snapshot: remove it or change copyMethod";

/// The remote, how much may be deleted, the class of snapshots, and the mover's pod.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct RcloneSpec {
    /// Name of the Secret whose key `rclone.conf` configures the remote, for example `rclone-secret`.
    #[x_kube(validation = Rule::new(NAME)
        .message("write the name of a Secret of this namespace, such as 'rclone-secret'"))]
    #[schemars(length(min = 1, max = 253))]
    pub rclone_config: String,

    /// Section of `rclone.conf` that describes the remote, without brackets, for example `minio`.
    #[x_kube(validation = Rule::new(r"self.matches('^[A-Za-z0-9_.+@][A-Za-z0-9_.+@ -]*$') && !self.endsWith(' ')")
        .message("write the name of a section of rclone.conf as it stands between the brackets, without a colon"))]
    #[schemars(length(min = 1, max = 253))]
    pub rclone_config_section: String,

    /// Path on the remote, for example `bucket/database`. Each source needs a path of its own, not inside the path of another source; any
    /// number of destinations pull from it.
    #[x_kube(validation = Rule::new(r"!self.matches('[\\x00-\\x1f\\x7f]') && !self.matches('(?i)(^|/)\\.(\\.|scribe)?(/|$)') && !self.matches('^/*$')")
        .message("write a path such as 'bucket/database', without '.', '..' or '.scribe' components and control characters"))]
    #[schemars(length(min = 1, max = 1024))]
    pub rclone_dest_path: String,

    /// `VolumeSnapshotClass` of the snapshots. Default: the cluster's default for the volume's driver.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new(NAME)
        .message("write the name of a VolumeSnapshotClass, such as 'csi-snapshots'"))]
    #[schemars(length(min = 1, max = 253))]
    pub volume_snapshot_class_name: Option<String>,

    /// How much a sync may delete without approval. The annotation `scribe.backube/allow-deletions` approves one refused deletion.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deletion_guard: Option<DeletionGuard>,

    /// The mover's pod.
    #[serde(flatten)]
    pub pod: MoverPod,
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
