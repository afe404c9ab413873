//! Ending a running sync by the annotation `scribe.backube/abort: <run id>`. What is committed and published stays, nothing counts as a
//! failure, and the next sync starts with its next trigger: what the aborted one was asked for by is not asked for again.

use crate::api::labels::ABORT;
use crate::api::reason::Reason;
use crate::api::status::{Aborted, Phase, Run};
use crate::core::decision::Decision;
use crate::core::model::approvals::adopt_path;
use crate::core::model::clock::seconds;
use crate::core::model::facts::{Facts, Kind, Pod, Refresh, Role};
use crate::core::model::spec::Spec;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

/// Does what the annotation asks for, once for each value. Returns whether it ended the run: nothing else is begun by the same decision.
pub(super) fn handle(decision: &mut Decision<'_>) -> bool {
    forget(decision);
    let Some(wanted) = decision.facts.object.abort.as_deref().map(str::trim) else { return false };
    if decision.status.last_handled_abort.as_deref() == Some(wanted) {
        return false;
    }
    match decision.status.run.clone() {
        Some(run) if run.id == wanted => {
            decision.plan.needs.extend([Refresh::Jobs, Refresh::Pods]);
            // Its result is there: it is recorded, and not aborted on the way.
            if is_done(decision.facts, &run) {
                decision.status.last_handled_abort = Some(wanted.to_owned());
                return false;
            }
            end(decision, run);
            true
        }
        other => {
            decision.status.last_handled_abort = Some(wanted.to_owned());
            let now = other.map_or_else(|| "no sync is running".to_owned(), |run| format!("the running one is {}", run.id));
            let note = format!("The annotation {ABORT} names the sync {wanted:?}, which is not running: {now}. Nothing was aborted");
            decision.event(true, Reason::AnnotationIgnored, note, &format!("abort/{wanted}"));
            false
        }
    }
}

/// Whether the run's mover has succeeded and only the record of that is missing, or the run's image is ready. One that is being created may
/// take any time.
fn is_done(facts: &Facts, run: &Run) -> bool {
    if run.phase == Phase::Publishing {
        return facts.snapshots_as(Role::Image).any(|image| image.meta.serves(&run.id) && image.ready);
    }
    let (job, pod) = facts.mover_of(run);
    let complete = job.is_some_and(|job| job.succeeded == Some(true)) && pod.and_then(Pod::report).is_some() && !facts.mover_lives();
    run.phase == Phase::Transferring && (complete || job.is_some() && pod.is_some_and(Pod::is_done))
}

/// Ends the run; its children go, as those of any run that is no more.
fn end(decision: &mut Decision<'_>, run: Run) {
    let (facts, now) = (decision.facts, decision.now);
    let next = facts.spec.as_ref().ok().and_then(|spec| next_time(decision, spec));
    let status = &mut decision.status;
    let before = status.aborted.take();
    let pulls = facts.object.kind == Kind::Destination;
    if pulls && (matches!(run.phase, Phase::Transferring | Phase::Publishing) || facts.movers().next().is_some() || facts.mover_lives()) {
        // The mover may do more before it ends, and nobody will read its report.
        status.volume_touched = true;
    }
    let earlier = |of: fn(&Aborted) -> &Option<String>| before.as_ref().and_then(|before| of(before).clone());
    status.last_handled_abort = Some(run.id.clone());
    status.aborted = Some(Aborted {
        run: run.id.clone(),
        time: Time(seconds(now)),
        generation: Some(facts.object.generation),
        manual: run.manual.or_else(|| earlier(|before| &before.manual)),
        sync_now: run.sync_now.or_else(|| earlier(|before| &before.sync_now)),
        verify_now: run.verify_now.or_else(|| earlier(|before| &before.verify_now)),
        adopt: run.adopt,
        adopted_state: run.adopted_state,
    });
    (status.run, status.next_attempt_time, status.first_push) = (None, None, None);
    // Sources may push what is there: the user says so.
    status.unfinished_pulls.clear();
    status.next_sync_time = next.map(Time);
    let note =
        "The sync was aborted by the annotation; what it had committed or published stays, and the next sync starts with its next trigger";
    decision.event(false, Reason::SyncAborted, note.to_owned(), &run.id);
    // What was asked for meanwhile starts another one.
    decision.plan.wake_at(now);
}

/// The next scheduled time, counted from now: one that has passed meanwhile would start the sync again at once.
fn next_time(decision: &Decision<'_>, spec: &Spec) -> Option<jiff::Timestamp> {
    if spec.trigger.continuous() {
        return decision.now.checked_add(decision.limits.continuous_interval).ok();
    }
    spec.trigger.next_time(decision.now)
}

/// Drops of the record of the last abort what no longer holds: a request that has been changed or withdrawn since, and that nothing starts
/// by itself, once the spec has been edited.
fn forget(decision: &mut Decision<'_>) {
    let object = &decision.facts.object;
    let Some(aborted) = decision.status.aborted.as_mut() else { return };
    if let Ok(spec) = &decision.facts.spec
        && aborted.manual != spec.trigger.manual
    {
        aborted.manual = None;
    }
    if aborted.sync_now != object.sync_now {
        aborted.sync_now = None;
    }
    if aborted.verify_now != object.verify_now {
        aborted.verify_now = None;
    }
    if adopt_path(object).is_none() {
        (aborted.adopt, aborted.adopted_state) = (None, None);
    }
    if aborted.generation != Some(object.generation) {
        aborted.generation = None;
    }
}

/// A sync has succeeded: of the record of the last abort only those requests are left that are still unanswered.
pub(super) fn after_success(decision: &mut Decision<'_>) {
    let aborted = decision.status.aborted.take();
    let left = aborted.map(|aborted| Aborted { generation: None, adopt: None, adopted_state: None, ..aborted });
    decision.status.aborted = left.filter(|left| left.manual.is_some() || left.sync_now.is_some() || left.verify_now.is_some());
}
