//! Generated trees and generated edits: whatever happens to a source, a volume that pulled before and a fresh one both end up
//! identical to it. `PROPTEST_CASES` sets how many histories are played; a few by default, because each starts rclone dozens of times.
//!
//! Of layout Files; `packs_pull` and `packs_push/series` have the same of layout Packs.

use std::ffi::OsStr;
use std::fs::{self, File, Permissions};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, lchown, symlink};
use std::path::{Path, PathBuf};

use assert_fs::TempDir;
use proptest::collection::vec;
use proptest::prelude::*;
use rustix::fs::{CWD, FallocateFlags, FileType, Mode, fallocate, lremovexattr, mknodat};
use scribe_mover::guard::Guard;
use scribe_mover::pull::{PullOptions, pull};
use scribe_mover::push::{PushOptions, push};
use scribe_mover::volume::xattrs::{ACL_ACCESS, ACL_DEFAULT, CAPABILITY};

use crate::support::tree::{acl, assert_same, assert_same_but_for_room, capability, set, touch};
use crate::support::{Local, done};

/// Few, so that edits meet: some are plain, some are sent under their hash, some are alike.
const NAMES: [&[u8]; 10] =
    [b"a", b"b", b"A", b"a.b", b"line\n", b"\xff", "q\u{201b}".as_bytes(), b".scribe", b"x.partial", "e\u{301}".as_bytes()];
/// In the root of every source, so that there is always something.
const KEPT: &str = "kept";

/// Places in [`NAMES`].
pub(crate) type Name = Vec<usize>;

/// Something that happens to a tree. What cannot happen, because the entry is not there or of another type, does not.
#[derive(Clone, Debug)]
pub(crate) enum Edit {
    /// Puts a file in the place of whatever is there, below directories in the place of whatever was above.
    File(Name, usize, u8),
    Sparse(Name, u8),
    Dir(Name),
    Symlink(Name, u8),
    Fifo(Name),
    /// One more name for a file.
    Link(Name, Name),
    Copy(Name, Name),
    Rename(Name, Name),
    Remove(Name),
    /// In place: other content, neither another size nor another time.
    Rewrite(Name, u8),
    Append(Name, u8),
    Punch(Name),
    Mode(Name, u32),
    Owner(Name, u32),
    Touch(Name, i64),
    Attribute(Name, usize, u8),
    RemoveAttribute(Name, usize),
}

fn edit() -> impl Strategy<Value = Edit> {
    let name = || vec(0..NAMES.len(), 1..=3);
    let attribute = 0..ATTRIBUTES.len();
    prop_oneof![
        4 => (name(), prop_oneof![0..5usize, 5000..5003usize], 0..4u8).prop_map(|(n, size, seed)| Edit::File(n, size, seed)),
        1 => (name(), 0..4u8).prop_map(|(n, seed)| Edit::Sparse(n, seed)),
        2 => name().prop_map(Edit::Dir),
        2 => (name(), 0..4u8).prop_map(|(n, to)| Edit::Symlink(n, to)),
        1 => name().prop_map(Edit::Fifo),
        2 => (name(), name()).prop_map(|(a, b)| Edit::Link(a, b)),
        1 => (name(), name()).prop_map(|(a, b)| Edit::Copy(a, b)),
        3 => (name(), name()).prop_map(|(a, b)| Edit::Rename(a, b)),
        2 => name().prop_map(Edit::Remove),
        3 => (name(), 0..4u8).prop_map(|(n, seed)| Edit::Rewrite(n, seed)),
        1 => (name(), 0..4u8).prop_map(|(n, seed)| Edit::Append(n, seed)),
        1 => name().prop_map(Edit::Punch),
        2 => (name(), prop::sample::select(vec![0u32, 0o644, 0o4755, 0o2711, 0o1777, 0o500])).prop_map(|(n, mode)| Edit::Mode(n, mode)),
        2 => (name(), 0..3u32).prop_map(|(n, owner)| Edit::Owner(n, owner)),
        2 => (name(), -2..3i64).prop_map(|(n, time)| Edit::Touch(n, time)),
        3 => (name(), attribute.clone(), 0..4u8).prop_map(|(n, which, seed)| Edit::Attribute(n, which, seed)),
        1 => (name(), attribute).prop_map(|(n, which)| Edit::RemoveAttribute(n, which)),
    ]
}

