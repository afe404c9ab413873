//! What was observed of one object and its children, reduced to what decisions need.

mod children;

pub use children::{Claim, Growth, Job, Meta, Pod, Role, Snapshot};

use crate::api::Status;
use crate::api::reason::Reason;
use crate::api::status::Run;
use crate::core::model::claimant::Sharing;
use crate::core::model::names;
use crate::core::model::placement::Consumer;
use crate::core::model::spec::{InvalidSpec, Spec};
use jiff::Timestamp;
use std::collections::{BTreeMap, BTreeSet};

/// Everything that [`decide`](crate::core::decide::decide) depends on, except for the time.
#[derive(Clone, Debug)]
pub struct Facts {
    /// The object itself.
    pub object: Object,
    /// Its spec, or what is wrong with it.
    pub spec: Result<Spec, InvalidSpec>,
    /// Its status as it stands in the cluster.
    pub status: Status,
    /// PVCs that matter: the object's own, and the user's that the spec names.
    pub claims: Vec<Claim>,
    /// Snapshots that belong to the object.
    pub snapshots: Vec<Snapshot>,
    /// Whether `snapshots` was read: nothing is known of them while the API server answers that it does not serve the kind.
    pub snapshots_known: bool,
    /// Jobs that belong to the object.
    pub jobs: Vec<Job>,
    /// Mover pods that belong to the object, and those of others that pull into the same PVC.
    pub pods: Vec<Pod>,
    /// Names of snapshots that a PVC is being made from: it names them and is still unbound.
    pub images_in_use: BTreeSet<String>,
    /// Which facts were just read from the API server instead of taken from the cache.
    pub fresh: BTreeSet<Refresh>,
    /// The cluster's warnings about children that keep it waiting; read only on request ([`Refresh::Warnings`]).
    pub warnings: Option<String>,
    /// Whether the agent may start one more sync; determined only on request ([`Refresh::Slot`]).
    pub slot: Slot,
    /// Where it may not, a few of those that have held their slots long, by kind and name.
    pub slot_holders: Vec<String>,
    /// Paths of the status fields that the cluster's CRD does not declare: they are never stored.
    pub undeclared: BTreeSet<String>,
    /// The API server refused to let the destination's volume grow.
    pub resize_refused: Option<ResizeRefusal>,
    /// The API server refused one of the last plan's writes, and why.
    pub refusal: Option<Refusal>,
    /// The last create did not work, for a reason that may pass (a webhook that is down): the server's answer. Until one works.
    pub blocked: Option<String>,
    /// By UID, children whose last deletion failed, and the server's answer.
    pub undeleted: BTreeMap<String, String>,
    /// What does not work in the cluster although syncs go on (a missing permission, an old CRD); reported in the condition Reconciled.
    pub troubles: Vec<String>,
    /// What other objects do with the same PVC; it is given out only on request ([`Refresh::Sharing`]).
    pub sharing: Sharing,
    /// Names of other destinations' Jobs that mount the same PVC and have not ended: their pods may come at any time. For a source, of those that
    /// pull from the very path that it pushes to, as the cache shows them.
    pub foreign_jobs: Vec<String>,
    /// Pods that use the volume which the object's mover is to mount; read only on request ([`Refresh::Consumers`]).
    pub consumers: Vec<Consumer>,
    /// When the run's mover was last seen to move on, by a clock that no step of the time of day changes.
    pub progress: Option<Timestamp>,
    /// The log of the run's mover cannot be read, so that nothing is known of its progress.
    pub unreadable: Option<Unreadable>,
}

/// Since when the log of a mover cannot be read, and the API server's answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unreadable {
    /// The first of the reads that failed one after the other.
    pub since: Timestamp,
    /// What it was answered.
    pub why: String,
}

/// Whether one more sync may start: at most `maxConcurrentSyncs` at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Slot {
    /// All slots are taken, or others are first in the queue.
    #[default]
    Taken,
    /// One more may start.
    Free,
}

/// Facts that a plan may ask to be read afresh.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Refresh {
    /// The PVCs of the namespace.
    Claims,
    /// The object's snapshots.
    Snapshots,
    /// The object's Jobs, and those of others that pull into the same PVC.
    Jobs,
    /// The object's mover pods, and those of others that pull into the same PVC.
    Pods,
    /// The pods that use the volume which a mover is to mount. One list of all pods of the namespace: asked for where a mover is about to
    /// start, and its volume can be used on one node only.
    Consumers,
    /// Warnings of the cluster about children.
    Warnings,
    /// Whether the agent has room for one more sync. It stands in the cache: no request is made.
    Slot,
    /// Whether a destination may write to its PVC, which no other one is given meanwhile, or a source may push it. No request is made, but for one
    /// list of the sources where a pull into a PVC of the user's is to begin.
    Sharing,
}

impl Refresh {
    /// All that is read from the API server: for plans that give an attempt up.
    pub const ALL: [Refresh; 5] = [Refresh::Claims, Refresh::Snapshots, Refresh::Jobs, Refresh::Pods, Refresh::Warnings];
}

/// Which of the two kinds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// `ReplicationSource`
    Source,
    /// `ReplicationDestination`
    Destination,
}

impl Kind {
    /// Name of the mover's Job of an object of this kind and name.
    pub fn job_name(self, object: &str) -> String {
        match self {
            Kind::Source => names::source_job(object),
            Kind::Destination => names::destination_job(object),
        }
    }

