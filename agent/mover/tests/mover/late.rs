//! A push that was held up, by the network or by a node that stood still, after it had looked for rivals for the last time: another one
//! pushes everything meanwhile, and then it goes on. No remote can prevent that; but never do both end well.
//!
//! Of layout Files alone, whose late pushes may alter what another one has committed. Of the other one, each object has a name of its own,
//! and only the commit is another's: see `packs_push/owners`.

use std::fs;
use std::sync::{Arc, Mutex};

use jiff::SignedDuration;
use rstest::rstest;
use scribe_mover::error::Result;
use scribe_mover::push::{PushOptions, Synced, push};
use scribe_mover::report::Reason;

use crate::support::proxy::Action;
use crate::support::tree::{snapshot, write};
use crate::support::{Site, owner};

const REMOVED: &str = "removed and made again";

/// Lets `second` push everything at the `nth` of these requests of a push of `first`.
fn held_up(
    first: &Site,
    mine: &PushOptions,
    second: &Site,
    theirs: PushOptions,
    at: (&'static str, &'static str, usize),
) -> [Result<Synced>; 2] {
    let outcome = Arc::new(Mutex::new(None));
    let (remote, set) = (second.remote(), Arc::clone(&outcome));
    let mut seen = 0;
    first.proxy.rule(move |request| {
        seen += usize::from(request.is(at.0, at.1));
        let mut outcome = set.lock().unwrap();
        if seen == at.2 && outcome.is_none() {
            *outcome = Some(push(&remote, &theirs));
        }
        Action::Pass
    });
    let ended = push(&first.remote(), mine);
    first.proxy.behave();
    let rival = outcome.lock().unwrap().take();
    [ended, rival.unwrap_or_else(|| panic!("the first never came to {at:?}"))]
}

/// What each of them is told, and that the path is made good by the next push of the one whose it is.
fn reported_and_repaired(second: &Site, mut theirs: PushOptions, [first, rival]: [Result<Synced>; 2]) {
    let rival = rival.unwrap();
    let failure = first.unwrap_err();
    assert!(matches!(failure.reason, Reason::RemoteInconsistent | Reason::PathNotOurs), "{failure}");
    assert!(!failure.message.contains("nothing was committed"), "{failure}");
    theirs.pusher.pushed = Some(rival.revision.clone());
    let commit = fs::read_to_string(second.object(".scribe/commit.json")).unwrap();
    // A commit that was put back is seen by itself: it is not the one that the agent knows. What else a late push has done is found by a
    // verification, and where its commit names another object, a person has to say whose the path is.
    theirs.verify_now = commit.contains(&rival.revision);
    theirs.pusher.adopt = !commit.contains(&theirs.pusher.owner.uid);
    push(&second.remote(), &theirs).unwrap();
    second.pull();
    assert_eq!(snapshot(second.dest.path()), snapshot(second.source.path()));
}

#[rstest]
#[case::before_a_deletion(("DELETE", "removed", 1))]
#[case::before_a_promotion(("HEAD", "staged/", 1))]
#[case::before_its_last_commit(("PUT", "commit.json", 2))]
fn one_that_tidies_up_late(#[values("uid-1", "uid-2")] uid: &str, #[case] at: (&'static str, &'static str, usize)) {
    let first = Site::with_bucket();
    write(first.source.path(), "replaced", "old");
    write(first.source.path(), REMOVED, "old");
    let known = first.push().revision;
    write(first.source.path(), "replaced", "first");
    fs::remove_file(first.source.path().join(REMOVED)).unwrap();
    let second = Site::at(&first.server, &first.name);
    write(second.source.path(), "replaced", "secnd");
    write(second.source.path(), REMOVED, "again");
    let mut theirs = second.push_options();
    theirs.pusher.owner = owner("db", uid);
    theirs.pusher.pushed = (uid == "uid-1").then(|| known.clone());
    let mut mine = first.push_options();
    mine.pusher.pushed = Some(known);
    let outcomes = held_up(&first, &mine, &second, theirs.clone(), at);
    reported_and_repaired(&second, theirs, outcomes);
}

