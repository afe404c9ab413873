//! A cluster of one replication: objects with UIDs, a clock, and the invariants that every write is held against.

use jiff::Timestamp;
use proptest_derive::Arbitrary;
use scribe_agent::api::Status;
use scribe_agent::core::model::claimant::{self, Sharing};
use scribe_agent::core::model::copy::CopyStatus;
use scribe_agent::core::model::facts::{
    Claim, Facts, Job, Kind, Meta, Object, Pod, Refresh, ResizeRefusal, Role, Slot, Snapshot, Unreadable,
};
use scribe_agent::core::model::limits::Limits;
use scribe_agent::core::model::placement::Consumer;
use scribe_agent::core::model::plan::{Event, NewJob, Step};
use scribe_agent::core::model::retention::Retention;
use scribe_agent::core::model::spec::{Capture, ClaimShape, DestinationClaim, InvalidSpec, Remote, SnapshotClass, Spec, Trigger, Volume};
use scribe_mover::report::PacksReport;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Which kind of replication the world holds.
#[derive(Clone, Copy, Debug, Arbitrary, PartialEq)]
pub enum Flavour {
    SourceSnapshot,
    SourceClone,
    SourceDirect,
    DestinationImage,
    DestinationImages,
    DestinationCleanup,
    DestinationDirect,
    DestinationExisting,
}

impl Flavour {
    pub const ALL: [Flavour; 8] = [
        Flavour::SourceSnapshot,
        Flavour::SourceClone,
        Flavour::SourceDirect,
        Flavour::DestinationImage,
        Flavour::DestinationImages,
        Flavour::DestinationCleanup,
        Flavour::DestinationDirect,
        Flavour::DestinationExisting,
    ];

    fn volume(self) -> Volume {
        let (class, last) = (SnapshotClass(None), Retention::last);
        let shape = ClaimShape { size: Some(1 << 30), ..ClaimShape::default() };
        let source = |capture| Volume::Source { claim: USERS_CLAIM.into(), capture, temporary: ClaimShape::default() };
        let destination = |claim, image, retain| Volume::Destination { claim, image, retain, cleanup: false, plain: false };
        match self {
            Flavour::SourceSnapshot => source(Capture::Snapshot(class)),
            Flavour::SourceClone => source(Capture::Clone),
            Flavour::SourceDirect => source(Capture::Direct),
            Flavour::DestinationImage => destination(DestinationClaim::Private(shape), Some(class), last(1)),
            Flavour::DestinationImages => destination(DestinationClaim::Private(shape), Some(class), last(3)),
            Flavour::DestinationCleanup => Volume::Destination {
                claim: DestinationClaim::Private(shape),
                image: Some(class),
                retain: last(1),
                cleanup: true,
                plain: false,
            },
            Flavour::DestinationDirect => destination(DestinationClaim::Private(shape), None, last(1)),
            Flavour::DestinationExisting => destination(DestinationClaim::Existing(USERS_CLAIM.into()), Some(class), last(1)),
        }
    }

    fn kind(self) -> Kind {
        match self {
            Flavour::SourceSnapshot | Flavour::SourceClone | Flavour::SourceDirect => Kind::Source,
            _ => Kind::Destination,
        }
    }
}

pub const USERS_CLAIM: &str = "data";
/// Another claim of the user's.
pub const OTHER_CLAIM: &str = "other-data";

mod api_server;
mod copies;
mod movers;
mod pins;

use copies::Requests;

