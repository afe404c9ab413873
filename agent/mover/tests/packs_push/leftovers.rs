//! What pushes leave behind: what one that fails has sent goes at once, what one that was killed did not delete goes with the next one, and
//! what no manifest names goes at a verification once it is old.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex};

use jiff::Timestamp;
use scribe_mover::format::documents::Control;
use scribe_mover::guard::Guard;
use scribe_mover::packs::commit::AnyCommit;
use scribe_mover::packs::id::ObjectId;
use scribe_mover::packs::run::Packs;
use scribe_mover::push::{PushOptions, push_packs};
use scribe_mover::remote::committed::read_any_commit;
use scribe_mover::remote::packed::{Extent, open_map, read_packs_manifest};
use scribe_mover::report::Reason;
use scribe_mover::volume::exclude::Exclude;

use crate::keeping::noise;
use crate::memory::Objects;
use crate::read::volume;
use crate::support::{committed, fresh, options, push, remote};

/// Long enough for all that is dead to go.
const LATER: i64 = 25 * 3600;
const CLAIM: &str = ".scribe/claim.json";
const COMMIT: &str = ".scribe/commit.json";

pub fn names(objects: &Arc<Mutex<Objects>>) -> BTreeSet<String> {
    objects.lock().unwrap().all.keys().cloned().collect()
}

/// All that the committed manifest says is there.
pub fn named(objects: &Arc<Mutex<Objects>>) -> BTreeSet<String> {
    let remote = remote(objects);
    let Control::Present(AnyCommit::Packs(commit)) = read_any_commit(&remote).unwrap() else { panic!() };
    let Control::Present(manifest) = read_packs_manifest(&remote, &commit.statement.revision, &commit.manifest).unwrap() else { panic!() };
    let map = open_map(&remote, &manifest, Extent::All).unwrap();
    let document = &manifest.document;
    let dead = document.dead_manifests.iter().map(|dead| &dead.revision);
    let packs = map.rows::<Packs>().map(|row| row.unwrap().0).chain(document.dead_packs.iter().map(|dead| dead.id)).map(ObjectId::pack);
    let runs = document.runs.iter().filter(|of| !of.inline).map(|of| of.id).chain(document.dead_runs.iter().map(|dead| dead.id));
    let manifests = dead.chain([&document.revision]).map(|revision| format!("manifests/{revision}.zst"));
    let all = packs.chain(runs.map(ObjectId::run)).chain(manifests).chain(["commit.json".to_owned()]);
    all.map(|name| format!(".scribe/{name}")).collect()
}

/// Another content, of which a block stays.
fn edit(volume: &Path, number: u64) {
    fs::write(volume.join("large"), [noise(1, 16384), noise(number, 40_000)].concat()).unwrap();
}

#[test]
fn a_push_that_fails_takes_back_what_it_has_sent() {
    for pushes in [0, 1, 2] {
        let (objects, dir) = fresh();
        let mut at = 0;
        for number in 0..pushes {
            edit(dir.path(), 10 + number);
            at += LATER;
            push(&objects, dir.path(), at).unwrap();
        }
        edit(dir.path(), 9);
        at += LATER;
        let (before, start) = (names(&objects), objects.lock().unwrap().clone());
        let mut taken_back = 0;
        for fails in 0.. {
            *objects.lock().unwrap() = Objects { fails: Some(fails), ..start.clone() };
            let failed = push(&objects, dir.path(), at).is_err();
            let which = objects.lock().unwrap().failed.take();
            let Some(which) = which else { break };
            assert!(failed, "{which}");
            let same_commit = objects.lock().unwrap().all.get(COMMIT) == start.all.get(COMMIT);
            let mut left = names(&objects);
            left.remove(CLAIM);
            if which == COMMIT {
                // Whether it came through is not known of such a write.
                assert!(left.len() > before.len());
            } else if same_commit {
                assert_eq!(left, before, "after {which} failed");
                taken_back += 1;
            }
            push(&objects, dir.path(), at + 1).unwrap();
            assert_eq!(committed(&objects).unwrap().unwrap().tree, volume(dir.path(), &Exclude::default()));
        }
        assert!(taken_back >= 2, "a pack and a manifest at least");
    }
}

