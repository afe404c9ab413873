//! Pulls of one path of layout Packs.

use std::fs::{self, DirBuilder};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::Path;
use std::process::Command;

use scribe_mover::pull::{pull, pull_path};
use scribe_mover::volume::path::RelPath;

use crate::packs_pull::{Packed, noise, options, overwrite};
use crate::support::packed::{BLOCK, Packs, send};
use crate::support::program::{example, mover, report};
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
}

/// A pull of one path that was killed is finished by the next one of that path, of a folder above it, or of all; any other is told what to do.
#[test]
fn a_pull_of_a_path_that_was_killed_is_gone_on_with() {
    let (site, mut packs) = (Site::with_bucket(), Packs::new());
    let (source, before) = (site.source.path(), assert_fs::TempDir::new().unwrap());
    for name in ["a/b/one", "a/b/two", "a/c"] {
        write(source, name, noise(1, 2 * BLOCK));
    }
    write(source, "other", "of the source");
    send(&site.remote(), &packs.push(source));
    let run = |site: &Site, path: Option<&str>| {
        let options = options(site.dest.path(), false, None);
        match path {
            Some(path) => pull_path(&site.remote(), &options, &RelPath::new(path.as_bytes()).unwrap()),
            None => pull(&site.remote(), &options),
        }
    };
    let copy = |from: &Path, to: &Path| assert!(Command::new("cp").arg("-a").arg(from.join(".")).arg(to).status().unwrap().success());
    for name in ["a/b/one", "a/b/goes", "a/c", "other", "own"] {
        write(before.path(), name, "own");
    }
    let mut refused = 0;
    let next = [Some("a/b"), Some("a"), None, Some("a/b/one"), Some("other")];
    for (n, next) in (1..).zip(next.into_iter().cycle()) {
        let round = Site::at(&site.server, &site.name);
        let dest = round.dest.path();
        copy(before.path(), dest);
        let mover = mover(&round, "pull", dest, &["--path", "a/b", "--report", "/dev/null"]);
        let mut crash = Command::new(example("crash"));
        crash.arg(n.to_string()).arg(dest).arg(mover.get_program()).args(mover.get_args()).env("TMPDIR", round.scratch.path());
        let said = String::from_utf8(crash.output().unwrap().stdout).unwrap();
        let Some(step) = said.lines().last().unwrap_or_default().strip_prefix("killed before ") else {
            assert!(said.ends_with("ended 0\n"), "{said}");
            assert!(n > 20 && refused > 5, "{n} {refused}");
            break;
        };
        let moment = format!("killed before {step} (change {n}), then {next:?}");
        let mut pulled = run(&round, next);
        if matches!(next, Some("a/b/one" | "other"))
            && let Err(failure) = &pulled
        {
            refused += 1;
            assert!(
                failure.message.contains("of a pull of a/b alone") && failure.message.contains("pull a/b once more"),
                "{moment}: {failure}"
            );
            done(run(&round, Some("a/b")));
            assert_same(&source.join("a/b"), &dest.join("a/b"));
            pulled = run(&round, next);
        }
        done(pulled);
        let of = |root: &Path| next.map_or_else(|| root.to_owned(), |path| root.join(path));
        if of(source).is_dir() {
            assert_same(&of(source), &of(dest));
        } else {
            assert_eq!(fs::read(of(source)).unwrap(), fs::read(of(dest)).unwrap(), "{moment}");
        }
        assert!(!dest.join(".scribe-staging").exists(), "{moment}");
        if next.is_some() {
            assert_eq!(fs::read(dest.join("own")).unwrap(), b"own", "{moment}");
            assert!(next == Some("a") || fs::read(dest.join("a/c")).unwrap() == b"own", "{moment}");
        }
    }
}

