use super::*;
use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;

use crate::packs::policy::clock::PushClock;

const HOUR: i64 = 3_600;

fn hours(hours: u64) -> Reading {
    Reading { full: Duration::from_secs(hours * 3_600), brief: Duration::from_secs(hours * 3_600), age: Duration::ZERO }
}

/// With a push each hour.
fn since_hour(hour: u64) -> Since {
    let Reading { full, brief, .. } = hours(hour);
    Since { generation: hour, full, brief }
}

fn dead(id: u64, written: u64, died: u64, since: Option<u64>) -> Dead<u64> {
    Dead { id, size: 100, written, died, since: since.map(since_hour) }
}

fn names(objects: &[Dead<u64>]) -> Vec<u64> {
    objects.iter().map(|object| object.id).collect()
}

#[test]
fn it_goes_after_the_grace_and_not_one_push_before() {
    let graces = Graces::default();
    let mut clock = PushClock::new(Timestamp::from_second(1_000_000_000).unwrap());
    let mut objects = garbage(vec![dead(1, 3, 9, None)], &[], 9, clock.reading(), Some(1_000), &graces).stay;
    assert_eq!(objects[0].since, Some(Since { generation: 9, ..since_hour(0) }));
    for push in 1..=240 {
        clock = clock.pushed(clock.at + SignedDuration::from_mins(6), &graces);
        let found = garbage(objects, &[], 9 + push, clock.reading(), Some(1_000), &graces);
        assert_eq!(found.go.len(), usize::from(push == 240), "after {push} pushes");
        objects = found.stay;
    }
}

#[test]
fn the_grace_begins_when_the_last_retained_revision_goes() {
    let graces = Graces::default();
    // Revisions 3 to 8 refer to it.
    for (retained, is_held) in [(2, false), (3, true), (8, true), (9, false)] {
        let found = garbage(vec![dead(1, 3, 9, Some(0))], &[retained], 100, hours(100), None, &graces);
        assert_eq!(found.go.is_empty(), is_held, "{retained}");
        assert_eq!(found.stay.first().map(|object| object.since), is_held.then_some(None), "{retained}");
    }
    let held = garbage(vec![dead(1, 3, 9, Some(0))], &[5], 100, hours(100), None, &graces).stay;
    let dropped = garbage(held, &[], 101, hours(101), None, &graces).stay;
    let waits = garbage(dropped, &[], 124, hours(124), None, &graces).stay;
    assert_eq!(names(&garbage(waits, &[], 125, hours(125), None, &graces).go), [1]);
}

#[test]
fn what_exceeds_the_live_bytes_goes_early_the_oldest_first() {
    let graces = Graces::default();
    // The last is the oldest, but a retained revision refers to it.
    let mut objects = vec![dead(1, 1, 2, Some(7)), dead(2, 1, 3, Some(8)), dead(3, 1, 4, Some(9)), dead(4, 1, 5, None)];
    objects.push(dead(5, 1, 90, Some(5)));
    let found = |live, now| names(&garbage(objects.clone(), &[50], now, hours(now), live, &graces).go);
    assert_eq!(found(Some(250), 10), [1, 2]);
    assert_eq!(found(Some(300), 10), [1]);
    assert_eq!(found(Some(400), 10), Vec::<u64>::new());
    assert_eq!(found(None, 10), Vec::<u64>::new());
    // Not one that is dead for less than the brief grace, whatever the excess.
    assert_eq!(found(Some(0), 9), [1, 2]);
    assert_eq!(found(Some(0), 8), [1]);
}

#[test]
fn a_push_commits_within_half_the_shortest_grace() {
    let at = Duration::from_secs(500_000);
    let minutes = |minutes: u64| Duration::from_secs(minutes * 60);
    let graces = Graces::default();
    assert!(may_commit(at, at, &graces) && may_commit(at, at + minutes(29), &graces));
    assert!(!may_commit(at, at + minutes(30), &graces) && !may_commit(at, at + minutes(60 * 24), &graces));
    // A clock that counts from the boot goes back when the node is another one.
    assert!(!may_commit(at + minutes(1), at, &graces));
    let short = Graces { full: minutes(10), ..graces };
    assert!(may_commit(at, at + minutes(4), &short) && !may_commit(at, at + minutes(5), &short));
}

fn objects() -> impl Strategy<Value = Vec<Dead<u64>>> {
    let one = (0..1_000_u64, 0..20_u64, 1..10_u64, prop::option::of(0..40_u64));
    prop::collection::vec(one, 0..20).prop_map(|all| {
        let object = |(id, (size, written, lived, since)): (usize, (u64, u64, u64, Option<u64>))| Dead {
            size,
            ..dead(u64::try_from(id).unwrap(), written, written + lived, since)
        };
        all.into_iter().enumerate().map(object).collect()
    })
}

proptest! {
    #[test]
    fn more_goes_with_time_and_less_with_more_retained(all in objects(), retained in prop::collection::vec(0..30_u64, 0..4), more in 0..30_u64, live in prop::option::of(0..5_000_u64), (now, later) in (40..80_u64, 0..40_u64)) {
        let graces = Graces::default();
        let found = garbage(all.clone(), &retained, now, hours(now), live, &graces);
        prop_assert_eq!(found.go.len() + found.stay.len(), all.len());
        // Those that have no age yet get one at the time of the call: they are given one that is the same in both.
        let aged: Vec<_> = all.iter().map(|object| Dead { since: object.since.or(Some(since_hour(now))), ..*object }).collect();
        let after = garbage(aged, &retained, now + later, hours(now + later), live, &graces);
        prop_assert!(names(&found.go).iter().all(|id| names(&after.go).contains(id)));
        let held: Vec<u64> = retained.iter().copied().chain([more]).collect();
        let fewer = garbage(all, &held, now, hours(now), live, &graces);
        prop_assert!(names(&fewer.go).iter().all(|id| names(&found.go).contains(id)));
        // Of two, the one that is unused for longer does not stay while the other goes.
        for gone in &found.go {
            prop_assert!(now - Duration::as_secs(&gone.since.unwrap().full) / HOUR.unsigned_abs() >= 1);
            prop_assert!(found.stay.iter().all(|stays| stays.since.is_none_or(|since| since.full >= gone.since.unwrap().full)));
        }
    }

    /// Without retained revisions and with pushes often enough, dead bytes end at the live ones and what has died within the brief grace.
    #[test]
    fn what_stays_is_bounded(all in objects(), live in 0..5_000_u64, now in 40..80_u64) {
        let stay = garbage(all, &[], now, hours(now), Some(live), &Graces::default()).stay;
        let old: u64 = stay.iter().filter(|object| object.since.is_some_and(|since| since.full < hours(now).full)).map(|object| object.size).sum();
        prop_assert!(old <= live);
    }
}
