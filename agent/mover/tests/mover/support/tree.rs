//! Makes trees and tells whether two of them are the same.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt, lchown, symlink};
use std::path::Path;

use rustix::fs::{AtFlags, CWD, FileType, Mode, SeekFrom, Timespec, Timestamps, XattrFlags, lsetxattr, seek};

/// Everything that a replica must have alike, as text so that a difference reads well.
pub(crate) fn snapshot(root: &Path) -> BTreeMap<Vec<u8>, String> {
    let mut first: HashMap<u64, Vec<u8>> = HashMap::new();
    let mut tree = BTreeMap::new();
    for entry in walkdir::WalkDir::new(root).sort_by_file_name() {
        let entry = entry.unwrap();
        let path = entry.path().strip_prefix(root).unwrap().as_os_str().as_bytes().to_vec();
        let meta = entry.path().symlink_metadata().unwrap();
        let kind = meta.file_type();
        let what = if kind.is_dir() {
            "dir".to_owned()
        } else if kind.is_symlink() {
            format!("link to {}", fs::read_link(entry.path()).unwrap().display())
        } else if kind.is_file() {
            let content = fs::read(entry.path()).unwrap();
            let group = first.entry(meta.ino()).or_insert_with(|| path.clone()).clone();
            let shown = String::from_utf8_lossy(&content[..content.len().min(40)]).into_owned();
            let (sum, group, holes) = (sum(&content), String::from_utf8_lossy(&group), holes(entry.path()));
            format!("file {} {shown:?} {sum:x} same inode as {group:?}, holes {holes:?}", content.len())
        } else {
            format!("{kind:?}")
        };
        let mode = if kind.is_symlink() { 0 } else { meta.mode() & 0o7777 };
        let attributes = attributes(entry.path());
        let text = format!("{what}, {mode:o} {}:{} {}.{:09}{attributes}", meta.uid(), meta.gid(), meta.mtime(), meta.mtime_nsec());
        tree.insert(path, text);
    }
    tree
}

/// Start and end of each.
fn holes(path: &Path) -> Vec<(u64, u64)> {
    let file = fs::File::open(path).unwrap();
    let size = file.metadata().unwrap().len();
    let (mut holes, mut from) = (Vec::new(), 0);
    while let Some(start) = seek(&file, SeekFrom::Hole(from)).ok().filter(|start| *start < size) {
        from = seek(&file, SeekFrom::Data(start)).unwrap_or(size);
        holes.push((start, from));
    }
    holes
}

/// Those that are replicated; read with nothing of the mover's.
fn attributes(path: &Path) -> String {
    let mut names = vec![0u8; 1 << 16];
    let length = rustix::fs::llistxattr(path, &mut names[..]).unwrap();
    let mut names: Vec<_> = names[..length].split(|byte| *byte == 0).filter(|name| !name.is_empty()).collect();
    names.sort_unstable();
    let mut text = String::new();
    for name in names {
        let mut value = vec![0u8; 1 << 16];
        let length = rustix::fs::lgetxattr(path, name, &mut value[..]).unwrap();
        if name == b"security.capability" || !name.starts_with(b"security.") {
            let value = &value[..length];
            let shown = String::from_utf8_lossy(&value[..value.len().min(40)]).into_owned();
            write!(text, " {}={shown:?} {:x}", String::from_utf8_lossy(name), sum(value)).unwrap();
        }
    }
    text
}

/// Sets an extended attribute of the entry itself.
pub(crate) fn set(path: &Path, name: &[u8], value: &[u8]) {
    lsetxattr(path, name, value, XattrFlags::empty()).unwrap();
}

/// An ACL as the kernel takes it: permissions of the owner, of the group, and of everybody in the ACL; user 7 may do as much as the owner.
pub(crate) fn acl(owner: u16, group: u16, mask: u16) -> Vec<u8> {
    let entries = [(1u16, owner, u32::MAX), (2, owner, 7), (4, group, u32::MAX), (16, mask, u32::MAX), (32, 0, u32::MAX)];
    let mut value = 2u32.to_le_bytes().to_vec();
    for (tag, permissions, id) in entries {
        value.extend([&tag.to_le_bytes()[..], &permissions.to_le_bytes(), &id.to_le_bytes()].concat());
    }
    value
}

/// A capability to bind low ports, permitted and effective.
pub(crate) fn capability() -> Vec<u8> {
    [0x0200_0001u32, 1 << 10, 0, 0, 0].iter().flat_map(|word| word.to_le_bytes()).collect()
}