/// A file that somebody has put back below a volume which is known to hold a revision is not taken for that revision's: its size or time is another
/// one. Where both are the same, an empty staging folder has the next pull compare all.
#[test]
fn a_file_that_was_put_back_is_compared() {
    for how in ["copied", "pulled", "of the same time"] {
        let mut at = Packed::new();
        let (source, dest) = (at.source().join("db"), at.dest().join("db"));
        let edit = |block: usize, seed: u64, time: i64| {
            overwrite(&source, block * BLOCK, &noise(seed, BLOCK));
            touch(&source, time, 1);
        };
        fs::write(&source, noise(1, 6 * BLOCK)).unwrap();
        touch(&source, 1, 1);
        at.push();
        let backup = fs::read(&source).unwrap();
        edit(1, 2, 2);
        let held = at.push();
        at.pull(true, None);
        if how == "pulled" {
            edit(2, 3, 3);
            at.push();
            done(pull_path(&at.site.remote(), &options(at.dest(), false, None), &RelPath::new(b"db").unwrap()));
        } else {
            fs::write(&dest, &backup).unwrap();
            touch(&dest, if how == "copied" { 1 } else { 2 }, 1);
        }
        if how == "of the same time" {
            fs::create_dir(at.dest().join(".scribe-staging")).unwrap();
        }
        edit(3, 4, 4);
        at.push();
        let pulled = at.pull(true, Some(&held));
        assert!(pulled.hashed > 0, "{how}: {pulled:?}");
        assert_same(at.source(), at.dest());
    }
}

/// Nothing is known of such a volume until a pull has ended, also by the next one after a pull that was cut short.
#[test]
fn what_was_put_back_stays_unknown_after_a_pull_that_fails() {
    for newer in [false, true] {
        let mut at = Packed::new();
        let (source, dest) = (at.source().join("db"), at.dest().join("db"));
        fs::write(&source, noise(1, 6 * BLOCK)).unwrap();
        touch(&source, 1, 1);
        let held = at.push();
        at.pull(true, None);
        overwrite(&dest, BLOCK, &noise(2, BLOCK));
        touch(&dest, 1, 1);
        fs::create_dir(at.dest().join(".scribe-staging")).unwrap();
        if newer {
            overwrite(&source, 3 * BLOCK, &noise(3, BLOCK));
            at.push();
        }
        let (packs, away) = (at.site.bucket.path().join(".scribe/packs"), at.site.secret.path().join("away"));
        fs::rename(&packs, &away).unwrap();
        pull(&at.site.remote(), &options(at.dest(), true, Some(held.clone()))).unwrap_err();
        fs::rename(&away, &packs).unwrap();
        assert!(at.dest().join(".scribe-staging").exists());
        at.pull(true, Some(&held));
        assert_same(at.source(), at.dest());
    }
}

/// A pull of all that was killed is not taken for one of a path, whatever was there before.
#[test]
fn a_path_is_not_pulled_beside_an_unfinished_pull_of_all() {
    let mut at = Packed::new();
    write(at.source(), "a", "of the source");
    at.push();
    let path = RelPath::new(b"a").unwrap();
    let pulled = || pull_path(&at.site.remote(), &options(at.dest(), false, None), &path);
    let staging = at.dest().join(".scribe-staging");
    // Nothing had begun.
    DirBuilder::new().mode(0o700).create(&staging).unwrap();
    done(pulled());
    for note in [None, Some(&b"../b"[..]), Some(b""), Some(&[b'a'; 5000])] {
        DirBuilder::new().mode(0o700).create(&staging).unwrap();
        fs::create_dir(staging.join("ok")).unwrap();
        if let Some(note) = note {
            fs::write(staging.join("path"), note).unwrap();
        }
        let failure = pulled().unwrap_err();
        assert!(failure.message.contains("of a pull of all of a revision") && failure.message.contains("without --path"), "{failure}");
        assert!(staging.exists());
        done(pull(&at.site.remote(), &options(at.dest(), false, None)));
        done(pulled());
    }
    // One of the path was killed before one of all.
    DirBuilder::new().mode(0o700).create(&staging).unwrap();
    fs::create_dir(staging.join("ok")).unwrap();
    fs::write(staging.join("path"), "a").unwrap();
    write(at.dest(), "a", "other");
    let packs = at.site.bucket.path().join(".scribe/packs");
    fs::rename(&packs, at.site.bucket.path().join("away")).unwrap();
    pull(&at.site.remote(), &options(at.dest(), false, None)).unwrap_err();
    fs::rename(at.site.bucket.path().join("away"), &packs).unwrap();
    let failure = pulled().unwrap_err();
    assert!(failure.message.contains("of a pull of all of a revision"), "{failure}");
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
