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
    /// The same claim, if it is known to be there: a run that failed for want of it goes on at once.
    pub has_claim: bool,
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
    /// Whether its sync has given its slot back, and runs beside the others as soon as its pod starts.
    pub waits_for_pod: bool,
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
            has_claim: spec.is_some_and(|s| s.users_claim().is_some()) && !facts.lacks_claim(),
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
            || self.has_claim && run.phase == Phase::Backoff && due::lacked_claim(status)
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
        let under_way = by_status || movers == Movers::Running || movers == Movers::Pending && !gave_back;
        let waits_for_pod = gave_back && !under_way && self.lifecycle != Lifecycle::Terminating;
        Candidate { uid: self.uid.to_owned(), under_way, waits_for_pod, position }
    }
}

/// Whether the object at this position may start: free slots go to those that are first in the queue.
///
/// Pods that wait may all start at the same time, as when a node comes back. As many of them as there are slots wait without one, so that
/// never more than twice as many syncs run.
pub fn slot(mine: &QueuePosition, others: &[Candidate], limit: usize) -> Slot {
    let (before, others): (Vec<_>, Vec<_>) = others
        .iter()
        .filter(|c| c.uid != mine.uid)
        .partition(|c| c.under_way || c.position.as_ref().is_some_and(|position| position < mine));
    let waiting = others.iter().filter(|c| c.waits_for_pod).count();
    if before.len() + waiting.saturating_sub(limit) < limit { Slot::Free } else { Slot::Taken }
}

/// UIDs of those that hold the slots, for one that waits and is among the next to start. None for the others: who holds them changes often,
/// and each of a long queue would write that into its status every time.
pub fn holders(mine: &QueuePosition, others: &[Candidate], limit: usize) -> Vec<String> {
    let before = others.iter().filter(|c| c.uid != mine.uid && !c.under_way);
    let next = before.filter(|c| c.position.as_ref().is_some_and(|position| position < mine)).count() < limit;
    let too_many_wait = others.iter().filter(|c| c.waits_for_pod).count() > limit;
    let holding = others.iter().filter(|c| next && c.uid != mine.uid && (c.under_way || too_many_wait && c.waits_for_pod));
    holding.map(|c| c.uid.clone()).collect()
}

#[cfg(test)]
mod tests;
