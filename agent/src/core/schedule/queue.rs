//! The queue before every sync: at most `maxConcurrentSyncs` run at a time; the one that has been due longest is next.
//!
//! A slot is needed before the first child of a run or attempt is created. Running and waiting objects are found by their statuses, so a
//! restarted agent counts the syncs that run already.

use crate::api::Status;
use crate::api::reason::Reason;
use crate::api::status::Phase;
use crate::core::model::facts::{Facts, Kind, Slot};
use crate::core::model::spec::Spec;
use crate::core::model::subject::Named;
use crate::core::schedule::due;
use jiff::Timestamp;

/// Whether an object starts syncs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Lifecycle {
    /// It does.
    #[default]
    Active,
    /// Nothing new starts.
    Paused,
    /// It is being deleted: nothing starts or goes on.
    Terminating,
}

impl Lifecycle {
    /// Of an object that is paused, deleted, or both.
    pub fn of(paused: bool, deleting: bool) -> Self {
        match (paused, deleting) {
            (_, true) => Lifecycle::Terminating,
            (true, false) => Lifecycle::Paused,
            (false, false) => Lifecycle::Active,
        }
    }
}

/// Movers of an object that have not ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Movers {
    /// There is none.
    #[default]
    None,
    /// One that no run waits for: it is being stopped, or was an earlier object's of this name. Its node may be lost.
    Leftover,
    /// One of the object's own that has not started.
    Pending,
    /// One of the object's own that works.
    Running,
}

/// What the queue needs to know of an object.
#[derive(Clone, Debug)]
#[allow(clippy::struct_excessive_bools, reason = "each answers a question of its own")]
pub struct QueueEntry<'a> {
    /// Which kind.
    pub kind: Kind,
    /// `metadata.uid`
    pub uid: &'a str,
    /// `metadata.generation`
    pub generation: i64,
    /// When the object was made.
    pub created: Option<Timestamp>,
    /// Whether it starts syncs.
    pub lifecycle: Lifecycle,
    /// `spec.trigger.manual`
    pub tag: Option<&'a str>,
    /// Whether a new object syncs without waiting for a slot or tag.
    pub starts_at_once: bool,
    /// Whether the user's annotations approve something that its run does not know of.
    pub approved: bool,
    /// The user's annotation that asks for a sync.
    pub sync_now: Option<&'a str>,
    /// The user's annotation that asks a source for a verification.
    pub verify_now: Option<&'a str>,
    /// See [`due::is_stale`].
    pub stale: bool,
    /// When a sync is due that publishes again what was deleted, as far as the status shows that.
    pub republishes: Option<Timestamp>,
    /// Whether its run captured something else than the spec names by now, if that can be read.
    pub outdated: bool,
    /// The claim of the user's that a destination pulls into.
    pub pulls_into: Option<&'a str>,
    /// The claim of the user's that the spec names, if it is known not to be there: nothing can start.
    pub lacks_claim: bool,
    /// Its status.
    pub status: &'a Status,
}

/// An object's position in the queue; the smallest is next.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct QueuePosition {
    /// False for the first attempt of a destination that has never been synced: it goes before all others.
    later: bool,
    /// Since when it has been due.
    since: Timestamp,
    uid: String,
}

/// One object that may have or want a slot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// `metadata.uid`
    pub uid: String,
    /// Whether a sync of it is running.
    pub under_way: bool,
    /// Its position in the queue, if a sync of it is due.
    pub position: Option<QueuePosition>,
}

/// Whether a sync takes a slot: none that waits after a failure, for a first push, for a snapshot or for a pod that does not start. Then the
/// cluster works, or nothing at all.
pub fn under_way(status: &Status) -> bool {
    status.run.as_ref().is_some_and(|run| matches!(run.phase, Phase::Capturing | Phase::Transferring) && !run.waits_for_pod)
}

