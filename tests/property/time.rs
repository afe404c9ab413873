//! Time as it is in the field: agents that were away, clocks that step, zones with summer time, triggers that change underway.

use crate::agent::{self, Look};
use crate::controllers::{self, Ending};
use crate::script::{self, Happening};
use crate::world::{Flavour, World};
use jiff::{SignedDuration, Timestamp};
use rstest::rstest;
use scribe_agent::api::Status;
use scribe_agent::core::syntax::cron::Schedule;
use std::collections::BTreeSet;

/// A world with this schedule that waits for its first scheduled time.
fn scheduled(now: &str, schedule: &str, zone: Option<&str>) -> World {
    let mut world = World::new(Flavour::SourceDirect);
    world.now = now.parse().unwrap();
    world.spec.trigger.manual = None;
    world.spec.trigger.schedule = Some(Schedule::parse(schedule, zone).unwrap());
    world
}

/// One look at everything now, with movers that take no time. Gives when the sync started that was opened, if one was.
fn once(world: &mut World) -> Option<String> {
    let mut begun = BTreeSet::new();
    for _ in 0..4 {
        agent::look(world, &Look::default());
        begun.extend(world.status.run.as_ref().map(|run| run.id.clone()));
        controllers::start_pods(world);
        controllers::end_movers(world, Ending::Good);
        controllers::let_the_cluster_work(world);
    }
    world.past.clear();
    assert!(begun.len() <= 1, "two syncs at one moment: {begun:?}");
    begun.pop_first()
}

/// Looks every minute for so long, as the agent does at least. Gives the minutes in which syncs started.
fn minutes(world: &mut World, count: i64) -> Vec<String> {
    let mut starts = Vec::new();
    for _ in 0..count {
        if once(world).is_some() {
            starts.push(world.now.to_string());
        }
        world.now += SignedDuration::from_secs(60);
    }
    starts
}

fn next(world: &World) -> String {
    world.status.next_sync_time.as_ref().unwrap().0.to_string()
}

#[rstest]
#[case::every_six_minutes("2026-01-01T00:00:00Z", "*/6 * * * *", None, 13, &["2026-01-01T00:06:00Z", "2026-01-01T00:12:00Z"])]
#[case::an_interval("2026-01-01T00:00:30Z", "@every 5m", None, 12, &["2026-01-01T00:05:30Z", "2026-01-01T00:10:30Z"])]
#[case::the_hour_that_does_not_exist("2026-03-29T00:30:00Z", "30 2 * * *", Some("Europe/Berlin"), 120, &["2026-03-29T01:00:00Z"])]
#[case::the_hour_that_comes_twice("2026-10-24T23:00:00Z", "30 2 * * *", Some("Europe/Berlin"), 240, &["2026-10-25T00:30:00Z"])]
#[case::steps_through_the_hour_that_comes_twice(
    "2026-10-25T00:01:00Z", "0 * * * *", Some("Europe/Berlin"), 150, &["2026-10-25T01:00:00Z", "2026-10-25T02:00:00Z"]
)]
#[case::a_leap_day("2028-02-28T23:58:00Z", "0 0 29 2 *", None, 10, &["2028-02-29T00:00:00Z"])]
#[case::no_leap_day("2026-02-28T23:00:00Z", "0 0 29 2 *", None, 120, &[])]
fn scheduled_times_are_kept(
    #[case] from: &str,
    #[case] schedule: &str,
    #[case] zone: Option<&str>,
    #[case] count: i64,
    #[case] expected: &[&str],
) {
    assert_eq!(minutes(&mut scheduled(from, schedule, zone), count), expected);
}

/// Nobody looked for a day: agent stopped, machine suspended, or the clock stepped forward. One sync at once, then the schedule goes on.
#[test]
fn missed_times_are_one_sync_at_once() {
    let mut world = scheduled("2026-01-01T00:00:00Z", "*/6 * * * *", None);
    once(&mut world);
    world.now = "2026-01-02T03:04:00Z".parse().unwrap();
    assert_eq!(minutes(&mut world, 9), ["2026-01-02T03:04:00Z", "2026-01-02T03:06:00Z", "2026-01-02T03:12:00Z"]);
}

