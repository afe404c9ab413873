//! What was observed of children, and of the user's claims: of each kind what decisions need.

use crate::api::status::Run;
use crate::core::model::copy::CopyTrigger;
use jiff::Timestamp;
use scribe_mover::report::{Outcome, Report};

/// What a child is for; the label `app.kubernetes.io/component`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// A source's temporary snapshot or PVC.
    Capture,
    /// The PVC made for a destination.
    Volume,
    /// A destination's good copy.
    Image,
    /// A Job or pod that moves data.
    Mover,
}

impl Role {
    /// The label's value.
    pub fn as_str(self) -> &'static str {
        match self {
            Role::Capture => "capture",
            Role::Volume => "volume",
            Role::Image => "image",
            Role::Mover => "mover",
        }
    }

    /// The role with this label.
    pub fn parse(text: &str) -> Option<Role> {
        [Role::Capture, Role::Volume, Role::Image, Role::Mover].into_iter().find(|r| r.as_str() == text)
    }
}

/// What all children have in common.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Meta {
    /// `metadata.name`
    pub name: String,
    /// `metadata.uid`
    pub uid: String,
    /// What it is for; none for the user's own objects.
    pub role: Option<Role>,
    /// The run it was made for.
    pub run: Option<String>,
    /// The attempt of that run.
    pub attempt: Option<i64>,
    /// `metadata.creationTimestamp`
    pub created: Option<Timestamp>,
    /// Whether it is being deleted.
    pub deleting: bool,
    /// `metadata.deletionTimestamp`
    pub deleting_since: Option<Timestamp>,
    /// It belonged to an object of this name that is no more, and will be collected.
    pub namesake: bool,
    /// Finalizers that keep it from going.
    pub held_by: Vec<String>,
}

impl Meta {
    /// What follows the name of one that is being deleted and does not go.
    pub fn held(&self) -> String {
        if self.held_by.is_empty() { String::new() } else { format!(", held by {}", self.held_by.join(", ")) }
    }

    /// Whether this child was made for the present attempt of `run`.
    pub fn is_of_attempt(&self, run: &Run) -> bool {
        self.run.as_deref() == Some(run.id.as_str()) && self.attempt == Some(run.attempt)
    }

    /// Whether this child was made for `run` and will stay.
    pub fn serves(&self, run: &str) -> bool {
        !self.deleting && self.run.as_deref() == Some(run)
    }
}

/// A `PersistentVolumeClaim`.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Claim {
    /// Common part.
    pub meta: Meta,
    /// Whether it has its volume.
    pub bound: bool,
    /// Storage class, access modes and the larger of requested and actual size.
    pub shape: crate::core::model::spec::ClaimShape,
    /// Whether it is a raw block volume, which holds no files.
    pub block: bool,
    /// Name of the snapshot that it was created from.
    pub made_from: Option<String>,
    /// What the user's annotations say of its copies, and ours of them.
    pub copy: CopyTrigger,
    /// The value of the copy trigger that asked for it (clones).
    pub copied_for: Option<String>,
    /// Its volume is smaller than what is requested by now.
    pub growth: Option<Growth>,
}

/// An expansion that was requested and has not ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Growth {
    /// The size of the volume, as the cluster writes it.
    pub from: String,
    /// The requested size.
    pub to: String,
    /// What its conditions say of it.
    pub state: Option<String>,
}

/// A `VolumeSnapshot`.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Snapshot {
    /// Common part.
    pub meta: Meta,
    /// `status.readyToUse`
    pub ready: bool,
    /// When the data was captured, or a time before that.
    pub captured: Option<Timestamp>,
    /// `status.restoreSize` in bytes.
    pub restore_size: Option<u64>,
    /// `status.error.message`
    pub error: Option<String>,
    /// Whether the driver has captured the data; until it is ready, a copy may still be in progress.
    pub taken: bool,
    /// The user asked to keep it.
    pub keep: bool,
    /// Revision it holds (images).
    pub revision: Option<String>,
    /// UID of the claim it was taken from (images).
    pub claim_uid: Option<String>,
    /// The value of the copy trigger that asked for it (temporary ones).
    pub copied_for: Option<String>,
}

/// A `Job`.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Job {
    /// Common part.
    pub meta: Meta,
    /// None while it runs, then whether it succeeded.
    pub succeeded: Option<bool>,
    /// UID of the claim that it was made to pull into.
    pub claim_uid: Option<String>,
    /// What its mover replicates, as [`subject::text`](crate::core::model::subject::text) wrote it; none on a Job of an older agent.
    pub subject: Option<String>,
    /// The node that its pod is kept to, and why, see [`Pin::why`](crate::core::model::placement::Pin::why).
    pub placement: Option<String>,
    /// The Job controller's message on a failure.
    pub message: String,
    /// Whether it failed because its pod was disrupted, see [`Pod::disrupted`]: the Job shows that also once the pod is gone.
    pub disrupted: bool,
}

impl Job {
    /// What follows "to start" in a message where its pod is kept to a node.
    pub fn placed(&self) -> String {
        self.placement.as_ref().map_or_else(String::new, |placement| format!(" {placement}"))
    }
}

/// A mover's pod.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
#[allow(clippy::struct_excessive_bools, reason = "each answers a question of its own")]
pub struct Pod {
    /// Common part.
    pub meta: Meta,
    /// Whether the mover's process has begun.
    pub started: bool,
    /// Whether all containers have ended for good.
    pub ended: bool,
    /// When a pod that is being deleted should have ended, its grace period included.
    pub ends_by: Option<Timestamp>,
    /// The termination message.
    pub report: Option<String>,
    /// When the mover's container ended.
    pub finished: Option<Timestamp>,
    /// A container beside the mover's that has not ended although the mover's has, and so keeps the pod from ending: it runs, or never starts.
    pub kept_by: Option<String>,
    /// Whether the mover's container ended with exit code 0.
    pub succeeded: bool,
    /// Whether the mover ended by its own will, be it well or badly; false when it was killed or evicted.
    pub by_itself: bool,
    /// Whether the cluster ended the pod for reasons of its own: a drain or another eviction, preemption, or a node that shuts down.
    pub disrupted: bool,
    /// Why the container ended or does not start, as the cluster reports it (`OOMKilled`, `ErrImagePull: …`).
    pub cause: Option<String>,
    /// Whether the scheduler has found a node for it.
    pub scheduled: bool,
    /// What the scheduler says, if it last found none.
    pub unscheduled: Option<String>,
}

impl Pod {
    /// Whether its mover has done its work, and at most the pod's phase does not show it yet: the kubelet takes two seconds longer over
    /// that. Each container has terminated and none is restarted, and its Job makes no second pod (`backoffLimit` 0, and `podFailurePolicy` for
    /// one that is evicted).
    pub fn is_done(&self) -> bool {
        let undisturbed = !self.disrupted && !self.meta.deleting;
        let terminated = self.finished.is_some() && self.kept_by.is_none();
        undisturbed && terminated && self.succeeded && self.report().is_some_and(|report| report.result == Outcome::Successful)
    }

    /// What its mover reported, where that can be read.
    pub fn report(&self) -> Option<Report> {
        serde_json::from_str(self.report.as_deref()?).ok()
    }
}
