//! What is to be done: an ordered list of writes, each safe to repeat.

use crate::api::Status;
use crate::api::mover::MoverPod;
use crate::api::pin::PinSpec;
use crate::api::reason::Reason;
use crate::api::status::Subject;
use crate::core::model::copy::{CopyBy, CopyStatus};
use crate::core::model::facts::{Meta, Refresh, Role};
use crate::core::model::placement::Pin;
use crate::core::model::spec::{ClaimShape, Guard, PushLayout, Remote, SnapshotClass};
use jiff::Timestamp;
use std::collections::BTreeSet;

/// What is to be done now, and when to reconcile again.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plan {
    /// Writes, in this order; after a failed one the rest is left for the next reconcile. Only what removes a child does not end a plan: the
    /// other removals, and all but creates, do not depend on it.
    pub steps: Vec<Step>,
    /// Facts that these steps must not take from a cache.
    pub needs: BTreeSet<Refresh>,
    /// When time alone may change the decision.
    pub wake: Option<Timestamp>,
    /// Something has been waited for so long that the cluster's warnings about it are worth a request, at most one a minute.
    pub asks_why: bool,
}

impl Plan {
    /// Looks again at `time`, or earlier if that was planned already.
    pub fn wake_at(&mut self, time: Timestamp) {
        self.wake = Some(self.wake.map_or(time, |w| w.min(time)));
    }
}

/// One write.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// The whole status, guarded by the resourceVersion just read.
    WriteStatus(Box<Status>),
    /// A child with a fixed name; where the name is taken, the plan stops.
    Create(Child),
    /// A child, by name and UID.
    Delete(ChildRef),
    /// Owner reference and labels off an image that the user wants to keep.
    Release(ChildRef),
    /// More room, in bytes, for a claim.
    Resize(ChildRef, u64),
    /// An event on the object.
    Publish(Event),
    /// How far a copy of the user's claim is, on that claim.
    NoteCopy(CopyNote),
}

impl Step {
    /// The child that it takes away, if it does.
    pub fn removes(&self) -> Option<&ChildRef> {
        match self {
            Step::Delete(target) | Step::Release(target) => Some(target),
            _ => None,
        }
    }
}

/// What the annotations of a copy trigger become, on the very version of the claim that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CopyNote {
    /// The claim.
    pub claim: ChildRef,
    /// Its `metadata.resourceVersion`.
    pub version: String,
    /// How far the copy is; none where nobody makes or waits for one any more.
    pub status: Option<CopyStatus>,
    /// Since when a value has been waited for.
    pub waiting_since: Option<Timestamp>,
    /// The value whose copy is there; the one before stays where this is none.
    pub latest: Option<String>,
    /// Whose status it is, and which value is used up.
    pub by: CopyBy,
    /// Published once it is written.
    pub told: Option<Event>,
}

impl CopyNote {
    /// Whether it comes before what it announces, so that nothing of that is done without it.
    pub fn announces(&self) -> bool {
        matches!(self.status, Some(CopyStatus::WaitingForTrigger | CopyStatus::InProgress))
    }
}

/// A child to create.
#[derive(Clone, Debug, PartialEq)]
pub enum Child {
    /// A `VolumeSnapshot`.
    Snapshot(NewSnapshot),
    /// A `PersistentVolumeClaim`.
    Claim(NewClaim),
    /// A mover's `Job`.
    Job(Box<NewJob>),
}

impl Child {
    /// Its name.
    pub fn name(&self) -> &str {
        match self {
            Child::Snapshot(new) => &new.name,
            Child::Claim(new) => &new.name,
            Child::Job(new) => &new.name,
        }
    }
}

/// A `VolumeSnapshot` to create.
#[derive(Clone, Debug, PartialEq)]
pub struct NewSnapshot {
    /// Its name.
    pub name: String,
    /// What it is for.
    pub role: Role,
    /// The run it is made for.
    pub run: String,
    /// The claim it is taken from.
    pub claim: String,
    /// Its class.
    pub class: SnapshotClass,
    /// Revision and UID of the claim, for images.
    pub content: Option<(String, String)>,
    /// The value of the copy trigger that asks for it.
    pub copied_for: Option<String>,
}

