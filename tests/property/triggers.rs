//! Every kind of trigger: whatever happened, an object that has never been synced is, once it can be.

use crate::controllers;
use crate::script::{self, Happening, happenings};
use crate::world::{Flavour, World};
use jiff::SignedDuration;
use proptest::prelude::*;
use scribe_agent::core::model::spec::Trigger;
use scribe_agent::core::syntax::cron::Schedule;

/// What the spec may ask for; which of them sync without waiting for a scheduled time or a tag.
#[derive(Clone, Copy, Debug)]
enum Asked {
    Continuous,
    Weekly,
    WeeklyFromTheFirstSlotOn,
    Manual,
}

impl Asked {
    fn trigger(self) -> Trigger {
        let schedule = || Some(Schedule::parse("@weekly", None).unwrap());
        match self {
            Asked::Continuous => Trigger::default(),
            Asked::Weekly => Trigger { schedule: schedule(), ..Trigger::default() },
            Asked::WeeklyFromTheFirstSlotOn => Trigger { schedule: schedule(), wait_for_schedule: true, ..Trigger::default() },
            Asked::Manual => Trigger { manual: Some("0".into()), ..Trigger::default() },
        }
    }
}

fn asked() -> impl Strategy<Value = Asked> {
    prop_oneof![Just(Asked::Continuous), Just(Asked::Weekly), Just(Asked::WeeklyFromTheFirstSlotOn), Just(Asked::Manual)]
}

/// A new tag or annotation is what no script of these may bring: it would start the sync by itself. Nor may a sync be aborted, which waits
/// for one.
fn brings_a_tag(happening: &Happening) -> bool {
    matches!(happening, Happening::Tag | Happening::SyncNow(_) | Happening::Abort(true))
}

proptest! {
    #![proptest_config(crate::config())]

    #[test]
    fn what_was_never_synced_is_synced_once_it_can_be(flavour in any::<Flavour>(), asked in asked(), script in happenings()) {
        let mut world = World::new(flavour);
        world.spec.trigger = asked.trigger();
        for happening in script.iter().filter(|happening| !brings_a_tag(happening)) {
            script::play(&mut world, happening);
        }
        script::all_goes_well(&mut world, 60);
        let status = &world.status;
        let slot_is_ahead = matches!(asked, Asked::WeeklyFromTheFirstSlotOn) && status.next_sync_time.as_ref().is_some_and(|t| t.0 > world.now);
        prop_assert!(status.last_sync_time.is_some() || slot_is_ahead && status.run.is_none(), "{status:#?}");
    }
}

/// The destination of the README: no trigger, nothing pushed yet, and a mistake in the spec that is mended.
#[test]
fn a_spec_that_was_invalid_for_a_moment() {
    for flavour in Flavour::ALL {
        for asked in [Asked::Continuous, Asked::Weekly, Asked::Manual] {
            let mut world = World::new(flavour);
            world.spec.trigger = asked.trigger();
            crate::waking::attempt(&mut world, controllers::Ending::NothingPushedYet);
            script::play(&mut world, &Happening::Invalid(true));
            crate::agent::look(&mut world, &crate::agent::Look::default());
            assert!(!scribe_agent::core::schedule::queue::under_way(&world.status));
            script::all_goes_well(&mut world, 10);
            assert!(world.status.last_sync_time.is_some(), "{flavour:?} {asked:?}: {:#?}", world.status);
        }
    }
}

/// The scheduled time of a week has opened a run, or its attempts fail, and the spec is invalid for a minute: the sync is not put off for a week.
#[test]
fn an_invalid_spec_of_a_minute_costs_no_scheduled_time() {
    for flavour in Flavour::ALL {
        for fails in [false, true] {
            let mut world = World::new(flavour);
            world.spec.trigger = Asked::Weekly.trigger();
            script::all_goes_well(&mut world, 10);
            world.now = world.status.next_sync_time.as_ref().unwrap().0;
            let started = world.now;
            crate::agent::look(&mut world, &crate::agent::Look::default());
            if fails {
                crate::waking::attempt(&mut world, controllers::Ending::Failed);
            }
            assert!(world.status.run.is_some(), "{flavour:?}");
            script::play(&mut world, &Happening::Invalid(true));
            crate::agent::look(&mut world, &crate::agent::Look::default());
            assert!(!scribe_agent::core::schedule::queue::under_way(&world.status), "{flavour:?}");
            script::play(&mut world, &Happening::Invalid(false));
            script::all_goes_well(&mut world, 10);
            let synced = world.status.last_sync_time.as_ref().unwrap().0;
            assert!(synced >= started, "{flavour:?} {fails}: {:#?}", world.status);
        }
    }
}

/// Somebody who edits the spec each hour, or a controller that does, must not put an interval off for ever.
#[test]
fn edits_do_not_put_an_interval_off() {
    let mut world = World::new(Flavour::SourceDirect);
    world.spec.trigger = Trigger { schedule: Some(Schedule::parse("@every 90m", None).unwrap()), ..Trigger::default() };
    for _ in 0..24 {
        script::edit(&mut world, |_| ());
        for _ in 0..6 {
            crate::waking::attempt(&mut world, controllers::Ending::Good);
            world.past.clear();
            world.now += SignedDuration::from_mins(10);
        }
    }
    assert!((15..=17).contains(&world.movers.len()), "{} syncs in 24 hours", world.movers.len());
}

/// A scheduled time that only asks again for a first push is no news.
#[test]
fn waiting_for_a_first_push_is_quiet() {
    let mut world = World::new(Flavour::DestinationImage);
    world.spec.trigger = Trigger { schedule: Some(Schedule::parse("* * * * *", None).unwrap()), ..Trigger::default() };
    world.remote = None;
    for _ in 0..60 {
        crate::waking::attempt(&mut world, controllers::Ending::NothingPushedYet);
        world.past.clear();
        world.now += SignedDuration::from_secs(60);
    }
    assert!(world.movers.len() > 10, "it was asked for");
    assert_eq!(world.events.iter().map(|event| event.reason.as_str()).collect::<Vec<_>>(), ["SyncStarted"]);
}
