//! What is committed stays whole whatever a server says of it: absence needs two witnesses, and nothing that the committed revision
//! needs is written to or deleted before another one is committed.
//!
//! Of layout Files alone, where objects are replaced and listed one by one; of the other one, see `packs_push/changing`,
//! `packs_push/keeping` and `packs_push/leftovers`. The simulation has such lies for both.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use jiff::SignedDuration;
use rstest::rstest;
use scribe_mover::push::{Synced, push};
use scribe_mover::report::Reason;

use crate::support::proxy::{Action, Request};
use crate::support::server::Backend;
use crate::support::tree::{assert_same, write};
use crate::support::{Site, done, owner};

const NOT_FOUND: Action = Action::Answer(
    "404 Not Found",
    "<?xml version=\"1.0\"?><Error><Code>NoSuchKey</Code><Message>The specified key does not exist.</Message></Error>",
);

fn lists(request: &Request) -> bool {
    request.lists()
}

fn verifying(site: &Site) -> scribe_mover::error::Result<Synced> {
    let mut options = site.push_options();
    options.verify_interval = SignedDuration::ZERO;
    push(&site.remote(), &options)
}

/// The bucket's user objects as they were, and a fresh pull gives `first`.
fn assert_whole(site: &Site, first: &Synced, content: &[(&str, &str)]) {
    site.proxy.behave();
    for (name, text) in content {
        assert_eq!(site.read(name).unwrap(), text.as_bytes(), "{name} in the bucket");
    }
    let pulled = done(site.try_pull());
    assert_eq!(pulled.revision, first.revision);
    for (name, text) in content {
        assert_eq!(fs::read(site.dest.path().join(name)).unwrap(), text.as_bytes(), "{name} as pulled");
    }
}

/// A repair under which the volume changes, and perhaps changes back: the object that was lost may come back, nothing else is touched.
#[rstest]
#[case(false)]
#[case(true)]
fn a_repair_of_a_changing_volume_leaves_what_is_committed(#[case] back: bool) {
    let site = Site::with_bucket();
    let source = site.source.path().to_path_buf();
    write(&source, "a", "first");
    write(&source, "lost", "lost");
    site.push();
    site.meddle("deletefile", "lost", b"");
    let mut changed = false;
    site.proxy.rule(move |request| {
        let sends = |name: &str| request.method == "PUT" && request.target.split('?').next().unwrap().ends_with(&format!("/{name}"));
        if !changed && sends("lost") {
            changed = true;
            write(&source, "a", "second state");
        }
        if back && sends("a") {
            write(&source, "a", "first");
        }
        Action::Pass
    });
    let repaired = verifying(&site);
    assert_eq!(site.read("a").unwrap(), b"first", "{repaired:?}");
    assert_eq!(repaired.unwrap_err().reason, Reason::SourceChanging);
    site.proxy.behave();
    write(site.source.path(), "a", "first");
    verifying(&site).unwrap();
    let pulled = site.pull();
    assert_same(site.source.path(), site.dest.path());
    assert_eq!(site.control_objects(), ["commit.json".to_owned(), format!("manifests/{}.zst", pulled.revision)]);
}

/// Nothing is lost: the verification alone, and a file that is written between its two looks at the volume.
#[test]
fn a_verification_of_a_changing_volume_leaves_what_is_committed() {
    let site = Site::with_bucket();
    // It is read after the first look, and before the second one.
    let first = changing_at(&site, |request| request.target.contains("claim.json"));
    let failure = verifying(&site).unwrap_err();
    assert_eq!(failure.reason, Reason::SourceChanging);
    assert_whole(&site, &first, &[("a", "first"), ("b", "b")]);
}

/// A change that comes before the listing's sums are held against the volume is seen by then, and is pushed like any other.
#[test]
fn a_change_that_a_verification_meets_is_pushed() {
    let site = Site::with_bucket();
    let first = changing_at(&site, lists);
    let second = verifying(&site).unwrap();
    assert!(second.changed && second.revision != first.revision, "{second:?}");
    assert_eq!(site.pull().revision, second.revision);
    assert_same(site.source.path(), site.dest.path());
}

/// Pushes two files, and changes one of them at the first request of this kind of the next push.
fn changing_at(site: &Site, when: impl Fn(&Request) -> bool + Send + 'static) -> Synced {
    let source = site.source.path().to_path_buf();
    write(&source, "a", "first");
    write(&source, "b", "b");
    let first = site.push();
    let mut changed = false;
    site.proxy.rule(move |request| {
        if !changed && when(request) {
            changed = true;
            write(&source, "a", "second state");
        }
        Action::Pass
    });
    first
}