fn sum(content: &[u8]) -> u64 {
    content.iter().fold(0xcbf2_9ce4_8422_2325, |sum, byte| (sum ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

/// What `a` and `b` do not have alike, by name.
pub(crate) fn differences(a: &Path, b: &Path) -> BTreeMap<Vec<u8>, String> {
    differing(&snapshot(a), &snapshot(b))
}

fn differing(a: &BTreeMap<Vec<u8>, String>, b: &BTreeMap<Vec<u8>, String>) -> BTreeMap<Vec<u8>, String> {
    let mut differences = BTreeMap::new();
    for (path, here) in a {
        if b.get(path) != Some(here) {
            differences.insert(path.clone(), format!("{here} | {:?}", b.get(path)));
        }
    }
    for path in b.keys().filter(|path| !a.contains_key(*path)) {
        differences.insert(path.clone(), "only in the second".into());
    }
    differences
}

/// The same, but lets pass that a file takes other room than its like.
pub(crate) fn differences_but_for_room(a: &Path, b: &Path) -> BTreeMap<Vec<u8>, String> {
    let [a, b] = [a, b].map(without_room);
    differing(&a, &b)
}

/// Fails with those alone.
pub(crate) fn assert_same_but_for_room(a: &Path, b: &Path) {
    assert_none(&differences_but_for_room(a, b));
}

/// As [`snapshot`], without what a file takes of the disk.
pub(crate) fn without_room(root: &Path) -> BTreeMap<Vec<u8>, String> {
    let whole =
        |what: String| what.split_once(", holes [").map(|(head, tail)| [head, tail.split_once(']').unwrap().1].concat()).unwrap_or(what);
    snapshot(root).into_iter().map(|(path, what)| (path, whole(what))).collect()
}

/// Fails with the differences alone.
pub(crate) fn assert_same(a: &Path, b: &Path) {
    assert_none(&differences(a, b));
}

fn assert_none(differences: &BTreeMap<Vec<u8>, String>) {
    let shown: Vec<_> = differences.iter().map(|(path, what)| format!("{:?}: {what}", String::from_utf8_lossy(path))).collect();
    assert!(shown.is_empty(), "{}", shown.join("\n"));
}

/// Copies a tree of files and folders, without its metadata.
pub(crate) fn copy(from: &Path, to: &Path) {
    for entry in walkdir::WalkDir::new(from) {
        let entry = entry.unwrap();
        let target = to.join(entry.path().strip_prefix(from).unwrap());
        if entry.file_type().is_dir() {
            fs::create_dir_all(target).unwrap();
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// A file with this content, its directory made.
pub(crate) fn write(root: &Path, name: impl AsRef<Path>, content: impl AsRef<[u8]>) {
    let path = root.join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, content).unwrap();
}

/// Sets a time of modification, of a link itself too.
pub(crate) fn touch(path: &Path, secs: i64, nanos: i64) {
    let time = Timespec { tv_sec: secs, tv_nsec: nanos };
    let times = Timestamps { last_access: time, last_modification: time };
    rustix::fs::utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW).unwrap();
}

/// A tree with one of everything that is replicated.
pub(crate) fn varied(root: &Path) {
    write(root, "plain", "content");
    write(root, "empty", "");
    write(root, "sub/deep/er/file", vec![7; 100_000]);
    write(root, "big", vec![9; 3 << 20]);
    write(root, "same/one", "twice the same");
    write(root, "same/two", "twice the same");
    fs::create_dir_all(root.join("hollow/inner")).unwrap();
    symlink("sub/deep", root.join("link")).unwrap();
    symlink("/nowhere/at all", root.join("dangling")).unwrap();
    fs::hard_link(root.join("plain"), root.join("sub/hard")).unwrap();
    fs::hard_link(root.join("plain"), root.join("zz-hard")).unwrap();
    rustix::fs::mknodat(CWD, root.join("pipe"), FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
    for (name, mode) in [("empty", 0o4755), ("big", 0o2710), ("sub/deep", 0o1777), ("hollow", 0o500), ("sub/hard", 0o600), ("pipe", 0o622)]
    {
        fs::set_permissions(root.join(name), fs::Permissions::from_mode(mode)).unwrap();
    }
    lchown(root.join("big"), Some(1234), Some(2345)).unwrap();
    lchown(root.join("link"), Some(99), Some(98)).unwrap();
    lchown(root.join("hollow"), Some(7), Some(7)).unwrap();
    fs::set_permissions(root.join("big"), fs::Permissions::from_mode(0o6711)).unwrap();
    touch(&root.join("plain"), 1_000_000_000, 123_456_789);
    touch(&root.join("empty"), -5, 1);
    touch(&root.join("dangling"), 0, 999_999_999);
    touch(&root.join("hollow/inner"), 1, 1);
    touch(&root.join("hollow"), 2, 2);
    touch(&root.join("sub"), 3, 3);
    touch(root, 4, 4);
}
