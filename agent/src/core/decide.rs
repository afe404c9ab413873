//! From facts and the time to a plan. Total, deterministic and pure.
//!
//! The state is `status.run`: absent, or in one of six phases. `docs/development.md` draws it.

use crate::api::reason::Reason;
use crate::api::status::{Phase, Run};
use crate::core::adoption;
use crate::core::children::{cleanup, images, resize};
use crate::core::decision::Draft;
use crate::core::model::clock;
use crate::core::model::facts::{Facts, Fresh};
use crate::core::model::limits::Limits;
use crate::core::model::plan::Plan;
use crate::core::model::run_id::{Before, Cause, run_id};
use crate::core::model::spec::{Spec, Volume};
use crate::core::model::subject::Named;
use crate::core::run;
use crate::core::schedule::due;
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
    let mut draft = Draft::new(facts, limits, now);
    clock::not_ahead(&mut draft.status, now);
    draft.status.waiting_since = None;
    adoption::withdraw(&mut draft);
    images::review(&mut draft, facts.spec.as_ref().ok());
    match &facts.spec {
        Ok(spec) => work(&mut draft, spec),
        Err(_) => refuse(&mut draft),
    }
    cleanup::children(&mut draft);
    if let Ok(spec) = &facts.spec {
        resize::volume(&mut draft, spec);
    }
    draft.finish()
}

fn work(draft: &mut Draft<'_>, spec: &Spec) {
    let spec_changed = draft.status.observed_generation.is_some_and(|seen| seen != draft.facts.object.generation);
    draft.status.next_sync_time = due::next_sync_time(&spec.trigger, &draft.status, draft.limits, spec_changed, draft.now).map(Time);
    let run = draft.status.run.clone();
    let cause = match &run {
        None if spec.paused => None,
        None => due::cause(&spec.trigger, &draft.status, draft.now)
            .or_else(|| due::cause_beside_trigger(spec, &draft.facts.object, &draft.status)),
        Some(run) => run::superseded_by(draft, spec, run),
    };
    match (cause, run) {
        (Some(cause), run) => {
            if draft.may_start() {
                open(draft, spec, &cause, run.as_ref());
            }
        }
        (None, Some(run)) => run::advance(draft, spec, &run),
        (None, None) if spec.paused => {}
        (None, None) => draft.wake_for_next_sync(),
    }
}

/// An invalid spec: nothing new starts, and a run that has not reached its mover goes no further. It stays open until another takes its
/// place, which happens at once when the spec is mended: what its mover has done to volume or path is not forgotten. What was due by
/// then stays due, its slot has passed.
fn refuse(draft: &mut Draft<'_>) {
    let now = draft.now;
    let passed = draft.status.next_sync_time.as_ref().map(|t| t.0).filter(|t| *t <= now);
    draft.status.next_sync_time = passed.map(Time);
    let Some(open) = draft.status.run.clone() else { return };
    match draft.facts.living_mover() {
        None => {
            run::suspend(draft, &open);
            draft.status.next_attempt_time = None;
        }
        Some(alive) => run::supervise(draft, &open, alive),
    }
}

/// Opens a run. What it needs first is created in the same plan, after the status that announces it.
fn open(draft: &mut Draft<'_>, spec: &Spec, cause: &Cause, superseded: Option<&Run>) {
    let generation = draft.facts.object.generation;
    let mut made_anew = false;
    if superseded.is_some_and(|old| old.generation != generation) {
        // Whoever changed the spec will have mended something.
        draft.status.attempts = None;
        draft.plan.needs.extend([Fresh::Claims, Fresh::Jobs, Fresh::Pods]);
        made_anew = cleanup::unbound_volume(draft);
    }
    let before =
        Before { generation, synced: draft.status.last_sync_time.as_ref().map(|t| t.0), superseded: superseded.map(|old| old.id.as_str()) };
    let run = Run {
        id: run_id(&draft.facts.object.uid, cause, before),
        phase: run::first_phase(spec),
        start_time: MicroTime(draft.now),
        attempt: 1,
        phase_time: MicroTime(draft.now),
        generation: draft.facts.object.generation,
        bytes_done: None,
        bytes_total: None,
        permits: None,
        manual: match cause {
            Cause::Manual(tag) => Some(tag.clone()),
            // A run that another cause opens while a tag waits would hide it; the tag is due first, see `due::cause`.
            _ => None,
        },
        subject: Some(Named::by(spec).record()),
        verify_now: None,
        // A new run does not end an adoption: it stays bound to what its first push saw.
        adopt: superseded.and_then(|old| old.adopt.clone()),
        adopted_state: superseded.and_then(|old| old.adopted_state.clone()),
    };
    if matches!(spec.volume, Volume::Destination { .. }) && due::needs_new_sync(spec, &draft.status) {
        draft.status.volume_touched = true;
    }
    draft.status.next_sync_time = due::after_opening(&spec.trigger, &draft.status, draft.now).map(Time);
    draft.status.last_sync_start_time = Some(Time(draft.now));
    draft.status.next_attempt_time = None;
    // A slot that only asks again for a first push is no news.
    let asks_again = matches!(cause, Cause::Slot(_)) && superseded.is_some_and(|old| old.phase == Phase::WaitingForFirstPush);
    if !asks_again && draft.status.attempts.is_none_or(|failures| failures < draft.limits.max_attempts) {
        draft.event(false, Reason::SyncStarted, "Sync started".to_owned(), &run.id);
    }
    draft.status.run = Some(run);
    adoption::bind_annotations(draft, spec);
    if let Some(run) = draft.status.run.clone().filter(|_| !made_anew) {
        run::begin(draft, spec, &run);
    }
    draft.wake_for_next_sync();
}
