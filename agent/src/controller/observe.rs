//! Facts about one object: from the cache, and from fresh reads where the cache must not be trusted.

use super::memory::{TRY_AGAIN, remember};
use super::{Context, claims, copies, progress, pushes, slots, why};
use crate::api::labels;
use crate::cluster::consumers::{User, consumer};
use crate::cluster::slim;
use crate::cluster::view::{self, Replication};
use crate::core::model::claimant::Sharing;
use crate::core::model::facts::{Claim, Facts, Job, Kind, Pod, Refresh, Slot};
use crate::core::model::in_place;
use crate::core::model::place::one_remote;
use crate::core::model::spec::{Spec, Volume};
use crate::core::model::subject::{self, Named};
use crate::core::schedule::queue::QueueEntry;
use jiff::{SignedDuration, Timestamp};
use kube::Resource;
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;
use std::time::Instant;

/// What the cache says.
pub(super) fn cached(context: &Context, replication: Replication) -> Facts {
    let Replication { object, spec, status } = replication;
    let cache = &context.cache;
    let mut facts = Facts {
        spec,
        status,
        claims: Vec::new(),
        snapshots_known: cache.knows_snapshots(),
        snapshots: cache.snapshots.state().iter().filter(|s| of(&***s, &object.uid)).map(|s| view::snapshot(s, &object.uid)).collect(),
        jobs: jobs_of(&object.uid, cache.jobs.state().iter().map(Arc::as_ref)).collect(),
        pods: Vec::new(),
        images_in_use: BTreeSet::new(),
        fresh: BTreeSet::new(),
        warnings: None,
        undeclared: BTreeSet::new(),
        slot: Slot::default(),
        slot_holders: Vec::new(),
        resize_refused: None,
        refusal: None,
        blocked: None,
        undeleted: BTreeMap::new(),
        troubles: Vec::new(),
        sharing: Sharing::default(),
        foreign_jobs: Vec::new(),
        consumers: Vec::new(),
        progress: None,
        unreadable: None,
        object,
    };
    let mut claims = ClaimsRead::default();
    claims.add(&facts, cache.claims.state().iter().map(Arc::as_ref));
    (facts.claims, facts.images_in_use) = (claims.claims, claims.images_in_use);
    copies::forget_the_gone(context, &mut facts);
    facts.pods = pods_of(&facts, cache.pods.state().iter().map(Arc::as_ref));
    facts.foreign_jobs = foreign_jobs(&facts, cache.jobs.state().iter().map(Arc::as_ref), &cache.pods.state());
    facts.sharing = claims::ask(context, &facts, false);
    facts
}

/// What a read of these facts reads.
pub(super) const fn what(facts: Refresh) -> &'static str {
    match facts {
        Refresh::Claims => "PVCs",
        Refresh::Snapshots => "VolumeSnapshots",
        Refresh::Jobs => "Jobs",
        Refresh::Pods => "pods",
        Refresh::Consumers => "pods that use the volume",
        Refresh::Warnings => "events",
        Refresh::Slot => "slots",
        Refresh::Sharing => "sources",
    }
}

/// The read of the object itself.
pub(super) const OBJECT: &str = "the object";

/// A read that failed.
pub(super) struct Unread {
    /// What was to be read.
    pub(super) what: &'static str,
    /// The answer.
    pub(super) error: kube::Error,
}