/// Another object takes the path over while this one sends what replaces files of the revision that it knows: that one's is left alone, and
/// nothing of this one stays there.
#[test]
fn one_that_has_sent_replacements_in_vain() {
    let first = Site::with_bucket();
    write(first.source.path(), "replaced", "old");
    let known = first.push().revision;
    write(first.source.path(), "replaced", "first");
    let second = Site::at(&first.server, &first.name);
    write(second.source.path(), "replaced", "secnd");
    let mut theirs = second.push_options();
    theirs.pusher.owner = owner("db", "uid-2");
    let mut mine = first.push_options();
    mine.pusher.pushed = Some(known);
    let [ended, rival] = held_up(&first, &mine, &second, theirs, ("PUT", "staged/", 1));
    let (failure, rival) = (ended.unwrap_err(), rival.unwrap());
    assert_eq!(failure.reason, Reason::PathNotOurs, "{failure}");
    assert!(failure.message.contains("nothing was committed"), "{failure}");
    second.pull();
    assert_eq!(snapshot(second.dest.path()), snapshot(second.source.path()));
    // A commit, and its manifest.
    assert_eq!(second.control_objects().len(), 2, "{:?}, {}", second.control_objects(), rival.revision);
}

/// Another push comes by between the first look and the claim: what it has committed is not written over by files that were new then.
#[test]
fn one_that_would_add_what_was_committed_meanwhile() {
    let first = Site::with_bucket();
    write(first.source.path(), "kept", "old");
    let known = first.push().revision;
    write(first.source.path(), "added", "first");
    let second = Site::at(&first.server, &first.name);
    write(second.source.path(), "added", "secnd");
    let [mut mine, mut theirs] = [first.push_options(), second.push_options()];
    mine.pusher.pushed = Some(known);
    theirs.pusher.owner = owner("db", "uid-2");
    let [ended, rival] = held_up(&first, &mine, &second, theirs, ("PUT", "claim.json", 1));
    rival.unwrap();
    assert_eq!(ended.unwrap_err().reason, Reason::PathNotOurs);
    second.pull();
    assert_eq!(snapshot(second.dest.path()), snapshot(second.source.path()));
}

/// A push that only deletes has one commit, and nothing to promote.
#[test]
fn one_that_only_deletes() {
    let first = Site::with_bucket();
    write(first.source.path(), "kept", "old");
    write(first.source.path(), REMOVED, "old");
    let known = first.push().revision;
    fs::remove_file(first.source.path().join(REMOVED)).unwrap();
    let second = Site::at(&first.server, &first.name);
    write(second.source.path(), REMOVED, "again");
    let mut theirs = second.push_options();
    theirs.pusher.pushed = Some(known.clone());
    let mut mine = first.push_options();
    mine.pusher.pushed = Some(known);
    let outcomes = held_up(&first, &mine, &second, theirs.clone(), ("DELETE", "removed", 1));
    reported_and_repaired(&second, theirs, outcomes);
}

/// A push that finds nothing new writes its commit without a claim: because it has verified the path, or because hints came of age.
#[rstest]
#[case::verification(true)]
#[case::renewal(false)]
fn one_that_changes_nothing(#[case] verifies: bool) {
    let first = Site::with_bucket();
    write(first.source.path(), "a", "old");
    let known = first.push().revision;
    let second = Site::at(&first.server, &first.name);
    write(second.source.path(), "a", "newer");
    let mut theirs = second.push_options();
    theirs.pusher.pushed = Some(known.clone());
    let mut mine = first.push_options();
    mine.pusher.pushed = Some(known);
    mine.verify_now = verifies;
    if !verifies {
        mine.started += SignedDuration::from_hours(20);
        mine.data_time = mine.started;
    }
    let outcomes = held_up(&first, &mine, &second, theirs.clone(), ("PUT", "commit.json", 1));
    reported_and_repaired(&second, theirs, outcomes);
}

/// A push that brings lost content back, and one that finishes what a dead one has committed.
#[rstest]
#[case::before_a_promotion(("HEAD", "staged/", 1))]
#[case::before_its_commit(("PUT", "commit.json", 1))]
fn one_that_repairs(#[values(true, false)] dead: bool, #[case] at: (&'static str, &'static str, usize)) {
    let first = Site::with_bucket();
    for name in ["a", "b"] {
        write(first.source.path(), name, "old");
    }
    let mut known = first.push().revision;
    if dead {
        write(first.source.path(), "a", "new");
        first.proxy.rule(|request| if request.is("HEAD", "staged/") { Action::Answer("403 Forbidden", "") } else { Action::Pass });
        first.try_push().unwrap_err();
        first.proxy.behave();
        known = "another".into();
    } else {
        first.meddle("deletefile", "a", b"");
    }
    let second = Site::at(&first.server, &first.name);
    write(second.source.path(), "a", "newer");
    let mut theirs = second.push_options();
    theirs.pusher.pushed = Some(known.clone());
    let mut mine = first.push_options();
    mine.pusher.pushed = Some(known);
    mine.verify_now = true;
    let outcomes = held_up(&first, &mine, &second, theirs.clone(), at);
    reported_and_repaired(&second, theirs, outcomes);
}