const ATTRIBUTES: [&[u8]; 6] = [b"user.a", b"user.\xff", b"trusted.t", ACL_ACCESS, ACL_DEFAULT, CAPABILITY];

/// One sync, and what happens before it.
#[derive(Clone, Debug)]
pub(crate) struct Round {
    pub(crate) source: Vec<Edit>,
    /// Somebody else's edits of the volume that pulled before; `None` when only pulls write to it.
    pub(crate) meddling: Option<Vec<Edit>>,
    /// Whether that pull is told what the volume holds.
    pub(crate) listed: bool,
}

pub(crate) fn round(edits: std::ops::Range<usize>) -> impl Strategy<Value = Round> {
    (vec(edit(), edits), prop::option::of(vec(edit(), 0..6)), any::<bool>()).prop_map(|(source, meddling, listed)| Round {
        source,
        meddling,
        listed,
    })
}

/// The path of an entry, and whether it is there.
fn there(root: &Path, name: &Name) -> Option<PathBuf> {
    let path = path(root, name);
    path.symlink_metadata().is_ok().then_some(path)
}

fn path(root: &Path, name: &Name) -> PathBuf {
    name.iter().fold(root.to_path_buf(), |path, &part| path.join(OsStr::from_bytes(NAMES[part])))
}

fn regular(root: &Path, name: &Name) -> Option<PathBuf> {
    there(root, name).filter(|path| path.symlink_metadata().unwrap().is_file())
}

fn remove(path: &Path) {
    match path.symlink_metadata() {
        Ok(meta) if meta.is_dir() => fs::remove_dir_all(path).unwrap(),
        Ok(_) => fs::remove_file(path).unwrap(),
        Err(_) => {}
    }
}

/// Makes way for `name`: nothing there, directories above.
fn clear(root: &Path, name: &Name) -> PathBuf {
    for depth in 1..name.len() {
        let above = path(root, &name[..depth].to_vec());
        if !above.symlink_metadata().is_ok_and(|meta| meta.is_dir()) {
            remove(&above);
            fs::create_dir(&above).unwrap();
        }
    }
    let path = path(root, name);
    remove(&path);
    path
}

fn content(seed: u8, size: usize) -> Vec<u8> {
    vec![b'a' + seed; size]
}

pub(crate) fn apply(root: &Path, edit: &Edit) {
    match edit {
        Edit::File(name, size, seed) => fs::write(clear(root, name), content(*seed, *size)).unwrap(),
        Edit::Sparse(name, seed) => {
            let file = File::create(clear(root, name)).unwrap();
            file.set_len(200_000).unwrap();
            file.write_all_at(&content(*seed, 10), u64::from(*seed) * 50_000).unwrap();
        }
        Edit::Dir(name) => fs::create_dir(clear(root, name)).unwrap(),
        Edit::Symlink(name, to) => symlink(["a", "../b", "/nowhere", "\n"][usize::from(*to)], clear(root, name)).unwrap(),
        Edit::Fifo(name) => mknodat(CWD, clear(root, name), FileType::Fifo, Mode::RUSR, 0).unwrap(),
        // A name may not be made below itself, nor what it comes from be cleared away for it.
        Edit::Link(from, to) | Edit::Copy(from, to) | Edit::Rename(from, to) if from.starts_with(to) || to.starts_with(from) => {}
        Edit::Link(from, to) => {
            if let Some(from) = regular(root, from) {
                fs::hard_link(from, clear(root, to)).unwrap();
            }
        }
        Edit::Copy(from, to) => {
            if let Some(from) = regular(root, from) {
                fs::copy(from, clear(root, to)).unwrap();
            }
        }
        Edit::Rename(from, to) => {
            if let Some(from) = there(root, from) {
                fs::rename(from, clear(root, to)).unwrap();
            }
        }
        Edit::Remove(name) => remove(&path(root, name)),
        Edit::Rewrite(..) | Edit::Append(..) | Edit::Punch(_) => apply_content(root, edit),
        _ => apply_metadata(root, edit),
    }
}

