//! Deletes children that no run needs any more. Runs after every decision, so that the next reconcile removes what a crash left behind.

use crate::api::status::Phase;
use crate::core::children::{self, copies};
use crate::core::decision::Decision;
use crate::core::model::facts::{Claim, Kind, Meta, Pod, Refresh, Role, Snapshot};
use crate::core::model::plan::{ChildKind, ChildRef, Step};
use crate::core::model::spec::Volume;
use scribe_mover::report::Outcome;

/// Plans the deletions that the status in the making leaves room for.
pub(in crate::core) fn children(decision: &mut Decision<'_>) {
    let facts = decision.facts;
    let run = decision.status.run.clone().filter(|run| !decision.is_suspended(run));
    let current = run.as_ref().map(|r| r.id.as_str());
    let needed = |meta: &Meta| meta.run.is_some() && meta.run.as_deref() == current;
    let in_time = |value: &Option<String>| current.is_none_or(|run| !copies::is_too_late(facts, run, value.as_deref()));

    mark_touched(decision);
    for job in facts.movers().filter(|j| !j.meta.deleting) {
        let attempt = run.as_ref().map(|r| r.attempt);
        if !needed(&job.meta) || job.meta.attempt != attempt {
            if facts.object.kind == Kind::Destination && decision.status.run.is_some() {
                // Whether its mover has done anything.
                decision.plan.needs.insert(Refresh::Pods);
            }
            decision.delete(ChildKind::Job, &job.meta);
        }
    }
    let given_up = gives_up_copies(decision);
    let copied = |c: &Claim| needed(&c.meta) && in_time(&c.copied_for) && !(given_up && c.made_from.is_none() && !c.bound);
    for claim in facts.claims_as(Role::Capture).filter(|c| !c.meta.deleting && !copied(c)) {
        let of_its_run = |meta: &Meta| meta.run == claim.meta.run;
        let done = || facts.pods.iter().any(|pod| of_its_run(&pod.meta) && pod.is_done());
        if !done() && !facts.movers().any(|j| of_its_run(&j.meta) && j.succeeded == Some(true)) {
            // A pod may have started just as its run was given up; the cache may not even show its Job.
            decision.plan.needs.insert(Refresh::Pods);
        }
        if facts.pods.iter().all(|pod| pod.ended || pod.is_done() || !of_its_run(&pod.meta)) {
            decision.delete(ChildKind::Claim, &claim.meta);
        }
    }
    // Some drivers refuse to delete a snapshot while a volume made from it is there.
    if !facts.claims_as(Role::Capture).any(|c| !copied(c)) {
        let taken = |s: &Snapshot| needed(&s.meta) && in_time(&s.copied_for) && !(given_up && !s.taken && !s.ready);
        for snapshot in facts.snapshots_as(Role::Capture).filter(|s| !s.meta.deleting && !taken(s)) {
            decision.delete(ChildKind::Snapshot, &snapshot.meta);
        }
    }
    if decision.status.run.is_none() && facts.snapshots_known && cleanup(decision) {
        for claim in facts.claims_as(Role::Volume).filter(|c| !c.meta.deleting) {
            decision.plan.needs.extend([Refresh::Pods, Refresh::Snapshots]);
            if !facts.mover_lives() && is_published(decision, claim) {
                decision.delete(ChildKind::Claim, &claim.meta);
            }
        }
    }
    for image in facts.snapshots_as(Role::Image).filter(|i| !i.meta.deleting) {
        old_image(decision, image, current);
    }
}

/// Whether copies that may still be made are of no use any more: the attempt of a paused source has ended, and the next one may be far away. Until
/// then no destination could begin to restore the PVC, because such a copy would show what that has written. The next attempt captures afresh.
fn gives_up_copies(decision: &Decision<'_>) -> bool {
    let paused = decision.facts.spec.as_ref().is_ok_and(|spec| spec.paused);
    paused && decision.status.run.as_ref().is_some_and(|run| run.phase == Phase::Backoff)
}

/// A mover of an attempt that was given up may have brought the volume further than the status says, and its report is lost with it. If the
/// path is then put back to the revision in the status, and pushed to, nothing else shows that the volume holds something of neither.
fn mark_touched(decision: &mut Decision<'_>) {
    let facts = decision.facts;
    let Some(run) = decision.status.run.as_ref().filter(|_| facts.object.kind == Kind::Destination) else { return };
    // Nor is a report read of a pod whose Job is gone.
    let no_job = facts.mover_of(run).0.is_none();
    let of_earlier = facts.pods.iter().filter(|pod| (pod.started || pod.ended) && (no_job || !pod.meta.is_of_attempt(run)));
    // One that failed leaves a folder on the volume that says so, and one that found nothing has changed nothing. That of a sync that was
    // closed is in the status.
    let recorded = &decision.status.revision;
    let unrecorded = |pod: &Pod| pod.report().is_none_or(|report| report.result == Outcome::Successful && report.revision != *recorded);
    if of_earlier.into_iter().any(unrecorded) {
        decision.status.volume_touched = true;
    }
}

/// A destination's volume that was never bound goes when the spec has changed: nothing was ever written to it, and the next one is made
/// as the spec now says. Tells whether there was one.
pub(in crate::core) fn unbound_volume(decision: &mut Decision<'_>) -> bool {
    let mut found = false;
    for claim in decision.facts.claims_as(Role::Volume).filter(|c| !c.bound && !c.meta.deleting) {
        decision.delete(ChildKind::Claim, &claim.meta);
        found = true;
    }
    found
}

/// Whether an image of this claim is published: before that, the claim may be the only copy.
fn is_published(decision: &Decision<'_>, claim: &Claim) -> bool {
    let images = decision.facts.snapshots_as(Role::Image).filter(|image| image.ready && !image.meta.deleting);
    let of_it = images.filter(|image| children::is_of(image, claim));
    let published = |image: &Snapshot| decision.status.images.iter().any(|listed| listed.name == image.meta.name);
    of_it.into_iter().any(published)
}

/// Whether the spec asks for the claim to go after each sync.
fn cleanup(decision: &Decision<'_>) -> bool {
    decision.facts.spec.as_ref().is_ok_and(|spec| matches!(spec.volume, Volume::Destination { cleanup: true, .. }))
}

/// An image goes when it is published no more, unless a claim is created from it or the user keeps it.
fn old_image(decision: &mut Decision<'_>, image: &Snapshot, current: Option<&str>) {
    let facts = decision.facts;
    let published = decision.status.images.iter().any(|i| i.name == image.meta.name);
    // One of an attempt that has ended may hold what another destination wrote.
    let discarded = decision.status.run.as_ref().is_some_and(|run| run.phase != Phase::Publishing);
    let being_made = image.meta.run.is_some() && image.meta.run.as_deref() == current && !discarded;
    // Some drivers refuse to delete a snapshot while a volume made from it is there; this one goes by itself.
    let restored = cleanup(decision) && facts.claims_as(Role::Volume).any(|claim| claim.made_from.as_ref() == Some(&image.meta.name));
    if image.keep && !being_made {
        decision.plan.steps.push(Step::Release(ChildRef::of(ChildKind::Snapshot, &image.meta)));
    } else if !(published || being_made || restored || facts.images_in_use.contains(&image.meta.name)) {
        decision.plan.needs.extend([Refresh::Claims, Refresh::Snapshots]);
        decision.delete(ChildKind::Snapshot, &image.meta);
    }
}
