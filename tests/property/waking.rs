//! When the agent looks again by itself, and what it tells of waiting.

use crate::agent::{self, Look};
use crate::controllers::{self, Ending};
use crate::script;
use crate::world::{Flavour, World};
use jiff::{SignedDuration, Timestamp};
use rstest::rstest;
use scribe_agent::api::reason::Reason;
use scribe_agent::api::status::Phase;
use scribe_agent::core::decide::decide;
use scribe_agent::core::model::facts::{Facts, Refusal, Slot};
use scribe_agent::core::syntax::cron::Schedule;

/// When it looks again, in a world that stays as it is.
pub fn wake(world: &World) -> Option<Timestamp> {
    agent::plan(world).wake
}

/// Every six minutes, and no tag.
fn scheduled() -> World {
    let mut world = World::new(Flavour::SourceSnapshot);
    world.spec.trigger.manual = None;
    world.spec.trigger.schedule = Some(Schedule::parse("*/6 * * * *", None).unwrap());
    world
}

fn next_time(world: &World) -> Timestamp {
    world.status.next_sync_time.as_ref().unwrap().0
}

pub fn next_attempt(world: &World) -> Timestamp {
    world.status.next_attempt_time.as_ref().unwrap().0
}

/// One whole attempt, up to the look that sees how its mover ended.
pub fn attempt(world: &mut World, ending: Ending) {
    script::begin(world);
    controllers::start_pods(world);
    controllers::end_movers(world, ending);
    controllers::let_the_cluster_work(world);
    agent::look(world, &Look::default());
}

/// A world whose first scheduled time has come, and its sync has ended like this.
fn after_a_scheduled_time(ending: Ending) -> World {
    let mut world = scheduled();
    agent::look(&mut world, &Look::default());
    world.now = next_time(&world);
    attempt(&mut world, ending);
    world
}

/// One look of an agent whose last write was refused.
pub fn refuse(world: &mut World) {
    let refusal = Some(Refusal { reason: Reason::PodRejected, message: "no more than 3".into() });
    let facts = Facts { refusal, ..world.facts() };
    for step in &decide(&facts, &World::limits(), world.now).steps {
        world.apply(&facts.object, step);
    }
}

#[test]
fn the_next_scheduled_time_is_waited_for() {
    let mut world = scheduled();
    agent::look(&mut world, &Look::default());
    assert_eq!(wake(&world), Some(next_time(&world)), "before the first sync");
    world.now = next_time(&world);
    attempt(&mut world, Ending::Good);
    controllers::let_the_cluster_work(&mut world);
    agent::look(&mut world, &Look::default());
    assert!(world.status.run.is_none() && next_time(&world) > world.now);
    assert_eq!(wake(&world), Some(next_time(&world)), "after it");
    script::edit(&mut world, |world| world.spec.paused = true);
    agent::look(&mut world, &Look::default());
    assert_eq!(wake(&world), None, "paused");
}

/// What is due and has no place waits for a place: a time that has passed would wake it again and again.
#[test]
fn one_that_is_due_is_not_woken_by_time() {
    let mut world = scheduled();
    agent::look(&mut world, &Look::default());
    world.slot = Slot::Taken;
    world.now = next_time(&world);
    for _ in 0..2 {
        agent::look(&mut world, &Look::default());
        assert_eq!(wake(&world), None);
    }
    assert!(world.status.waiting_since.is_some());
}

/// In the same write that tells of the failure.
#[rstest]
#[case(Ending::Failed)]
#[case(Ending::Stalled)]
#[case(Ending::NothingPushedYet)]
fn a_failure_says_when_it_is_tried_again(#[case] ending: Ending) {
    let mut world = World::new(Flavour::DestinationImage);
    attempt(&mut world, ending);
    assert!(matches!(world.status.run.as_ref().unwrap().phase, Phase::Backoff | Phase::WaitingForFirstPush));
    assert_eq!(wake(&world), Some(next_attempt(&world)));
    assert!(next_attempt(&world) > world.now);
}

/// After a minute or two at first, then less and less often.
#[test]
fn a_first_push_is_checked_for_with_an_increasing_delay() {
    let mut world = World::new(Flavour::DestinationImage);
    for minutes in [1, 2, 3, 4, 4] {
        attempt(&mut world, Ending::NothingPushedYet);
        let waits = next_attempt(&world).duration_since(world.now).as_secs() + 1;
        assert!((60 * minutes..=60 * (minutes + 1)).contains(&waits), "{waits} s instead of {minutes} min");
        world.now = next_attempt(&world);
    }
}

