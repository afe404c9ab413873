//! From facts and the time to a plan. Total, deterministic and pure.
//!
//! The state is `status.run`: absent, or in one of six phases. `docs/development.md` draws it.

use crate::api::reason::Reason;
use crate::api::status::{Phase, Run};
use crate::core::abort;
use crate::core::adoption;
use crate::core::children::{cleanup, copies, images, kept, resize, revision, sharing, terminating};
use crate::core::decision::Decision;
use crate::core::model::clock;
use crate::core::model::facts::{Facts, Refresh};
use crate::core::model::limits::Limits;
use crate::core::model::plan::Plan;
use crate::core::model::run_id::{Before, Cause, run_id};
use crate::core::model::spec::{Spec, Volume};
use crate::core::model::subject::Named;
use crate::core::run;
use crate::core::schedule::due;
use crate::core::syncing;
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, Time};

/// Decides what is to be done for one object.
///
/// A plan without steps may rest on cached facts. One with steps must be decided again on a fresh read of the object, and of
/// those facts that the plan itself names in [`Plan::needs`].
pub fn decide(facts: &Facts, limits: &Limits, now: Timestamp) -> Plan {
    if facts.object.deleting {
        // Owner references let the cluster collect the children.
        return Plan::default();
    }
    let mut decision = Decision::new(facts, limits, now);
    clock::not_ahead(&mut decision.status, now);
    run::failure::attribute(&mut decision.status);
    decision.status.waiting_since = None;
    adoption::withdraw(&mut decision);
    sharing::mark_touched(&mut decision);
    images::review(&mut decision, facts.spec.as_ref().ok());
    if !abort::handle(&mut decision) {
        match &facts.spec {
            Ok(spec) => work(&mut decision, spec),
            Err(_) => refuse(&mut decision),
        }
    }
    cleanup::children(&mut decision);
    copies::settle(&mut decision);
    terminating::report(&mut decision);
    if let Ok(spec) = &facts.spec {
        resize::volume(&mut decision, spec);
        kept::report(&mut decision, spec);
        adoption::report(&mut decision, spec);
    }
    decision.finish()
}

fn work(decision: &mut Decision<'_>, spec: &Spec) {
    syncing::note(decision, spec);
    revision::forget(decision, spec);
    let spec_changed = decision.status.observed_generation.is_some_and(|seen| seen != decision.facts.object.generation);
    decision.status.next_sync_time =
        due::next_sync_time(&spec.trigger, &decision.status, decision.limits, spec_changed, decision.now).map(Time);
    let run = decision.status.run.clone();
    let cause = match &run {
        None if spec.paused => None,
        None => due::cause(&spec.trigger, &decision.status, decision.now)
            .or_else(|| due::cause_beside_trigger(spec, &decision.facts.object, &decision.status, decision.now)),
        Some(run) => run::superseded_by(decision, spec, run),
    };
    match (cause, run) {
        (Some(cause), run) => {
            // A failure that is certain takes no slot, nor does a wait for the user.
            if decision.facts.lacks_claim() || copies::on_request(decision.facts, spec).is_some() || decision.may_start() {
                open(decision, spec, &cause, run.as_ref());
            }
        }
        (None, Some(run)) => run::advance(decision, spec, &run),
        (None, None) if spec.paused => {}
        (None, None) => {
            decision.wake_for_next_sync();
            let republishes = due::republishes(&Named::by(spec), &decision.status);
            if let Some(time) = republishes.filter(|_| !due::waits_for_a_trigger(&decision.status)) {
                decision.plan.wake_at(due::possible(time, decision.now));
            }
        }
    }
}

/// An invalid spec: nothing new starts, and a run that has not reached its mover goes no further. It stays open until another takes its
/// place, which happens at once when the spec is fixed: what its mover has done to volume or path is not forgotten. What was due by
/// then stays due, its scheduled time has passed.
fn refuse(decision: &mut Decision<'_>) {
    let now = decision.now;
    let passed = decision.status.next_sync_time.as_ref().map(|t| t.0).filter(|t| *t <= now);
    decision.status.next_sync_time = passed.map(Time);
    let Some(open) = decision.status.run.clone() else { return };
    match run::working_mover(decision, &open) {
        None => {
            run::suspend(decision, &open);
            decision.status.next_attempt_time = None;
        }
        Some(alive) => run::supervise(decision, &open, alive),
    }
}