/// A listing that leaves an object out once, while the volume changes: what it calls lost is not written in place.
#[test]
fn what_a_listing_leaves_out_is_not_written_in_place() {
    let site = Site::with_bucket();
    let source = site.source.path().to_path_buf();
    write(&source, "a", "first");
    write(&source, "b", "b");
    let first = site.push();
    // The server does not have the object when it is listed, and has it again by the time that the push sends something.
    let server = Site::at(&site.server, &site.name);
    server.meddle("deletefile", "a", b"");
    let mut sent = false;
    site.proxy.rule(move |request| {
        if !sent && request.method == "PUT" && request.target.split('?').next().unwrap().ends_with("/a") {
            sent = true;
            server.meddle("rcat", "a", b"first");
            // Of the same size, and another content than was hashed.
            fs::write(source.join("a"), "FIRST").unwrap();
        }
        Action::Pass
    });
    let failure = verifying(&site).unwrap_err();
    assert_eq!(failure.reason, Reason::SourceChanging);
    assert_whole(&site, &first, &[("a", "first"), ("b", "b")]);
}

fn fill(site: &Site, names: &[&str], content: &str) {
    for name in names {
        write(site.source.path(), name, content);
    }
}

/// Six files are pushed; all are changed; one answer of the next push is wrong; the source dies in the middle of it.
#[rstest]
#[case::manifest("manifests", 1, false, false)]
#[case::manifest_twice("manifests", 2, false, false)]
#[case::commit("commit.json", 1, false, false)]
#[case::commit_twice("commit.json", 2, false, false)]
#[case::commit_with_a_claim("commit.json", 1, true, false)]
#[case::commit_twice_with_a_claim("commit.json", 2, true, false)]
#[case::commit_while_adopting("commit.json", 1, false, true)]
#[case::commit_twice_while_adopting("commit.json", 2, false, true)]
fn wrong_answers_do_not_make_a_first_push(#[case] of: &'static str, #[case] times: usize, #[case] claimed: bool, #[case] adopt: bool) {
    let site = Site::with_bucket();
    let names = ["a", "b", "c", "d", "e", "f"];
    let old: Vec<(&str, &str)> = names.iter().map(|name| (*name, "old")).collect();
    fill(&site, &names, "old");
    let first = site.push();
    fill(&site, &names, "newer");
    if claimed {
        site.proxy.rule(|request| if request.is("PUT", "manifests") { Action::Answer("403 Forbidden", "") } else { Action::Pass });
        site.try_push().unwrap_err();
        assert!(site.has(".scribe/claim.json"));
    }
    let wrong = AtomicUsize::new(0);
    // Its death: nothing is taken after the first file.
    let sent = Arc::new(AtomicUsize::new(0));
    site.proxy.rule(move |request| {
        if request.is("GET", of) && !lists(request) && wrong.fetch_add(1, Ordering::SeqCst) < times {
            return NOT_FOUND;
        }
        let file = request.method == "PUT" && !request.target.contains(".json") && !request.target.contains("manifests");
        if file && sent.fetch_add(1, Ordering::SeqCst) > 2 { Action::Answer("403 Forbidden", "") } else { Action::Pass }
    });
    let mut options = site.push_options();
    options.pusher.adopt = adopt;
    let failure = push(&site.remote(), &options).unwrap_err();
    if times == 2 {
        assert_eq!(failure.reason, Reason::RemoteInconsistent, "{failure}");
        assert!(!failure.message.contains("adopt"), "{failure}");
    }
    assert_whole(&site, &first, &old);
    let pushed = push(&site.remote(), &options).unwrap();
    site.pull();
    assert_same(site.source.path(), site.dest.path());
    assert!(pushed.changed);
    if site.control_objects().len() > 2 {
        // A request of the failed push was still under way. A push that lists removes what it has left.
        options.verify_now = true;
        push(&site.remote(), &options).unwrap();
    }
    assert_eq!(site.control_objects().len(), 2);
}

/// A pull, too, believes no read against a listing.
#[rstest]
#[case(1)]
#[case(9)]
fn a_pull_does_not_wait_for_what_is_listed(#[case] times: usize) {
    let site = Site::with_bucket();
    write(site.source.path(), "a", "a");
    site.push();
    let wrong = AtomicUsize::new(0);
    site.proxy.rule(move |request| {
        let lie = request.is("GET", "commit.json") && wrong.fetch_add(1, Ordering::SeqCst) < times;
        if lie { NOT_FOUND } else { Action::Pass }
    });
    match site.try_pull() {
        Ok(outcome) => assert!(times == 1 && done(Ok(outcome)).changed),
        Err(failure) => assert!(times > 1 && failure.reason == Reason::RemoteInconsistent, "{failure}"),
    }
}

/// The manifest is really gone, and the source dies in mid-push: what its revision had stays readable by any rclone, and the next push
/// heals all.
#[test]
fn a_revision_that_cannot_be_read_is_not_written_over_before_the_next_is_committed() {
    let site = Site::with_bucket();
    for name in ["a", "b", "c"] {
        write(site.source.path(), name, "old");
    }
    let first = site.push();
    site.meddle("deletefile", &format!(".scribe/manifests/{}.zst", first.revision), b"");
    for name in ["a", "b", "c", "new"] {
        write(site.source.path(), name, "newer");
    }
    site.proxy.rule(|request| if request.is("PUT", "commit.json") { Action::Answer("403 Forbidden", "") } else { Action::Pass });
    site.try_push().unwrap_err();
    for name in ["a", "b", "c"] {
        assert_eq!(site.read(name).unwrap(), b"old");
    }
    site.proxy.behave();
    site.push();
    site.pull();
    assert_same(site.source.path(), site.dest.path());
    assert_eq!(site.user_objects(), ["a", "b", "c", "new"]);
    assert_eq!(site.control_objects().len(), 2, "{:?}", site.control_objects());
}

