//! What a mover reports to the agent when it ends: one JSON document of at most 4 KiB.
//!
//! Written to the container's termination-message path; the agent reads it from the pod's status.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// How a mover's run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// The volume and the remote agree on [`Report::revision`].
    Successful,
    /// Nothing has been pushed to this path yet (pull only): no failure, the pull is repeated later.
    WaitingForFirstPush,
    /// The attempt failed; [`Report::reason`] and [`Report::message`] say why.
    Failed,
}

/// Why an attempt failed. The names are part of the API: they become condition reasons.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Reason {
    /// The Secret named by `rcloneConfig` does not exist, or is empty.
    SecretMissing,
    /// The Secret exists but has no usable `rclone.conf`, or not the named section.
    SecretInvalid,
    /// The remote refused the credentials.
    AccessDenied,
    /// The path holds files of another owner, or of no known owner.
    PathNotOurs,
    /// The sync would delete more than the guard allows.
    DeletionGuard,
    /// The volume or the remote is full.
    NoSpace,
    /// The volume takes names of the tree for one.
    NamesCollide,
    /// The remote did not answer.
    Unreachable,
    /// The remote limits the rate of requests.
    Throttled,
    /// The bucket does not exist and could not be created.
    BucketMissing,
    /// Files kept changing while they were read.
    SourceChanging,
    /// A file of the volume could not be read or written; the message names it.
    VolumeUnreadable,
    /// The remote path does not have the revision that was asked for.
    RevisionMissing,
    /// What the remote holds does not match its own manifest.
    RemoteInconsistent,
    /// The mover was stopped before it had finished.
    MoverKilled,
    /// Any other failure; see the message.
    MoverFailed,
}

/// The document itself. Unknown fields are ignored, so that an older agent reads a newer mover.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// How it ended.
    pub result: Outcome,
    /// Set if and only if `result` is [`Outcome::Failed`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Reason>,
    /// One or two sentences: what happened and what to do.
    #[serde(default)]
    pub message: String,
    /// False when everything was in place already: nothing written to the remote or to the volume.
    #[serde(default)]
    pub changed: bool,
    /// True when the path was another object's before this push (a re-created namesake's, or an adopted one).
    #[serde(default)]
    pub took_over: bool,
    /// The state of the path that a push which was allowed to adopt it acted on, also where it failed: further attempts under the same
    /// permission repeat it as `--adopt-state`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub adopted_state: Option<String>,
    /// The bucket that this push made because there was none, also where it failed after that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub made_bucket: Option<String>,
    /// The revision that volume and remote now agree on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<String>,
    /// When the source volume of that revision was captured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data_time: Option<Timestamp>,
    /// The latest capture of the source that is known to have had this content, as the commit says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checked_time: Option<Timestamp>,
    /// Regular files in that revision.
    #[serde(default)]
    pub files: u64,
    /// Their total size in bytes.
    #[serde(default)]
    pub bytes: u64,
    /// File content sent or fetched, in bytes.
    #[serde(default)]
    pub transferred: u64,
    /// What a push of layout Packs sent, and what its path stores.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub packs: Option<PacksReport>,
    /// File content read from the volume to compare it, in bytes: 0 when nothing changed.
    #[serde(default)]
    pub hashed: u64,
    /// Entries removed, of every type (files, directories, links, pipes): of the revision before (push) or from the volume (pull). One
    /// replaced by an entry of another type is among them.
    #[serde(default)]
    pub deleted: u64,
    /// Entries or metadata that could not be replicated, by kind, for example `{"sockets": 2}`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub skipped: BTreeMap<String, u64>,
    /// How long the mover ran, in milliseconds.
    #[serde(default)]
    pub duration_ms: u64,
    /// At most 1 KiB of log, ending in the summary of rclone (`Transferred:`, `Checks:`, …).
    #[serde(default)]
    pub logs: String,
}

/// Bytes of a path in layout Packs, as they are stored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PacksReport {
    /// All packs at the path: those that the revision needs, those of retained revisions, and those that wait to be deleted.
    pub stored: u64,
    /// What of them the revision needs.
    pub live: u64,
    /// What this push sent: packs, the map and the manifest.
    pub sent: u64,
}

/// The result of a sync that succeeded. The fields of [`Report`] with these names say what they mean.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs, reason = "documented at Report")]
pub struct Synced {
    pub revision: String,
    pub data_time: Timestamp,
    pub checked_time: Option<Timestamp>,
    pub changed: bool,
    pub took_over: bool,
    pub files: u64,
    pub bytes: u64,
    pub transferred: u64,
    pub packs: Option<PacksReport>,
    pub hashed: u64,
    pub deleted: u64,
    pub skipped: BTreeMap<String, u64>,
    /// Retained revisions, of layout Packs, that a verification has found to need what is lost. No field of [`Report`]: its message names them.
    pub broken: Vec<String>,
}

impl Report {
    /// A report with this result, and nothing else.
    pub fn new(result: Outcome, message: String) -> Self {
        Self {
            result,
            reason: None,
            message,
            changed: false,
            took_over: false,
            adopted_state: None,
            made_bucket: None,
            revision: None,
            data_time: None,
            checked_time: None,
            files: 0,
            bytes: 0,
            transferred: 0,
            packs: None,
            hashed: 0,
            deleted: 0,
            skipped: BTreeMap::new(),
            duration_ms: 0,
            logs: String::new(),
        }
    }

    /// The report of a sync that succeeded.
    pub fn successful(message: String, synced: Synced) -> Self {
        let Synced { revision, data_time, checked_time, changed, took_over, files, bytes, .. } = synced;
        let Synced { transferred, packs, hashed, deleted, skipped, .. } = synced;
        let (revision, data_time) = (Some(revision), Some(data_time));
        let report = Self { changed, took_over, revision, data_time, checked_time, ..Self::new(Outcome::Successful, message) };
        Self { files, bytes, transferred, packs, hashed, deleted, skipped, ..report }
    }
}

/// Kubernetes cuts a termination message at this many bytes.
pub const MAX_REPORT_BYTES: usize = 4096;
