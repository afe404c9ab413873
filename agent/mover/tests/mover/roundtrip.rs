//! What goes in comes out: trees, edits, deletions, changes of type.

use std::fs;
use std::os::unix::fs::symlink;

use rstest::rstest;
use scribe_mover::pull::PullOptions;

use crate::support::tree::{assert_same, touch, varied, write};
use crate::support::{Layout, Local, Site, done, guard};

#[rstest]
fn everything_replicated_comes_back_exactly(#[values(Layout::Files, Layout::Packs)] layout: Layout) {
    let site = Site::new().of(layout);
    varied(site.source.path());
    let pushed = site.push();
    assert!(pushed.changed);
    let pulled = site.pull();
    assert_same(site.source.path(), site.dest.path());
    assert_eq!((pulled.revision, pulled.files, pulled.bytes), (pushed.revision.clone(), pushed.files, pushed.bytes));
    site.assert_tidy(&pushed.revision);

    let again = site.push();
    assert!(!again.changed && again.hashed == 0 && again.revision == pushed.revision);
    let again = site.pull();
    assert!(!again.changed && again.transferred == 0);
}

#[rstest]
fn edits_deletions_and_changes_of_type_follow(#[values(Layout::Files, Layout::Packs)] layout: Layout) {
    let site = Site::with_bucket().of(layout);
    let source = site.source.path();
    varied(source);
    let first = site.push();
    site.pull();

    write(source, "sub/deep/er/file", "replaced");
    touch(&source.join("sub/deep"), 5, 5);
    fs::remove_file(source.join("big")).unwrap();
    write(source, "big/now/a/directory", "x");
    fs::remove_dir_all(source.join("same")).unwrap();
    write(source, "same", "now a file");
    fs::remove_file(source.join("link")).unwrap();
    symlink("elsewhere", source.join("link")).unwrap();
    fs::remove_file(source.join("zz-hard")).unwrap();
    write(source, "zz-hard", "on its own");
    fs::rename(source.join("hollow"), source.join("renamed")).unwrap();
    fs::remove_file(source.join("pipe")).unwrap();
    let second = site.push();
    assert!(second.changed && second.revision != first.revision);
    let pulled = site.pull();
    assert_same(source, site.dest.path());
    assert!(pulled.deleted > 0);
    assert!(!site.dest.path().join(".scribe-staging").exists());
    // Of layout Files, a plain rclone user finds every file under its own name, and nothing else.
    site.assert_user_objects(&["big/now/a/directory", "empty", "plain", "same", "sub/deep/er/file", "sub/hard", "zz-hard"]);
    assert_eq!(site.read("sub/deep/er/file"), (layout == Layout::Files).then(|| b"replaced".to_vec()));
    site.assert_tidy(&second.revision);
}

#[rstest]
fn an_edit_that_keeps_size_and_times_is_replicated(#[values(Layout::Files, Layout::Packs)] layout: Layout) {
    let site = Site::with_bucket().of(layout);
    write(site.source.path(), "a", "old!");
    touch(&site.source.path().join("a"), 1000, 0);
    let first = site.push();
    site.pull();
    write(site.source.path(), "a", "new!");
    touch(&site.source.path().join("a"), 1000, 0);
    assert!(site.push().changed);
    let mut options = site.pull_options();
    options.applied = Some(first.revision);
    crate::support::done(scribe_mover::pull::pull(&site.remote(), &options));
    assert_eq!(fs::read(site.dest.path().join("a")).unwrap(), b"new!");
}

#[rstest]
fn metadata_alone_moves_no_content(#[values(Layout::Files, Layout::Packs)] layout: Layout) {
    let site = Site::with_bucket().of(layout);
    write(site.source.path(), "a", vec![1; 5000]);
    site.push();
    site.pull();
    touch(&site.source.path().join("a"), 77, 7);
    let pushed = site.push();
    assert!(pushed.changed && pushed.transferred == 0);
    let pulled = site.pull();
    assert!(pulled.changed && pulled.transferred == 0);
    assert_same(site.source.path(), site.dest.path());
}

#[rstest]
fn sockets_are_counted_and_lost_and_found_left_out(#[values(Layout::Files, Layout::Packs)] layout: Layout) {
    let site = Site::with_bucket().of(layout);
    write(site.source.path(), "a", "a");
    write(site.source.path(), "lost+found/#12", "orphan");
    let _socket = std::os::unix::net::UnixListener::bind(site.source.path().join("sock")).unwrap();
    let pushed = site.push();
    assert_eq!((pushed.files, pushed.skipped["sockets"], pushed.skipped["lostAndFound"]), (1, 1, 1));
    write(site.dest.path(), "lost+found/#99", "the destination's own");
    site.pull();
    assert!(site.dest.path().join("lost+found/#99").exists());
    assert!(!site.dest.path().join("sock").exists());
}

#[rstest]
fn a_push_that_died_after_its_commit_is_finished_by_the_next(#[values(Layout::Files, Layout::Packs)] layout: Layout) {
    let site = Site::with_bucket().of(layout);
    let source = site.source.path();
    write(source, "a", "old a");
    write(source, "b", "old b");
    site.push();
    write(source, "a", "new a");
    fs::remove_file(source.join("b")).unwrap();
    // Of layout Files, the second commit of a push says that staged files are promoted: everything from there on fails.
    let mut commits = 0;
    site.proxy.rule(move |request| {
        commits += usize::from(request.method == "PUT" && request.target.contains("commit.json"));
        if commits > 1 || request.method == "DELETE" {
            crate::support::proxy::Action::Answer("403 Forbidden", "")
        } else {
            crate::support::proxy::Action::Pass
        }
    });
    site.try_push().unwrap_err();
    site.proxy.rule(|_| crate::support::proxy::Action::Pass);
    // Committed, not tidied up: whole for a fresh pull.
    site.pull();
    assert_same(source, site.dest.path());
    write(source, "c", "c");
    let healed = site.push();
    site.assert_user_objects(&["a", "c"]);
    site.assert_tidy(&healed.revision);
    site.pull();
    assert_same(source, site.dest.path());
}

