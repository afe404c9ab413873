//! Pulls of one path of layout Packs.

use std::fs;
use std::os::unix::fs::MetadataExt;

use scribe_mover::pull::pull_path;
use scribe_mover::volume::path::RelPath;

use crate::packs_pull::{Packed, noise, options};
use crate::support::packed::{BLOCK, Packs, send};
use crate::support::program::{mover, report};
use crate::support::tree::{assert_same, touch, write};
use crate::support::{Site, done};

/// One file or folder, and nothing else of the volume.
#[test]
fn one_path_is_pulled_and_all_else_stays() {
    let mut at = Packed::new();
    write(at.source(), "a/b/one", noise(1, 3 * BLOCK));
    fs::hard_link(at.source().join("a/b/one"), at.source().join("a/b/two")).unwrap();
    fs::hard_link(at.source().join("a/b/one"), at.source().join("0")).unwrap();
    write(at.source(), "a/other", "of the source");
    write(at.dest(), "a/other", "own");
    write(at.dest(), "own", "own");
    write(at.dest(), "a/b/goes", "own");
    fs::create_dir(at.dest().join("empty")).unwrap();
    touch(&at.dest().join("a"), 5, 5);
    touch(at.dest(), 6, 6);
    at.push();
    let pulled = |path: &str| {
        let path = RelPath::new(path.as_bytes()).unwrap();
        pull_path(&at.site.remote(), &options(at.dest(), false, None), &path)
    };
    let synced = done(pulled("a/b"));
    assert_eq!((synced.changed, synced.files, synced.deleted), (true, 2, 1));
    assert_same(&at.source().join("a/b"), &at.dest().join("a/b"));
    for name in ["a/other", "own"] {
        assert_eq!(fs::read(at.dest().join(name)).unwrap(), b"own");
    }
    let times = |name: &str| fs::metadata(at.dest().join(name)).unwrap().mtime();
    assert!(at.dest().join("empty").is_dir() && !at.dest().join("0").exists() && (times("a"), times("")) == (5, 6));
    assert!(!done(pulled("a/b")).changed);
    assert_eq!(done(pulled("a/b/two")).files, 1);
    assert_eq!(fs::read(at.dest().join("a/b/one")).unwrap(), noise(1, 3 * BLOCK));

    // Into a volume without the folders above it.
    fs::remove_dir_all(at.dest().join("a")).unwrap();
    done(pulled("a/b/one"));
    assert_eq!(fs::read_dir(at.dest().join("a/b")).unwrap().count(), 1);

    let failure = pulled("a/none").unwrap_err();
    assert!(failure.message.contains("has no a/none"), "{failure}");
    fs::remove_dir_all(at.dest().join("a")).unwrap();
    fs::write(at.dest().join("a"), "a file of its own").unwrap();
    let failure = pulled("a/b").unwrap_err();
    assert!(failure.message.contains("is no folder on this volume"), "{failure}");
    assert_eq!(fs::read(at.dest().join("a")).unwrap(), b"a file of its own");
    fs::create_dir(at.dest().join(".scribe-staging")).unwrap();
    let failure = pulled("a/b").unwrap_err();
    assert!(failure.message.contains("has not finished") && at.dest().join(".scribe-staging").exists(), "{failure}");
}

#[test]
fn a_path_is_asked_for_by_hand() {
    let site = Site::with_bucket();
    write(site.source.path(), "a/b", "content");
    send(&site.remote(), &Packs::new().push(site.source.path()));
    let run = |path: &str, more: &[&str]| {
        let output = mover(&site, "pull", site.dest.path(), &[&["--path", path], more].concat()).output().unwrap();
        (output.status.code(), if more.is_empty() { report(&output).message } else { String::from_utf8(output.stderr).unwrap() })
    };
    assert_eq!(run("a/b", &[]), (Some(0), format!("Synced 1 files from {}.", site.name)));
    assert_eq!(fs::read(site.dest.path().join("a/b")).unwrap(), b"content");
    for (path, said) in [("/a", "is no path within a volume"), ("a/../b", "is no path within a volume"), ("", "not the volume itself")] {
        let (code, message) = run(path, &[]);
        assert!(code == Some(1) && message.contains(said), "{path} {message}");
    }
    assert!(run("a", &["--private-volume"]).1.contains("cannot be used with"));
    let files = Site::at(&site.server, &format!("{}-files", site.name));
    write(files.source.path(), "a", "x");
    files.push();
    let output = mover(&files, "pull", site.dest.path(), &["--path", "a"]).output().unwrap();
    assert!(report(&output).message.contains("of layout Files"), "{output:?}");
}
