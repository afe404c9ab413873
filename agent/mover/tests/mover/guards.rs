//! What stops a sync before it does harm.

use std::fs;
use std::ops::Range;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;

use jiff::ToSpan;
use rstest::rstest;
use scribe_mover::error::Failure;
use scribe_mover::format::documents::{Commit, seal, unseal};
use scribe_mover::pull::{PullOutcome, pull};
use scribe_mover::push::push;
use scribe_mover::report::Reason;

use crate::support::tree::{assert_same, snapshot, write};
use crate::support::{Layout, Site, owner};

#[rstest]
fn a_pull_waits_for_the_first_push(#[values(Layout::Files, Layout::Packs)] layout: Layout) {
    let site = Site::new().of(layout);
    assert_eq!(site.try_pull(), Ok(PullOutcome::WaitingForFirstPush), "no bucket");
    site.make_bucket();
    assert_eq!(site.try_pull(), Ok(PullOutcome::WaitingForFirstPush), "empty bucket");
    write(site.source.path(), "a", "a");
    site.proxy.rule(|request| {
        let commit = request.method == "PUT" && request.target.contains("commit.json");
        if commit { crate::support::proxy::Action::Answer("403 Forbidden", "") } else { crate::support::proxy::Action::Pass }
    });
    site.try_push().unwrap_err();
    site.proxy.rule(|_| crate::support::proxy::Action::Pass);
    assert_eq!(site.control_objects().first().map(String::as_str), Some("claim.json"));
    write(site.dest.path(), "mine", "kept");
    assert_eq!(site.try_pull(), Ok(PullOutcome::WaitingForFirstPush), "a push is under way");
    assert_eq!(fs::read_dir(site.dest.path()).unwrap().count(), 1);
}

#[rstest]
fn a_path_of_unknown_files_is_touched_by_neither_side(#[values(Layout::Files, Layout::Packs)] layout: Layout) {
    let site = Site::with_bucket().of(layout);
    site.meddle("rcat", "precious", b"p");
    write(site.source.path(), "a", "a");
    write(site.dest.path(), "mine", "m");
    let pushed = site.try_push().unwrap_err();
    assert_eq!(pushed.reason, Reason::PathNotOurs);
    // Layout Packs adopts no files.
    let advice = if layout == Layout::Files { "adopt-path" } else { "begins on an empty path alone" };
    assert!(pushed.message.contains("precious") && pushed.message.contains(advice), "{pushed}");
    let pulled = site.try_pull().unwrap_err();
    assert_eq!(pulled.reason, Reason::PathNotOurs);
    assert!(pulled.message.contains("layout: Plain"), "{pulled}");
    assert_eq!(site.user_objects(), ["precious"]);
    assert!(site.control_objects().is_empty() && site.dest.path().join("mine").exists());

    let mut options = site.push_options();
    options.pusher.adopt = true;
    if layout == Layout::Packs {
        let refused = site.push_by(&options).unwrap_err();
        assert!(refused.reason == Reason::PathNotOurs && refused.message.contains("begins on an empty path alone"), "{refused}");
        assert_eq!(site.user_objects(), ["precious"]);
        return;
    }
    site.push_by(&options).unwrap();
    assert_eq!(site.user_objects(), ["a"]);
}

#[rstest]
fn a_path_belongs_to_one_owner(#[values(Layout::Files, Layout::Packs)] layout: Layout) {
    let site = Site::with_bucket().of(layout);
    write(site.source.path(), "a", "a");
    let first = site.push();
    let as_owner = |name: &str, uid: &str, has_pushed, adopt| {
        let mut options = site.push_options();
        options.pusher.owner = owner(name, uid);
        (options.pusher.pushed, options.pusher.adopt) = (Some(first.revision.clone()).filter(|_| has_pushed), adopt);
        site.push_by(&options)
    };
    assert_eq!(as_owner("other", "uid-9", false, false).unwrap_err().reason, Reason::PathNotOurs);
    // Re-created under the same name: takes over once, and the older object, still pushing somewhere, stops.
    let taken = as_owner("db", "uid-2", false, false).unwrap();
    assert!(taken.took_over && taken.changed && taken.revision != first.revision);
    assert_eq!(as_owner("db", "uid-1", true, false).unwrap_err().reason, Reason::PathNotOurs);
    assert!(!as_owner("db", "uid-2", true, false).unwrap().took_over);
    assert!(as_owner("other", "uid-9", true, true).unwrap().took_over);
}

