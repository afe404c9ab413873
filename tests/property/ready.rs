//! The condition Ready, as whoever waits for it sees it.

use crate::agent::{self, Look};
use crate::controllers::{self, Ending};
use crate::script;
use crate::world::{Flavour, World};
use jiff::SignedDuration;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use rstest::rstest;
use scribe_agent::core::model::facts::Slot;
use scribe_agent::core::model::spec::{Trigger, Volume};
use scribe_agent::core::syntax::cron::Schedule;

fn ready(world: &World) -> &Condition {
    world.status.conditions.iter().find(|c| c.type_ == "Ready").unwrap()
}

/// `kubectl wait` compares the condition's generation with the object's.
#[rstest]
#[case::paused(|w: &mut World| w.spec.paused = true)]
#[case::retain(|w: &mut World| if let Volume::Destination { retain, .. } = &mut w.spec.volume { retain.last += 1 })]
#[case::a_schedule(|w: &mut World| w.spec.trigger.schedule = Some(Schedule::parse("@weekly", None).unwrap()))]
#[case::no_tag(|w: &mut World| w.spec.trigger.manual = None)]
fn an_edit_that_asks_for_no_sync_is_ready_at_once(#[case] edit: impl Fn(&mut World)) {
    for flavour in Flavour::ALL {
        let mut world = World::new(flavour);
        script::recover(&mut world);
        script::edit(&mut world, &edit);
        agent::look(&mut world, &Look::default());
        let ready = ready(&world);
        assert_eq!((ready.status.as_str(), ready.observed_generation), ("True", Some(world.object.generation)), "{flavour:?}");
    }
}

/// And one that asks for a sync is ready when that has succeeded.
#[test]
fn a_new_tag_is_ready_when_it_is_synced() {
    for flavour in Flavour::ALL {
        let mut world = World::new(flavour);
        script::recover(&mut world);
        let before = ready(&world).observed_generation;
        script::edit(&mut world, |w| w.spec.trigger.manual = Some("again".into()));
        script::begin(&mut world);
        assert_eq!(ready(&world).observed_generation, before, "{flavour:?}");
        script::all_goes_well(&mut world, 10);
        assert_eq!(ready(&world).observed_generation, Some(world.object.generation), "{flavour:?}");
    }
}

/// Nor is it ready sooner where the spec was invalid in between: `kubectl wait` passed for what had never been synced.
#[test]
fn an_edit_after_an_invalid_one_is_ready_when_it_is_synced() {
    for flavour in Flavour::ALL {
        let mut world = World::new(flavour);
        script::recover(&mut world);
        script::edit(&mut world, |w| w.invalid = Some("bad".into()));
        agent::look(&mut world, &Look::default());
        script::edit(&mut world, |w| {
            w.invalid = None;
            w.spec.trigger.manual = Some("again".into());
            w.spec.remote.path = "elsewhere".into();
        });
        script::begin(&mut world);
        let of = |world: &World| (ready(world).status.clone(), ready(world).observed_generation);
        assert_ne!(of(&world), ("True".to_owned(), Some(world.object.generation)), "{flavour:?}: {:#?}", ready(&world));
        script::all_goes_well(&mut world, 10);
        let ready = ready(&world);
        assert_eq!((ready.status.as_str(), ready.observed_generation), ("True", Some(world.object.generation)), "{flavour:?}");
    }
}

#[test]
fn a_failure_after_a_success_is_reported() {
    let mut world = World::new(Flavour::SourceDirect);
    script::recover(&mut world);
    script::edit(&mut world, |w| {
        w.spec.trigger = Trigger { schedule: Some(Schedule::parse("@hourly", None).unwrap()), ..Trigger::default() }
    });
    script::all_goes_well(&mut world, 61);
    for _ in 0..24 * 60 {
        script::begin(&mut world);
        controllers::start_pods(&mut world);
        controllers::end_movers(&mut world, Ending::WithoutReport);
        controllers::let_the_cluster_work(&mut world);
        world.past.clear();
        world.now += SignedDuration::from_secs(60);
    }
    let (ready, failures) = (ready(&world), world.status.attempts.unwrap());
    assert!(failures > 50 && ready.status == "False" && ready.reason == "MoverKilled", "{ready:?}");
    assert_eq!(world.status.reason.as_deref(), Some("MoverKilled"), "Stalled, as all tools that read conditions see");
    assert!(
        ready.message.contains(&format!("; the last {failures} attempts failed: The mover terminated without a report")),
        "{}",
        ready.message
    );
}

