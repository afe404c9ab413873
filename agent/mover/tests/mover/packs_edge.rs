//! Pulls of layout Packs where something is short: parts of objects, room on the volume, rights of the mover.

use std::fs::{self, File, Permissions};
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::Command;

use assert_fs::TempDir;
use scribe_mover::pull::{PullOptions, pull};
use scribe_mover::report::{Outcome, Reason};

use crate::blocks::{Mounted, run};
use crate::space::Small;
use crate::support::liar::{Deed, Verb, always};
use crate::support::packed::{BLOCK, Packs, send};
use crate::support::tree::{assert_same_but_for_room, set, snapshot, write};
use crate::support::{Site, done};
use crate::unprivileged::{Programs, own};

fn noise(seed: u64, blocks: usize) -> Vec<u8> {
    let mut content = vec![0; blocks * BLOCK];
    fastrand::Rng::with_seed(seed).fill(&mut content);
    content
}

fn overwrite(path: &Path, block: usize, content: &[u8]) {
    File::options().write(true).open(path).unwrap().write_all_at(content, (block * BLOCK) as u64).unwrap();
}

/// Not every backend reads parts: a section behind some overlay, a path with a closing bracket.
#[test]
fn where_no_part_is_given_the_whole_is_read() {
    let site = Site::with_bucket();
    let (mut packs, source) = (Packs::new(), site.source.path());
    packs.inline = 0;
    for n in 0..380_u64 {
        write(source, format!("{}/{n}", n % 3), b"");
        set(&source.join(format!("{}/{n}", n % 3)), b"user.x", &noise(n, 1)[..3_000]);
    }
    fs::write(source.join("db"), noise(1, 64)).unwrap();
    send(&site.remote(), &packs.push(source));
    let held = packs.revision();
    done(pull(&site.remote(), &site.pull_options()));
    overwrite(&source.join("db"), 5, b"changed");
    send(&site.remote(), &packs.push(source));
    // The base run is large, so that by generations it is read in parts; and of the old pack, a part is needed.
    fs::remove_file(site.dest.path().join("db")).unwrap();
    fs::write(site.dest.path().join("db"), [&noise(1, 63)[..], &noise(2, 1)].concat()).unwrap();
    let remote = site.lying(always(|verb| matches!(verb, Verb::Range), || Deed::Absent));
    done(pull(&remote, &PullOptions { applied: Some(held), ..site.pull_options() }));
    assert_same_but_for_room(source, site.dest.path());
}

#[test]
fn a_volume_that_is_short_of_room_is_not_changed() {
    for private in [true, false] {
        let site = Site::with_bucket();
        let (mut packs, source, small) = (Packs::new(), site.source.path(), Small::new(9));
        fs::write(source.join("db"), noise(1, 192)).unwrap();
        write(source, "z", "old");
        send(&site.remote(), &packs.push(source));
        let options = PullOptions { volume: small.path().into(), private, ..site.pull_options() };
        done(pull(&site.remote(), &PullOptions { volume: site.dest.path().into(), ..options.clone() }));
        fs::copy(site.dest.path().join("db"), small.path().join("db")).unwrap();
        fs::write(small.path().join("z"), "old").unwrap();
        let before = snapshot(small.path());
        // In the pack it is small, and in the staging folder it has room; in its place it has none.
        fs::write(source.join("db"), [noise(1, 192), (1..=224).flat_map(|byte| vec![byte; BLOCK]).collect()].concat()).unwrap();
        write(source, "z", "new");
        send(&site.remote(), &packs.push(source));
        let failure = pull(&site.remote(), &options).unwrap_err();
        assert_eq!(failure.reason, Reason::NoSpace, "{failure}");
        assert!(failure.message.contains("bytes free"), "{failure}");
        let mut after = snapshot(small.path());
        after.retain(|path, _| !path.starts_with(b".scribe-staging"));
        let but_root = |tree: &std::collections::BTreeMap<Vec<u8>, String>| {
            tree.iter().skip(1).map(|(a, b)| (a.clone(), b.clone())).collect::<Vec<_>>()
        };
        assert_eq!(but_root(&before), but_root(&after));
        small.grow(64);
        done(pull(&site.remote(), &options));
        assert_same_but_for_room(source, small.path());
    }
}

/// A file of its own that it may not write to is changed in place all the same, and closed again.
#[test]
fn a_mover_without_privileges_changes_what_it_closed_to_itself() {
    let site = Site::with_bucket();
    let (mut packs, source, dest, programs) = (Packs::new(), site.source.path(), site.dest.path(), Programs::new());
    own(source);
    own(dest);
    write(source, "closed/db", noise(1, 9));
    for name in ["closed", "closed/db"] {
        own(&source.join(name));
    }
    fs::set_permissions(source.join("closed/db"), Permissions::from_mode(0o440)).unwrap();
    fs::set_permissions(source.join("closed"), Permissions::from_mode(0o555)).unwrap();
    send(&site.remote(), &packs.push(source));
    let first = programs.pull_privately(&site, dest);
    assert_eq!(first.result, Outcome::Successful, "{}", first.message);
    assert_same_but_for_room(source, dest);
    let inode = fs::metadata(dest.join("closed/db")).unwrap().ino();
    overwrite(&source.join("closed/db"), 3, b"changed");
    send(&site.remote(), &packs.push(source));
    let second = programs.pull_privately(&site, dest);
    assert_eq!((second.result, second.skipped.len()), (Outcome::Successful, 0), "{}", second.message);
    assert_same_but_for_room(source, dest);
    assert_eq!(fs::metadata(dest.join("closed/db")).unwrap().ino(), inode);
}