#[derive(Clone)]
pub struct World {
    pub now: Timestamp,
    pub object: Object,
    pub spec: Spec,
    pub status: Status,
    pub claims: Vec<Claim>,
    pub snapshots: Vec<Snapshot>,
    pub jobs: Vec<Job>,
    pub pods: Vec<Pod>,
    pub writes: usize,
    pub slot: Slot,
    /// Who holds the slots.
    pub slot_holders: Vec<String>,
    pub events: Vec<Event>,
    /// What the cache may still show.
    pub past: Vec<Arc<Facts>>,
    /// Number of the revision on the remote, at every path; none before the first push.
    pub remote: Option<u32>,
    /// Number of the oldest revision that the paths still have, beside the newest.
    pub oldest: u32,
    /// What the destination's volume holds: UID of the claim, and remote path and number of the revision.
    pub applied: Option<(String, (String, u32))>,
    /// What the temporary snapshots and claims hold, by UID: the claim that they were taken of.
    captured: BTreeMap<String, String>,
    /// Whether a push has taken the path over since the annotation was set, and the state that its pushes are bound to.
    pub adopted: bool,
    pub bound: Option<String>,
    /// Whether the storage class lets claims grow, what was refused, and how often.
    pub grows: bool,
    pub refused_size: Option<ResizeRefusal>,
    pub refusals: usize,
    /// The volume that the spec asks for was another one before.
    pub edited: bool,
    /// What is wrong with the spec, if anything is.
    pub invalid: Option<String>,
    /// When the source of what is pulled was captured, as movers report it.
    pub data_time: Option<Timestamp>,
    /// What pushes report of packs.
    pub packs: Option<PacksReport>,
    /// All movers that were ever started, the last one last.
    pub movers: Vec<NewJob>,
    /// The tokens that movers were started with, without repetitions.
    pub allowed: Vec<String>,
    /// Images that a claim is being made from.
    pub in_use: BTreeSet<String>,
    /// The last create that was answered 5xx, as the agent knows it.
    pub blocked: Option<String>,
    /// What other destinations do with the same claim, as if this one did not write to it, and their Jobs.
    pub others: Sharing,
    pub foreign_jobs: Vec<String>,
    /// Pods of the user's that use the claim, and how often they were asked for.
    pub consumers: Vec<Consumer>,
    pub lists_of_pods: usize,
    /// Deletions that failed, as the agent knows them.
    pub undeleted: BTreeMap<String, String>,
    pub cluster: Cluster,
    pub requests: Requests,
    /// PVCs that may hold a part of what is pulled into them, and from where, since which attempt of which run.
    pub pulling: BTreeMap<(String, String), (String, i64)>,
    closed: BTreeSet<String>,
    made: BTreeMap<String, u32>,
}

/// What the cluster does not do as it should.
#[derive(Clone, Default)]
pub struct Cluster {
    /// Snapshots and claims do not come into being.
    pub slow: bool,
    /// Creates are answered 5xx.
    pub webhook_down: bool,
    /// Writes that are answered 5xx or 403.
    pub refuses: Option<fn(&Step) -> bool>,
    /// UIDs of pods whose node is lost.
    pub lost: BTreeSet<String>,
    /// Since when the mover makes no progress.
    pub hangs_since: Option<Timestamp>,
    /// Since when the logs of movers cannot be read.
    pub hidden_since: Option<Timestamp>,
    /// What it says of children that are not ready.
    pub warning: Option<String>,
}

impl World {
    pub fn new(flavour: Flavour) -> Self {
        let trigger = Trigger { wait_for_schedule: true, ..Trigger::default() };
        let remote = Remote { secret: "creds".into(), section: "r".into(), path: "p".into() };
        let mut world = World {
            now: "2026-01-01T00:00:00.7Z".parse().unwrap(),
            object: Object::new(flavour.kind(), "ns", "db", "owner"),
            spec: Spec { trigger, ..Spec::new(remote, flavour.volume()) },
            status: Status::default(),
            claims: Vec::new(),
            snapshots: Vec::new(),
            jobs: Vec::new(),
            pods: Vec::new(),
            writes: 0,
            slot: Slot::Free,
            slot_holders: Vec::new(),
            events: Vec::new(),
            past: Vec::new(),
            remote: Some(1),
            oldest: 1,
            applied: None,
            captured: BTreeMap::new(),
            adopted: false,
            bound: None,
            grows: true,
            refused_size: None,
            refusals: 0,
            edited: false,
            invalid: None,
            data_time: None,
            packs: None,
            movers: Vec::new(),
            allowed: Vec::new(),
            in_use: BTreeSet::new(),
            blocked: None,
            others: Sharing::default(),
            foreign_jobs: Vec::new(),
            consumers: Vec::new(),
            lists_of_pods: 0,
            undeleted: BTreeMap::new(),
            cluster: Cluster { warning: Some("words".into()), ..Cluster::default() },
            requests: Requests::default(),
            pulling: BTreeMap::new(),
            closed: BTreeSet::new(),
            made: BTreeMap::new(),
        };
        world.spec.trigger.manual = Some("0".into());
        world.put_claim(USERS_CLAIM, false);
        world.put_claim(OTHER_CLAIM, false);
        world
    }