#[rstest]
fn a_path_inside_anothers_is_never_cleaned_away(#[values(Layout::Files, Layout::Packs)] layout: Layout) {
    let mut site = Site::with_bucket().of(layout);
    site.name = format!("s3:{}/path/inner", site.server.bucket);
    write(site.source.path(), "a", "inner");
    site.push();
    site.name = format!("s3:{}/path", site.server.bucket);
    let mut options = site.push_options();
    options.pusher.adopt = true;
    let refused = site.push_by(&options).unwrap_err();
    assert_eq!(refused.reason, Reason::PathNotOurs);
    assert!(refused.message.contains("inner/.scribe/commit.json"), "{refused}");
    assert!(site.has("inner/.scribe/commit.json"));
}

#[rstest]
fn an_empty_volume_never_replaces_a_full_path_unasked(#[values(Layout::Files, Layout::Packs)] layout: Layout) {
    let site = Site::with_bucket().of(layout);
    write(site.source.path(), "a", "a");
    site.push();
    site.pull();
    fs::remove_file(site.source.path().join("a")).unwrap();
    let refused = site.try_push().unwrap_err();
    assert_eq!(refused.reason, Reason::DeletionGuard);
    site.assert_user_objects(&["a"]);
    assert!(!site.has(".scribe/claim.json"));

    let mut options = site.push_options();
    options.guard.allowed = refused.message.rsplit(' ').next().map(str::to_owned);
    site.push_by(&options).unwrap();
    assert!(site.user_objects().is_empty());

    let refused = site.try_pull().unwrap_err();
    assert_eq!(refused.reason, Reason::DeletionGuard);
    assert!(site.dest.path().join("a").exists());
    let mut options = site.pull_options();
    options.guard.allowed = refused.message.rsplit(' ').next().map(str::to_owned);
    crate::support::done(pull(&site.remote(), &options));
    assert_same(site.source.path(), site.dest.path());
}

/// Neither side replaces links and directories by nothing, or by next to nothing, unasked.
#[rstest]
fn a_tree_without_files_is_guarded_too(#[values(Layout::Files, Layout::Packs)] layout: Layout) {
    let site = Site::with_bucket().of(layout);
    let source = site.source.path();
    for n in 0..200 {
        fs::create_dir(source.join(format!("d{n}"))).unwrap();
        symlink("anywhere", source.join(format!("l{n}"))).unwrap();
    }
    site.push();
    site.pull();
    let full = snapshot(site.dest.path());
    let clear = |numbers: Range<u32>| {
        for n in numbers {
            fs::remove_dir(source.join(format!("d{n}"))).unwrap();
            fs::remove_file(source.join(format!("l{n}"))).unwrap();
        }
    };
    let token = |refused: &Failure| refused.message.rsplit(' ').next().map(str::to_owned);
    clear(1..200);
    let refused = site.try_push().unwrap_err();
    assert_eq!(refused.reason, Reason::DeletionGuard);
    assert!(refused.message.contains("398 of the 400 entries"), "{refused}");
    clear(0..1);
    let refused = site.try_push().unwrap_err();
    assert_eq!(refused.reason, Reason::DeletionGuard);
    assert!(refused.message.contains("the 400 entries of the remote path"), "{refused}");
    let mut options = site.push_options();
    options.guard.allowed = token(&refused);
    assert_eq!(site.push_by(&options).unwrap().deleted, 400);

    let refused = site.try_pull().unwrap_err();
    assert_eq!(refused.reason, Reason::DeletionGuard);
    assert!(refused.message.contains("the 400 entries of the volume"), "{refused}");
    assert_eq!(snapshot(site.dest.path()), full);
    let mut options = site.pull_options();
    options.guard.allowed = token(&refused);
    assert_eq!(crate::support::done(pull(&site.remote(), &options)).deleted, 400);
    assert_same(source, site.dest.path());
}