/// What is free on the file system of this folder, in bytes.
fn free(dir: &Path) -> u64 {
    run(Command::new("sync").arg("-f").arg(dir));
    let stat = rustix::fs::statvfs(dir).unwrap();
    stat.f_bfree * stat.f_frsize
}

/// Where the file system shares blocks, a user's file is replaced by a clone of it with its new blocks, which takes their room and no more.
#[test]
fn a_file_is_cloned_where_the_file_system_does_that() {
    let (site, image) = (Site::with_bucket(), TempDir::new().unwrap());
    let image = image.path().join("image");
    File::create(&image).unwrap().set_len(400 << 20).unwrap();
    run(Command::new("mkfs.btrfs").args(["-q", "--metadata", "single"]).arg(&image));
    let mounted = Mounted::new(&image, "loop");
    let (mut packs, source, dest) = (Packs::new(), site.source.path(), mounted.0.path());
    fs::write(source.join("db"), noise(1, 4_000)).unwrap();
    send(&site.remote(), &packs.push(source));
    let options = PullOptions { volume: dest.into(), private: false, ..site.pull_options() };
    done(pull(&site.remote(), &options));
    // A program has it open, so that its room is not given free.
    let _open = File::open(dest.join("db")).unwrap();
    let before = free(dest);
    overwrite(&source.join("db"), 5, b"changed");
    overwrite(&source.join("db"), 1_000, &vec![0; 2 * BLOCK]);
    send(&site.remote(), &packs.push(source));
    done(pull(&site.remote(), &options));
    assert_same_but_for_room(source, dest);
    assert!(before < free(dest) + (8 << 20), "{before} {}", free(dest));
}

/// What an interrupted pull has made ready has its mode already: the next one goes on with it.
#[test]
fn a_mover_without_privileges_goes_on_with_what_it_closed_to_itself() {
    let site = Site::with_bucket();
    let (mut packs, source, dest, programs) = (Packs::new(), site.source.path(), site.dest.path(), Programs::new());
    own(source);
    own(dest);
    for (name, seed) in [("first", 1), ("second", 2)] {
        write(source, name, noise(seed, 9));
        own(&source.join(name));
        fs::set_permissions(source.join(name), Permissions::from_mode(0o444)).unwrap();
        send(&site.remote(), &packs.push(source));
    }
    let pack = fs::read_dir(site.object(".scribe/packs")).unwrap().map(|pack| pack.unwrap().path()).max().unwrap();
    let away = site.secret.path().join("away");
    fs::rename(&pack, &away).unwrap();
    assert_eq!(programs.run(&site, "pull", dest).result, Outcome::Failed);
    let mut closed = 0;
    for file in walkdir::WalkDir::new(dest.join(".scribe-staging/ok")).into_iter().map(Result::unwrap) {
        if file.file_type().is_file() {
            fs::set_permissions(file.path(), Permissions::from_mode(0o444)).unwrap();
            closed += 1;
        }
    }
    assert_eq!(closed, 2);
    fs::rename(&away, &pack).unwrap();
    let pulled = programs.run(&site, "pull", dest);
    assert_eq!(pulled.result, Outcome::Successful, "{}", pulled.message);
    assert_same_but_for_room(source, dest);
}

/// It may not write to another's file, but may put one in its place.
#[test]
fn a_mover_without_privileges_replaces_what_is_anothers() {
    let site = Site::with_bucket();
    let (mut packs, source, dest, programs) = (Packs::new(), site.source.path(), site.dest.path(), Programs::new());
    own(source);
    own(dest);
    for (name, seed) in [("anothers", 1), ("own", 2), ("closed", 3)] {
        write(source, name, noise(seed, 9));
        own(&source.join(name));
    }
    send(&site.remote(), &packs.push(source));
    assert_eq!(programs.pull_privately(&site, dest).result, Outcome::Successful);
    std::os::unix::fs::chown(dest.join("anothers"), Some(7), Some(7)).unwrap();
    // Nor may it read this one, which has another length.
    std::os::unix::fs::chown(dest.join("closed"), Some(7), Some(7)).unwrap();
    fs::set_permissions(dest.join("closed"), Permissions::from_mode(0o600)).unwrap();
    overwrite(&source.join("closed"), 9, b"longer");
    for name in ["anothers", "own"] {
        overwrite(&source.join(name), 3, b"changed");
    }
    send(&site.remote(), &packs.push(source));
    let pulled = programs.pull_privately(&site, dest);
    assert_eq!(pulled.result, Outcome::Successful, "{}", pulled.message);
    assert_same_but_for_room(source, dest);
}