/// Reads again what a plan must not take from the cache.
pub(super) async fn refresh(context: &Context, facts: &mut Facts, needs: &BTreeSet<Refresh>) -> Result<(), Unread> {
    let owner = facts.object.uid.clone();
    for need in needs {
        let unread = |error| Unread { what: what(*need), error };
        match need {
            Refresh::Claims => {
                // Put in place only when the list is complete.
                let mut read = ClaimsRead::default();
                context.reader.claims(|page| read.add(facts, page.iter())).await.map_err(unread)?;
                (facts.claims, facts.images_in_use) = (read.claims, read.images_in_use);
                copies::forget_those_that_have_gone(context, facts).await.map_err(unread)?;
            }
            Refresh::Snapshots => {
                let mut snapshots = context.reader.snapshots(&owner).await.map_err(unread)?;
                if facts.snapshots.iter().any(|known| !shows(snapshots.as_deref(), &known.meta.uid)) {
                    // Images that are not there are forgotten, and then deleted: that takes two answers.
                    snapshots = context.reader.snapshots(&owner).await.map_err(unread)?;
                }
                facts.snapshots_known = snapshots.is_some();
                let snapshots = snapshots.unwrap_or_default();
                facts.snapshots = snapshots.iter().filter(|s| of(*s, &owner)).map(|s| view::snapshot(s, &owner)).collect();
            }
            Refresh::Jobs if facts.object.kind == Kind::Destination => {
                let (mut jobs, mut foreign, pods) = (Vec::new(), Vec::new(), context.cache.pods.state());
                let see = |page: Vec<slim::Job>| {
                    jobs.extend(jobs_of(&owner, page.iter()));
                    foreign.extend(foreign_jobs(facts, page.iter(), &pods));
                };
                context.reader.all_jobs(see).await.map_err(unread)?;
                (facts.jobs, facts.foreign_jobs) = (jobs, foreign);
            }
            Refresh::Jobs => {
                let jobs = context.reader.jobs(&owner).await.map_err(unread)?;
                facts.jobs = jobs_of(&owner, jobs.iter()).collect();
            }
            Refresh::Pods => {
                let mut pods = Vec::new();
                let see = |page: Vec<slim::Pod>| pods.extend(pods_of(facts, page.iter()));
                context.reader.movers(see).await.map_err(unread)?;
                facts.pods = pods;
            }
            Refresh::Consumers => {
                let mut consumers = Vec::new();
                if let Some(claim) = in_place::claim(facts).map(|claim| claim.meta.name.clone()) {
                    let see = |page: Vec<User>| consumers.extend(page.iter().filter_map(|pod| consumer(pod, &claim, &owner)));
                    context.reader.pods(see).await.map_err(unread)?;
                }
                facts.consumers = consumers;
            }
            Refresh::Warnings => facts.warnings = why::for_giving_up(context, facts).await,
            Refresh::Slot => slot(context, facts, true),
            Refresh::Sharing => {
                let pushed_by = claims::pushed_by_now(context, facts).await.map_err(unread)?;
                let pulled_by = pushes::pulled_by_now(context, facts).await.map_err(unread)?;
                facts.sharing = claims::ask(context, facts, pushed_by.is_none() && pulled_by.is_none());
                facts.sharing.pushed_by = facts.sharing.pushed_by.take().or(pushed_by);
                facts.sharing.pulled_by = facts.sharing.pulled_by.take().or(pulled_by);
            }
        }
        facts.fresh.insert(*need);
    }
    Ok(())
}

/// A sync that has had its slot for less is not named to those that wait: most are over by then.
const HOLDS_LONG: SignedDuration = SignedDuration::from_mins(1);
/// So many of them are named.
const NAMED: usize = 3;

/// Finds out whether one more sync may start, and who holds the slots if not; `take` keeps the slot for this reconcile.
pub(super) fn slot(context: &Context, facts: &mut Facts, take: bool) {
    let (answer, holders) = ask_for_slot(context, facts, take);
    (facts.slot, facts.slot_holders) = (answer, named(context, &holders));
    facts.fresh.insert(Refresh::Slot);
}

/// Those that have held their slots longest, by kind and name.
fn named(context: &Context, holders: &[String]) -> Vec<String> {
    let long_ago = Timestamp::now() - HOLDS_LONG;
    let mut known: Vec<_> = holders.iter().filter_map(|uid| context.objects.works_since(uid)).collect();
    known.retain(|(since, ..)| *since <= long_ago);
    known.sort();
    known.into_iter().take(NAMED).map(|(_, kind, name)| format!("{} {name}", kind.as_str())).collect()
}

