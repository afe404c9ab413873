//! A destination whose path nothing is pushed to: too early, or a typing error in the path.

use crate::controllers::Ending;
use crate::script;
use crate::waking::attempt;
use crate::world::{Flavour, World};
use jiff::SignedDuration;
use scribe_agent::api::reason::Reason;
use scribe_agent::core::model::spec::Trigger;

fn message(world: &World) -> &str {
    &world.status.conditions.iter().find(|c| c.type_ == "Synchronizing").unwrap().message
}

/// Checks every five minutes, for so many hours.
fn waits(world: &mut World, hours: i64) {
    for _ in 0..hours * 12 {
        attempt(world, Ending::NothingPushedYet);
        world.past.clear();
        world.now += SignedDuration::from_mins(5);
    }
    attempt(world, Ending::NothingPushedYet);
}

#[test]
fn a_path_that_stays_empty_is_asked_about_once() {
    let mut world = World::new(Flavour::DestinationImage);
    (world.spec.trigger, world.remote) = (Trigger::default(), None);
    waits(&mut world, 23);
    assert!(message(&world).contains("r:p") && !message(&world).contains("firstPushPatience"), "{}", message(&world));
    let told = |world: &World| world.events.iter().filter(|event| event.reason == Reason::WaitingForFirstPush).count();
    assert_eq!(told(&world), 0);
    waits(&mut world, 5);
    assert!(message(&world).contains("rcloneDestPath") && message(&world).contains("since 2026-01-01T00:00:00Z"), "{}", message(&world));
    assert_eq!(told(&world), 1);
    assert!(world.status.last_error.is_none(), "waiting is no failure");

    // Another path is another wait, and a push ends it.
    script::edit(&mut world, |world| world.spec.remote.path = script::PATHS[1].into());
    waits(&mut world, 1);
    assert!(!message(&world).contains("firstPushPatience"), "{}", message(&world));
    world.remote = Some(1);
    script::calm_down(&mut world);
    assert_eq!(world.status.first_push, None);
}