/// What other hands put on the path is left alone by the push after a dead one; what the dead one sent is not.
#[rstest]
#[case::first_push(Backend::S3, false)]
#[case::next_push(Backend::S3, true)]
#[case::first_push_to_a_directory(Backend::Local, false)]
fn after_a_death_strangers_stay(#[case] backend: Backend, #[case] committed: bool) {
    let dead = || {
        let site = Site::on(backend);
        for name in ["a", "b"] {
            write(site.source.path(), name, "content");
        }
        if committed {
            site.push();
        }
        for n in 0..20 {
            write(site.source.path(), format!("new/{n}"), "sent by the push that dies");
        }
        let before = site.read(".scribe/commit.json");
        dies_before_its_commit(&site);
        // On a busy machine the commit may come before the kill.
        (site.read(".scribe/commit.json") == before).then_some(site)
    };
    let site = std::iter::repeat_with(dead).find_map(|site| site).unwrap();
    assert!(site.has("new/0"));
    for n in 0..12 {
        site.meddle("rcat", &format!("photos/{n}"), b"not ours");
    }
    fs::remove_dir_all(site.source.path().join("new")).unwrap();
    let mut options = site.push_options();
    options.guard.percent = 100;
    let pushed = push(&site.remote(), &options).unwrap();
    assert_eq!((site.user_objects().len(), pushed.deleted), (2 + 12, 20), "{:?}", site.user_objects());
    site.pull();
    assert_same(site.source.path(), site.dest.path());
    assert_eq!(site.control_objects().len(), 2, "{:?}", site.control_objects());
}

fn dies_before_its_commit(site: &Site) {
    if site.server.backend == Backend::S3 {
        site.proxy.rule(|request| if request.is("PUT", "commit.json") { Action::Answer("403 Forbidden", "") } else { Action::Pass });
        site.try_push().unwrap_err();
        return site.proxy.behave();
    }
    crate::backends::dies_in(site, "committing", None);
}

/// The guard counts what goes after a dead push like any other deletion.
#[test]
fn strays_count_as_deletions() {
    let site = Site::with_bucket();
    write(site.source.path(), "a", "content");
    site.push();
    for n in 0..30 {
        write(site.source.path(), format!("new/{n}"), "sent by the push that dies");
    }
    dies_before_its_commit(&site);
    fs::remove_dir_all(site.source.path().join("new")).unwrap();
    let refused = site.try_push().unwrap_err();
    assert_eq!(refused.reason, Reason::DeletionGuard, "{refused}");
    assert!(refused.message.contains("30 of the 31"), "{refused}");
    assert_eq!(site.user_objects().len(), 31);
    let mut options = site.push_options();
    options.guard.allowed = refused.message.rsplit(' ').next().map(str::to_owned);
    assert_eq!(push(&site.remote(), &options).unwrap().deleted, 30);
    assert_eq!(site.user_objects(), ["a"]);
}

/// Two sources with a standing permission to adopt do not take turns: each attempt of a run is good for the state that the first one saw.
#[test]
fn an_adoption_is_good_for_one_state() {
    let site = Site::with_bucket();
    write(site.source.path(), "a", "a");
    site.push();
    let asks = |name: &str, state: Option<&str>| {
        let mut options = site.push_options();
        (options.pusher.owner, options.pusher.adopt) = (owner(name, &format!("uid of {name}")), true);
        options.pusher.adopt_state = state.map(str::to_owned);
        let pushed = push(&site.remote(), &options);
        (pushed, options.pusher.adopted_state.into_inner())
    };
    // The first attempt of "one" dies after it has claimed the path.
    site.proxy.rule(|request| if request.is("PUT", "commit.json") { Action::Answer("403 Forbidden", "") } else { Action::Pass });
    let (failed, state) = asks("one", None);
    failed.unwrap_err();
    let state = state.expect("it is reported although the push failed");
    site.proxy.behave();
    // It goes on with what it began.
    let (again, same) = asks("one", Some(&state));
    assert!(again.unwrap().took_over && same.as_ref() == Some(&state));
    // "two" takes it; the permission of "one" was for another state.
    assert!(asks("two", None).0.unwrap().took_over);
    let refused = asks("one", Some(&state)).0.unwrap_err();
    assert_eq!(refused.reason, Reason::PathNotOurs);
    assert!(refused.message.contains("set it again"), "{refused}");
    // Its own path needs no permission, and reports none.
    assert_eq!(asks("two", None).1, None);
}

#[test]
fn a_push_on_demand_lists_and_repairs() {
    let site = Site::with_bucket();
    write(site.source.path(), "a", "a");
    site.push();
    site.meddle("deletefile", "a", b"");
    assert!(!site.push().changed);
    let mut options = site.push_options();
    options.verify_now = true;
    assert!(push(&site.remote(), &options).unwrap().changed);
    site.pull();
    assert_same(site.source.path(), site.dest.path());
}
