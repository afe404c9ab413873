//! Whose a path is: others' paths are left alone, and of two pushes at once one fails before its commit.

use std::collections::BTreeMap;
use std::fs;
use std::sync::{Arc, Mutex};

use assert_fs::TempDir;
use scribe_mover::error::Failure;
use scribe_mover::format::documents::Owner;
use scribe_mover::push::{PushOptions, Synced, push as push_files, push_packs};
use scribe_mover::remote::Remote;
use scribe_mover::report::Reason;
use scribe_mover::volume::exclude::Exclude;

use crate::memory::{Before, Heeds, Objects};
use crate::read::volume;
use crate::support::{committed, fresh, options, push, remote};

/// All objects, by name.
type All = BTreeMap<String, Arc<[u8]>>;

fn as_other(of: &PushOptions) -> PushOptions {
    let mut options = of.clone();
    options.pusher.owner = Owner { namespace: "shop".into(), name: "other".into(), uid: "uid-2".into() };
    options
}

fn reason(pushed: Result<Synced, Failure>) -> Reason {
    pushed.unwrap_err().reason
}

#[test]
fn anothers_path_is_refused_and_taken_over_where_that_is_allowed() {
    let (objects, dir) = fresh();
    let first = push(&objects, dir.path(), 0).unwrap();
    let before = objects.lock().unwrap().all.clone();
    let other = as_other(&options(dir.path(), 10));
    assert_eq!(reason(push_packs(&remote(&objects), &other)), Reason::PathNotOurs);
    assert_eq!(objects.lock().unwrap().all, before, "nothing was written");

    let mut adopting = other.clone();
    adopting.pusher.adopt = true;
    let taken = push_packs(&remote(&objects), &adopting).unwrap();
    assert!(taken.changed && taken.took_over && taken.revision != first.revision);
    let read = committed(&objects).unwrap().unwrap();
    assert_eq!((read.tree, read.commit.statement.owner), (volume(dir.path(), &Exclude::default()), other.pusher.owner));
}

#[test]
fn files_of_others_and_lost_commits_are_refused() {
    for name in ["a file", ".scribe/manifests/20261123T042858Z-1c9a77e0-17-5f2e.zst"] {
        let (objects, dir) = fresh();
        objects.lock().unwrap().all.insert(name.into(), Arc::from(&b"x"[..]));
        for adopt in [false, true] {
            let mut options = options(dir.path(), 0);
            options.pusher.adopt = adopt;
            let reason = reason(push_packs(&remote(&objects), &options));
            assert!([Reason::PathNotOurs, Reason::RemoteInconsistent].contains(&reason), "{reason:?}");
            assert_eq!(objects.lock().unwrap().all.len(), 1, "nothing was written");
        }
    }
}

/// What a killed first push of the other layout has left is not taken over.
#[test]
fn a_path_that_the_other_layout_has_begun_on_is_refused_in_words() {
    type Push = fn(&Remote, &PushOptions) -> Result<Synced, Failure>;
    for (first, then, layout) in [(push_packs as Push, push_files as Push, "layout Packs"), (push_files, push_packs, "layout Files")] {
        let (objects, dir) = fresh();
        objects.lock().unwrap().left = Some(1);
        first(&remote(&objects), &options(dir.path(), 0)).unwrap_err();
        objects.lock().unwrap().left = None;
        assert!(objects.lock().unwrap().all.keys().eq([".scribe/claim.json"]));
        let failure = then(&remote(&objects), &options(dir.path(), 10)).unwrap_err();
        assert!(failure.reason == Reason::PathNotOurs && failure.message.contains(layout), "{failure}");
        assert!(objects.lock().unwrap().all.keys().eq([".scribe/claim.json"]));
    }
}

/// Right before an object is written whose name begins so, another object's push of a volume of its own runs from beginning to end. Gives that volume,
/// and what is there after that push.
fn rival_before(objects: &Mutex<Objects>, at: &'static str) -> (TempDir, Arc<Mutex<Option<All>>>) {
    rival_before_nth(objects, at, 0)
}

/// The same, before so many others of these.
fn rival_before_nth(objects: &Mutex<Objects>, at: &'static str, nth: usize) -> (TempDir, Arc<Mutex<Option<All>>>) {
    let dir = fresh().1;
    fs::write(dir.path().join("rival"), "rival").unwrap();
    let path = dir.path().to_owned();
    let after = Arc::new(Mutex::new(None));
    let seen = Arc::clone(&after);
    let come = Mutex::new(0);
    objects.lock().unwrap().before = Some(Arc::new(move |name, objects: &mut Objects| {
        if !name.starts_with(at) {
            return;
        }
        let mut come = come.lock().unwrap();
        *come += 1;
        if *come <= nth {
            return;
        }
        objects.before = None;
        let apart = Arc::new(Mutex::new(objects.clone()));
        let mut options = as_other(&options(&path, 20));
        options.pusher.adopt = true;
        push_packs(&remote(&apart), &options).unwrap();
        objects.all = apart.lock().unwrap().all.clone();
        *seen.lock().unwrap() = Some(objects.all.clone());
    }));
    (dir, after)
}