fn ask_for_slot(context: &Context, facts: &Facts, take: bool) -> (Slot, Vec<String>) {
    let (now, limit) = (Timestamp::now(), context.settings.borrow().settings.limits.max_concurrent_syncs);
    let view = QueueEntry::of(facts);
    let position = view.position(now).unwrap_or_else(|| view.position_since(now));
    let pods = context.cache.pods.state();
    let live: Vec<_> = pods.iter().map(Arc::as_ref).filter(|pod| !view::pod(pod).ended).collect();
    let movers = |uid: &str, job: &str, claim: Option<&str>| slots::movers(&live, uid, job, claim);
    let claims = context.cache.claims.state();
    let claims: HashSet<_> =
        claims.iter().filter(|c| c.metadata.deletion_timestamp.is_none()).filter_map(|c| c.metadata.name.as_deref()).collect();
    let mut all = context.objects.candidates(movers, |claim| claims.contains(claim), now);
    {
        // An object whose reconciles fail must not keep the others waiting.
        let memory = context.memory();
        for (candidate, _) in &mut all {
            if memory.get(&candidate.uid).is_some_and(|m| m.failures > 0) {
                candidate.position = None;
            }
        }
    }
    context.slots().ask(&position, &facts.object.uid, all, limit, take, Instant::now())
}

/// What only the agent's memory keeps between two reconciles.
pub(super) fn recalled(context: &Context, mut facts: Facts, now: Timestamp) -> Facts {
    progress::follow(context, &mut facts, now);
    let idle = facts.status.run.is_none();
    let memory = remember(context, &facts.object.uid, |memory| {
        if idle {
            why::is_over(memory);
        }
    });
    facts.troubles = context.troubles(facts.object.kind, &memory);
    facts.undeclared = context.undeclared.fields(facts.object.kind, Instant::now());
    hide_what_cannot_be_recorded(context, &mut facts);
    let run = facts.status.run.as_ref().map(|run| (run.id.clone(), run.attempt));
    facts.warnings = memory.warning.filter(|warning| Some(&warning.of) == run.as_ref()).and_then(|warning| warning.text);
    facts.refusal = memory.refusal;
    facts.blocked = memory.blocked;
    facts.undeleted = memory.removals.map(|removals| removals.answers()).unwrap_or_default();
    facts.resize_refused = memory.resize.filter(|(_, since)| since.elapsed() < TRY_AGAIN).map(|(refusal, _)| refusal);
    facts
}

/// Annotations whose outcome the CRD does not let the agent record would be handled again and again. Returns whether there was one.
pub(super) fn hide_what_cannot_be_recorded(context: &Context, facts: &mut Facts) -> bool {
    let (kind, object) = (facts.object.kind, &mut facts.object);
    let lacks = |fields: &[&str]| context.undeclared.lacks(kind, fields, Instant::now());
    let mut hidden = false;
    if lacks(&["lastHandledSyncNow", "run.syncNow"]) {
        hidden |= object.sync_now.take().is_some();
    }
    if lacks(&["lastHandledVerifyNow", "run.verifyNow"]) {
        hidden |= object.verify_now.take().is_some();
    }
    if lacks(&["lastHandledAbort", "aborted"]) {
        hidden |= object.abort.take().is_some();
    }
    if lacks(&["adoptedPath", "run.adopt", "run.adoptedState"]) && facts.status.adopted_path.is_none() {
        hidden |= object.adopt_path.take().is_some();
    }
    hidden
}

fn jobs_of<'a>(owner: &str, jobs: impl Iterator<Item = &'a slim::Job>) -> impl Iterator<Item = Job> {
    jobs.filter(move |job| view::belongs_to(&job.metadata, owner)).map(move |job| view::job(job, owner))
}