#[rstest]
fn a_directory_that_cannot_go_is_not_told_as_deleted(#[values(Layout::Files, Layout::Packs)] layout: Layout) {
    let site = Site::with_bucket().of(layout);
    write(site.source.path(), "a", "a");
    write(site.source.path(), "run/pid", "1");
    site.push();
    site.pull();
    let _socket = UnixListener::bind(site.dest.path().join("run/socket")).unwrap();
    fs::remove_dir_all(site.source.path().join("run")).unwrap();
    assert_eq!(site.push().deleted, 2);
    let pulled = site.pull();
    assert_eq!((pulled.deleted, pulled.skipped.get("directoriesInUse")), (1, Some(&1)));
}

/// The guard counts what the manifest holds: a commit that says otherwise is not believed.
#[test]
fn a_commit_that_claims_files_gets_nothing_past_the_guard() {
    let site = Site::with_bucket();
    write(site.source.path(), "a", "a");
    site.push();
    site.pull();
    fs::remove_file(site.source.path().join("a")).unwrap();
    let mut options = site.push_options();
    options.guard.allowed = site.try_push().unwrap_err().message.rsplit(' ').next().map(str::to_owned);
    push(&site.remote(), &options).unwrap();
    let commit = unseal::<Commit>(&site.read(".scribe/commit.json").unwrap()).unwrap().present().unwrap().clone();
    site.meddle("rcat", ".scribe/commit.json", &seal(&Commit { files: 1000, ..commit }).unwrap());
    assert_eq!(site.try_pull().unwrap_err().reason, Reason::DeletionGuard);
    assert!(site.dest.path().join("a").exists());
}

#[rstest]
fn a_large_deletion_needs_its_token(#[values(Layout::Files, Layout::Packs)] layout: Layout) {
    let site = Site::with_bucket().of(layout);
    for n in 0..30 {
        write(site.source.path(), format!("f{n}"), "x");
    }
    site.push();
    for n in 0..28 {
        fs::remove_file(site.source.path().join(format!("f{n}"))).unwrap();
    }
    let refused = site.try_push().unwrap_err();
    assert_eq!(refused.reason, Reason::DeletionGuard);
    assert!(refused.message.contains("28 of the 30"), "{refused}");
    assert_eq!(site.user_objects().len(), if layout == Layout::Files { 30 } else { 0 });

    // It is good for what was to be deleted then, and not for as many others.
    let mut options = site.push_options();
    options.guard.allowed = refused.message.rsplit(' ').next().map(str::to_owned);
    fs::remove_file(site.source.path().join("f28")).unwrap();
    write(site.source.path(), "f0", "x");
    assert_eq!(site.push_by(&options).unwrap_err().reason, Reason::DeletionGuard);
    fs::remove_file(site.source.path().join("f0")).unwrap();
    write(site.source.path(), "f28", "x");
    assert_eq!(site.push_by(&options).unwrap().deleted, 28);
}

