//! `status` of both kinds. Each kind's CRD leaves out the fields that only the other one sets, see `crd.rs`.

mod run;

pub use run::{Aborted, Phase, Run, Subject, UnfinishedPull};

use super::reason::{Policy, Reason};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::KubeSchema;
use schemars::JsonSchema;
use scribe_mover::report::Outcome;
use serde::{Deserialize, Serialize};

/// The observed state of the replication. The agent replaces it as a whole.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Status {
    /// `metadata.generation` of the spec that this status was computed from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,

    /// `Ready`, `Reconciled`, `Synchronizing` and `Stalled`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,

    /// What starts syncs: `Schedule` (also with `manual` beside it), `Continuous`, or `Manual` (only a new `spec.trigger.manual`). In each
    /// case also the annotation `scribe.backube/sync-now`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trigger: Option<String>,

    /// In one word what the object is at: the reason of the condition `Stalled` if that is True, otherwise of `Synchronizing`, or while that is
    /// `Backoff`, of the last error.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,

    /// The message of that condition.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,

    /// When the next sync or attempt starts, as far as that is known: never a time that has passed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_start_time: Option<Time>,

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

    /// Since when a due sync has been waiting for a slot, because `maxConcurrentSyncs` syncs are running.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waiting_since: Option<Time>,

    /// The value of `spec.trigger.manual` that started the last completed manual sync.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_manual_sync: Option<String>,

    /// The value of the annotation `scribe.backube/sync-now` that the last successful sync was started with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_handled_sync_now: Option<String>,

    /// The value of the annotation `scribe.backube/verify-now` that the last successful verification was started with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_handled_verify_now: Option<String>,

    /// The value of the annotation `scribe.backube/abort` that was handled last, whether or not it named the running sync.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_handled_abort: Option<String>,

    /// The last sync that the annotation `scribe.backube/abort` ended. Cleared by the next success, or once what had asked for that sync
    /// has changed, whichever comes last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub aborted: Option<Aborted>,

    /// What the last successful sync replicated. When the spec names something else, a sync is due at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub synced: Option<Subject>,

    /// `metadata.generation` of the spec that the last successful sync used. Ready is False when a sync of a later generation has failed since.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_sync_generation: Option<i64>,

    /// The destination's volume may hold something else than the status says, so a sync is due, and its pull compares all of it. True from
    /// the start of a sync that replicates something else than `synced`, from an edit that names another PVC, from a pull of another
    /// destination into this one's PVC, or from the loss of a mover's report, until the next success.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub volume_touched: bool,

    /// The path that was taken over because of the annotation `scribe.backube/adopt-path`. It is taken over only once for each time that
    /// the annotation is set; removing the annotation clears this field.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub adopted_path: Option<String>,

    /// The running sync; absent while none is running.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<Run>,

    /// While nothing has been pushed to the path: what the remote shows, and since when.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_push: Option<FirstPush>,

    /// Pulls of a destination that have begun and not succeeded, by PVC and path. As long as one is here, no source pushes that PVC to that path.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unfinished_pulls: Vec<UnfinishedPull>,

    /// Number of consecutive failed attempts. Reset by the next success and by a change of the spec.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempts: Option<i64>,

    /// When the next attempt starts, after a failure or while nothing has been pushed to the path yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_attempt_time: Option<Time>,

    /// The last failure; cleared by the next success.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_error: Option<LastError>,

    /// When a sync last started because what the sync before it had published was gone. The next one of that kind starts ten minutes later at
    /// the earliest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_republish_time: Option<Time>,

    /// The last complete copy: a `VolumeSnapshot`, which holds `revision`; absent while none that holds it is published. With copyMethod Direct,
    /// the PVC that `revision` was pulled into; absent while that PVC is not there. It holds `revision` until something writes to it: a later
    /// sync, which replaces files one by one (`volumeTouched`, or `run` is in the phase Transferring), or another pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latest_image: Option<ImageRef>,

    /// UID of the PVC that `latestImage` names, with copyMethod Direct: another PVC of that name does not hold what was pulled.
    #[serde(default, rename = "latestImageUID", skip_serializing_if = "Option::is_none")]
    pub latest_image_uid: Option<String>,

    /// The images that are kept, the newest first; `spec.rclone.retention` or `retain` says which.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub images: Vec<Image>,

    /// Revision of the data that was last pushed or pulled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<String>,

    /// When the source volume of that revision was captured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data_time: Option<Time>,

    /// When the source's volume was last known to have this content, as the source says on the remote. A push renews it also if it finds
    /// nothing new, once it is older than `heartbeatInterval`: a time that grows old means that the source pushes no more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_checked_time: Option<Time>,

    /// The revision that `spec.rclone.pin` stands for; absent without it, and before its first pull has succeeded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pinned: Option<Box<Pinned>>,

    /// Regular files in that revision.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub files: Option<i64>,

    /// Total size of the files of the latest copy, in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<i64>,

    /// File content that the last successful sync sent or fetched, in bytes. With layout Packs, a push counts its blocks before compression
    /// (`sent` has what was sent), and a pull what it fetched of the packs, compressed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transferred: Option<i64>,

    /// What the last successful push of layout Packs sent, in bytes as they are stored: compressed blocks, their map and manifest. Absent with
    /// layout Files, of which `transferred` says the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sent: Option<i64>,

    /// What the path stores of layout Packs after that push, in bytes: all packs, with what is kept of older revisions, and what no revision
    /// needs any more and is not deleted yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stored: Option<i64>,

    /// Result and log of the last mover that terminated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latest_mover_status: Option<MoverStatus>,
}