/// A `PersistentVolumeClaim` to create.
#[derive(Clone, Debug, PartialEq)]
pub struct NewClaim {
    /// Its name.
    pub name: String,
    /// What it is for.
    pub role: Role,
    /// The run it is made for; none for a destination's lasting volume.
    pub run: Option<String>,
    /// Its content.
    pub from: Origin,
    /// Size, modes, class.
    pub shape: ClaimShape,
    /// The value of the copy trigger that asks for it.
    pub copied_for: Option<String>,
}

/// What a new claim is filled from.
#[derive(Clone, Debug, PartialEq)]
pub enum Origin {
    /// Nothing.
    Empty,
    /// A snapshot of this name.
    Snapshot(String),
    /// Another claim of this name.
    Claim(String),
}

/// A mover's `Job` to create.
#[derive(Clone, Debug, PartialEq)]
pub struct NewJob {
    /// Its name.
    pub name: String,
    /// The run it is made for.
    pub run: String,
    /// The attempt of that run.
    pub attempt: i64,
    /// The claim it mounts.
    pub claim: String,
    /// UID of that claim, for pulls: what the mover applied is only there as long as the claim is.
    pub claim_uid: Option<String>,
    /// What it replicates, of the very spec that the rest is made of.
    pub subject: Subject,
    /// The remote.
    pub remote: Remote,
    /// How much it may delete.
    pub guard: Guard,
    /// The token of a refused deletion that it may go on with.
    pub allow_deletions: Option<String>,
    /// What the spec says of the mover's pod.
    pub pod: MoverPod,
    /// The node that it is kept to, where its volume can be used on that one only.
    pub pin: Option<Pin>,
    /// What the mover does.
    pub work: MoverTask,
}

/// What a mover does.
#[derive(Clone, Debug, PartialEq)]
pub enum MoverTask {
    /// Volume to remote; the volume is mounted read-only.
    Push {
        /// When the volume was captured; the mover takes the time of its start where this is not known.
        captured: Option<Timestamp>,
        /// The revision this object pushed to this very path, where its last successful push was there.
        pushed: Option<String>,
        /// Whether the user lets it take over the path.
        adopt: bool,
        /// The only state of the path that it may take over, where an earlier attempt has seen one.
        adopt_state: Option<String>,
        /// Whether the user asks it to list the path and repair it.
        verify_now: bool,
        /// How it lays the path out.
        layout: PushLayout,
        /// What of the volume it leaves out: patterns of gitignore, in their order.
        exclude: Vec<String>,
    },
    /// Remote to volume.
    Pull {
        /// The revision that this very volume holds, where that is certain; or an earlier one.
        applied: Option<String>,
        /// Whether the volume was made for this object, so that nothing else reads it meanwhile.
        private: bool,
        /// Whether the path was not written by a source of ours.
        plain: bool,
        /// The revision to pull instead of the newest.
        pin: Option<PinSpec>,
    },
}

/// A child to delete or let go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChildRef {
    /// Its kind.
    pub kind: ChildKind,
    /// Its name.
    pub name: String,
    /// Its UID: nothing else of that name is touched.
    pub uid: String,
}

impl ChildRef {
    /// The child with this metadata.
    pub fn of(kind: ChildKind, meta: &Meta) -> Self {
        Self { kind, name: meta.name.clone(), uid: meta.uid.clone() }
    }
}

/// Kinds of children.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ChildKind {
    /// `Job`
    Job,
    /// `PersistentVolumeClaim`
    Claim,
    /// `VolumeSnapshot`
    Snapshot,
}

impl ChildKind {
    /// The kind's name in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            ChildKind::Job => "Job",
            ChildKind::Claim => "PersistentVolumeClaim",
            ChildKind::Snapshot => "VolumeSnapshot",
        }
    }
}

/// An event on the object. Its name is derived from `key`, so that a repeated write makes no second event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// `Warning` instead of `Normal`.
    pub warning: bool,
    /// In CamelCase.
    pub reason: Reason,
    /// A sentence.
    pub note: String,
    /// What makes this event different from any other of the object.
    pub key: String,
}
