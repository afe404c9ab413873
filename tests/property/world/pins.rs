//! Destinations that are kept at one revision: which ones a path has, what a mover finds there, and that a pin stands for one alone.

use super::World;
use jiff::{SignedDuration, Timestamp};
use scribe_agent::api::Status;
use scribe_agent::api::pin::PinSpec;
use scribe_agent::core::model::facts::Kind;
use scribe_agent::core::model::plan::{MoverTask, NewJob};

impl World {
    /// When the data of the revision with this number was captured, whichever path it is of.
    pub fn time_of(number: u32) -> Timestamp {
        "2025-01-01T00:00:00Z".parse::<Timestamp>().unwrap() + SignedDuration::from_hours(number.into())
    }

    /// A pin to the revision of this number at the path of the spec.
    pub fn pin_to(&self, number: u32) -> PinSpec {
        PinSpec { revision: Some(World::revision(&self.subject().remote, number)), as_of: None }
    }

    /// A pin to what was captured by then.
    pub fn pin_as_of(time: Timestamp) -> PinSpec {
        PinSpec { revision: None, as_of: Some(time.to_string()) }
    }

    /// The number of what the path has for a mover of this kind; none where it does not have it.
    pub fn found(&self, remote: &str, pin: Option<&PinSpec>) -> Option<u32> {
        let newest = self.remote.unwrap_or(0);
        let there = |number: &u32| (self.oldest..=newest).contains(number) || *number == newest;
        let Some(pin) = pin else { return Some(newest) };
        match (&pin.revision, &pin.as_of) {
            (Some(revision), None) => {
                Some(World::parsed(revision)).filter(|(from, _)| from == remote).map(|(_, number)| number).filter(there)
            }
            (None, Some(time)) => {
                let time: Timestamp = time.parse().unwrap();
                (1..=newest).rev().filter(there).find(|number| World::time_of(*number) <= time)
            }
            pin => panic!("{pin:?}"),
        }
    }

    /// What the spec asks for by now, as far as the status knows what its pin stands for.
    pub fn wanted(&self) -> Option<PinSpec> {
        let pin = self.spec.pin.clone().filter(|_| self.object.kind == Kind::Destination)?;
        let known = self.status.pinned.as_ref().map(|pinned| PinSpec { revision: Some(pinned.revision.clone()), as_of: None });
        Some(known.unwrap_or(pin))
    }

    /// Whether no pull can give what the spec asks for.
    pub fn asks_for_what_is_not_there(&self) -> bool {
        let ahead = |pin: &PinSpec| pin.as_of.as_ref().is_some_and(|time| time.parse::<Timestamp>().unwrap() > self.now);
        self.wanted().is_some_and(|pin| ahead(&pin) || self.found(&self.subject().remote, Some(&pin)).is_none())
    }

    /// A mover is sent for the revision that the pin stands for, once that is known; and for the newest only where nothing is pinned.
    pub(super) fn assert_asks_for(&self, new: &NewJob) {
        let MoverTask::Pull { pin, .. } = &new.work else { return };
        assert_eq!(*pin, self.wanted(), "a mover was sent for another revision than the spec asks for");
    }

    /// What a pin stands for is known from its first pull to its last, and never changes.
    pub(super) fn assert_pinned(&self, status: &Status) {
        let remote = self.subject().remote;
        let of_this = |status: &Status| {
            let pin = self.spec.pin.as_ref()?;
            let pinned = status.pinned.clone().filter(|pinned| pinned.as_of == pin.as_of && pinned.remote == remote)?;
            pin.revision.as_ref().is_none_or(|revision| *revision == pinned.revision).then_some(pinned)
        };
        let (before, after) = (of_this(&self.status), of_this(status));
        assert_eq!(after, before.clone().or_else(|| after.clone()), "what a pin stands for has changed");
        if self.invalid.is_none() {
            assert_eq!(after, status.pinned, "what an earlier pin stood for is still told");
        }
        if status.last_sync_time != self.status.last_sync_time && self.object.kind == Kind::Destination && self.spec.pin.is_some() {
            assert_eq!(after.map(|pinned| pinned.revision), status.revision, "another revision was published than is pinned");
        }
    }
}