/// Another push claims, or commits, right before this one's commit, or between its packs and its manifest.
#[test]
fn of_two_pushes_at_once_one_stops_before_its_commit() {
    for first in [true, false] {
        for at in [".scribe/packs/", ".scribe/manifests/"] {
            let (objects, dir) = fresh();
            if !first {
                push(&objects, dir.path(), 0).unwrap();
                fs::write(dir.path().join("more"), "more").unwrap();
            }
            let (rival_dir, after_rival) = rival_before(&objects, at);
            let failure = push(&objects, dir.path(), 10).unwrap_err();
            assert_eq!(failure.reason, Reason::PathNotOurs, "{failure}");
            let all = &objects.lock().unwrap().all.clone();
            let left = after_rival.lock().unwrap().take().unwrap();
            assert!(left.keys().all(|name| all.contains_key(name)), "where another one has committed, nothing is taken back");
            let read = committed(&objects).unwrap().unwrap();
            assert_eq!(read.tree, volume(rival_dir.path(), &Exclude::default()), "the rival's revision stays");
        }
    }
}

/// Both pushes have seen that nothing was committed meanwhile, and then the other one commits.
#[test]
fn of_two_commits_at_one_moment_one_wins_where_conditions_are_heeded() {
    for first in [true, false] {
        let (objects, dir) = fresh();
        objects.lock().unwrap().conditions = Some(Heeds::Truly);
        if !first {
            push(&objects, dir.path(), 0).unwrap();
            fs::write(dir.path().join("more"), "more").unwrap();
        }
        let (rival_dir, _) = rival_before(&objects, ".scribe/commit.json");
        let failure = push(&objects, dir.path(), 10).unwrap_err();
        assert!(failure.reason == Reason::PathNotOurs && failure.message.contains("nothing was committed"), "{failure}");
        let read = committed(&objects).unwrap().unwrap();
        assert_eq!(read.tree, volume(rival_dir.path(), &Exclude::default()), "the rival's revision stays");
    }
}

/// Before the listing of this number, counted from 1, another push of this object begins and ends: what is there then.
fn before_listing(number: usize, after: All) -> Before {
    Arc::new(move |_, objects| {
        if number > 1 {
            objects.before_list = Some(before_listing(number - 1, after.clone()));
        } else {
            objects.all.clone_from(&after);
        }
    })
}

/// A verification that finds nothing new lists all that is there before it writes the commit again.
#[test]
fn a_commit_that_is_renewed_does_not_take_the_place_of_a_newer_one() {
    let (objects, dir) = fresh();
    objects.lock().unwrap().now = Some(jiff::Timestamp::now());
    push(&objects, dir.path(), 0).unwrap();
    let rival = TempDir::new_in("/dev/shm").unwrap();
    fs::write(rival.path().join("stays"), "always").unwrap();
    fs::write(rival.path().join("rival"), "rival").unwrap();
    let apart = Arc::new(Mutex::new(objects.lock().unwrap().clone()));
    let newer = push(&apart, rival.path(), 10).unwrap().revision;
    let after = apart.lock().unwrap().all.clone();
    for number in 1.. {
        let objects = Arc::new(Mutex::new(objects.lock().unwrap().clone()));
        objects.lock().unwrap().before_list = Some(before_listing(number, after.clone()));
        let pushed = push_packs(&remote(&objects), &PushOptions { verify_now: true, ..options(dir.path(), 20) });
        if objects.lock().unwrap().before_list.is_some() {
            assert!(!pushed.unwrap().changed && number > 4, "{number}");
            break;
        }
        let says = committed(&objects).unwrap().unwrap().commit.statement;
        assert!(says.revision == newer || says.parent.as_ref() == Some(&newer), "{number}: {says:?}");
    }
}

/// After a switch the commit is written again, without the revision of before: another push has committed since it was written first.
#[test]
fn the_second_commit_of_a_switch_takes_the_place_of_the_first_one_alone() {
    let (objects, dir) = fresh();
    push_files(&remote(&objects), &options(dir.path(), 0)).unwrap();
    objects.lock().unwrap().conditions = Some(Heeds::Truly);
    // `put_if` shows a write to this before it holds it against its condition, and `put` once more.
    let (rival_dir, after_rival) = rival_before_nth(&objects, ".scribe/commit.json", 2);
    let failure = push(&objects, dir.path(), 10).unwrap_err();
    assert!(after_rival.lock().unwrap().is_some(), "there was a second commit: {failure}");
    assert_eq!(failure.reason, Reason::PathNotOurs, "{failure}");
    let read = committed(&objects).unwrap().unwrap();
    assert_eq!(read.tree, volume(rival_dir.path(), &Exclude::default()), "the rival's revision stays");
}

/// An answer that is lost, and a backend that has another sum for each object.
#[test]
fn a_commit_that_is_refused_although_nobody_else_committed_is_there_in_the_end() {
    for heeds in [Heeds::Late, Heeds::OtherSums] {
        let (objects, dir) = fresh();
        objects.lock().unwrap().conditions = Some(heeds);
        for number in 0..3 {
            fs::write(dir.path().join("file"), format!("{number}")).unwrap();
            let pushed = push(&objects, dir.path(), 10 * number).unwrap();
            let read = committed(&objects).unwrap().unwrap();
            assert_eq!(
                (read.tree, read.commit.statement.revision),
                (volume(dir.path(), &Exclude::default()), pushed.revision),
                "{heeds:?}"
            );
            assert!(!objects.lock().unwrap().all.contains_key(".scribe/claim.json"));
        }
        // A beat, which has no claim.
        let beat = PushOptions { heartbeat_interval: jiff::SignedDuration::ZERO, ..options(dir.path(), 100) };
        let before = objects.lock().unwrap().all[".scribe/commit.json"].clone();
        push_packs(&remote(&objects), &beat).unwrap();
        assert_ne!(objects.lock().unwrap().all[".scribe/commit.json"], before, "{heeds:?}");
    }
}