    /// A claim that is not this object's: a user's, or what an earlier object of its name left.
    pub fn put_claim(&mut self, name: &str, namesake: bool) {
        let meta = Meta { name: name.into(), uid: self.uid(), namesake, ..Meta::default() };
        self.claims.push(Claim { meta, bound: true, ..Claim::default() });
    }

    pub fn limits() -> Limits {
        Limits::default()
    }

    pub fn uid(&mut self) -> String {
        self.uid_of("")
    }

    /// By what the object is, so that the order in which others are made does not show in it.
    pub fn uid_of(&mut self, what: &str) -> String {
        let count = self.made.entry(what.to_owned()).or_default();
        *count += 1;
        format!("{what}#{count}")
    }

    /// All that decides how things go on, in words.
    pub fn canonical(&self, to: &mut impl std::fmt::Write) {
        let World { now, object, status, claims, snapshots, jobs, pods, remote, applied, in_use, closed, blocked, undeleted, .. } = self;
        let things = (claims, snapshots, jobs, pods);
        write!(
            to,
            "{now:?}{}{}{status:?}{things:?}{remote:?}{applied:?}{in_use:?}{closed:?}{blocked:?}{undeleted:?}",
            object.uid, object.generation
        )
        .unwrap();
    }

    /// The cluster's warnings about children.
    pub fn warnings(&self) -> Option<String> {
        self.cluster.warning.clone()
    }

    /// The object's snapshots, as they are listed.
    pub fn snapshots(&self) -> Vec<Snapshot> {
        self.snapshots.iter().filter(|s| s.meta.role.is_some()).cloned().collect()
    }

    /// The spec, as it is read.
    pub fn spec(&self) -> Result<Spec, InvalidSpec> {
        self.invalid.clone().map_or_else(|| Ok(self.spec.clone()), |problem| Err(InvalidSpec(problem)))
    }

    /// Everything as it is now.
    pub fn facts(&self) -> Facts {
        let unreadable = self.cluster.hidden_since.filter(|_| self.pods.iter().any(|pod| !pod.ended));
        Facts {
            object: self.object.clone(),
            spec: self.spec(),
            status: self.status.clone(),
            claims: self.claims(),
            snapshots: self.snapshots(),
            snapshots_known: true,
            jobs: self.jobs.clone(),
            pods: self.pods.clone(),
            images_in_use: self.in_use.clone(),
            fresh: BTreeSet::new(),
            warnings: None,
            undeclared: BTreeSet::new(),
            slot: Slot::Taken,
            slot_holders: self.slot_holders.clone(),
            resize_refused: self.refused_size.clone(),
            refusal: None,
            blocked: self.blocked.clone(),
            undeleted: self.undeleted.clone(),
            troubles: Vec::new(),
            sharing: self.sharing(),
            foreign_jobs: self.foreign_jobs.clone(),
            consumers: Vec::new(),
            progress: Some(self.cluster.hangs_since.unwrap_or(self.now)),
            unreadable: unreadable.map(|since| Unreadable { since, why: "the kubelet does not answer".into() }),
        }
    }

    /// What other destinations do with the claim.
    pub fn sharing(&self) -> Sharing {
        // What its source pushes is refused whoever writes.
        Sharing { rival: self.others.rival.clone().filter(|_| !self.writes()), ..self.others.clone() }
    }

    /// Whether it is this object that writes to the claim, so that it goes first.
    pub fn writes(&self) -> bool {
        self.status.run.as_ref().is_some_and(claimant::writes)
    }

    /// Whether it is a source whose sync runs, so that no destination begins to pull into its claim.
    pub fn pushes(&self) -> bool {
        self.object.kind == Kind::Source && self.status.run.as_ref().is_some_and(claimant::pushes)
    }

    /// The same, just read, with a place to start.
    pub fn all_fresh(&self) -> Facts {
        Facts { slot: Slot::Free, fresh: Refresh::ALL.into_iter().chain([Refresh::Slot, Refresh::Sharing]).collect(), ..self.facts() }
    }

