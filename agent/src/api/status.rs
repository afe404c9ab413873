//! `status` of both kinds. Each kind's CRD leaves out the fields that only the other one sets, see `crd.rs`.

use super::reason::{Policy, Reason};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, MicroTime, Time};
use kube::KubeSchema;
use schemars::JsonSchema;
use scribe_mover::report::Outcome;
use serde::{Deserialize, Serialize};

/// What the agent knows of one replication. Written whole, in place of the one before.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Status {
    /// The `metadata.generation` that this status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,

    /// `Ready`, `Reconciled`, `Synchronizing` and `Stalled`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,

    /// When the latest sync started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_sync_start_time: Option<Time>,

    /// When the last successful sync ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_sync_time: Option<Time>,

    /// How long the last successful sync took, in Go's notation, for example `7.066022s`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_sync_duration: Option<String>,

    /// When the next sync is due, by schedule or, without a trigger, by the continuous interval.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_sync_time: Option<Time>,

    /// Since when a sync has been due that waits for a place, because as many as may be are under way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waiting_since: Option<Time>,

    /// The `spec.trigger.manual` that the last completed manual sync was started by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_manual_sync: Option<String>,

    /// The annotation `scribe.backube/verify-now` that the last successful sync was started with, if it had a new value then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_handled_verify_now: Option<String>,

    /// What the last successful sync was of. Where the spec names something else by now, a sync of that is due.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub synced: Option<Subject>,

    /// `metadata.generation` of the spec that the last successful sync was of. Where a sync of a later one has failed since, Ready is False.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_sync_generation: Option<i64>,

    /// True once a sync of something else than `synced` has started: the destination's volume may hold parts of that. Cleared by the
    /// next success.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub volume_touched: bool,

    /// The path that was taken over by the annotation `scribe.backube/adopt-path`. As long as the annotation names it, it is not taken
    /// over again; removing the annotation clears this field.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub adopted_path: Option<String>,

    /// The sync under way; absent while none is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<Run>,

    /// Attempts in a row that failed. Cleared by the next success; counted anew after a changed spec.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempts: Option<i64>,

    /// When the next attempt is made, after a failure or while nothing has been pushed yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_attempt_time: Option<Time>,

    /// What went wrong last; cleared by the next success.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_error: Option<LastError>,

    /// The last good copy: a `VolumeSnapshot`, or the claim itself with copyMethod Direct.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latest_image: Option<ImageRef>,

    /// The images that are kept, the last published first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub images: Vec<Image>,

    /// Revision of the data last pushed or pulled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<String>,

    /// When the source volume of that revision was captured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data_time: Option<Time>,

    /// Regular files in that revision.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub files: Option<i64>,

    /// Their total size in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<i64>,

    /// The last words of the latest mover.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latest_mover_status: Option<MoverStatus>,
}

impl Status {
    /// The last error, where it stays until a person acts.
    pub fn stalling_error(&self) -> Option<(Reason, &LastError)> {
        let error = self.last_error.as_ref()?;
        let reason = Reason::parse(&error.reason)?;
        (reason.policy() == Policy::Stalled).then_some((reason, error))
    }
}

/// What is replicated: everything in a spec that decides which data are moved, and from where to where.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Subject {
    /// `rcloneConfigSection` and `rcloneDestPath`, as `section:path`.
    pub remote: String,
    /// The PVC that is pushed, or the existing one that is pulled into; absent where the destination pulls into a volume of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub claim: Option<String>,
    /// How the remote path is laid out: `Files` or `Plain`.
    pub layout: String,
}

/// The sync under way.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Run {
    /// Identity of this sync, derived from the object, its trigger and the sync before it.
    pub id: String,

    /// What the sync is at.
    pub phase: Phase,

    /// When the sync started.
    pub start_time: MicroTime,

    /// Number of the current or coming attempt, counted from 1.
    pub attempt: i64,

    /// When the current phase began; its deadline counts from here.
    pub phase_time: MicroTime,

    /// The `metadata.generation` whose spec this sync follows.
    pub generation: i64,

    /// Bytes moved so far; shown for transfers that take longer than ten seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes_done: Option<i64>,

    /// Bytes that the transfer is going to move.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes_total: Option<i64>,

    /// Digest of the annotations that this attempt was permitted things by; others are tried at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub permits: Option<String>,

    /// The `spec.trigger.manual` that started this sync, if one did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub manual: Option<String>,

    /// What this sync is of: its captured volume and its mover are of this, whatever the spec names by now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<Subject>,

    /// The annotation `scribe.backube/verify-now` that this attempt was started with, if it had a new value then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verify_now: Option<String>,

    /// The path that this attempt may take over, by the annotation `scribe.backube/adopt-path`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub adopt: Option<String>,

    /// The state of that path that the first such attempt acted on: later ones take over nothing else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub adopted_state: Option<String>,
}

/// What a sync is at. `docs/development.md` has the state diagram.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// The source's snapshot or clone is being made.
    Capturing,
    /// The snapshot takes its time; the place is given back until it is ready.
    WaitingForSnapshot,
    /// The mover's Job is there or about to be.
    Transferring,
    /// The destination's image is being made.
    Publishing,
    /// An attempt failed; the next one waits for its time.
    Backoff,
    /// Nothing has been pushed to the path yet; the destination looks again later.
    WaitingForFirstPush,
}

/// What went wrong last.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct LastError {
    /// One word; `docs/operations.md` explains each.
    pub reason: String,
    /// What happened and what to do about it.
    pub message: String,
    /// When it happened.
    pub time: Time,
}

/// A reference to the last good copy.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct ImageRef {
    /// `snapshot.storage.k8s.io`, or empty for a claim.
    pub api_group: String,
    /// `VolumeSnapshot` or `PersistentVolumeClaim`.
    pub kind: String,
    /// Name in the object's own namespace.
    pub name: String,
}

/// A kept image.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Image {
    /// Name of the `VolumeSnapshot` in the object's own namespace.
    pub name: String,
    /// The revision that it holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<String>,
    /// When the source volume of that revision was captured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data_time: Option<Time>,
    /// When the image was found to be ready.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ready_time: Option<Time>,
}

/// The last words of a mover.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct MoverStatus {
    /// Whether it did its work.
    pub result: MoverResult,
    /// The end of its log, at most 1 KiB.
    pub logs: String,
}

/// Whether a mover did its work.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub enum MoverResult {
    /// It did.
    Successful,
    /// It did not.
    Failed,
}

impl From<Outcome> for MoverResult {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Successful | Outcome::WaitingForFirstPush => MoverResult::Successful,
            Outcome::Failed => MoverResult::Failed,
        }
    }
}
