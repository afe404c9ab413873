//! A run whose copy is made when the user asks for it: it waits without a slot until the annotation on the PVC has a new value, takes the
//! value, and makes the copy at once. An application stands still meanwhile.
//!
//! A value is taken by a write that names the run and its attempt, onto the very version of the PVC that was read. The copy follows in the
//! same plan. An agent that dies between the two finds that its value is taken and no copy is there, and makes it; once the attempt has
//! failed, the value is used up.

use super::deadline;
use super::failure;
use super::waiting;
use crate::api::labels::{COPY_TRIGGER, USE_COPY_TRIGGER};
use crate::api::reason::Reason;
use crate::api::status::{Phase, Run};
use crate::core::adoption;
use crate::core::children::{self, copies};
use crate::core::decision::Decision;
use crate::core::model::clock::seconds;
use crate::core::model::copy::{CopyBy, CopyStatus};
use crate::core::model::facts::Claim;
use crate::core::model::plan::{CopyNote, Step};
use crate::core::model::spec::Spec;
use crate::core::schedule::due;
use jiff::SignedDuration;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, Time};

/// So long a value is waited for before that is reported as an error.
const PATIENCE: SignedDuration = SignedDuration::from_mins(10);

/// The copy of this run is not there, and is made when it is asked for.
pub(super) fn wait(decision: &mut Decision<'_>, spec: &Spec, run: &Run) {
    let facts = decision.facts;
    let Some(claim) = copies::on_request(facts, spec).filter(|_| children::volume_problem(facts, spec).is_none()) else { return };
    decision.plan.needs.extend(copies::FACTS);
    if spec.paused {
        return failure::hold(decision);
    }
    if let Some(value) = claim.copy.taken_by(&facts.object.uid, run) {
        if copies::of_any_method(facts, &run.id) {
            return; // the copyMethod was edited since: the next run asks for its own
        }
        if !waiting::hindered(decision, run, decision.limits.snapshot_timeout, Reason::SnapshotNotReady) {
            decision.plan.steps.extend(children::copy(facts, spec, run, Some(value)));
        }
        return;
    }
    if run.phase != Phase::WaitingForSnapshot {
        // A person may take any time.
        decision.enter(Phase::WaitingForSnapshot);
    }
    if children::in_the_way(facts, run).is_some() {
        // Whoever asked now would wait for that as well.
        waiting::hindered(decision, run, decision.limits.snapshot_timeout, Reason::SnapshotNotReady);
        return;
    }
    // What another source is making the copy of now is not written over: a script waits to be told that it is there.
    match claim.copy.asked().filter(|_| claim.copy.made_by_another(&facts.object.uid).is_none()) {
        Some(value) => take(decision, spec, claim, value),
        None => announce(decision, run, claim),
    }
}

/// Takes the value, and makes its copy.
fn take(decision: &mut Decision<'_>, spec: &Spec, claim: &Claim, value: &str) {
    let (now, object) = (decision.now, &decision.facts.object);
    decision.enter(Phase::WaitingForSnapshot);
    // The waiting is not part of the sync, and what came meanwhile is answered by this copy.
    adoption::bind_annotations(decision, spec);
    let sync_now = due::new_sync_now(object.sync_now.as_deref(), &decision.status).map(str::to_owned);
    decision.status.last_sync_start_time = Some(Time(now));
    decision.status.next_sync_time = due::after_opening(&spec.trigger, &decision.status, now).map(Time);
    decision.wake_for_next_sync();
    let Some(run) = decision.status.run.as_mut() else { return };
    run.start_time = MicroTime(now);
    run.sync_now = sync_now.or(run.sync_now.take());
    let run = run.clone();
    // It waits no more.
    let timeout = Reason::CopyTriggerTimeout.as_str();
    decision.status.last_error.take_if(|error| error.reason == timeout);
    let by = by(decision, &run, Some(value));
    decision.plan.steps.push(Step::NoteCopy(copies::note(claim, Some(CopyStatus::InProgress), by)));
    decision.plan.steps.extend(children::copy(decision.facts, spec, &run, Some(value)));
}

/// Says on the claim that a value is waited for, and in the status once that has lasted long.
fn announce(decision: &mut Decision<'_>, run: &Run, claim: &Claim) {
    let (now, uid, copy) = (decision.now, &decision.facts.object.uid, &claim.copy);
    let name = &claim.meta.name;
    let mine = copy.status == Some(CopyStatus::WaitingForTrigger) && copy.by.as_ref().is_some_and(|by| by.is_of(uid, run));
    if !mine && !copy.is_of_another(uid) {
        let note = copies::note(claim, Some(CopyStatus::WaitingForTrigger), by(decision, run, copy.taken()));
        decision.plan.steps.push(Step::NoteCopy(CopyNote { waiting_since: Some(seconds(now)), ..note }));
        let words = format!("The copy of PVC {name}, which has {USE_COPY_TRIGGER}, is made once {COPY_TRIGGER} has a new value");
        decision.event(false, Reason::WaitingForCopyTrigger, words, &format!("{}/{}", run.id, run.attempt));
    }
    let Some(began) = decision.status.run.as_ref().map(|run| run.phase_time.0) else { return };
    // There is time between the two where the agent was away.
    let asked_since = copy.waiting_since.filter(|time| mine && *time <= now).unwrap_or(if mine { began } else { now });
    let since = began.max(if copy.is_of_another(uid) { began } else { asked_since });
    let timeout = Reason::CopyTriggerTimeout.as_str();
    let reported = decision.status.last_error.as_ref().is_some_and(|e| e.reason == timeout && e.time.0 >= seconds(since));
    let deadline = deadline::after(since, PATIENCE);
    if !reported && now >= deadline {
        let message = match (copy.made_by_another(uid), copy.value.as_ref()) {
            (Some(other), _) => format!(
                "PVC {name} has {USE_COPY_TRIGGER}, and ReplicationSource {other:?} has been making its copy for {}: one follows the other. See \
                 what its copy waits for, or end its sync (scribe.backube/abort); the sync keeps waiting",
                deadline::lasted_since(decision, since)
            ),
            (None, value) => format!(
                "PVC {name} has {USE_COPY_TRIGGER}, and {COPY_TRIGGER} has had no new value for {}: {}. \
                 Set {COPY_TRIGGER} on the PVC to a value that it did not have before, or remove {USE_COPY_TRIGGER}; the sync keeps waiting",
                deadline::lasted_since(decision, since),
                value.map_or_else(|| "it is not set".to_owned(), |value| format!("its value {value:?} was used before"))
            ),
        };
        failure::not_asked_for(decision, run, message);
    } else if !reported {
        decision.plan.wake_at(deadline);
    }
    decision.waiting = Some(match copy.made_by_another(uid) {
        Some(other) => format!("Waiting for ReplicationSource {other:?} to have made its copy of PVC {name}"),
        None => format!("Waiting for a new value of the annotation {COPY_TRIGGER} on PVC {name}"),
    });
}

fn by(decision: &Decision<'_>, run: &Run, taken: Option<&str>) -> CopyBy {
    let object = &decision.facts.object;
    let (source, uid, taken) = (object.name.clone(), object.uid.clone(), taken.map(str::to_owned));
    CopyBy { source, uid, run: run.id.clone(), attempt: run.attempt, taken }
}