    /// What the status says of images is true, whatever the moment. Not where somebody deletes them by hand.
    pub fn assert_images_are_there(&self) {
        let there = |name: &str| self.snapshots.iter().any(|s| s.meta.name == name && s.ready && !s.meta.deleting);
        let latest = self.status.latest_image.as_ref().filter(|i| i.kind == "VolumeSnapshot").map(|i| i.name.as_str());
        for name in self.status.images.iter().map(|i| i.name.as_str()).chain(latest) {
            assert!(there(name), "{name} is published and not there");
        }
    }

    /// What latestImage names is there, and holds the revision of the status.
    pub fn assert_published(&self) {
        let Some(latest) = &self.status.latest_image else { panic!("nothing is published: {:#?}", self.status) };
        let revision = self.status.revision.as_ref();
        if latest.kind == "VolumeSnapshot" {
            let there = self.snapshots().into_iter().any(|s| s.meta.name == latest.name && s.ready && s.revision.as_ref() == revision);
            return assert!(there, "{latest:?} does not hold {revision:?}");
        }
        let claim = self.claims.iter().find(|c| c.meta.name == latest.name && !c.meta.deleting).map(|c| &c.meta.uid);
        let held = self.applied.as_ref().filter(|(uid, _)| Some(uid) == claim);
        let held = held.map(|(_, (remote, number))| World::revision(remote, *number));
        assert_eq!(held.as_ref(), revision, "{latest:?} does not hold it");
    }

    /// The last tag is synced, and nothing is left of the work.
    pub fn assert_settled(&self) {
        self.assert_settled_without_a_tag();
        if let Volume::Destination { image: Some(_), .. } = &self.spec.volume {
            let newest = self.remote.map(|number| World::revision(&self.subject().remote, number));
            let wanted = self.wanted().map_or(newest, |pin| pin.revision);
            assert_eq!(self.status.images[0].revision, wanted);
        }
        let volumes = self.claims.iter().filter(|c| c.meta.role == Some(Role::Volume)).count();
        let private = matches!(self.spec.volume, Volume::Destination { claim: DestinationClaim::Private(_), cleanup: false, .. });
        assert!(volumes == usize::from(private) || volumes == 1 && self.edited, "volumes of the destination");
    }

    /// What was synced last is what the spec names, and nothing is left of the work. Since then there may be something new at the remote,
    /// and somebody may have deleted what was made.
    pub fn assert_settled_without_a_tag(&self) {
        let status = &self.status;
        assert_eq!(status.synced, Some(self.subject()), "the last sync was of an earlier spec");
        assert_eq!(status.last_manual_sync, self.spec.trigger.manual, "the tag was not synced: {:#?}", status.run);
        assert!(status.run.is_none() && status.last_error.is_none(), "{status:#?}");
        assert!(self.jobs.is_empty(), "Jobs are left: {:?}", self.jobs);
        if matches!(self.spec.volume, Volume::Destination { .. }) {
            self.assert_published();
            let claim = self.subject().claim.unwrap_or_else(|| self.object.claim_name());
            assert!(status.unfinished_pulls.iter().all(|pull| pull.claim != claim), "a source would wait: {:?}", status.unfinished_pulls);
            assert_eq!(status.pinned.is_some(), self.spec.pin.is_some(), "what is pinned: {:?}", status.pinned);
        }
        let captures = self.claims.iter().map(|c| &c.meta).chain(self.snapshots.iter().map(|s| &s.meta));
        assert!(captures.clone().all(|m| m.role != Some(Role::Capture)), "temporary children are left: {:?}", captures.collect::<Vec<_>>());
        let waits = |claim: &&Claim| !matches!(claim.copy.status, None | Some(CopyStatus::Completed));
        assert_eq!(self.claims.iter().find(waits), None, "a script would wait for a copy");
        let images: BTreeSet<_> = self.snapshots.iter().filter(|s| s.meta.role == Some(Role::Image)).map(|s| &s.meta.name).collect();
        assert_eq!(images, status.images.iter().map(|i| &i.name).collect(), "images other than those of the list");
        assert_eq!(images.len(), status.images.len(), "an image twice in the list");
        if let Volume::Destination { image: Some(_), retain, .. } = &self.spec.volume {
            assert!(images.len() <= retain.most(), "{images:?}");
            let latest = status.latest_image.as_ref().map(|i| &i.name);
            assert_eq!(latest, status.images.first().map(|image| &image.name));
            assert!(self.snapshots.iter().filter(|s| Some(&s.meta.name) == latest).all(|s| s.ready));
        }
    }
}
