//! `spec.rclone.pin`: the revision that a destination is kept at.

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

/// A revision of the path: by its name, or the newest one of a time.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct PinSpec {
    /// The revision, as `status.revision` and `status.images[].revision` have it and `scribe-agent mover list` shows it, for example
    /// `20261123T042858Z-1c9a77e0-17-5f2e`. Default: the one of `asOf`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64))]
    pub revision: Option<String>,

    /// A time that has passed, for example `2026-11-23T06:00:00Z`: the newest revision whose data was captured by then, as the path has it when
    /// this is first pulled. Later pulls stay at that revision, which `status.pinned` names. Default: that of `revision`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64), extend("format" = "date-time"))]
    pub as_of: Option<String>,
}
