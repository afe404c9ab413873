//! The running sync, as the status records it, what it replicates, and one that was aborted.

use crate::api::pin::PinSpec;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, Time};
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A sync that the annotation `scribe.backube/abort` ended.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Aborted {
    /// Identity of that sync.
    pub run: String,

    /// When it was ended.
    pub time: Time,

    /// `metadata.generation` at that time. While it is present, the next sync waits for a trigger; absent once the spec has been edited, or
    /// a sync has succeeded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generation: Option<i64>,

    /// The value of `spec.trigger.manual` that started it: not synced, and not tried again before it changes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub manual: Option<String>,

    /// The value of the annotation `scribe.backube/sync-now` that it handled: not handled again before it changes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sync_now: Option<String>,

    /// The value of the annotation `scribe.backube/verify-now` that it handled: not handled again before it changes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verify_now: Option<String>,

    /// The path that it was taking over because of the annotation `scribe.backube/adopt-path`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub adopt: Option<String>,

    /// The state of that path that its first attempt found; the next sync takes over no other state.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub adopted_state: Option<String>,
}

/// What is replicated: the part of a spec that determines which data are copied, and from where to where.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Subject {
    /// `rcloneConfigSection` and `rcloneDestPath`, as `section:path`.
    pub remote: String,
    /// The PVC that is pushed, or the existing one that is pulled into; absent where the destination pulls into a volume of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub claim: Option<String>,
    /// How the remote path is laid out: `Files` or `Packs`, as a source says; of a destination, `Files` where a source wrote to it, whichever of
    /// these it uses, or `Plain`.
    pub layout: String,
    /// `spec.rclone.pin` of a destination; absent where it pulls the newest revision.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pin: Option<Box<PinSpec>>,
}

/// A pull that has begun and has not succeeded: its PVC may hold a part of what was pulled.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct UnfinishedPull {
    /// The PVC.
    pub claim: String,
    /// The path that is pulled, as `section:path`.
    pub remote: String,
    /// The sync that began it.
    pub run: String,
    /// Which attempt of that.
    pub attempt: i64,
}

/// The running sync.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Run {
    /// Identity of this sync, derived from the object, its trigger and the sync before it.
    pub id: String,

    /// What the sync is doing.
    pub phase: Phase,

    /// When the sync started.
    pub start_time: MicroTime,

    /// Number of the current or next attempt, counted from 1.
    pub attempt: i64,

    /// When the current phase began; its timeout counts from here.
    pub phase_time: MicroTime,

    /// `metadata.generation` of the spec that this sync uses.
    pub generation: i64,

    /// Bytes transferred so far; set for transfers that take longer than ten seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes_done: Option<i64>,

    /// Total number of bytes of the transfer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes_total: Option<i64>,

    /// Digest of the approvals (annotations) that this attempt started with; a new approval starts the next attempt at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub permits: Option<String>,

    /// The value of `spec.trigger.manual` that started this sync, if it was started manually.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub manual: Option<String>,

    /// What this sync replicates, even if the spec has been edited since it started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<Subject>,

    /// The value of the annotation `scribe.backube/sync-now` that this sync handles, if it is a new one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sync_now: Option<String>,

    /// The value of the annotation `scribe.backube/verify-now` that this attempt handles, if it is a new one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verify_now: Option<String>,

    /// The path that this attempt may take over because of the annotation `scribe.backube/adopt-path`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub adopt: Option<String>,

    /// The state of that path that the first such attempt found; later attempts take over no other state.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub adopted_state: Option<String>,

    /// How many attempts of this sync ended because the mover's pod was evicted, preempted or drained. The first three are no failures.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disruptions: Option<i64>,

    /// The mover's pod, or its volume, takes long to come; the sync has given its slot back and takes it again when the pod starts.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub waits_for_pod: bool,
}

/// What a sync is doing. `docs/development.md` has the state diagram.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// The source's snapshot or clone is being created.
    Capturing,
    /// The snapshot takes long; the sync gives its slot back until the snapshot is ready.
    WaitingForSnapshot,
    /// The mover's Job exists or is about to be created.
    Transferring,
    /// The destination's image is being created.
    Publishing,
    /// An attempt failed; the next one starts at `status.nextAttemptTime`.
    Backoff,
    /// Nothing has been pushed to the path yet; the destination checks again every few minutes.
    WaitingForFirstPush,
}