/// The object's own, those of an earlier one of its name, and of others those that write to the same claim and have not ended.
fn pods_of<'a>(facts: &Facts, pods: impl Iterator<Item = &'a slim::Pod>) -> Vec<Pod> {
    let (owner, job) = (&facts.object.uid, facts.object.job_name());
    let claim = pulled_into(facts);
    let of_others = |pod: &slim::Pod| claim.as_ref().is_some_and(|claim| view::pulls_into(pod, claim)) && !view::pod(pod).ended;
    pods.filter(|pod| view::moves_for(pod, owner, &job) || of_others(pod)).map(view::pod).collect()
}

/// Jobs of other destinations that pull into the same claim, and may still get a pod; for a source, of those that pull what it pushes.
fn foreign_jobs<'a>(facts: &Facts, jobs: impl Iterator<Item = &'a slim::Job>, pods: &[Arc<slim::Pod>]) -> Vec<String> {
    let Ok(spec) = &facts.spec else { return Vec::new() };
    let (owner, own) = (&facts.object.uid, facts.object.job_name());
    let (claim, pushed) = match &spec.volume {
        Volume::Source { claim, .. } => (claim.clone(), Some(Named::by(spec))),
        Volume::Destination { .. } => (spec.pulls_into().map_or_else(|| facts.object.claim_name(), str::to_owned), None),
    };
    let foreign = jobs.filter(|job| !view::belongs_to(&job.metadata, owner) && view::will_pull_into(job, &claim));
    // Another destination's has written even where it has ended by now. A source only waits for it.
    let foreign = foreign.filter(|job| pushed.is_none() || !view::has_worked(job, pods.iter().map(Arc::as_ref)));
    // A source may push to another path what is pulled.
    let moved = |job: &slim::Job| view::job(job, owner).subject.as_deref().and_then(subject::parse);
    let foreign =
        foreign.filter(|job| pushed.is_none_or(|named| moved(job).is_none_or(|moved| one_remote(&moved.remote, &named.record().remote))));
    // One of the object's own name is an earlier object's, and stands in the way anyway.
    foreign.filter_map(|job| job.metadata.name.clone()).filter(|name| *name != own).collect()
}

/// The claim that a destination pulls into by its spec.
fn pulled_into(facts: &Facts) -> Option<String> {
    let spec = facts.spec.as_ref().ok()?;
    matches!(spec.volume, Volume::Destination { .. }).then(|| spec.pulls_into().map_or_else(|| facts.object.claim_name(), str::to_owned))
}

/// Claims of the namespace, and the images that they are being made from. Only those that matter are kept: many reconciles at a time must not
/// cost the square of the namespace.
#[derive(Default)]
struct ClaimsRead {
    claims: Vec<Claim>,
    images_in_use: BTreeSet<String>,
}

impl ClaimsRead {
    fn add<'a>(&mut self, facts: &Facts, claims: impl Iterator<Item = &'a slim::Claim>) {
        let (owner, own) = (&facts.object.uid, facts.object.claim_name());
        let named = facts.spec.as_ref().ok().and_then(Spec::users_claim);
        for claim in claims {
            self.images_in_use.extend(view::image_in_use(claim));
            let name = claim.metadata.name.as_deref();
            let ours = || view::belongs_to(&claim.metadata, owner) || view::is_copied_by(claim, owner);
            if name == Some(own.as_str()) || name == named || ours() {
                self.claims.push(view::claim(claim, owner));
            }
        }
    }
}

fn shows(snapshots: Option<&[slim::Snapshot]>, uid: &str) -> bool {
    snapshots.is_none_or(|all| all.iter().any(|snapshot| snapshot.metadata.uid.as_deref() == Some(uid)))
}

fn of<K: Resource>(child: &K, owner: &str) -> bool {
    child.meta().labels.as_ref().and_then(|l| l.get(labels::OWNER_UID)).is_some_and(|uid| uid == owner)
}
