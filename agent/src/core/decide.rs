//! From facts and the time to a plan. Total, deterministic and pure.
//!
//! The state is `status.run`: absent, or in one of five phases. `docs/development.md` draws it.
//! Imports all of `core`.

use super::conditions;
use super::due;
use super::facts::{Facts, Limits};
use super::identity::{Cause, run_id};
use super::plan::{Event, Plan, Step};
use super::run;
use super::spec::Spec;
use super::tidy;
use crate::api::Status;
use crate::api::reason::Reason;
use crate::api::status::{Phase, Run};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, Time};

/// A decision in the making: the status as it will be, and the plan as far as it goes.
pub(super) struct Draft<'a> {
    pub(super) facts: &'a Facts,
    pub(super) limits: &'a Limits,
    pub(super) now: Timestamp,
    pub(super) status: Status,
    pub(super) plan: Plan,
    /// Generation of the run that this decision closes.
    pub(super) closed: Option<i64>,
    events: Vec<Event>,
}

/// Decides what is to be done for one object.
///
/// A plan without steps may rest on cached facts. One with steps must be decided again on a fresh read of the object, and of
/// those facts that the plan itself names in [`Plan::needs`].
pub fn decide(facts: &Facts, limits: &Limits, now: Timestamp) -> Plan {
    if facts.object.deleting {
        // Owner references let the cluster collect the children.
        return Plan::default();
    }
    let mut draft = Draft { facts, limits, now, status: facts.status.clone(), plan: Plan::default(), closed: None, events: Vec::new() };
    match &facts.spec {
        Ok(spec) => draft.work(spec),
        Err(_) => draft.refuse(),
    }
    tidy::children(&mut draft);
    draft.finish()
}

impl Draft<'_> {
    fn work(&mut self, spec: &Spec) {
        let spec_changed = self.status.observed_generation.is_some_and(|seen| seen != self.facts.object.generation);
        self.status.next_sync_time = due::next_sync_time(&spec.trigger, &self.status, self.limits, spec_changed, self.now).map(Time);
        match self.status.run.clone() {
            None if spec.paused => {}
            None => match due::cause(&spec.trigger, &self.status, self.now) {
                Some(cause) => self.open(spec, &cause, None),
                None => self.wake_for_next_sync(),
            },
            Some(run) => match run::superseded_by(self, spec, &run) {
                Some(cause) => self.open(spec, &cause, Some(&run.id)),
                None => run::advance(self, spec, &run),
            },
        }
    }

    /// An invalid spec: nothing new starts, and what has not reached its mover is given up.
    fn refuse(&mut self) {
        self.status.next_sync_time = None;
        if !self.facts.mover_lives() {
            self.status.run = None;
        }
    }

    /// Opens a run. What it needs first is created in the same plan, after the status that announces it.
    fn open(&mut self, spec: &Spec, cause: &Cause, superseded: Option<&str>) {
        let last_sync = self.status.last_sync_time.as_ref().map(|t| t.0);
        let run = Run {
            id: run_id(&self.facts.object.uid, cause, last_sync, superseded),
            phase: run::first_phase(spec),
            start_time: MicroTime(self.now),
            attempt: 1,
            phase_time: MicroTime(self.now),
            generation: self.facts.object.generation,
            manual: match cause {
                Cause::Manual(tag) => Some(tag.clone()),
                // A run that another cause opens while a tag waits would hide it; the tag is due first, see `due::cause`.
                _ => None,
            },
        };
        self.status.last_sync_start_time = Some(Time(self.now));
        if spec.trigger.schedule.is_none()
            || self.status.next_sync_time.as_ref().is_some_and(|t| t.0 <= self.now)
            || self.status.next_sync_time.is_none()
        {
            self.status.next_sync_time = due::after_opening(&spec.trigger, self.now).map(Time);
        }
        self.event(false, Reason::SyncStarted, "Sync started".to_owned(), &run.id);
        self.status.run = Some(run.clone());
        run::begin(self, spec, &run);
        self.wake_for_next_sync();
    }

    fn wake_for_next_sync(&mut self) {
        if let Some(next) = self.status.next_sync_time.as_ref().map(|t| t.0) {
            self.plan.wake_at(next);
        }
    }

    pub(super) fn event(&mut self, warning: bool, reason: Reason, note: String, key: &str) {
        self.events.push(Event { warning, reason, note, key: format!("{key}/{}", reason.as_str()) });
    }

    /// Moves the run on to another phase.
    pub(super) fn enter(&mut self, phase: Phase) {
        let now = self.now;
        if let Some(run) = self.status.run.as_mut() {
            run.phase = phase;
            run.phase_time = MicroTime(now);
        }
    }

    fn finish(mut self) -> Plan {
        let generation = self.facts.object.generation;
        if self.facts.spec.is_err() && self.status.observed_generation != Some(generation) {
            let problem = self.facts.spec.as_ref().err().cloned().unwrap_or_default();
            self.event(true, Reason::InvalidSpec, problem, &generation.to_string());
        }
        self.status.observed_generation = Some(generation);
        conditions::set(&mut self.status, &self.facts.spec, generation, self.closed, self.now);
        if self.status != self.facts.status {
            self.plan.steps.insert(0, Step::WriteStatus(Box::new(self.status)));
        }
        self.plan.steps.extend(self.events.into_iter().map(Step::Publish));
        self.plan
    }
}