impl<'a> QueueEntry<'a> {
    /// The object of these facts.
    pub fn of(facts: &'a Facts) -> QueueEntry<'a> {
        let (object, spec) = (&facts.object, facts.spec.as_ref().ok());
        QueueEntry {
            kind: object.kind,
            uid: &object.uid,
            generation: object.generation,
            created: object.created,
            lifecycle: Lifecycle::of(spec.is_none_or(|s| s.paused), object.deleting),
            tag: spec.and_then(|s| s.trigger.manual.as_deref()),
            starts_at_once: spec.is_some_and(|s| s.trigger.starts_at_once()),
            approved: facts.status.run.as_ref().is_some_and(|run| object.has_new_approvals(&facts.status, run)),
            sync_now: object.sync_now.as_deref(),
            verify_now: object.verify_now.as_deref(),
            stale: spec.map_or(facts.status.volume_touched, |s| due::is_stale(&Named::by(s), &facts.status)),
            republishes: spec.and_then(|s| due::republishes(&Named::by(s), &facts.status)),
            outdated: facts
                .status
                .run
                .as_ref()
                .is_some_and(|run| spec.is_none_or(|s| due::is_of_another(&Named::by(s), run, object.generation))),
            pulls_into: spec.and_then(Spec::pulls_into),
            lacks_claim: facts.lacks_claim(),
            status: &facts.status,
        }
    }

    /// Since when a sync of it has been due, if one is; `now` if that is not known.
    pub fn due_since(&self, now: Timestamp) -> Option<Timestamp> {
        let status = self.status;
        // The condition Stalled has this reason also where a valid spec cannot work as long as another object is in the way.
        let refused = status.conditions.iter().any(|c| c.type_ == "Synchronizing" && c.reason == Reason::Error.as_str());
        let refused = refused && status.observed_generation == Some(self.generation);
        let starts_nothing = match self.lifecycle {
            Lifecycle::Active => refused,
            // A run that waits for its snapshot has begun, and goes on.
            Lifecycle::Paused => refused || self.outdated || status.run.as_ref().is_none_or(|run| run.phase != Phase::WaitingForSnapshot),
            Lifecycle::Terminating => true,
        };
        if starts_nothing || self.lacks_claim || under_way(status) {
            return None;
        }
        let due = self.cause(now)?;
        // One that lies ahead was written under a clock that was wrong, and would be the last in the queue until then.
        Some(status.waiting_since.as_ref().map_or(due, |t| t.0).min(now))
    }

    fn cause(&self, now: Timestamp) -> Option<Timestamp> {
        let status = self.status;
        let passed = |time: Option<Timestamp>| time.filter(|t| *t <= now);
        let slot = passed(status.next_sync_time.as_ref().map(|t| t.0));
        let new_tag = self.tag.filter(|tag| due::is_new_tag(tag, status));
        let verification = due::new_verification(self.verify_now, status).or(due::new_sync_now(self.sync_now, status));
        let Some(run) = &status.run else {
            // An edit since then ends the wait.
            let waits = status.aborted.as_ref().is_some_and(|aborted| aborted.generation == Some(self.generation));
            let created = (due::never_synced(status) && self.starts_at_once && !waits).then(|| self.created.unwrap_or(now));
            let asked = new_tag.is_some() || verification.is_some() || self.stale && !waits;
            let republishes = self.republishes.filter(|_| !waits).map(|time| due::possible(time, now));
            return slot.or(created).or(passed(republishes)).or(asked.then_some(now));
        };
        match run.phase {
            // The status does not show whether its snapshot is ready; an object that needs a slot has recorded that.
            Phase::WaitingForSnapshot if self.lifecycle == Lifecycle::Paused || run.generation == self.generation => {
                return status.waiting_since.as_ref().map(|t| t.0);
            }
            Phase::Publishing if !due::is_late(status, run) || run.generation == self.generation => return None,
            Phase::WaitingForSnapshot | Phase::Publishing => return Some(now),
            // It goes on without asking for a slot.
            Phase::Transferring if run.generation == self.generation => return None,
            _ => {}
        }
        let attempt = passed(status.next_attempt_time.as_ref().map(|t| t.0));
        let slot = slot.filter(|_| attempt.is_some() || !due::schedule_waits(status));
        let changed = run.generation != self.generation
            || self.approved
            || due::asked_to_sync(self.sync_now, run, status)
            || due::asked_to_verify(self.verify_now, run, status)
            || new_tag.is_some_and(|tag| run.manual.as_deref() != Some(tag));
        [slot, attempt].into_iter().flatten().min().or(changed.then_some(now))
    }

    /// Its position in the queue, if a sync of it is due.
    pub fn position(&self, now: Timestamp) -> Option<QueuePosition> {
        self.due_since(now).map(|since| self.position_since(since))
    }

    /// The position of one that has been due since then.
    pub fn position_since(&self, since: Timestamp) -> QueuePosition {
        let status = self.status;
        let first = self.kind == Kind::Destination && status.last_sync_time.is_none() && status.attempts.is_none() && status.run.is_none();
        QueuePosition { later: !first, since, uid: self.uid.to_owned() }
    }

    /// The object as a candidate. While a mover lives nothing else of it starts, and a running mover has its slot whatever the
    /// status says: what is known of that may be old, and nothing more is written of an object that is being deleted.
    pub fn candidate(&self, movers: Movers, now: Timestamp) -> Candidate {
        let by_status = self.lifecycle != Lifecycle::Terminating && under_way(self.status);
        let position = self.position(now).filter(|_| movers == Movers::None);
        let gave_back = self.status.run.as_ref().is_some_and(|run| run.waits_for_pod);
        let works = movers == Movers::Running || movers == Movers::Pending && !gave_back;
        Candidate { uid: self.uid.to_owned(), under_way: by_status || works, position }
    }
}

/// Whether the object at this position may start: free slots go to those that are first in the queue.
pub fn slot(mine: &QueuePosition, others: &[Candidate], limit: usize) -> Slot {
    let before = others.iter().filter(|c| c.uid != mine.uid);
    let before = before.filter(|c| c.under_way || c.position.as_ref().is_some_and(|position| position < mine)).count();
    if before < limit { Slot::Free } else { Slot::Taken }
}

/// UIDs of those that hold the slots, for one that waits and is among the next to start. None for the others: who holds them changes often,
/// and each of a long queue would write that into its status every time.
pub fn holders(mine: &QueuePosition, others: &[Candidate], limit: usize) -> Vec<String> {
    let before = others.iter().filter(|c| c.uid != mine.uid && !c.under_way);
    let next = before.filter(|c| c.position.as_ref().is_some_and(|position| position < mine)).count() < limit;
    let holding = others.iter().filter(|c| next && c.uid != mine.uid && c.under_way);
    holding.map(|c| c.uid.clone()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::status::LastError;
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
    use serde_json::json;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn view<'a>(kind: Kind, uid: &'a str, status: &'a Status) -> QueueEntry<'a> {
        QueueEntry {
            kind,
            uid,
            generation: 1,
            created: Some(at(50)),
            lifecycle: Lifecycle::Active,
            tag: None,
            starts_at_once: true,
            approved: false,
            sync_now: None,
            verify_now: None,
            stale: false,
            republishes: None,
            outdated: false,
            pulls_into: None,
            lacks_claim: false,
            status,
        }
    }

    fn synced(next: i64) -> Status {
        let (start, end) = (Some(Time(at(1))), Some(Time(at(2))));
        Status { last_sync_start_time: start, last_sync_time: end, next_sync_time: Some(Time(at(next))), ..Status::default() }
    }

    #[test]
    fn the_longest_due_goes_first_but_a_first_pull_before_all() {
        let (old, older, new) = (synced(20), synced(10), Status::default());
        let views = [view(Kind::Source, "old", &old), view(Kind::Destination, "older", &older), view(Kind::Destination, "new", &new)];
        let all: Vec<_> = views.iter().map(|v| v.candidate(Movers::None, at(100))).collect();
        let may = |uid: &str, limit| {
            let mine = all.iter().find(|c| c.uid == uid).and_then(|c| c.position.clone()).unwrap();
            slot(&mine, &all, limit) == Slot::Free
        };
        assert!(may("new", 1) && !may("older", 1) && !may("old", 1));
        assert!(may("older", 2) && !may("old", 2));
        assert!(may("old", 3));
    }

    /// A pod that does not start takes no slot from those that work, once the status says that it waits; one that runs does.
    #[test]
    fn a_pod_that_waits_holds_no_slot() {
        let run = json!({
            "id": "r", "phase": "Transferring", "startTime": "1970-01-01T00:00:00.000000Z", "attempt": 1,
            "phaseTime": "1970-01-01T00:00:00.000000Z", "generation": 1, "waitsForPod": true,
        });
        let waits = Status { run: Some(serde_json::from_value(run).unwrap()), ..synced(20) };
        for (movers, holds) in [(Movers::None, false), (Movers::Leftover, false), (Movers::Pending, false), (Movers::Running, true)] {
            let candidate = view(Kind::Source, "a", &waits).candidate(movers, at(100));
            assert_eq!((candidate.under_way, candidate.position), (holds, None), "{movers:?}");
        }
        let edited = QueueEntry { generation: 2, ..view(Kind::Source, "a", &waits) };
        assert_eq!(edited.due_since(at(100)), Some(at(20)), "a sync of the new spec needs one");
        let status = synced(20);
        assert!(view(Kind::Source, "a", &status).candidate(Movers::Pending, at(100)).under_way);
    }

    /// Only the next ones say who holds the slots: of a long queue, each would write that whenever it changes.
    #[test]
    fn the_next_ones_learn_who_holds_the_slots() {
        let candidate = |uid: &str, since: Option<i64>| {
            let position = since.map(|since| QueuePosition { later: true, since: at(since), uid: uid.into() });
            Candidate { uid: uid.into(), under_way: position.is_none(), position }
        };
        let all = [candidate("x", None), candidate("y", None), candidate("a", Some(1)), candidate("b", Some(2)), candidate("c", Some(3))];
        let told = |uid: &str| holders(all.iter().find(|c| c.uid == uid).unwrap().position.as_ref().unwrap(), &all, 2);
        assert_eq!((told("a"), told("b")), (vec!["x".to_owned(), "y".to_owned()], vec!["x".to_owned(), "y".to_owned()]));
        assert!(told("c").is_empty());
    }

    #[test]
    fn the_one_that_waits_longer_stays_in_front() {
        let waiting = Status { waiting_since: Some(Time(at(5))), ..synced(20) };
        let (waiting, other) = (view(Kind::Source, "b", &waiting), synced(10));
        let other = view(Kind::Source, "a", &other);
        assert!(waiting.position(at(100)) < other.position(at(100)));
    }

    #[test]
    fn paused_refused_and_early_ones_do_not_wait() {
        let status = synced(200);
        assert_eq!(view(Kind::Source, "a", &status).due_since(at(100)), None);
        let status = synced(20);
        let paused = QueueEntry { lifecycle: Lifecycle::Paused, ..view(Kind::Source, "a", &status) };
        assert_eq!(paused.due_since(at(100)), None);
        assert_eq!(view(Kind::Source, "a", &status).due_since(at(100)), Some(at(20)));
    }

    /// What is due beside the trigger waits for a slot as well.
    #[test]
    fn another_subject_and_a_verification_wait() {
        let status = synced(200);
        let idle = view(Kind::Source, "a", &status);
        assert_eq!(QueueEntry { stale: true, ..idle.clone() }.due_since(at(100)), Some(at(100)));
        assert_eq!(QueueEntry { verify_now: Some("1"), ..idle.clone() }.due_since(at(100)), Some(at(100)));
        assert_eq!(QueueEntry { stale: true, verify_now: Some("1"), lifecycle: Lifecycle::Paused, ..idle }.due_since(at(100)), None);
        let handled = Status { last_handled_verify_now: Some("1".into()), ..synced(200) };
        assert_eq!(QueueEntry { verify_now: Some("1"), ..view(Kind::Source, "a", &handled) }.due_since(at(100)), None);
        let run = json!({
            "id": "r", "phase": "Backoff", "startTime": "2026-01-01T00:00:00.000000Z", "attempt": 2,
            "phaseTime": "2026-01-01T00:00:00.000000Z", "generation": 1, "verifyNow": "1",
        });
        let failed = Status { run: Some(serde_json::from_value(run).unwrap()), next_attempt_time: Some(Time(at(150))), ..synced(200) };
        for (value, due) in [("1", None), ("2", Some(at(100)))] {
            assert_eq!(QueueEntry { verify_now: Some(value), ..view(Kind::Source, "a", &failed) }.due_since(at(100)), due);
        }
    }

    /// Until it is edited.
    #[test]
    fn a_refused_spec_does_not_wait() {
        let condition = json!({
            "type": "Synchronizing", "status": "False", "reason": "Error", "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z",
        });
        let status = Status { conditions: vec![serde_json::from_value(condition).unwrap()], observed_generation: Some(1), ..synced(20) };
        let refused = view(Kind::Source, "a", &status);
        assert_eq!(refused.due_since(at(100)), None);
        assert_eq!(QueueEntry { generation: 2, ..refused }.due_since(at(100)), Some(at(20)));
    }

    /// Its slots count only once its next attempt is due, where a person is needed.
    #[test]
    fn one_that_failed_waits_by_its_reason() {
        let run = json!({
            "id": "r", "phase": "Backoff", "startTime": "2026-01-01T00:00:00.000000Z", "attempt": 2,
            "phaseTime": "2026-01-01T00:00:00.000000Z", "generation": 1,
        });
        for (reason, attempt, expected) in [
            ("Unreachable", 200, Some(at(20))),
            ("DeletionGuard", 200, None),
            ("DeletionGuard", 30, Some(at(20))),
            ("DeletionGuard", 10, Some(at(10))),
        ] {
            let status = Status {
                run: Some(serde_json::from_value(run.clone()).unwrap()),
                last_error: Some(LastError { reason: reason.into(), message: String::new(), time: Time(at(5)), generation: None }),
                next_attempt_time: Some(Time(at(attempt))),
                ..synced(20)
            };
            assert_eq!(view(Kind::Source, "a", &status).due_since(at(100)), expected, "{reason}, {attempt}");
        }
    }
}