/// On a volume of the user's, `.scribe-staging` may be a link of his to anywhere, and so may what is in it.
#[rstest]
#[case::to_elsewhere("")]
#[case::within("ok")]
fn a_link_in_the_place_of_the_staging_folder_is_not_followed(
    #[case] below: &str,
    #[values(true, false)] on_the_volume: bool,
    #[values(Layout::Files, Layout::Packs)] layout: Layout,
) {
    let site = Site::with_bucket().of(layout);
    for name in ["a", "data/tmp/f", "data/in/f", "data/ok/g"] {
        write(site.source.path(), name, name);
    }
    site.push();
    site.pull();
    let data = site.dest.path().join("data");
    let elsewhere = assert_fs::TempDir::new().unwrap();
    for name in ["tmp/f", "in/f", "ok/g", "g"] {
        write(elsewhere.path(), name, "precious");
    }
    let staging = site.dest.path().join(".scribe-staging");
    if !below.is_empty() {
        fs::create_dir(&staging).unwrap();
    }
    let target = if on_the_volume { data.join(below) } else { elsewhere.path().into() };
    symlink(target, if below.is_empty() { staging } else { staging.join(below) }).unwrap();
    write(site.source.path(), "a", "another");
    site.push();
    site.pull();
    assert_same(site.source.path(), site.dest.path());
    for name in ["tmp/f", "in/f", "ok/g", "g"] {
        assert_eq!(fs::read(elsewhere.path().join(name)).unwrap(), b"precious", "{name}");
    }
}

#[test]
fn a_listing_push_repairs_what_was_lost() {
    let site = Site::with_bucket();
    for name in ["a", "b", "c"] {
        write(site.source.path(), name, format!("content of {name}"));
    }
    let pushed = site.push();
    site.meddle("deletefile", "a", b"");
    site.meddle("rcat", "b", b"cut");
    site.meddle("rcat", "stranger", b"not ours");
    let broken = site.try_pull().unwrap_err();
    assert_eq!(broken.reason, Reason::RemoteInconsistent);
    assert!(fs::read_dir(site.dest.path()).unwrap().all(|entry| entry.unwrap().file_name() == ".scribe-staging"));
    assert!(!site.push().changed, "not due yet");

    let mut options = site.push_options();
    options.started += 25.hours();
    let repaired = push(&site.remote(), &options).unwrap();
    assert!(repaired.changed && repaired.revision == pushed.revision);
    site.pull();
    assert_same(site.source.path(), site.dest.path());
    assert!(site.has("stranger"), "nothing says that it is ours to delete");
    site.proxy.take();
    options.pusher.pushed = Some(repaired.revision);
    push(&site.remote(), &options).unwrap();
    assert_eq!(site.proxy.take().len(), 2, "verified just now");
}

#[test]
fn a_damaged_commit_is_not_an_absent_one() {
    let site = Site::with_bucket();
    write(site.source.path(), "a", "a");
    site.push();
    for damage in ["", "{", "{\"format\": 1}"] {
        site.meddle("rcat", ".scribe/commit.json", damage.as_bytes());
        let failure = site.try_pull().unwrap_err();
        assert_eq!(failure.reason, Reason::RemoteInconsistent, "{damage:?}");
        assert!(failure.message.contains("scribe.backube/adopt-path"), "what helps, and no other push does: {failure}");
        assert_eq!(site.try_push().unwrap_err().reason, Reason::RemoteInconsistent, "{damage:?}");
    }
    let mut options = site.push_options();
    options.pusher.adopt = true;
    push(&site.remote(), &options).unwrap();
    site.pull();
    assert_same(site.source.path(), site.dest.path());
}

#[test]
fn a_lost_manifest_is_replaced_by_the_next_push() {
    let site = Site::with_bucket();
    write(site.source.path(), "a", "a");
    let first = site.push();
    site.meddle("deletefile", &format!(".scribe/manifests/{}.zst", first.revision), b"");
    assert_eq!(site.try_pull().unwrap_err().reason, Reason::RemoteInconsistent);
    assert!(site.push().changed);
    site.pull();
    assert_same(site.source.path(), site.dest.path());
}

#[rstest]
fn a_volume_in_mid_pull_is_not_a_source(#[values(Layout::Files, Layout::Packs)] layout: Layout) {
    let site = Site::with_bucket().of(layout);
    write(site.source.path(), ".scribe-staging/in/x", "x");
    let failure = site.try_push().unwrap_err();
    assert_eq!(failure.reason, Reason::SourceChanging);
    assert!(failure.message.contains(".scribe-staging"));
}