fn apply_content(root: &Path, edit: &Edit) {
    match edit {
        Edit::Rewrite(name, seed) => {
            if let Some(path) = regular(root, name) {
                let meta = path.metadata().unwrap();
                let file = File::options().write(true).open(&path).unwrap();
                file.write_all_at(&content(*seed, usize::try_from(meta.len()).unwrap()), 0).unwrap();
                touch(&path, meta.mtime(), meta.mtime_nsec());
            }
        }
        Edit::Append(name, seed) => {
            if let Some(path) = regular(root, name) {
                let file = File::options().write(true).open(&path).unwrap();
                file.write_all_at(&content(*seed, 7), file.metadata().unwrap().len()).unwrap();
            }
        }
        Edit::Punch(name) => {
            if let Some(path) = regular(root, name).filter(|path| path.metadata().unwrap().len() > 0) {
                let file = File::options().write(true).open(&path).unwrap();
                fallocate(&file, FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE, 0, 4096).unwrap();
            }
        }
        _ => unreachable!(),
    }
}

fn apply_metadata(root: &Path, edit: &Edit) {
    match edit {
        Edit::Mode(name, mode) => {
            if let Some(path) = there(root, name).filter(|path| !path.is_symlink()) {
                fs::set_permissions(path, Permissions::from_mode(*mode)).unwrap();
            }
        }
        Edit::Owner(name, owner) => {
            if let Some(path) = there(root, name) {
                lchown(path, Some(*owner), Some(*owner)).unwrap();
            }
        }
        Edit::Touch(name, time) => {
            if let Some(path) = there(root, name) {
                touch(&path, *time, *time + 2);
            }
        }
        Edit::Attribute(name, which, seed) => {
            let Some(path) = there(root, name) else { return };
            let kind = path.symlink_metadata().unwrap().file_type();
            let seed = u16::from(*seed);
            match ATTRIBUTES[*which] {
                ACL_ACCESS if !kind.is_symlink() => set(&path, ACL_ACCESS, &acl(7, 4 + seed, 7 - seed)),
                ACL_DEFAULT if kind.is_dir() => set(&path, ACL_DEFAULT, &acl(7, 4 + seed, 7 - seed)),
                CAPABILITY if kind.is_file() => set(&path, CAPABILITY, &capability()),
                name if name.starts_with(b"user.") && (kind.is_file() || kind.is_dir()) => set(&path, name, &seed.to_le_bytes()),
                name if name.starts_with(b"trusted.") => set(&path, name, &seed.to_le_bytes()),
                _ => {}
            }
        }
        Edit::RemoveAttribute(name, which) => {
            if let Some(path) = there(root, name) {
                // Mostly it does not have this one.
                let _ = lremovexattr(path, ATTRIBUTES[*which]);
            }
        }
        _ => unreachable!(),
    }
}

fn play(rounds: &[Round]) {
    let site = Local::new();
    let source = site.source.path();
    fs::write(source.join(KEPT), "kept").unwrap();
    let guard = Guard { percent: 100, floor: 1000, allowed: None };
    let mut applied = None;
    for round in rounds {
        for edit in &round.source {
            apply(source, edit);
        }
        let pushed = push(&site.remote(), &PushOptions { guard: guard.clone(), ..site.push_options() }).unwrap();
        for edit in round.meddling.iter().flatten() {
            apply(site.dest.path(), edit);
        }
        let private = round.meddling.is_none() && applied.is_some();
        let options = PullOptions {
            volume: site.dest.path().into(),
            applied: applied.take().filter(|_| round.listed),
            private,
            guard: guard.clone(),
        };
        let pulled = done(pull(&site.remote(), &options));
        // Holes are given only to files that a pull puts in place.
        assert_same_but_for_room(source, site.dest.path());
        assert_eq!((pulled.skipped.len(), &pulled.revision), (0, &pushed.revision));

        let fresh = TempDir::new_in("/dev/shm").unwrap();
        done(pull(&site.remote(), &PullOptions { volume: fresh.path().into(), applied: None, private: true, guard: guard.clone() }));
        if pushed.changed {
            assert_same(source, fresh.path());
        } else {
            assert_same_but_for_room(source, fresh.path());
        }
        applied = Some(pushed.revision);
    }
    let again = push(&site.remote(), &PushOptions { guard: guard.clone(), ..site.push_options() }).unwrap();
    assert!(!again.changed && again.hashed == 0, "{again:?}");
}

pub(crate) fn config() -> ProptestConfig {
    let mut config = ProptestConfig { failure_persistence: None, max_shrink_iters: 30, ..ProptestConfig::default() };
    if std::env::var_os("PROPTEST_CASES").is_none() {
        config.cases = 5;
    }
    config
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn whatever_happens_to_a_source_its_replicas_are_identical(first in round(10..60), then in vec(round(1..15), 1..4)) {
        play(&[&[first][..], &then].concat());
    }
}
