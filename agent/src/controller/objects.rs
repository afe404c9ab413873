//! Read access to all objects of the namespace, both kinds alike.

use super::slots::RunState;
use crate::api::trigger::TriggerSpec;
use crate::api::{ReplicationDestination, ReplicationSource, Status, labels};
use crate::cluster::view::{Replicated, Replication, annotation};
use crate::core::model::facts::Kind;
use crate::core::model::subject::Named;
use crate::core::model::{approvals, spec};
use crate::core::schedule::due;
use crate::core::schedule::queue::{Candidate, Lifecycle, Movers, QueueEntry};
use futures::FutureExt;
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::ResourceExt;
use kube::runtime::reflector::{ObjectRef, Store};

/// The stores of both kinds.
#[derive(Clone)]
pub struct Objects {
    /// Sources.
    pub sources: Store<ReplicationSource>,
    /// Destinations.
    pub destinations: Store<ReplicationDestination>,
}

impl Objects {
    /// All objects, sources first, each kind by name.
    pub fn all(&self) -> Vec<Replication> {
        let mut all: Vec<_> = self.sources.state().iter().map(|o| o.replication()).collect();
        all.extend(self.destinations.state().iter().map(|o| o.replication()));
        all.sort_by(|a, b| (a.object.kind, &a.object.name).cmp(&(b.object.kind, &b.object.name)));
        all
    }

