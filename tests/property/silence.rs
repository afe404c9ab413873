//! A cluster that stands still, and what is said of it.

use crate::agent::{self, Look};
use crate::script::{self, Happening};
use crate::world::World;
use jiff::{SignedDuration, Timestamp};
use scribe_agent::api::status::{Phase, Run};
use scribe_agent::core::model::limits::Limits;
use scribe_agent::core::schedule::queue;

/// From here on nothing moves but the clock, for longer than any deadline.
const STANDSTILL: SignedDuration = SignedDuration::from_hours(9);
const STEP: SignedDuration = SignedDuration::from_mins(5);

/// Since when the same attempt has had its place, and what it is at.
fn holds_a_slot(world: &World) -> Option<&Run> {
    world.status.run.as_ref().filter(|_| queue::under_way(&world.status))
}

/// Nothing is over or forgotten: what could not go on is a failure by now, and has given its place back.
pub fn assert_reported(mut world: World) {
    for mended in [Happening::Pause(false), Happening::Invalid(false), Happening::Slot(true), Happening::Slow(true), Happening::Hang] {
        script::play(&mut world, &mended);
    }
    world.past.clear();
    let (end, longest) = (world.now + STANDSTILL, longest_slot(&World::limits()));
    let mut place: Option<(String, i64, Timestamp)> = None;
    while world.now < end {
        for _ in 0..4 {
            agent::look(&mut world, &Look::default());
        }
        place = holds_a_slot(&world).map(|run| {
            let before = place.filter(|(id, attempt, _)| *id == run.id && *attempt == run.attempt);
            (run.id.clone(), run.attempt, before.map_or(world.now, |(_, _, since)| since))
        });
        if let Some((_, _, since)) = &place {
            assert!(world.now.duration_since(*since) <= longest, "a place is held since {since}: {:#?}", world.status);
        }
        world.past.clear();
        world.now += STEP;
    }
    let status = &world.status;
    let waits_for_a_push = status.run.as_ref().is_some_and(|run| run.phase == Phase::WaitingForFirstPush);
    let aborted = status.aborted.as_ref().and_then(|aborted| aborted.manual.as_ref());
    let answered = status.last_manual_sync == world.spec.trigger.manual || aborted == world.spec.trigger.manual.as_ref();
    let done = status.run.is_none() && answered;
    assert!(done || waits_for_a_push || status.last_error.is_some(), "waits in silence: {status:#?}");
}

/// No deadline of a phase that takes a place is longer than this, plus the steps of the clock that it may take to see it.
fn longest_slot(limits: &Limits) -> SignedDuration {
    limits.pod_start_timeout.max(limits.stall_timeout * 6) + STEP * 2
}