/// After a step back no scheduled time waits for the wrong time to come again, and none comes twice at one moment.
#[test]
fn a_clock_set_back_does_not_stop_the_schedule() {
    let mut world = scheduled("2026-01-10T00:00:00Z", "*/6 * * * *", None);
    assert_eq!(minutes(&mut world, 8).len(), 1);
    world.now = "2026-01-01T00:01:00Z".parse().unwrap();
    assert_eq!(minutes(&mut world, 12), ["2026-01-01T00:06:00Z", "2026-01-01T00:12:00Z"]);
}

#[test]
fn a_step_back_in_mid_run_neither_ends_nor_repeats_it() {
    let mut world = scheduled("2026-01-10T00:05:00Z", "*/6 * * * *", None);
    once(&mut world);
    world.now += SignedDuration::from_secs(60);
    agent::look(&mut world, &Look::default());
    let run = world.status.run.clone().unwrap().id;
    world.now -= SignedDuration::from_hours(24 * 365);
    assert_eq!(once(&mut world), Some(run));
    assert!(world.status.run.is_none() && world.status.last_sync_time.is_some(), "{:#?}", world.status);
    assert_eq!(next(&world), "2025-01-10T00:12:00Z");
}

#[test]
fn a_schedule_edited_while_waiting_counts_at_once() {
    let mut world = scheduled("2026-01-01T00:01:00Z", "@daily", None);
    once(&mut world);
    assert_eq!(next(&world), "2026-01-02T00:00:00Z");
    script::edit(&mut world, |w| w.spec.trigger.schedule = Some(Schedule::parse("*/6 * * * *", None).unwrap()));
    once(&mut world);
    assert_eq!(next(&world), "2026-01-01T00:06:00Z");
}

#[test]
fn a_schedule_edited_in_mid_run_counts_from_its_end() {
    let mut world = scheduled("2026-01-01T00:06:00Z", "*/6 * * * *", None);
    once(&mut world);
    world.now = "2026-01-01T00:12:00Z".parse().unwrap();
    agent::look(&mut world, &Look::default());
    controllers::start_pods(&mut world);
    let run = world.status.run.clone().unwrap().id;
    script::edit(&mut world, |w| w.spec.trigger.schedule = Some(Schedule::parse("30 * * * *", None).unwrap()));
    assert_eq!(once(&mut world), Some(run));
    assert_eq!(next(&world), "2026-01-01T00:30:00Z");
}

#[test]
fn a_removed_schedule_is_due_no_more() {
    let mut world = scheduled("2026-01-01T00:01:00Z", "*/6 * * * *", None);
    once(&mut world);
    script::edit(&mut world, |w| {
        w.spec.trigger.schedule = None;
        w.spec.trigger.manual = Some("a".into());
    });
    assert!(once(&mut world).is_some(), "the tag is new");
    assert!(world.status.next_sync_time.is_none());
    assert_eq!(minutes(&mut world, 20), Vec::<String>::new());
}

/// A tag beside a schedule starts a sync of its own, and the scheduled times stay where they are.
#[test]
fn a_tag_beside_a_schedule() {
    let mut world = scheduled("2026-01-01T00:01:00Z", "*/6 * * * *", None);
    once(&mut world);
    script::edit(&mut world, |w| w.spec.trigger.manual = Some("before-upgrade".into()));
    assert!(once(&mut world).is_some());
    assert_eq!(world.status.last_manual_sync.as_deref(), Some("before-upgrade"));
    assert_eq!(next(&world), "2026-01-01T00:06:00Z");
    assert_eq!(minutes(&mut world, 12), ["2026-01-01T00:06:00Z", "2026-01-01T00:12:00Z"]);
}

/// a → b → a are three syncs, also where the first one fails.
#[test]
fn a_tag_that_comes_back_is_another_sync() {
    for ending in [Ending::Good, Ending::Failed] {
        let mut world = World::new(Flavour::SourceSnapshot);
        let mut runs = BTreeSet::new();
        for tag in ["a", "b", "a"] {
            script::edit(&mut world, |w| w.spec.trigger.manual = Some(tag.into()));
            for _ in 0..4 {
                agent::look(&mut world, &Look::default());
                runs.extend(world.status.run.as_ref().map(|run| run.id.clone()));
                controllers::let_the_cluster_work(&mut world);
                controllers::start_pods(&mut world);
                controllers::end_movers(&mut world, ending);
                controllers::let_the_cluster_work(&mut world);
            }
            world.now += SignedDuration::from_secs(1);
        }
        assert_eq!(runs.len(), 3, "{ending:?}");
        script::play(&mut world, &Happening::Clock(60));
        once(&mut world);
        assert_eq!(world.status.last_manual_sync.as_deref(), Some("a"));
    }
}