/// What was there once is no first push to wait for: that is a failure, and the images stay. On another path there may be nothing yet.
#[test]
fn a_path_that_was_pulled_from_and_holds_nothing_is_a_failure() {
    let flavours = [Flavour::DestinationImage, Flavour::DestinationDirect, Flavour::DestinationExisting];
    for (flavour, older_agent) in flavours.into_iter().flat_map(|flavour| [(flavour, false), (flavour, true)]) {
        let mut world = World::new(flavour);
        attempt(&mut world, Ending::Good);
        script::recover(&mut world);
        if older_agent {
            // It did not record what it pulled from.
            world.status.synced = None;
        }
        let images = world.status.images.clone();
        script::edit(&mut world, |world| world.spec.trigger.manual = Some("again".into()));
        attempt(&mut world, Ending::NothingPushedYet);
        assert_eq!(world.status.run.as_ref().unwrap().phase, Phase::Backoff, "{flavour:?}");
        assert_eq!(world.status.last_error.as_ref().unwrap().reason, "RemoteInconsistent");
        assert_eq!(world.status.images, images);

        let mut world = World::new(flavour);
        script::recover(&mut world);
        script::play(&mut world, &script::Happening::Path(1));
        attempt(&mut world, Ending::NothingPushedYet);
        assert_eq!(world.status.run.as_ref().unwrap().phase, Phase::WaitingForFirstPush, "{flavour:?}");
    }
}

/// The waiting is no part of the sync; that between two attempts is.
#[test]
fn a_sync_begins_when_there_is_something_to_pull() {
    for (ending, same) in [(Ending::NothingPushedYet, false), (Ending::Failed, true)] {
        let mut world = World::new(Flavour::DestinationImage);
        attempt(&mut world, ending);
        let (began, started) = (world.status.run.clone().unwrap().start_time, world.status.last_sync_start_time.clone());
        world.now = next_attempt(&world);
        agent::look(&mut world, &Look::default());
        let run = world.status.run.as_ref().unwrap();
        assert_eq!(run.phase, Phase::Transferring);
        assert_eq!((run.start_time == began, world.status.last_sync_start_time == started), (same, same), "{ending:?}");
    }
}

/// What the API server refused is the failure of the attempt that asked for it, and of no other.
#[test]
fn a_refusal_ends_one_attempt() {
    let mut world = World::new(Flavour::SourceSnapshot);
    agent::look(&mut world, &Look::default());
    refuse(&mut world);
    assert_eq!(world.status.last_error.as_ref().unwrap().message, "no more than 3");
    assert_eq!((world.status.run.as_ref().unwrap().phase, world.status.attempts), (Phase::Backoff, Some(1)));
    refuse(&mut world);
    assert_eq!(world.status.attempts, Some(1));
}

#[test]
fn a_scheduled_time_before_the_next_attempt_is_waited_for() {
    let mut world = after_a_scheduled_time(Ending::Failed);
    // As after many failures.
    world.status.attempts = Some(10);
    world.now = next_time(&world) - SignedDuration::from_secs(1);
    world.status.next_attempt_time.as_mut().unwrap().0 = next_time(&world) + SignedDuration::from_secs(60);
    assert_eq!(wake(&world), Some(next_time(&world)));
}

/// Where a person is needed, scheduled times wait for the next attempt; from then on the volume is captured afresh.
#[test]
fn a_scheduled_time_waits_where_action_is_required() {
    let mut world = after_a_scheduled_time(Ending::Stalled);
    let (run, slot) = (world.status.run.clone().unwrap().id, next_time(&world));
    // The next attempt comes after the scheduled time.
    world.status.attempts = Some(10);
    let attempt = slot + SignedDuration::from_secs(60);
    world.status.next_attempt_time.as_mut().unwrap().0 = attempt;
    for (now, waits) in [(slot, true), (attempt - SignedDuration::from_secs(1), true), (attempt, false)] {
        world.now = now;
        agent::look(&mut world, &Look::default());
        assert_eq!(world.status.run.as_ref().unwrap().id == run, waits, "at {now}");
    }
}

/// One that keeps failing does not tell of every start.
#[test]
fn starts_are_reported_until_an_object_is_failing() {
    for (failures, told) in [(None, true), (Some(4), true), (Some(5), false), (Some(6), false)] {
        let mut world = World::new(Flavour::SourceDirect);
        world.status.attempts = failures;
        agent::look(&mut world, &Look::default());
        assert_eq!(world.events.iter().any(|event| event.reason == Reason::SyncStarted), told, "{failures:?}");
    }
}