    /// Calls `see` with every object, without the cost of reading all of its spec.
    pub fn each(&self, see: impl FnMut(Kind, &str, QueueEntry<'_>)) {
        self.each_with(|_| None, see);
    }

    /// The same, where it is known which claims are there.
    fn each_with(&self, there: impl Fn(&str) -> Option<bool>, mut see: impl FnMut(Kind, &str, QueueEntry<'_>)) {
        let claim = |subject: &Named<'_>| subject.claim().and_then(&there);
        let none = Status::default();
        for object in self.sources.state() {
            let (spec, status) = (&object.spec, object.status.as_ref().unwrap_or(&none));
            let subject = Named::by_source(spec);
            let mut entry = entry(Kind::Source, &object.metadata, spec.paused, spec.trigger.as_ref(), &subject, status);
            let claim = claim(&subject);
            (entry.lacks_claim, entry.has_claim) = (claim == Some(false), claim == Some(true));
            see(Kind::Source, object.metadata.name.as_deref().unwrap_or_default(), entry);
        }
        for object in self.destinations.state() {
            let (spec, status) = (&object.spec, object.status.as_ref().unwrap_or(&none));
            let subject = Named::by_destination(spec);
            let mut entry = entry(Kind::Destination, &object.metadata, spec.paused, spec.trigger.as_ref(), &subject, status);
            let claim = claim(&subject);
            (entry.lacks_claim, entry.has_claim) = (claim == Some(false), claim == Some(true));
            see(Kind::Destination, object.metadata.name.as_deref().unwrap_or_default(), entry);
        }
    }

    /// All objects as candidates for a slot; `movers` is asked with the UID and the name of the Job of each, and the claim of the
    /// user's that it pulls into, and `there` with the name of each claim of the user's that an object needs.
    pub(super) fn candidates(
        &self,
        movers: impl Fn(&str, &str, Option<&str>) -> Movers,
        there: impl Fn(&str) -> bool,
        now: Timestamp,
    ) -> Vec<(Candidate, RunState)> {
        let mut all = Vec::new();
        self.each_with(
            |claim| Some(there(claim)),
            |kind, name, view| {
                let movers = movers(view.uid, &kind.job_name(name), view.pulls_into);
                all.push((view.candidate(movers, now), RunState::of(view.status)));
            },
        );
        all
    }

    /// The object of this name, as the watch shows it by now.
    pub(super) fn named(&self, kind: Kind, namespace: &str, name: &str) -> Option<Replication> {
        match kind {
            Kind::Source => self.sources.get(&ObjectRef::new(name).within(namespace)).map(|object| object.replication()),
            Kind::Destination => self.destinations.get(&ObjectRef::new(name).within(namespace)).map(|object| object.replication()),
        }
    }

    /// Whether an object with this UID is there.
    pub(super) fn has(&self, uid: &str) -> bool {
        self.owner(uid).is_some()
    }

    /// How many there are.
    pub(super) fn count(&self) -> usize {
        self.sources.len() + self.destinations.len()
    }

    /// Whether both first lists are in, so that running syncs can be counted.
    pub(super) fn complete(&self) -> bool {
        self.sources.wait_until_ready().now_or_never().is_some() && self.has_listed_destinations()
    }

    /// Whether the first list of destinations is in.
    pub(super) fn has_listed_destinations(&self) -> bool {
        self.destinations.wait_until_ready().now_or_never().is_some()
    }

    /// The object with this UID.
    pub fn owner(&self, uid: &str) -> Option<(Kind, String)> {
        let is = |meta: &ObjectMeta| meta.uid.as_deref() == Some(uid);
        let source = self.sources.find(|o| is(&o.metadata)).map(|o| (Kind::Source, o.name_any()));
        source.or_else(|| self.destinations.find(|o| is(&o.metadata)).map(|o| (Kind::Destination, o.name_any())))
    }

    /// The object with this UID, if it has an open run, and since when that is in its phase.
    pub(super) fn works_since(&self, uid: &str) -> Option<(Timestamp, Kind, String)> {
        let (kind, name) = self.owner(uid)?;
        let since = |status: Option<&Status>| status.and_then(|status| status.run.as_ref()).map(|run| run.phase_time.0);
        let is = |meta: &ObjectMeta| meta.uid.as_deref() == Some(uid);
        let since = match kind {
            Kind::Source => since(self.sources.find(|o| is(&o.metadata))?.status.as_ref()),
            Kind::Destination => since(self.destinations.find(|o| is(&o.metadata))?.status.as_ref()),
        };
        Some((since?, kind, name))
    }

    /// The object whose Job or claim would have this name.
    pub(super) fn heir(&self, child: &str) -> Option<(Kind, String)> {
        let mut heir = None;
        self.each(|kind, name, _| {
            if [kind.claim_name(name), kind.job_name(name)].iter().any(|own| own == child) {
                heir = Some((kind, name.to_owned()));
            }
        });
        heir
    }

    /// The objects whose spec names this claim of the user's.
    pub fn users_of(&self, claim: &str) -> Vec<(Kind, String)> {
        let sources = self.sources.state().into_iter().filter(|o| o.spec.source_pvc == claim).map(|o| (Kind::Source, o.name_any()));
        let destinations = self.destinations.state().into_iter();
        let destinations = destinations.filter(|o| o.spec.rclone.destination_pvc.as_deref() == Some(claim));
        sources.chain(destinations.map(|o| (Kind::Destination, o.name_any()))).collect()
    }

    /// Waits until the first lists are in.
    ///
    /// # Errors
    /// When the watches have ended, which means that the agent is shutting down.
    pub async fn ready(&self) -> anyhow::Result<()> {
        self.sources.wait_until_ready().await?;
        self.destinations.wait_until_ready().await?;
        Ok(())
    }
}

fn entry<'a>(
    kind: Kind,
    meta: &'a ObjectMeta,
    paused: bool,
    trigger: Option<&'a TriggerSpec>,
    subject: &Named<'a>,
    status: &'a Status,
) -> QueueEntry<'a> {
    let (schedule, manual) = (trigger.is_some_and(|t| t.schedule.is_some()), trigger.and_then(|t| t.manual.as_deref()));
    let annotation = |key: &str| annotation(meta, key);
    let generation = meta.generation.unwrap_or_default();
    let wait = trigger.is_some_and(|t| t.run_on_create == Some(false));
    QueueEntry {
        kind,
        uid: meta.uid.as_deref().unwrap_or_default(),
        generation,
        created: meta.creation_timestamp.as_ref().map(|t| t.0),
        lifecycle: Lifecycle::of(paused, meta.deletion_timestamp.is_some()),
        tag: manual,
        approved: status
            .run
            .as_ref()
            .is_some_and(|run| approvals::are_new(annotation(labels::ADOPT_PATH), annotation(labels::ALLOW_DELETIONS), status, run)),
        sync_now: annotation(labels::SYNC_NOW),
        verify_now: annotation(labels::VERIFY_NOW).filter(|_| kind == Kind::Source),
        stale: due::is_stale(subject, status),
        republishes: due::republishes(subject, status),
        outdated: status.run.as_ref().is_some_and(|run| due::is_of_another(subject, run, generation)),
        pulls_into: subject.pulls_into(),
        lacks_claim: false,
        has_claim: false,
        starts_at_once: spec::starts_at_once(schedule, manual.is_some(), wait),
        status,
    }
}
