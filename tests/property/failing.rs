//! An object that fails for ever: what it costs, what it tells, and how it comes back.

use crate::agent::{self, Look};
use crate::controllers::{self, Ending};
use crate::script::{self, Happening};
use crate::world::{Flavour, World};
use jiff::{SignedDuration, Timestamp};
use scribe_agent::api::reason::Reason;
use scribe_agent::api::status::Phase;
use scribe_agent::core::syntax::cron::Schedule;

/// Looks every so many seconds, for so long. Movers start at once and end like this. Gives the times at which movers ended.
fn live_by(step: i64, world: &mut World, hours: i64, ending: Ending) -> Vec<Timestamp> {
    let (end, mut ends) = (world.now + SignedDuration::from_hours(hours), Vec::new());
    while world.now < end {
        for _ in 0..4 {
            agent::look(world, &Look::default());
            controllers::let_the_cluster_work(world);
        }
        controllers::start_pods(world);
        if world.pods.iter().any(|p| !p.ended) {
            ends.push(world.now);
            controllers::end_movers(world, ending);
        }
        controllers::let_the_cluster_work(world);
        world.past.clear();
        world.now += SignedDuration::from_secs(step);
    }
    ends
}

fn live(world: &mut World, hours: i64, ending: Ending) -> Vec<Timestamp> {
    live_by(30, world, hours, ending)
}

fn started(flavour: Flavour) -> World {
    let mut world = World::new(flavour);
    script::play(&mut world, &Happening::Tag);
    world
}

fn children(world: &World) -> usize {
    world.claims.len() + world.snapshots.len() + world.jobs.len() + world.pods.len()
}

fn told(world: &World, reason: Reason) -> usize {
    world.events.iter().filter(|e| e.reason == reason).count()
}

/// At the longest delay an hour costs no more than 60 writes, and nothing piles up.
#[test]
fn a_lasting_failure_is_cheap() {
    for flavour in Flavour::ALL {
        for ending in [Ending::Failed, Ending::Stalled, Ending::WithoutReport] {
            let mut world = started(flavour);
            live(&mut world, 1, ending);
            let (writes, had) = (world.writes, children(&world));
            let attempts = live(&mut world, 1, ending).len();
            assert!((4..=6).contains(&attempts), "{flavour:?} {ending:?}: {attempts} attempts in an hour");
            assert!(world.writes - writes <= 60, "{flavour:?} {ending:?}: {} writes in an hour", world.writes - writes);
            assert!(children(&world) <= had, "{flavour:?} {ending:?}: children grow");
            assert_eq!(told(&world, Reason::Failing), 1);
            assert!(world.events.len() <= 8, "{flavour:?} {ending:?}: {:#?}", world.events);
        }
    }
}

/// Delays double from 10 s on, or from a minute on where a person is needed, less up to a quarter by jitter.
#[test]
fn delays_grow() {
    for (ending, expected) in [(Ending::Failed, [10, 20, 40, 80, 900, 900]), (Ending::Stalled, [60, 120, 240, 480, 900, 900])] {
        let ends = live_by(5, &mut started(Flavour::SourceSnapshot), 2, ending);
        for (number, (pair, full)) in ends.windows(2).zip(expected).enumerate() {
            let delay = pair[1].duration_since(pair[0]).as_secs();
            // The looks come five seconds apart, and a new attempt takes a moment.
            assert!((full * 3 / 4..=full + 10).contains(&delay), "{ending:?}, delay {number}: {delay} s instead of {full} s");
        }
    }
}

/// The status tells how many attempts failed and when the next one comes; success clears all of it.
#[test]
fn the_count_and_the_time_are_data() {
    let mut world = started(Flavour::DestinationImage);
    let failed = live(&mut world, 1, Ending::Failed).len();
    let status = &world.status;
    assert_eq!(status.attempts, i64::try_from(failed).ok());
    let next = status.next_attempt_time.as_ref().unwrap().0;
    assert!(next > world.now && next <= world.now + SignedDuration::from_mins(15));
    let condition = status.conditions.iter().find(|c| c.type_ == "Synchronizing").unwrap();
    assert!(condition.message.starts_with("Failing: "), "{}", condition.message);
    // The same failure is told once.
    assert_eq!((told(&world, Reason::Unreachable), told(&world, Reason::Failing)), (1, 1));
    live(&mut world, 1, Ending::Stalled);
    assert_eq!(told(&world, Reason::DeletionGuard), 1);
    script::recover(&mut world);
    world.assert_settled();
    assert!(world.status.attempts.is_none() && world.status.next_attempt_time.is_none());
}

/// Whoever changes the spec or the tag does not wait, and what follows counts anew.
#[test]
fn a_change_is_tried_at_once() {
    for change in [Happening::Tag, Happening::Edit] {
        let mut world = started(Flavour::SourceSnapshot);
        live(&mut world, 1, Ending::Stalled);
        assert!(world.status.attempts.unwrap() > 5);
        script::play(&mut world, &change);
        agent::look(&mut world, &Look::default());
        let run = world.status.run.as_ref().unwrap();
        assert!(run.phase != Phase::Backoff && world.status.next_attempt_time.is_none(), "{change:?}: {run:?}");
        assert_eq!(world.status.attempts, None);
    }
}

/// Slots come sooner than the longest delay: a passing trouble is tried at each of them, one that needs a person is not.
#[test]
fn scheduled_times_hasten_what_may_pass() {
    for (ending, expected) in [(Ending::Failed, 10..=10), (Ending::Stalled, 4..=6)] {
        let mut world = World::new(Flavour::SourceSnapshot);
        world.spec.trigger.manual = None;
        world.spec.trigger.schedule = Some(Schedule::parse("*/6 * * * *", None).unwrap());
        live(&mut world, 1, ending);
        let had = children(&world);
        let attempts = live(&mut world, 1, ending).len();
        assert!(expected.contains(&attempts), "{ending:?}: {attempts} attempts in an hour");
        assert!(children(&world) <= had, "{ending:?}: children grow");
    }
}

/// A clock set back by a day stretches the wait by no more than its own length.
#[test]
fn a_clock_set_back_does_not_stretch_the_wait() {
    let mut world = started(Flavour::SourceDirect);
    live(&mut world, 1, Ending::Failed);
    world.now -= SignedDuration::from_hours(24);
    assert!(live(&mut world, 1, Ending::Failed).len() >= 4);
}

/// A refused deletion stalls, and the user's token is taken up at once, without a new capture; one that does not help waits again.
#[test]
fn a_permitted_deletion_is_tried_at_once() {
    let mut world = started(Flavour::SourceSnapshot);
    live(&mut world, 1, Ending::Stalled);
    let stalled = world.status.conditions.iter().find(|c| c.type_ == "Stalled").unwrap();
    assert_eq!((stalled.status.as_str(), stalled.reason.as_str()), ("True", "DeletionGuard"));
    assert_eq!(stalled.message.matches("scribe.backube/allow-deletions").count(), 1, "{}", stalled.message);
    let run = world.status.run.clone().unwrap();
    script::play(&mut world, &Happening::Permit(7));
    for _ in 0..2 {
        agent::look(&mut world, &Look::default());
    }
    let again = world.status.run.clone().unwrap();
    assert_eq!((again.id.as_str(), again.phase), (run.id.as_str(), Phase::Transferring));
    assert_eq!(world.allowed, ["7"], "what the movers were told");
    assert!(live(&mut world, 1, Ending::Stalled).len() <= 9, "a token that does not help is not tried in a hurry");
    script::play(&mut world, &Happening::Permit(8));
    live(&mut world, 1, Ending::Good);
    world.assert_settled();
}
