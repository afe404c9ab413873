//! `spec.rclone.deletionGuard`: how much a sync may delete without approval. The same for both kinds.

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

/// A sync that would delete more than `floor` files, and more than `percent` of all files, stops before it deletes the first one. The same
/// holds for entries of all types together: files, directories, links and pipes.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct DeletionGuard {
    /// Share of the files that may be deleted without approval, in percent, 0 to 100; approval is needed where `floor` is exceeded, too. Default: 90. With 100, only deleting everything needs approval.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 100))]
    pub percent: Option<u32>,

    /// Number of files that may be deleted without approval, whatever their share. Default: 10.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 2_147_483_647))]
    pub floor: Option<u32>,
}
