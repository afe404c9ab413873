//! What a source leaves out of its revisions: what is pushed, what that costs, and what a change of the patterns does.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use rstest::rstest;
use scribe_mover::error::Result;
use scribe_mover::format::documents::{Commit, unseal};
use scribe_mover::push::{PushOptions, Synced};
use scribe_mover::report::Reason;
use scribe_mover::volume::exclude::Exclude;

use crate::support::limits::exactly;
use crate::support::proxy::Action;
use crate::support::tree::{assert_same, touch, varied, write};
use crate::support::{Layout, Site};

fn options(site: &Site, patterns: &[&str]) -> PushOptions {
    PushOptions { exclude: Exclude::new(patterns).unwrap(), ..site.push_options() }
}

/// A push of a source that has pushed `last` before.
fn try_push_after(site: &Site, last: Option<&Synced>, patterns: &[&str]) -> Result<Synced> {
    let mut options = options(site, patterns);
    options.pusher.pushed = last.map(|last| last.revision.clone());
    site.push_by(&options)
}

fn push_without(site: &Site, patterns: &[&str]) -> Synced {
    site.push_by(&options(site, patterns)).unwrap()
}

fn commit(site: &Site) -> Commit {
    unseal::<Commit>(&fs::read(site.object(".scribe/commit.json")).unwrap()).unwrap().present().unwrap().clone()
}

/// Requests since the last time that this was asked, by method.
fn requests(site: &Site) -> Vec<String> {
    site.proxy.take().into_iter().map(|request| request.method).collect()
}

#[rstest]
fn what_is_left_out_is_not_part_of_the_revision(#[values(Layout::Files, Layout::Packs)] layout: Layout) {
    let site = Site::with_bucket().of(layout);
    varied(site.source.path());
    for name in ["a.tmp", "sub/b.tmp", "sub/keep.tmp", "cache/big", "cache/keep.tmp", "deep/cache/small"] {
        write(site.source.path(), name, name);
    }
    let pushed = push_without(&site, &["*.tmp", "!keep.tmp", "/cache", "plain"]);
    assert_eq!(pushed.skipped.get("excluded"), None);
    site.pull();
    // The first of three names of one file is left out: the second has the content now.
    for name in ["a.tmp", "sub/b.tmp", "plain"] {
        fs::remove_file(site.source.path().join(name)).unwrap();
    }
    fs::remove_dir_all(site.source.path().join("cache")).unwrap();
    touch(site.source.path(), 4, 4);
    touch(&site.source.path().join("sub"), 3, 3);
    touch(site.dest.path(), 4, 4);
    touch(&site.dest.path().join("sub"), 3, 3);
    assert_same(site.source.path(), site.dest.path());
    if layout == Layout::Packs {
        return;
    }
    let objects = site.user_objects();
    let has = |name: &str| objects.iter().any(|object| object == name);
    assert!(has("sub/keep.tmp") && has("deep/cache/small") && has("sub/hard"), "{objects:?}");
    assert!(!objects.iter().any(|object| object.starts_with("cache/") || object == "plain"), "{objects:?}");
}

#[test]
fn the_same_patterns_cost_nothing_and_others_are_recorded_once() {
    let site = Site::with_bucket();
    for name in ["a", "b", "c.tmp"] {
        write(site.source.path(), name, name);
    }
    let first = push_without(&site, &["*.tmp"]);
    assert_eq!(first.files, 2);
    let again = |patterns: &[&str]| {
        requests(&site);
        let pushed = try_push_after(&site, Some(&first), patterns).unwrap();
        (pushed.changed, pushed.hashed, requests(&site))
    };
    assert_eq!(again(&["*.tmp"]), (false, 0, vec!["GET".into(), "GET".into()]));
    // They leave out the same: the revision stays, and the commit says under which patterns it was found.
    let (changed, hashed, asked) = again(&["*.tmp", "*.bak"]);
    assert!(!changed && hashed == 0 && asked.iter().filter(|method| *method == "PUT").count() == 1, "{asked:?}");
    let written = commit(&site);
    assert_eq!((&written.revision, written.exclude.as_deref()), (&first.revision, Exclude::new(&["*.tmp", "*.bak"]).unwrap().digest()));
    assert_eq!(again(&["*.tmp", "*.bak"]), (false, 0, vec!["GET".into(), "GET".into()]));
    // What is not left out any more is read and sent, and nothing else is.
    let (changed, hashed, _) = again(&[]);
    assert_eq!((changed, site.user_objects()), (true, vec!["a".to_owned(), "b".into(), "c.tmp".into()]));
    assert!(hashed <= 2 * 5, "{hashed} bytes: more than its own, and once more after it was sent");
    assert_eq!(commit(&site).exclude, None);
    site.pull();
    assert_same(site.source.path(), site.dest.path());
}

/// A verifying push records them, too, and lets nothing lie that they leave out by now.
#[test]
fn a_verifying_push_goes_by_the_patterns() {
    let site = Site::with_bucket();
    for name in ["a", "b", "c.tmp"] {
        write(site.source.path(), name, name);
    }
    site.push();
    let verify = |patterns: &[&str]| site.push_by(&PushOptions { verify_now: true, ..options(&site, patterns) }).unwrap();
    assert!(verify(&["*.tmp"]).changed);
    assert_eq!(site.user_objects(), ["a", "b"]);
    assert!(!verify(&["c.*"]).changed);
    assert_eq!(commit(&site).exclude.as_deref(), Exclude::new(&["c.*"]).unwrap().digest());
    // Another's object of that name is none of its own.
    site.meddle("rcat", "c.tmp", b"another's");
    assert!(!verify(&["c.*"]).changed);
    assert_eq!(site.user_objects(), ["a", "b", "c.tmp"]);
}