impl Status {
    /// The last error, if it requires action by a person.
    pub fn stalling_error(&self) -> Option<(Reason, &LastError)> {
        let error = self.last_error.as_ref()?;
        let reason = Reason::parse(&error.reason)?;
        (reason.policy() == Policy::Stalled).then_some((reason, error))
    }

    /// The last error, if it is of the spec that this status was computed from, as far as that is known: what another spec failed with is
    /// history.
    pub fn present_error(&self) -> Option<&LastError> {
        let spec = self.observed_generation;
        self.last_error.as_ref().filter(|error| error.generation.is_none() || spec.is_none() || error.generation == spec)
    }

    /// Whether the last error, which no success has cleared, has this reason.
    pub fn failed_for(&self, reason: Reason) -> bool {
        self.last_error.as_ref().is_some_and(|error| error.reason == reason.as_str())
    }
}

/// A destination's wait for the first push to its path.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct FirstPush {
    /// When the first pull found nothing at the path.
    pub since: Time,
    /// What the last pull found.
    pub message: String,
    /// Whether that has lasted longer than `firstPushPatience`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub overdue: bool,
}

/// The last failure.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct LastError {
    /// The reason in CamelCase; `docs/operations.md` explains each.
    pub reason: String,
    /// What failed, and what to do about it.
    pub message: String,
    /// When it happened.
    pub time: Time,
    /// `metadata.generation` of the spec whose attempt failed: of a later one, the conditions say nothing before it was tried.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generation: Option<i64>,
}

/// A reference to the last complete copy.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct ImageRef {
    /// `snapshot.storage.k8s.io`, or empty for a PVC.
    pub api_group: String,
    /// `VolumeSnapshot` or `PersistentVolumeClaim`.
    pub kind: String,
    /// Name in the object's own namespace.
    pub name: String,
}

/// What a destination's pin stands for.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Pinned {
    /// The revision. Every later pull is of this one.
    pub revision: String,
    /// `spec.rclone.pin.asOf`, where that asked for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub as_of: Option<String>,
    /// The path that has it, as `section:path`.
    pub remote: String,
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
    /// When the agent found the image ready.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ready_time: Option<Time>,
}

/// Result and log of a mover that terminated.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct MoverStatus {
    /// `Successful` or `Failed`.
    pub result: MoverResult,
    /// The end of its log, at most 1 KiB.
    pub logs: String,
}

/// Result of a mover.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub enum MoverResult {
    /// The mover finished its work.
    Successful,
    /// The mover failed or was killed.
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
