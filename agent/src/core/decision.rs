//! A decision in the making: what `decide` and its parts write into.

use crate::api::Status;
use crate::api::reason::Reason;
use crate::api::recorded;
use crate::api::status::{Phase, Run};
use crate::core::conditions::{self, Course};
use crate::core::model::claimant;
use crate::core::model::clock::seconds;
use crate::core::model::facts::{Facts, Kind, Meta, Refresh, Slot};
use crate::core::model::limits::Limits;
use crate::core::model::plan::{ChildKind, ChildRef, Event, Plan, Step};
use crate::core::model::spec::InvalidSpec;
use crate::core::schedule::queue::{self, QueueEntry};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, Time};

/// The status as it will be, and the plan as far as it goes.
pub(super) struct Decision<'a> {
    pub(super) facts: &'a Facts,
    pub(super) limits: &'a Limits,
    pub(super) now: Timestamp,
    pub(super) status: Status,
    pub(super) plan: Plan,
    /// What did not work, although the spec is valid and syncs go on.
    pub(super) troubles: Vec<String>,
    /// What works, and may not be what the user expects.
    pub(super) notes: Vec<String>,
    /// What the run waits for, once that lasts long enough to be reported.
    pub(super) waiting: Option<String>,
    /// What is to be done before the status is written, which would make it impossible.
    pub(super) before_the_status: Vec<Step>,
    events: Vec<Event>,
}

impl<'a> Decision<'a> {
    pub(super) fn new(facts: &'a Facts, limits: &'a Limits, now: Timestamp) -> Self {
        let (mut status, plan, troubles) = (facts.status.clone(), Plan::default(), facts.troubles.clone());
        if facts.undeclared.contains("lastRepublishTime") {
            // It would not be known that this sync was one of them.
            status.last_republish_time.clone_from(&status.last_sync_time);
        }
        Decision {
            facts,
            limits,
            now,
            status,
            plan,
            troubles,
            notes: Vec::new(),
            waiting: None,
            before_the_status: Vec::new(),
            events: Vec::new(),
        }
    }

    pub(super) fn wake_for_next_sync(&mut self) {
        let next = self.status.next_sync_time.as_ref().map(|t| t.0);
        // One that has come already waits for something else than time.
        if let Some(next) = next.filter(|t| *t > self.now) {
            self.plan.wake_at(next);
        }
    }

    pub(super) fn event(&mut self, warning: bool, reason: Reason, note: String, key: &str) {
        self.events.push(Self::told(warning, reason, note, key));
    }

    /// An event that something else publishes.
    pub(super) fn told(warning: bool, reason: Reason, note: String, key: &str) -> Event {
        Event { warning, reason, note, key: format!("{key}/{}", reason.as_str()) }
    }

    /// Whether a sync may start now. A running sync has its slot already; an object that gets none is recorded as waiting.
    pub(super) fn may_start(&mut self) -> bool {
        if queue::under_way(&self.facts.status) {
            return true;
        }
        self.plan.needs.insert(Refresh::Slot);
        if self.facts.slot == Slot::Free {
            return true;
        }
        let since = QueueEntry::of(self.facts).due_since(self.now).unwrap_or(self.now);
        self.status.waiting_since = Some(Time(seconds(since)));
        self.wake_for_next_sync();
        false
    }

    /// Whether nothing of the run is used again: its spec is invalid, and its mover has ended.
    pub(super) fn is_suspended(&self, run: &Run) -> bool {
        self.facts.spec.is_err() && matches!(run.phase, Phase::Backoff | Phase::WaitingForFirstPush)
    }

    /// Plans the deletion of a child.
    pub(super) fn delete(&mut self, kind: ChildKind, meta: &Meta) {
        self.plan.steps.push(Step::Delete(ChildRef::of(kind, meta)));
    }

    /// Moves the run on to another phase.
    pub(super) fn enter(&mut self, phase: Phase) {
        let now = self.now;
        if let Some(run) = self.status.run.as_mut() {
            run.phase = phase;
            run.phase_time = MicroTime(now);
            run.waits_for_pod = false;
            (run.bytes_done, run.bytes_total) = (None, None);
        }
    }

    /// The plan: the status comes first, then what is reported of it. Any other write may fail, and the next decision would not report
    /// again what the status holds already.
    pub(super) fn finish(mut self) -> Plan {
        let generation = self.facts.object.generation;
        if self.facts.spec.is_err() && self.status.observed_generation != Some(generation) {
            let problem = self.facts.spec.as_ref().err().map(ToString::to_string).unwrap_or_default();
            self.event(true, Reason::InvalidSpec, problem, &generation.to_string());
        }
        self.status.observed_generation = Some(generation);
        let trouble = (!self.troubles.is_empty()).then(|| self.troubles.join("; "));
        let problem = self.facts.spec.as_ref().err().map(|InvalidSpec(problem)| problem).or(trouble.as_ref()).map(String::as_str);
        let notes = self.notes.join(". ");
        let course = Course { problem, notes: &notes, waiting: self.waiting.as_deref(), holders: &self.facts.slot_holders };
        conditions::set(&mut self.status, &self.facts.spec, course, generation, self.limits, self.now);
        let writes = |status: &Status| status.run.as_ref().is_some_and(claimant::writes);
        let pushing = |status: &Status| status.run.as_ref().filter(|run| claimant::pushes(run)).map(|run| run.id.clone());
        let shares = match self.facts.object.kind {
            // It is only good as long as no other destination is given the PVC.
            Kind::Destination => writes(&self.facts.status) || writes(&self.status),
            // From here on no destination begins to pull into it.
            Kind::Source => pushing(&self.status).is_some() && pushing(&self.status) != pushing(&self.facts.status),
        };
        if shares {
            self.plan.needs.insert(Refresh::Sharing);
        }
        let mut steps = self.before_the_status;
        if !recorded::same(&self.status, &self.facts.status, &self.facts.undeclared) {
            steps.push(Step::WriteStatus(Box::new(self.status)));
        }
        steps.extend(self.events.into_iter().map(Step::Publish));
        steps.append(&mut self.plan.steps);
        self.plan.steps = steps;
        self.plan
    }
}
