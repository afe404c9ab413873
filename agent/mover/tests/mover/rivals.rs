//! Two pushers on one path, and a volume that does not hold still.

use std::fs;
use std::sync::{Arc, Mutex};

use rstest::rstest;
use scribe_mover::push::push;
use scribe_mover::report::Reason;

use crate::support::proxy::Action;
use crate::support::tree::{assert_same, snapshot, write};
use crate::support::{Layout, Site, owner};

/// An object that was deleted and made again pushes in the middle of its predecessor's push. No remote can keep two
/// writers apart without their help; but no mixture is ever pulled, at least one of them is told, and what they broke can be mended.
#[rstest]
fn a_second_pusher_at_any_moment_of_the_first(#[values(Layout::Files, Layout::Packs)] layout: Layout) {
    for moment in 1.. {
        let first = Site::with_bucket().of(layout);
        write(first.source.path(), "replaced", "old");
        let known = first.push().revision;
        first.pull();
        let old = snapshot(first.dest.path());
        for name in ["replaced", "added", "first's own"] {
            write(first.source.path(), name, format!("first {name}"));
        }
        let second = Site::at(&first.server, &first.name).of(layout);
        for name in ["replaced", "added", "second's own"] {
            write(second.source.path(), name, format!("second {name}"));
        }
        let trees = [old, snapshot(first.source.path()), snapshot(second.source.path())];
        let push_first = || {
            let mut options = first.push_options();
            options.pusher.pushed = Some(known.clone());
            first.push_by(&options)
        };

        let outcome = Arc::new(Mutex::new(None));
        let mut options = second.push_options();
        options.pusher.owner = owner("db", "uid-2");
        let (remote, set, again) = (second.remote(), Arc::clone(&outcome), options.clone());
        let mut changes = 0;
        first.proxy.rule(move |request| {
            changes += usize::from(!matches!(request.method.as_str(), "GET" | "HEAD"));
            let mut outcome = set.lock().unwrap();
            if changes == moment && outcome.is_none() {
                *outcome = Some(layout.push(&remote, &options));
            }
            Action::Pass
        });
        let ended = push_first();
        first.proxy.behave();
        let Some(rival) = outcome.lock().unwrap().take() else {
            ended.unwrap();
            assert!(moment > 5, "{moment}");
            return;
        };
        let listed = format!("before change {moment}: {ended:?}, {rival:?}");
        match second.try_pull() {
            Ok(_) => assert!(trees.contains(&snapshot(second.dest.path())), "{listed}: a mixture"),
            Err(failure) => assert_eq!(failure.reason, Reason::RemoteInconsistent, "{listed}: {failure}"),
        }
        // Never do both go on: one of them, or both, are told.
        let mut options = again;
        options.pusher.pushed = Some(rival.as_ref().map_or_else(|_| "none".to_owned(), |pushed| pushed.revision.clone()));
        let results = [push_first(), push(&second.remote(), &options)];
        let told_so = results.iter().filter_map(|result| result.as_ref().err());
        assert!(told_so.clone().count() >= 1, "{listed}: {results:?}");
        assert!(told_so.map(|failure| failure.reason).all(|reason| reason == Reason::PathNotOurs), "{listed}: {results:?}");
        // What they broke for one another, a person's word and a listing bring back.
        (options.pusher.adopt, options.verify_interval) = (true, jiff::SignedDuration::ZERO);
        second.push_by(&options).unwrap();
        second.pull();
        assert_eq!(snapshot(second.dest.path()), trees[2], "{listed}");
    }
}

/// Two first pushes on one path: the one that gives way says what it may have done.
/// Of layout Files alone: of the other one, nothing that is sent takes the place of anything.
#[test]
fn a_push_that_had_sent_files_when_it_met_another_one_says_so() {
    let first = Site::with_bucket();
    let second = Site::at(&first.server, &first.name);
    for site in [&first, &second] {
        write(site.source.path(), "a", format!("{:?}", site.source.path()));
    }
    let mut options = second.push_options();
    options.pusher.owner = owner("db", "uid-2");
    let (remote, mut met) = (second.remote(), false);
    first.proxy.rule(move |request| {
        if request.is("PUT", "/a") && !std::mem::replace(&mut met, true) {
            Layout::Files.push(&remote, &options).unwrap();
        }
        Action::Pass
    });
    let failure = first.try_push().unwrap_err();
    first.proxy.behave();
    assert_eq!(failure.reason, Reason::PathNotOurs);
    assert!(failure.message.contains("nothing was committed") && failure.message.contains("verify-now"), "{failure}");
    let failure = second.try_pull().unwrap_err();
    assert_eq!(failure.reason, Reason::RemoteInconsistent, "{failure}");
}

/// A file that is written while it is sent.
#[rstest]
#[case(1, None)]
#[case(usize::MAX, Some(Reason::SourceChanging))]
fn a_volume_that_changes_under_the_push(
    #[case] times: usize,
    #[case] reason: Option<Reason>,
    #[values(Layout::Files, Layout::Packs)] layout: Layout,
) {
    let site = Site::with_bucket().of(layout);
    write(site.source.path(), "restless", "old");
    site.push();
    let old = snapshot(site.source.path());
    write(site.source.path(), "restless", "new");
    let file = site.source.path().join("restless");
    let mut written = 0;
    site.proxy.rule(move |request| {
        if layout.sends(request, "restless") && written < times {
            written += 1;
            fs::write(&file, format!("written {written} times")).unwrap();
        }
        Action::Pass
    });
    let result = site.try_push();
    site.proxy.behave();
    match reason {
        None => {
            result.unwrap();
            site.pull();
            assert_same(site.source.path(), site.dest.path());
        }
        Some(reason) => {
            let failure = result.unwrap_err();
            assert_eq!(failure.reason, reason, "{failure}");
            assert!(failure.message.contains("restless"), "{failure}");
            site.pull();
            assert_eq!(snapshot(site.dest.path()), old, "the committed revision is whole");
            site.push();
            site.pull();
            assert_same(site.source.path(), site.dest.path());
        }
    }
}