/// A tag set while a sync runs is not taken by that one.
#[test]
fn a_tag_set_in_mid_run_starts_another_afterwards() {
    let mut world = World::new(Flavour::SourceDirect);
    agent::look(&mut world, &Look::default());
    controllers::start_pods(&mut world);
    let first = world.status.run.clone().unwrap().id;
    script::edit(&mut world, |w| w.spec.trigger.manual = Some("later".into()));
    agent::look(&mut world, &Look::default());
    controllers::end_movers(&mut world, Ending::Good);
    controllers::let_the_cluster_work(&mut world);
    agent::look(&mut world, &Look::default());
    assert_eq!(world.status.last_manual_sync.as_deref(), Some("0"));
    let second = once(&mut world).unwrap();
    assert_ne!(first, second);
    assert_eq!(world.status.last_manual_sync.as_deref(), Some("later"));
}

/// Jitter moves the scheduled times by an amount that a restart does not change, and shows it in `nextSyncTime`.
#[test]
fn jitter_is_shown_and_stable() {
    let mut world = scheduled("2026-01-01T00:00:10Z", "*/6 * * * *", None);
    world.spec.trigger.offset = SignedDuration::from_secs(90);
    once(&mut world);
    assert_eq!(next(&world), "2026-01-01T00:01:30Z");
    world.now = "2026-01-01T00:01:29Z".parse().unwrap();
    assert_eq!(once(&mut world), None);
    world.now = "2026-01-01T00:01:30Z".parse().unwrap();
    assert!(once(&mut world).is_some());
    assert_eq!(next(&world), "2026-01-01T00:07:30Z");
    // An agent that forgot everything comes to the same scheduled time.
    world.status = Status { next_sync_time: None, ..world.status };
    once(&mut world);
    assert_eq!(next(&world), "2026-01-01T00:07:30Z");
}

/// An interval is not stretched by the jitter; only its first scheduled time is moved.
#[test]
fn jitter_moves_an_interval_once() {
    let mut world = scheduled("2026-01-01T00:00:00Z", "@every 5m", None);
    world.spec.trigger.offset = SignedDuration::from_secs(60);
    assert_eq!(minutes(&mut world, 14), ["2026-01-01T00:06:00Z", "2026-01-01T00:11:00Z"]);
    let mut at_once = scheduled("2026-01-01T00:00:00Z", "@every 5m", None);
    at_once.spec.trigger.offset = SignedDuration::from_secs(60);
    at_once.spec.trigger.wait_for_schedule = false;
    let expected: Vec<Timestamp> = [0, 6, 11].map(|m| at_once.now + SignedDuration::from_mins(m)).into();
    assert_eq!(minutes(&mut at_once, 14), expected.iter().map(ToString::to_string).collect::<Vec<_>>());
}

/// Whatever the agent waits for: a clock that was years ahead when the waiting began puts no deadline off.
#[rstest]
#[case::a_snapshot(Flavour::SourceSnapshot)]
#[case::a_pod(Flavour::SourceDirect)]
#[case::a_volume(Flavour::DestinationImage)]
fn a_clock_that_was_ahead_puts_no_deadline_off(#[case] flavour: Flavour) {
    let mut world = World::new(flavour);
    world.now = "2036-01-01T00:00:00Z".parse().unwrap();
    for _ in 0..3 {
        agent::look(&mut world, &Look::default());
    }
    world.now = "2026-01-01T00:00:00Z".parse().unwrap();
    for _ in 0..24 * 60 {
        agent::look(&mut world, &Look::default());
        world.past.clear();
        world.now += SignedDuration::from_secs(60);
    }
    let error = world.status.last_error.as_ref().unwrap();
    assert!(error.time.0 < world.now, "{error:?}");
    script::recover(&mut world);
    world.assert_settled();
}
