//! The annotation `scribe.backube/sync-now`: one sync at once for each new value, beside whatever trigger.

use crate::agent::{self, Look};
use crate::controllers::{self, Ending};
use crate::edits::with_a_mover;
use crate::script::{self, Happening};
use crate::waking::attempt;
use crate::world::{Flavour, World};
use jiff::SignedDuration;
use proptest::prelude::*;
use scribe_agent::api::reason::Reason;
use scribe_agent::api::status::Phase;
use scribe_agent::core::model::spec::Trigger;
use scribe_agent::core::syntax::cron::Schedule;

fn triggers() -> [Trigger; 3] {
    let weekly = Some(Schedule::parse("@weekly", None).unwrap());
    [Trigger::default(), Trigger { schedule: weekly, ..Trigger::default() }, Trigger { manual: Some("0".into()), ..Trigger::default() }]
}

fn synced(flavour: Flavour, trigger: Trigger) -> World {
    let mut world = World::new(flavour);
    world.spec.trigger = trigger;
    for _ in 0..10 {
        attempt(&mut world, Ending::Good);
        if world.status.last_sync_time.is_some() && world.status.run.is_none() {
            return world;
        }
    }
    panic!("never synced: {:#?}", world.status)
}

/// Once for each value, without waiting for anything, and what starts the syncs after it stays as it was.
#[test]
fn a_new_value_starts_one_sync_at_once() {
    for flavour in Flavour::ALL {
        for trigger in triggers() {
            let mut world = synced(flavour, trigger);
            let (movers, next, kind) = (world.movers.len(), world.status.next_sync_time.clone(), world.status.trigger.clone());
            world.now += SignedDuration::from_secs(5);
            script::play(&mut world, &Happening::SyncNow(1));
            for _ in 0..3 {
                attempt(&mut world, Ending::Good);
            }
            assert_eq!(world.status.last_handled_sync_now.as_deref(), Some("1"), "{flavour:?} {kind:?}: {:#?}", world.status);
            assert_eq!(world.movers.len(), movers + 1, "{flavour:?} {kind:?}");
            assert_eq!(world.status.trigger, kind);
            let goes_on = |time: Option<k8s_openapi::apimachinery::pkg::apis::meta::v1::Time>| time.is_some();
            assert_eq!(goes_on(world.status.next_sync_time.clone()), goes_on(next), "{flavour:?} {kind:?}");
        }
    }
}

/// While paused nothing starts; then it is done.
#[test]
fn it_waits_while_paused() {
    let mut world = synced(Flavour::SourceSnapshot, Trigger::default());
    script::play(&mut world, &Happening::Pause(true));
    script::play(&mut world, &Happening::SyncNow(1));
    for _ in 0..3 {
        agent::look(&mut world, &Look::default());
    }
    assert!(world.status.run.is_none());
    script::calm_down(&mut world);
    assert_eq!(world.status.last_handled_sync_now.as_deref(), Some("1"));
}

/// A sync that runs already has captured older data: another one follows.
#[test]
fn one_that_comes_in_mid_sync_follows_it() {
    let mut world = with_a_mover(Flavour::SourceDirect);
    script::play(&mut world, &Happening::SyncNow(1));
    controllers::end_movers(&mut world, Ending::Good);
    controllers::let_the_cluster_work(&mut world);
    agent::look(&mut world, &Look::default());
    assert_eq!(world.status.last_handled_sync_now, None);
    let movers = world.movers.len();
    script::calm_down(&mut world);
    assert_eq!((world.status.last_handled_sync_now.as_deref(), world.movers.len()), (Some("1"), movers + 1));
}

/// A failing object is tried at once, with a capture of its own, and its failures count anew; if that fails, it waits like any other.
#[test]
fn it_does_not_wait_for_the_next_attempt() {
    for ending in [Ending::Failed, Ending::Stalled] {
        let mut world = World::new(Flavour::SourceSnapshot);
        attempt(&mut world, ending);
        let failed = world.status.run.clone().unwrap();
        script::play(&mut world, &Happening::SyncNow(1));
        attempt(&mut world, ending);
        let run = world.status.run.clone().unwrap();
        assert_ne!(run.id, failed.id, "{ending:?}");
        assert_eq!((run.phase, world.status.attempts, world.movers.len()), (Phase::Backoff, Some(1), 2), "{ending:?}");
        agent::look(&mut world, &Look::default());
        assert_eq!(world.status.run.as_ref().unwrap().phase, Phase::Backoff, "{ending:?}: in its time");
        script::calm_down(&mut world);
        assert_eq!(world.status.last_handled_sync_now.as_deref(), Some("1"));
    }
}

/// An edit that ends a schedule or continuous syncing is reported once, with the annotation that would have done instead.
#[test]
fn an_edit_that_ends_syncing_is_reported() {
    for (number, trigger) in triggers().into_iter().enumerate().take(2) {
        let mut world = synced(Flavour::DestinationImage, trigger);
        assert!(world.events.iter().all(|event| event.reason != Reason::TriggerChanged));
        script::edit(&mut world, |world| world.spec.trigger = Trigger { manual: Some("now".into()), ..Trigger::default() });
        for _ in 0..3 {
            attempt(&mut world, Ending::Good);
        }
        let told: Vec<_> = world.events.iter().filter(|event| event.reason == Reason::TriggerChanged).collect();
        assert!(told.len() == 1 && told[0].warning && told[0].note.contains("scribe.backube/sync-now"), "{number}: {told:#?}");
        assert_eq!(world.status.trigger.as_deref(), Some("Manual"));
    }
}

proptest! {
    #![proptest_config(crate::config())]

    /// Whatever happened: the annotation is handled once things go well, whichever trigger the object has.
    #[test]
    fn it_is_handled_in_the_end(flavour in any::<Flavour>(), trigger in 0usize..3, script in script::happenings()) {
        let mut world = World::new(flavour);
        world.spec.trigger = triggers()[trigger].clone();
        for happening in script.iter().filter(|happening| !matches!(happening, Happening::Tag)) {
            script::play(&mut world, happening);
        }
        script::play(&mut world, &Happening::SyncNow(7));
        script::calm_down(&mut world);
        prop_assert_eq!(world.status.last_handled_sync_now.as_deref(), Some("7"), "{:#?}", world.status);
    }
}
