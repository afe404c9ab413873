//! A path that changes its layout and back, through rclone: on S3, and in a folder, which keeps folders where nothing is left in them.

use std::fs;
use std::path::Path;

use scribe_mover::pull::{PullOptions, pull};
use scribe_mover::push::{PushOptions, push, push_packs};
use scribe_mover::remote::Remote;
use scribe_mover::report::Reason;

use crate::support::tree::{assert_same, write};
use crate::support::{Local, Site, done, guard};

/// The first part of each name on the path, those of our own folder aside.
fn shown(remote: &Remote) -> Vec<String> {
    let mut names: Vec<String> = remote.details(false).unwrap().into_iter().map(|object| object.path).collect();
    names.retain(|name| name != ".scribe" && !name.starts_with(".scribe/manifests"));
    names.sort();
    names
}

fn there_and_back(remote: &dyn Fn() -> Remote, options: &dyn Fn() -> PushOptions, (source, dest): (&Path, &Path)) {
    let mut applied = None;
    let mut pulled = |private| {
        let options = PullOptions { volume: dest.into(), applied: applied.clone(), private, guard: guard() };
        let synced = done(pull(&remote(), &options));
        applied = Some(synced.revision);
        assert_same(source, dest);
    };
    for number in 0..30 {
        write(source, format!("d{}/e/f{number}", number % 3), format!("{number}"));
    }
    write(source, "odd\nname", "under its hash");
    push(&remote(), &options()).unwrap();
    pulled(true);
    for number in 0..9 {
        write(source, format!("d{}/e/f{number}", number % 3), format!("new {number}"));
    }
    let switched = push_packs(&remote(), &options()).unwrap();
    assert!(switched.changed && switched.files == 31);
    let all = shown(&remote());
    assert!(all.iter().all(|name| name.starts_with(".scribe/packs") || name == ".scribe/commit.json"), "{all:?}");
    pulled(true);
    // Nothing is asked for again.
    let again = PushOptions { pusher: scribe_mover::push::Pusher { pushed: Some(switched.revision), ..options().pusher }, ..options() };
    assert!(!push_packs(&remote(), &again).unwrap().changed);

    fs::remove_dir_all(source.join("d2")).unwrap();
    write(source, "d2", "a file by now");
    // A server whose objects are files may keep the folder of that name for a moment, and fails the write.
    let tries = (0..5).find_map(|_| match push(&remote(), &options()) {
        Err(failure) if failure.reason == Reason::Unreachable => None,
        pushed => Some(pushed.unwrap()),
    });
    let back = tries.unwrap();
    assert!(back.changed && back.files == 22);
    let left: Vec<String> =
        shown(&remote()).into_iter().filter(|name| name.starts_with(".scribe/") && !name.starts_with(".scribe/objects")).collect();
    assert!(
        left.iter().all(|name| [".scribe/commit.json", ".scribe/packs", ".scribe/runs", ".scribe/staged"].contains(&name.as_str())),
        "{left:?}"
    );
    pulled(false);
    write(source, "d0/e/f0", "once more");
    push(&remote(), &options()).unwrap();
    pulled(true);
}

#[test]
fn a_bucket_changes_its_layout_and_back() {
    let site = Site::with_bucket();
    there_and_back(&|| site.remote(), &|| site.push_options(), (site.source.path(), site.dest.path()));
}

#[test]
fn a_folder_changes_its_layout_and_back() {
    let site = Local::new();
    there_and_back(&|| site.remote(), &|| site.push_options(), (site.source.path(), site.dest.path()));
}