#[rstest]
fn patterns_that_remove_much_meet_the_guard(#[values(Layout::Files, Layout::Packs)] layout: Layout) {
    let site = Site::with_bucket().of(layout);
    for number in 0..20 {
        write(site.source.path(), format!("data/{number}"), "x");
    }
    write(site.source.path(), "other", "x");
    let first = site.push();
    let failure = try_push_after(&site, Some(&first), &["/data"]).unwrap_err();
    assert_eq!(failure.reason, Reason::DeletionGuard);
    assert!(failure.message.contains("20 of the 21 files"), "{failure}");
    let mut allowed = options(&site, &["/data"]);
    allowed.guard.allowed = failure.message.rsplit(' ').next().map(str::to_owned);
    assert_eq!(site.push_by(&allowed).unwrap().files, 1);
    let failure = try_push_after(&site, None, &["*"]).unwrap_err();
    assert!(failure.reason == Reason::DeletionGuard && failure.message.contains("by nothing"), "{failure}");
}

/// What comes and goes under the push, and is left out, is no change; only the times of the folders show it.
#[rstest]
fn what_is_left_out_does_not_disturb_a_push(#[values(Layout::Files, Layout::Packs)] layout: Layout) {
    let site = Site::with_bucket().of(layout);
    let source = site.source.path().to_path_buf();
    write(&source, "sub/a", "first");
    let disturb = || {
        let (writing, round) = (source.clone(), Arc::new(AtomicUsize::new(0)));
        site.proxy.rule(move |request| {
            if layout.sends(request, "a") || request.is("PUT", "/commit.json") {
                let round = round.fetch_add(1, Ordering::SeqCst);
                write(&writing, format!("sub/{round}.tmp"), "x");
                write(&writing, format!("{round}.tmp/x"), "x");
            }
            Action::Pass
        });
    };
    disturb();
    let first = push_without(&site, &["*.tmp"]);
    site.proxy.behave();
    write(&source, "sub/last.tmp", "x");
    requests(&site);
    let second = try_push_after(&site, Some(&first), &["*.tmp"]).unwrap();
    assert!(!second.changed, "{second:?}");
    if layout == Layout::Files {
        exactly("push_of_nothing_new", requests(&site).len(), &second);
    }
    // With the next change, the times are recorded as well.
    write(&source, "sub/a", "second");
    touch(&source.join("sub"), 77, 7);
    assert!(try_push_after(&site, Some(&first), &["*.tmp"]).unwrap().changed);
    site.pull();
    let time = fs::metadata(site.dest.path().join("sub")).unwrap().modified().unwrap();
    assert_eq!(time, fs::metadata(source.join("sub")).unwrap().modified().unwrap());
    // Other metadata of a folder counts at once, and without patterns its times do.
    fs::set_permissions(source.join("sub"), std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
    assert!(push_without(&site, &["*.tmp"]).changed);
    for name in fs::read_dir(source.join("sub")).unwrap().map(|entry| entry.unwrap().path()).filter(|path| !path.ends_with("a")) {
        fs::remove_file(name).unwrap();
    }
    for round in 0..3 {
        let _ = fs::remove_dir_all(source.join(format!("{round}.tmp")));
    }
    assert!(!push_without(&site, &["*.tmp"]).changed);
    assert!(push_without(&site, &[]).changed);
}

/// A pattern of folders alone leaves out a name as long as it is a folder.
#[rstest]
fn a_folder_that_becomes_a_file_under_the_push_is_sent(#[values(Layout::Files, Layout::Packs)] layout: Layout) {
    let site = Site::with_bucket().of(layout);
    let source = site.source.path().to_path_buf();
    write(&source, "a", "a");
    write(&source, "x/below", "x");
    let (writing, mut done) = (source.clone(), false);
    site.proxy.rule(move |request| {
        if layout.sends(request, "a") && !std::mem::replace(&mut done, true) {
            fs::remove_dir_all(writing.join("x")).unwrap();
            fs::write(writing.join("x"), "a file now").unwrap();
        }
        Action::Pass
    });
    assert_eq!(push_without(&site, &["x/"]).files, 2);
    site.proxy.behave();
    site.assert_user_objects(&["a", "x"]);
    site.pull();
    assert_same(&source, site.dest.path());
    fs::remove_file(source.join("x")).unwrap();
    write(&source, "x/below", "x");
    assert_eq!(push_without(&site, &["x/"]).files, 1);
    site.assert_user_objects(&["a"]);
}

#[rstest]
fn an_unfinished_pull_is_told_whatever_is_left_out(#[values(Layout::Files, Layout::Packs)] layout: Layout) {
    let site = Site::with_bucket().of(layout);
    write(site.source.path(), ".scribe-staging/x", "x");
    let failure = try_push_after(&site, None, &["*", ".*"]).unwrap_err();
    assert_eq!(failure.reason, Reason::SourceChanging);
}