/// Opens a run. What it needs first is created in the same plan, after the status that announces it.
fn open(decision: &mut Decision<'_>, spec: &Spec, cause: &Cause, superseded: Option<&Run>) {
    let generation = decision.facts.object.generation;
    let mut made_anew = false;
    if superseded.is_some_and(|old| due::asked_to_sync(decision.facts.object.sync_now.as_deref(), old, &decision.status)) {
        // A user who asks for a sync has seen the failure.
        decision.status.attempts = None;
    }
    if superseded.is_some_and(|old| old.generation != generation) {
        // A changed spec is expected to fix the failure.
        decision.status.attempts = None;
        decision.plan.needs.extend([Refresh::Claims, Refresh::Jobs, Refresh::Pods]);
        made_anew = cleanup::unbound_volume(decision);
    }
    if superseded.is_some_and(|old| due::is_of_another(&Named::by(spec), old, generation)) {
        // The wait was for a push to another path.
        decision.status.first_push = None;
    }
    let aborted = decision.status.aborted.as_ref();
    let (adopt, adopted_state) = match (superseded, aborted) {
        (Some(old), _) => (old.adopt.clone(), old.adopted_state.clone()),
        (None, Some(aborted)) => (aborted.adopt.clone(), aborted.adopted_state.clone()),
        (None, None) => (None, None),
    };
    let before = Before {
        generation,
        synced: decision.status.last_sync_time.as_ref().map(|t| t.0),
        superseded: superseded.map(|old| old.id.as_str()).or(aborted.map(|aborted| aborted.run.as_str())),
    };
    if *cause == Cause::Unpublished {
        decision.status.last_republish_time = Some(Time(decision.now));
    }
    let run = Run {
        id: run_id(&decision.facts.object.uid, cause, before),
        phase: run::first_phase(decision.facts, spec),
        start_time: MicroTime(decision.now),
        attempt: 1,
        phase_time: MicroTime(decision.now),
        generation: decision.facts.object.generation,
        bytes_done: None,
        bytes_total: None,
        permits: None,
        manual: match cause {
            Cause::Manual(tag) => Some(tag.clone()),
            // A run that another cause opens while a tag waits would hide it; the tag is due first, see `due::cause`.
            _ => None,
        },
        subject: Some(Named::by(spec).record()),
        // What it captures is newer than the annotation, whatever opens it.
        sync_now: due::new_sync_now(decision.facts.object.sync_now.as_deref(), &decision.status).map(str::to_owned),
        verify_now: None,
        // A new run does not end an adoption: it stays bound to what its first push saw.
        adopt,
        adopted_state,
        disruptions: None,
        waits_for_pod: false,
    };
    if matches!(spec.volume, Volume::Destination { .. }) && due::needs_new_sync(spec, &decision.status) {
        decision.status.volume_touched = true;
    }
    decision.status.next_sync_time = due::after_opening(&spec.trigger, &decision.status, decision.now).map(Time);
    decision.status.last_sync_start_time = Some(Time(decision.now));
    decision.status.next_attempt_time = None;
    // A scheduled time that only asks again for a first push is no news.
    let asks_again = matches!(cause, Cause::Scheduled(_)) && superseded.is_some_and(|old| old.phase == Phase::WaitingForFirstPush);
    let fails_at_once = decision.facts.lacks_claim();
    // Nor is one that comes every minute; how it ends may be.
    let again = matches!(cause, Cause::Scheduled(_)) && spec.trigger.continuous();
    if !asks_again && !again && !fails_at_once && decision.status.attempts.is_none_or(|failures| failures < decision.limits.max_attempts) {
        decision.event(false, Reason::SyncStarted, "Sync started".to_owned(), &run.id);
    }
    decision.status.run = Some(run);
    adoption::bind_annotations(decision, spec);
    let begins = !made_anew || fails_at_once || sharing::refused(decision.facts, spec).is_some();
    if let Some(run) = decision.status.run.clone().filter(|_| begins) {
        run::begin(decision, spec, &run);
    }
    decision.wake_for_next_sync();
}