/// An edit that asks for no sync of its own is Ready at once; once a sync of it has failed, and none has succeeded, it is not.
#[test]
fn a_changed_spec_whose_syncs_fail_is_not_ready() {
    for flavour in Flavour::ALL {
        let mut world = World::new(flavour);
        world.spec.trigger = Trigger { schedule: Some(Schedule::parse("*/6 * * * *", None).unwrap()), ..Trigger::default() };
        script::all_goes_well(&mut world, 10);
        script::edit(&mut world, |world| world.spec.remote.secret = "another".into());
        agent::look(&mut world, &Look::default());
        let of = |world: &World| (ready(world).status.clone(), ready(world).observed_generation);
        assert_eq!(of(&world), ("True".to_owned(), Some(world.object.generation)), "{flavour:?}");
        world.now = world.status.next_sync_time.as_ref().unwrap().0;
        world.past.clear();
        for (ending, expected) in [(Ending::Failed, "False"), (Ending::Failed, "False"), (Ending::Good, "True")] {
            crate::waking::attempt(&mut world, ending);
            script::all_goes_well(&mut world, if matches!(ending, Ending::Good) { 10 } else { 0 });
            assert_eq!(of(&world), (expected.to_owned(), Some(world.object.generation)), "{flavour:?} {ending:?}: {:#?}", world.status);
            world.now += SignedDuration::from_secs(120);
            world.past.clear();
        }
    }
}

/// The path of a stalled source is corrected: nothing says that the correction has failed before it was tried, however long it waits for a slot.
#[test]
fn a_corrected_spec_is_not_stalled_before_it_was_tried() {
    let told = |world: &World, kind: &str| {
        let condition = world.status.conditions.iter().find(|c| c.type_ == kind).unwrap();
        (condition.status.clone(), condition.reason.clone(), condition.observed_generation)
    };
    for flavour in [Flavour::SourceSnapshot, Flavour::SourceDirect] {
        let mut world = World::new(flavour);
        crate::waking::attempt(&mut world, Ending::Foreign);
        assert_eq!(told(&world, "Stalled").1, "PathNotOurs", "{flavour:?}");
        script::edit(&mut world, |w| w.spec.remote.path = "moved".into());
        world.slot = Slot::Taken;
        let generation = Some(world.object.generation);
        for (slot, shown) in [(Slot::Taken, "WaitingForSlot"), (Slot::Free, "SyncInProgress")] {
            world.slot = slot;
            world.past.clear();
            agent::look(&mut world, &Look::default());
            assert_eq!(told(&world, "Stalled"), ("False".into(), "NotStalled".into(), generation), "{flavour:?} {slot:?}");
            assert_eq!(told(&world, "Ready"), ("False".into(), "SyncInProgress".into(), generation), "{flavour:?} {slot:?}");
            assert_eq!(world.status.reason.as_deref(), Some(shown), "{flavour:?}");
        }
        crate::waking::attempt(&mut world, Ending::Foreign);
        assert_eq!(told(&world, "Stalled"), ("True".into(), "PathNotOurs".into(), generation), "{flavour:?}");
    }
}

/// The agent was updated after the failure: the one before it has not recorded the spec of that, which is the run's.
#[test]
fn a_failure_that_an_older_agent_recorded_is_of_the_spec_of_its_run() {
    let stalled = |world: &World| {
        let condition = world.status.conditions.iter().find(|c| c.type_ == "Stalled").unwrap();
        (condition.status.clone(), condition.reason.clone())
    };
    for edits in [0, 1, 2] {
        let mut world = World::new(Flavour::SourceDirect);
        world.now += SignedDuration::from_millis(400);
        crate::waking::attempt(&mut world, Ending::Foreign);
        world.status.last_error.as_mut().unwrap().generation = None;
        world.slot = Slot::Taken;
        for edit in 0..edits {
            script::edit(&mut world, |w| w.spec.remote.path = format!("moved-{edit}"));
        }
        for slot in [Slot::Taken, Slot::Free] {
            world.slot = slot;
            world.past.clear();
            agent::look(&mut world, &Look::default());
            let expected = if edits > 0 { ("False", "NotStalled") } else { ("True", "PathNotOurs") };
            assert_eq!(stalled(&world), (expected.0.to_owned(), expected.1.to_owned()), "{edits} {slot:?}: {:#?}", world.status);
        }
    }
}
