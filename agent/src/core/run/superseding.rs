//! Whether a run goes on after its spec was edited, or another one takes its place.

use super::{retry, waiting};
use crate::api::status::{Phase, Run};
use crate::core::children;
use crate::core::decision::Decision;
use crate::core::model::facts::{Facts, Pod};
use crate::core::model::run_id::Cause;
use crate::core::model::spec::{Spec, Volume};
use crate::core::model::subject::Named;
use crate::core::schedule::due;

/// What supersedes this run, if anything does: a changed spec as long as no mover lives, and after a failure a newer tag or scheduled
/// time.
pub(in crate::core) fn superseded_by(decision: &Decision<'_>, spec: &Spec, run: &Run) -> Option<Cause> {
    let facts = decision.facts;
    let waiting = matches!(run.phase, Phase::Backoff | Phase::WaitingForFirstPush);
    if spec.paused || !(waiting || run.generation != facts.object.generation && may_be_dropped(facts, spec, run)) {
        return None;
    }
    if waiting && facts.mover_lives() {
        return None;
    }
    let new_tag = due::new_tag(&spec.trigger, &decision.status).filter(|tag| run.manual.as_deref() != Some(*tag));
    if let Some(tag) = new_tag.filter(|_| waiting) {
        return Some(Cause::Manual(tag.to_owned()));
    }
    let sync_now = facts.object.sync_now.as_deref();
    if let Some(value) = sync_now.filter(|_| waiting && due::asked_to_sync(sync_now, run, &decision.status)) {
        // A tag stays due until it is synced; the annotation only hastens it.
        let cause = due::new_tag(&spec.trigger, &decision.status).map(|tag| Cause::Manual(tag.to_owned()));
        return Some(cause.unwrap_or_else(|| Cause::SyncNow(value.to_owned())));
    }
    if run.generation != facts.object.generation {
        // The tag that opened the run stays due until it is synced.
        return Some(match due::new_tag(&spec.trigger, &decision.status) {
            Some(tag) => Cause::Manual(tag.to_owned()),
            None => Cause::SpecChanged(facts.object.generation),
        });
    }
    let slot = decision.status.next_sync_time.as_ref().map(|t| t.0).filter(|t| *t <= decision.now);
    let slot = slot
        .filter(|_| waiting && !(due::schedule_waits(&decision.status) && retry::too_early(decision)) && !waiting::keeps(decision, run))?;
    // A tag stays due until it is synced; the scheduled time only hastens it.
    Some(due::new_tag(&spec.trigger, &decision.status).map_or(Cause::Scheduled(slot), |tag| Cause::Manual(tag.to_owned())))
}

/// Whether what this run captured and moves is something else than the spec names by now, as far as is known.
fn is_of_another(facts: &Facts, spec: &Spec, run: &Run) -> bool {
    let subject = children::subject(facts, spec, run, facts.mover_of(run).0);
    subject.is_none_or(|subject| !Named::by(spec).is(&subject))
}

/// Whether a run whose spec has changed can be given up for a new one: its mover does not live, and what it may have pulled is not
/// what the new spec asks for. A push that has ended is closed as what it pushed.
fn may_be_dropped(facts: &Facts, spec: &Spec, run: &Run) -> bool {
    let (job, pod) = facts.mover_of(run);
    let terminated = |pod: &Pod| pod.meta.is_of_attempt(run) && pod.finished.is_some();
    match job {
        None => !facts.mover_lives(),
        // A pod that waits for its volume, its image or a node may wait for what the edit has fixed.
        Some(job) if job.succeeded.is_none() && !pod.is_some_and(terminated) => facts.pods.iter().all(|p| !p.started && !p.ended),
        Some(job) => {
            let pulled_elsewhere = || matches!(spec.volume, Volume::Destination { .. }) && is_of_another(facts, spec, run);
            let superfluous = || !children::still_there(facts, spec, job) || pulled_elsewhere() || due::is_late(&facts.status, run);
            facts.pods.iter().all(|pod| pod.ended || terminated(pod)) && superfluous()
        }
    }
}

/// Whether a paused run can go no further: what it has captured or pulled is not what the spec names by now, and the run that supersedes it
/// may not start yet.
pub(super) fn is_outdated(facts: &Facts, spec: &Spec, run: &Run) -> bool {
    let under_way = !matches!(run.phase, Phase::Backoff | Phase::WaitingForFirstPush);
    let edited = run.generation != facts.object.generation;
    under_way && edited && is_of_another(facts, spec, run) && may_be_dropped(facts, spec, run)
}