    /// Name of the claim made for such an object: temporary for a source, lasting for a destination.
    pub fn claim_name(self, object: &str) -> String {
        match self {
            Kind::Source => names::capture(object),
            Kind::Destination => names::volume(object),
        }
    }

    /// The kind's name in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::Source => "ReplicationSource",
            Kind::Destination => "ReplicationDestination",
        }
    }
}

/// The object itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Object {
    /// Which kind.
    pub kind: Kind,
    /// `metadata.namespace`
    pub namespace: String,
    /// `metadata.name`
    pub name: String,
    /// `metadata.uid`
    pub uid: String,
    /// `metadata.resourceVersion`; guards status writes.
    pub resource_version: String,
    /// `metadata.generation`
    pub generation: i64,
    /// `metadata.creationTimestamp`
    pub created: Option<Timestamp>,
    /// Whether it is being deleted.
    pub deleting: bool,
    /// The path whose files it may take over, by the user's annotation.
    pub adopt_path: Option<String>,
    /// The token of a refused deletion that it may go on with, by the user's annotation.
    pub allow_deletions: Option<String>,
    /// A new value asks for one sync at once, by the user's annotation.
    pub sync_now: Option<String>,
    /// A new value asks a source's next push, by the user's annotation, to list its path and repair it.
    pub verify_now: Option<String>,
    /// The run that is to end, by the user's annotation.
    pub abort: Option<String>,
    /// The PVC of the user's that a destination's spec names, be the spec valid or not.
    pub destination_pvc: Option<String>,
}

impl Object {
    /// One of the first generation, without annotations.
    pub fn new(kind: Kind, namespace: &str, name: &str, uid: &str) -> Object {
        Object {
            kind,
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            uid: uid.to_owned(),
            resource_version: "1".to_owned(),
            generation: 1,
            created: None,
            deleting: false,
            adopt_path: None,
            allow_deletions: None,
            sync_now: None,
            verify_now: None,
            abort: None,
            destination_pvc: None,
        }
    }

    /// Name of its mover's Job.
    pub fn job_name(&self) -> String {
        self.kind.job_name(&self.name)
    }

    /// Name of the claim made for it: temporary for a source, lasting for a destination.
    pub fn claim_name(&self) -> String {
        self.kind.claim_name(&self.name)
    }

    /// The PVC of the user's that it pulls into by its spec, valid or not; none where one is created for it.
    pub fn pulls_into<'a>(&'a self, spec: &'a Result<Spec, InvalidSpec>) -> Option<&'a str> {
        spec.as_ref().map_or(self.destination_pvc.as_deref(), Spec::pulls_into)
    }
}

/// A write that the API server refused for good.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// What kind of refusal.
    pub reason: Reason,
    /// The server's message, and what to do.
    pub message: String,
}

/// A volume that could not grow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResizeRefusal {
    /// The requested size, in bytes.
    pub size: u64,
    /// The server's message, and what to do.
    pub message: String,
}

impl Facts {
    /// The PVC of the user's with this name.
    pub fn users_claim(&self, name: &str) -> Option<&Claim> {
        self.claims.iter().find(|c| c.meta.name == name && c.meta.role.is_none() && !c.meta.deleting)
    }

    /// Whether the PVC of the user's that the spec names is not there. Nothing can be tried before it is.
    pub fn lacks_claim(&self) -> bool {
        let named = self.spec.as_ref().ok().and_then(Spec::users_claim);
        named.is_some_and(|name| self.users_claim(name).is_none())
    }

    /// Claims of the object with this role. One of another name is a copy of the manifest, labels and owner included.
    pub fn claims_as(&self, role: Role) -> impl Iterator<Item = &Claim> {
        let name = self.object.claim_name();
        self.claims.iter().filter(move |c| c.meta.role == Some(role) && c.meta.name == name)
    }

    /// Snapshots with this role; none that could not have been made for it, by its name.
    pub fn snapshots_as(&self, role: Role) -> impl Iterator<Item = &Snapshot> {
        let name = self.object.claim_name();
        self.snapshots.iter().filter(move |s| {
            let ours = match role {
                Role::Image => names::is_image(&self.object.name, &s.meta.name),
                _ => s.meta.name == name,
            };
            ours && s.meta.role == Some(role)
        })
    }

    /// The object's Jobs; none that could not have been made for it, by its name.
    pub fn movers(&self) -> impl Iterator<Item = &Job> {
        let name = self.object.job_name();
        self.jobs.iter().filter(move |job| job.meta.name == name)
    }

    /// The Job of this very attempt, and its pod.
    pub fn mover_of(&self, run: &Run) -> (Option<&Job>, Option<&Pod>) {
        let job = self.movers().find(|j| !j.meta.deleting && j.meta.is_of_attempt(run));
        (job, self.pod_of(run))
    }

    /// The pod of this very attempt: the newest one. A Job whose pod was lost before it was counted makes another; one that has not ended
    /// is newer than those that have, whatever the clocks of the API servers say.
    pub fn pod_of(&self, run: &Run) -> Option<&Pod> {
        self.pods.iter().filter(|pod| pod.meta.is_of_attempt(run)).max_by_key(|pod| (!pod.ended, pod.meta.created))
    }

    /// A mover pod of the object that may still be writing.
    pub fn living_mover(&self) -> Option<&Pod> {
        self.pods.iter().find(|p| !p.ended)
    }

    /// Whether there is one.
    pub fn mover_lives(&self) -> bool {
        self.living_mover().is_some()
    }
}
