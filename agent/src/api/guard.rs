//! `spec.rclone.deletionGuard`: how much a sync may delete unasked. The same for both kinds.

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

/// A sync that would delete more than `floor` files, and more than `percent` of them, stops before it deletes the first one. So does one that
/// would delete that much of all entries: files, directories, links and pipes.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct DeletionGuard {
    /// Share that may go unasked, in percent. Default: 90. With 100 only an empty tree is stopped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 100))]
    pub percent: Option<u32>,

    /// Number that may go unasked, whatever their share. Default: 10.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 2_147_483_647))]
    pub floor: Option<u32>,
}