#[rstest]
fn a_push_that_died_before_its_commit_leaves_the_old_revision_whole(#[values(Layout::Files, Layout::Packs)] layout: Layout) {
    let site = Site::with_bucket().of(layout);
    let source = site.source.path();
    write(source, "a", "old a");
    write(source, "gone", "still needed");
    site.push();
    let old = assert_fs::TempDir::new().unwrap();
    fs::copy(source.join("a"), old.path().join("a")).unwrap();
    write(source, "a", "new a");
    write(source, "new", "new");
    fs::remove_file(source.join("gone")).unwrap();
    site.proxy.rule(|request| {
        let commit = request.method == "PUT" && request.target.contains("commit.json");
        if commit { crate::support::proxy::Action::Answer("403 Forbidden", "") } else { crate::support::proxy::Action::Pass }
    });
    site.try_push().unwrap_err();
    site.proxy.rule(|_| crate::support::proxy::Action::Pass);
    site.pull();
    assert_eq!(fs::read(site.dest.path().join("a")).unwrap(), b"old a");
    assert!(site.dest.path().join("gone").exists() && !site.dest.path().join("new").exists());
    // The next push cleans up, and drops what the dead one had sent for a file that is no more.
    fs::remove_file(source.join("new")).unwrap();
    let healed = site.push();
    site.assert_user_objects(&["a"]);
    site.assert_tidy(&healed.revision);
    site.pull();
    assert_same(source, site.dest.path());
}

/// Of layout Files alone: of the other one, no folder has a name of the volume.
#[test]
fn folders_left_empty_obstruct_nothing_on_a_remote_that_keeps_them() {
    let site = Local::new();
    let source = site.source.path();
    let pull = || {
        let options = PullOptions { volume: site.dest.path().into(), applied: None, private: true, guard: guard() };
        done(scribe_mover::pull::pull(&site.remote(), &options));
        assert_same(source, site.dest.path());
    };
    let push = || scribe_mover::push::push(&site.remote(), &site.push_options()).unwrap();
    for name in ["kept", "at once/in/x", "later/in/y", "later/z", "in/kept", "in/gone/x"] {
        write(source, name, name);
    }
    push();
    // A directory becomes a file in one push; another one does in two.
    fs::remove_dir_all(source.join("at once")).unwrap();
    write(source, "at once", "a file");
    fs::remove_dir_all(source.join("later")).unwrap();
    fs::remove_dir_all(source.join("in/gone")).unwrap();
    push();
    pull();
    write(source, "later", "a file");
    write(source, "in/gone", "a file");
    // Replaces a file, and so is staged.
    write(source, "kept", "another");
    push();
    pull();
    let folders = walkdir::WalkDir::new(site.bucket.path()).into_iter().map(Result::unwrap).filter(|entry| entry.file_type().is_dir());
    let mut names: Vec<_> =
        folders.map(|entry| entry.path().strip_prefix(site.bucket.path()).unwrap().to_string_lossy().into_owned()).collect();
    names.sort();
    assert_eq!(names, ["", ".scribe", ".scribe/manifests", ".scribe/staged", "in"]);
}

/// Of layout Files alone: of the other one, no object has a name of the volume.
#[test]
fn names_that_a_remote_takes_for_one_are_kept_apart() {
    let site = Local::new();
    // rclone is told so; this file system tells them apart, so that every object can be seen.
    std::fs::write(site.secret.path().join("rclone.conf"), "[dir]\ntype = local\ncase_insensitive = true\n").unwrap();
    let source = site.source.path();
    let sync = || {
        scribe_mover::push::push(&site.remote(), &site.push_options()).unwrap();
        let options = PullOptions { volume: site.dest.path().into(), applied: None, private: true, guard: guard() };
        done(scribe_mover::pull::pull(&site.remote(), &options));
        assert_same(source, site.dest.path());
        let entries = walkdir::WalkDir::new(site.bucket.path()).into_iter().filter_entry(|entry| entry.file_name() != ".scribe");
        let files = entries.map(Result::unwrap).filter(|entry| entry.file_type().is_file());
        let mut names: Vec<_> =
            files.map(|entry| entry.path().strip_prefix(site.bucket.path()).unwrap().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    };
    for name in ["Makefile", "dir/a", "plain", "x/Tcp.c"] {
        write(source, name, name);
    }
    assert_eq!(sync(), ["Makefile", "dir/a", "plain", "x/Tcp.c"]);
    // A new name beside, a name that changes its case alone, and a file like a directory.
    write(source, "x/TCP.c", "another");
    fs::rename(source.join("Makefile"), source.join("makefile")).unwrap();
    write(source, "DIR", "a file");
    assert_eq!(sync(), ["dir/a", "plain", "x/Tcp.c"], "never two that are alike, and none in the place of one that is needed");
    // Once a name is alone, its next content lies under it.
    write(source, "makefile", "edited");
    fs::remove_file(source.join("x/Tcp.c")).unwrap();
    assert_eq!(sync(), ["dir/a", "makefile", "plain"]);
    write(source, "x/TCP.c", "edited");
    assert_eq!(sync(), ["dir/a", "makefile", "plain", "x/TCP.c"]);
}
