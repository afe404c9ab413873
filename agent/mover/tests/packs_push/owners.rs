//! Whose a path is: others' paths are left alone, and of two pushes at once one fails before its commit.

use std::fs;
use std::sync::{Arc, Mutex};

use scribe_mover::error::Failure;
use scribe_mover::format::documents::Owner;
use scribe_mover::push::{PushOptions, Synced, push_packs};
use scribe_mover::report::Reason;
use scribe_mover::volume::exclude::Exclude;

use crate::memory::Objects;
use crate::read::volume;
use crate::support::{committed, fresh, options, push, remote};

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

/// Neither layout takes the place of the other, or of what its killed pushes have left.
#[test]
fn a_path_of_the_other_layout_is_refused_in_words() {
    let (objects, dir) = fresh();
    push(&objects, dir.path(), 0).unwrap();
    let before = objects.lock().unwrap().all.clone();
    let failure = scribe_mover::push::push(&remote(&objects), &options(dir.path(), 10)).unwrap_err();
    assert!(failure.reason == Reason::PathNotOurs && failure.message.contains("is of layout Packs"), "{failure}");
    assert_eq!(objects.lock().unwrap().all, before);

    let (objects, dir) = fresh();
    objects.lock().unwrap().left = Some(1);
    push(&objects, dir.path(), 0).unwrap_err();
    objects.lock().unwrap().left = None;
    assert!(objects.lock().unwrap().all.keys().eq([".scribe/claim.json"]));
    let failure = scribe_mover::push::push(&remote(&objects), &options(dir.path(), 10)).unwrap_err();
    assert!(failure.message.contains("is of layout Packs"), "{failure}");

    let (objects, dir) = fresh();
    scribe_mover::push::push(&remote(&objects), &options(dir.path(), 0)).unwrap();
    let before = objects.lock().unwrap().all.clone();
    let failure = push(&objects, dir.path(), 10).unwrap_err();
    assert!(failure.reason == Reason::PathNotOurs && failure.message.contains("is of layout Files"), "{failure}");
    assert_eq!(objects.lock().unwrap().all, before);
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
            let rival_dir = fresh().1;
            fs::write(rival_dir.path().join("rival"), "rival").unwrap();
            let path = rival_dir.path().to_owned();
            objects.lock().unwrap().before = Some(Arc::new(move |name, objects: &mut Objects| {
                if !name.starts_with(at) {
                    return;
                }
                // It runs from beginning to end.
                objects.before = None;
                let apart = Arc::new(Mutex::new(objects.clone()));
                let mut options = as_other(&options(&path, 20));
                options.pusher.adopt = true;
                push_packs(&remote(&apart), &options).unwrap();
                objects.all = apart.lock().unwrap().all.clone();
            }));
            let failure = push(&objects, dir.path(), 10).unwrap_err();
            assert_eq!(failure.reason, Reason::PathNotOurs, "{failure}");
            let read = committed(&objects).unwrap().unwrap();
            assert_eq!(read.tree, volume(rival_dir.path(), &Exclude::default()), "the rival's revision stays");
        }
    }
}