/// Killed between its commit and any of its deletions: whether the next push finds a change or none, all that was due has gone after it.
#[test]
fn what_a_killed_push_was_about_to_delete_goes_with_the_next_one() {
    let (objects, dir) = fresh();
    for number in 0..8 {
        edit(dir.path(), 10 + number);
        push(&objects, dir.path(), LATER * i64::try_from(number).unwrap()).unwrap();
        assert_eq!(names(&objects), named(&objects));
    }
    edit(dir.path(), 20);
    let (start, volume_then) = (objects.lock().unwrap().clone(), fs::read(dir.path().join("large")).unwrap());
    let mut killed_tidying = 0;
    for left in 0.. {
        for changes in [false, true] {
            fs::write(dir.path().join("large"), &volume_then).unwrap();
            *objects.lock().unwrap() = Objects { left: Some(left), ..start.clone() };
            let killed = push(&objects, dir.path(), 8 * LATER).is_err();
            objects.lock().unwrap().left = None;
            if !killed {
                assert!(killed_tidying >= 6, "{killed_tidying}: packs and manifests were due");
                return;
            }
            if objects.lock().unwrap().all.get(COMMIT) == start.all.get(COMMIT) {
                continue;
            }
            killed_tidying += 1;
            if changes {
                edit(dir.path(), 21);
            }
            push(&objects, dir.path(), 8 * LATER + 60).unwrap();
            assert_eq!(names(&objects), named(&objects), "killed after {left} writes, and then a push with changes: {changes}");
            // Known to be gone: nothing is asked for twice.
            objects.lock().unwrap().writes = 0;
            edit(dir.path(), 22);
            push(&objects, dir.path(), 8 * LATER + 120).unwrap();
            let writes = objects.lock().unwrap().writes;
            assert!(writes <= 5, "{writes}: claim, pack, manifest, commit, no claim");
        }
    }
}

#[test]
fn an_unfinished_pull_is_refused_before_anything_is_asked() {
    let (objects, dir) = fresh();
    fs::create_dir(dir.path().join(".scribe-staging")).unwrap();
    let failure = push(&objects, dir.path(), 0).unwrap_err();
    assert_eq!((failure.reason, objects.lock().unwrap().requests), (Reason::SourceChanging, 0), "{failure}");
}

/// As many blocks as fill packs that are sent before the volume is read to its end, and so few that they do not.
#[test]
fn the_deletion_guard_comes_before_anything_is_sent() {
    for size in [1 << 16, 80 << 20] {
        let (objects, dir) = fresh();
        for number in 0..20 {
            fs::write(dir.path().join(format!("z{number}")), format!("{number}")).unwrap();
        }
        push(&objects, dir.path(), 0).unwrap();
        (0..19).for_each(|number| fs::remove_file(dir.path().join(format!("z{number}"))).unwrap());
        fs::write(dir.path().join("large"), noise(1, size)).unwrap();
        objects.lock().unwrap().writes = 0;
        let guard = |allowed| Guard { percent: 50, floor: 10, allowed };
        let options = |allowed| PushOptions { guard: guard(allowed), ..options(dir.path(), 10) };
        let failure = push_packs(&remote(&objects), &options(None)).unwrap_err();
        assert_eq!((failure.reason, objects.lock().unwrap().writes), (Reason::DeletionGuard, 0), "{failure}");
        // The token is that of the whole look.
        let token = failure.message.rsplit(' ').next().unwrap().to_owned();
        let pushed = push_packs(&remote(&objects), &options(Some(token))).unwrap();
        assert_eq!(pushed.deleted, 19);
        assert_eq!(committed(&objects).unwrap().unwrap().tree, volume(dir.path(), &Exclude::default()));
    }
}

fn day(day: i64) -> Timestamp {
    Timestamp::from_second(1_700_000_000 + day * 86_400).unwrap()
}

#[test]
fn strangers_go_at_a_verification_a_week_later() {
    for (changes, dated) in [(false, true), (true, true), (true, false)] {
        let (objects, dir) = fresh();
        let set = |now: i64| objects.lock().unwrap().now = dated.then(|| day(now));
        set(0);
        edit(dir.path(), 1);
        // A first push that dies before its commit.
        objects.lock().unwrap().left = Some(3);
        push(&objects, dir.path(), 0).unwrap_err();
        objects.lock().unwrap().left = None;
        let strangers: BTreeSet<String> = names(&objects).into_iter().filter(|name| name != CLAIM).collect();
        assert_eq!(strangers.len(), 2, "{strangers:?}");
        let foreign = ".scribe/packs/notes.txt";
        objects.lock().unwrap().all.insert(foreign.into(), Arc::from(&b"x"[..]));
        let first = objects.lock().unwrap().now;
        objects.lock().unwrap().times.extend(first.map(|first| (foreign.to_owned(), first)));
        let mut at = 0;
        // A push without changes dates its look by the commit before.
        let days =
            [(1, false, false), (1, true, false), (6, true, false), (8, false, false), (8, true, dated && changes), (9, true, dated)];
        for (today, verify_now, gone) in days {
            set(today);
            at += 10;
            if changes {
                edit(dir.path(), 100 + u64::try_from(at).unwrap());
            }
            push_packs(&remote(&objects), &PushOptions { verify_now, ..options(dir.path(), at) }).unwrap();
            let mut all = names(&objects);
            assert!(all.remove(foreign), "what no push writes is left alone");
            let left = strangers.iter().filter(|name| all.contains(*name)).count();
            assert_eq!(left, if gone { 0 } else { 2 }, "day {today}, verified: {verify_now}, changes: {changes}");
            let expected = if gone { named(&objects) } else { &named(&objects) | &strangers };
            assert_eq!(all, expected);
        }
    }
}
