//! An older commit is put back: what was written after it is of no history any more. It is neither believed nor written over, and stays for a week.

use std::collections::BTreeSet;
use std::fs;
use std::sync::Arc;

use jiff::Timestamp;
use scribe_mover::packs::limits::DEAD;
use scribe_mover::packs::manifest::{DeadManifest, Reading};
use scribe_mover::push::{PushOptions, push_packs};

use crate::keeping::{forge, noise};
use crate::leftovers::{named, names};
use crate::read::committed_at;
use crate::support::{fresh, options, push, remote};
use crate::switching::{Shared, tree};

const COMMIT: &str = ".scribe/commit.json";

fn day(day: i64) -> Timestamp {
    Timestamp::from_second(1_700_000_000 + day * 86_400).unwrap()
}

/// Pushes on a day by the server's clock, and by the mover's.
fn push_on(objects: &Shared, volume: &std::path::Path, today: i64, verify_now: bool) {
    objects.lock().unwrap().now = Some(day(today));
    push_packs(&remote(objects), &PushOptions { verify_now, ..options(volume, today * 86_400) }).unwrap();
}

#[test]
fn what_was_written_after_a_commit_that_is_put_back_stays_for_a_week() {
    for changes in [true, false] {
        let (objects, dir) = fresh();
        let change = |number: i64| fs::write(dir.path().join("large"), noise(number.unsigned_abs(), 40_000)).unwrap();
        for today in 0..20 {
            change(today);
            push_on(&objects, dir.path(), today, today % 5 == 0);
        }
        let (then, old) = (names(&objects), objects.lock().unwrap().all[COMMIT].clone());
        for today in 20..24 {
            change(today);
            push_on(&objects, dir.path(), today, true);
        }
        let future = &names(&objects) - &then;
        assert!(future.len() > 4, "{future:?}");
        // A month later, the commit of day 19 is put back.
        {
            let mut objects = objects.lock().unwrap();
            objects.all.insert(COMMIT.into(), old);
            objects.times.insert(COMMIT.into(), day(50));
        }
        change(50);
        for today in 50..58 {
            if changes {
                change(today);
            }
            push_on(&objects, dir.path(), today, true);
            // What the old commit has listed as dead, pushes after it may have deleted.
            let read = committed_at(&remote(&objects), &|name| objects.lock().unwrap().all.get(name).cloned());
            assert_eq!(read.unwrap().unwrap().tree, tree(dir.path()));
            let left: BTreeSet<String> = names(&objects).intersection(&future).cloned().collect();
            if today < 57 {
                assert_eq!(left, future, "day {today}");
                assert!(named(&objects).is_disjoint(&future), "it is not believed");
            }
        }
        // A push without changes dates its look by the commit before.
        push_on(&objects, dir.path(), 58, true);
        assert!(names(&objects).is_disjoint(&future), "after a week");
        let reused: Vec<String> =
            objects.lock().unwrap().names.iter().filter(|(_, times)| **times > 1).map(|(name, _)| name.clone()).collect();
        assert_eq!(reused, [".scribe/claim.json", COMMIT]);
    }
}

/// More is dead than a manifest lists: what it has no room for is known to nobody, and has died just now.
#[test]
fn nothing_strange_goes_where_a_manifest_cannot_list_all_that_is_dead() {
    let (objects, dir) = fresh();
    let change = |number: u64| fs::write(dir.path().join("large"), noise(number, 40_000)).unwrap();
    change(1);
    push_on(&objects, dir.path(), 0, false);
    push_on(&objects, dir.path(), 1, true);
    let stranger = ".scribe/packs/00000000000000ab00000001";
    {
        let mut objects = objects.lock().unwrap();
        objects.all.insert(stranger.into(), Arc::from(&b"x"[..]));
        objects.times.insert(stranger.into(), day(0));
    }
    let before = objects.lock().unwrap().clone();
    change(2);
    push_on(&objects, dir.path(), 9, true);
    assert!(!names(&objects).contains(stranger), "it goes where all is listed");
    *objects.lock().unwrap() = before;
    forge(&objects, |manifest| {
        let dead = |number: usize| format!("20261123T042858Z-1c9a77e0-{}-5f2e", number + 1);
        let dead = |number| DeadManifest { revision: dead(number), size: 1, since: Reading::default() };
        manifest.document.dead_manifests = (0..DEAD).map(dead).collect();
    });
    change(3);
    push_on(&objects, dir.path(), 9, true);
    assert!(names(&objects).contains(stranger), "it may be one of those that have died just now");
    // With the next one that lists all, a week begins.
    forge(&objects, |manifest| manifest.document.dead_manifests.clear());
    for (today, gone) in [(10_i64, false), (16, false), (17, true)] {
        change(4 + today.unsigned_abs());
        push_on(&objects, dir.path(), today, true);
        assert_eq!(!names(&objects).contains(stranger), gone, "day {today}");
    }
    push(&objects, dir.path(), 20 * 86_400).unwrap();
}
