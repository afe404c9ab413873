//! A tree like the one that other movers were measured with, where they lost 276 of 2,139 entries in whole or in part.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{self, File, Permissions};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, PermissionsExt, lchown, symlink};
use std::os::unix::net::UnixListener;
use std::path::Path;

use rstest::rstest;
use rustix::fs::{CWD, FileType, Mode, makedev, mknodat};
use scribe_mover::volume::xattrs::{ACL_ACCESS, ACL_DEFAULT, CAPABILITY};

use crate::names::hostile;
use crate::support::tree::{acl, capability, differences, differences_but_for_room, set, snapshot, touch, write};
use crate::support::{Layout, Site};

/// Bytes that do not repeat.
fn noise(seed: u32, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(2_654_435_761) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state.to_le_bytes()
    };
    std::iter::repeat_with(&mut next).flatten().take(length).collect()
}

/// 2,139 entries, the root left out: what is in a volume that people have used for a while.
fn tree(root: &Path) -> UnixListener {
    for number in 0..67u32 {
        fs::create_dir_all(root.join(format!("hollow/{number}"))).unwrap();
    }
    for (number, name) in (0u32..).zip(hostile()) {
        write(root, Path::new("odd").join(OsStr::from_bytes(&name)), noise(number, 7));
    }
    for number in 0..46u32 {
        fs::create_dir_all(root.join("links")).unwrap();
        let target = ["../files/0/1", "/absolute/nowhere", "self", "\u{201b}\n", "../hollow/3"][number as usize % 5];
        symlink(target, root.join(format!("links/{number}"))).unwrap();
        lchown(root.join(format!("links/{number}")), Some(number), Some(number)).unwrap();
    }
    for number in 0..60u32 {
        write(root, format!("linked/{number}"), noise(number, 300));
        fs::create_dir_all(root.join("other")).unwrap();
        fs::hard_link(root.join(format!("linked/{number}")), root.join(format!("other/{number}"))).unwrap();
    }
    let sparse = File::create(root.join("sparse")).unwrap();
    sparse.set_len(64 << 20).unwrap();
    sparse.write_all_at(&noise(1, 70_000), 20 << 20).unwrap();
    let mut twin = File::create(root.join("disk.img")).unwrap();
    std::io::copy(&mut File::open(root.join("sparse")).unwrap(), &mut twin).unwrap();
    mknodat(CWD, root.join("pipe"), FileType::Fifo, Mode::from_raw_mode(0o620), 0).unwrap();
    mknodat(CWD, root.join("device"), FileType::CharacterDevice, Mode::from_raw_mode(0o600), makedev(1, 3)).unwrap();
    write(root, "lost+found/#1", "orphan");
    let socket = UnixListener::bind(root.join("socket")).unwrap();
    write(root, "large", noise(9, 5 << 20));
    let counted = snapshot(root).len() - 1;
    for number in 0..2139 - 93 - counted {
        write(root, format!("files/{}/{number}", number % 92), noise(u32::try_from(number).unwrap(), number * 7 % 20_000));
    }
    assert_eq!(snapshot(root).len() - 1, 2139);
    metadata(root);
    socket
}

/// Modes, owners, times, attributes of many kinds, in a pattern.
fn metadata(root: &Path) {
    let entries: Vec<_> = walkdir::WalkDir::new(root).contents_first(true).sort_by_file_name().into_iter().map(Result::unwrap).collect();
    for (number, entry) in (0u32..).zip(&entries) {
        let (path, kind) = (entry.path(), entry.file_type());
        if number % 3 == 0 {
            lchown(path, Some(number), Some(number * 3)).unwrap();
        }
        if kind.is_symlink() {
            set(path, b"trusted.link", &number.to_le_bytes());
        } else {
            let mode = [0o644, 0o600, 0o4755, 0o2711, 0o1777, 0o000, 0o444, 0o6755, 0o755][number as usize % 9];
            fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
        }
        if kind.is_file() || kind.is_dir() {
            match number % 40 {
                0 => set(path, ACL_ACCESS, &acl(7, 5, 6)),
                1 => set(path, b"user.text", b"caf\xc3\xa9"),
                2 => set(path, b"user.binary", &noise(number, 900)),
                3 => set(path, b"trusted.t\xff", b"\0"),
                4 if kind.is_file() => set(path, CAPABILITY, &capability()),
                5 if kind.is_dir() => set(path, ACL_DEFAULT, &acl(7, 0, 7)),
                _ => {}
            }
        }
    }
    for (number, entry) in (0i64..).zip(&entries) {
        let secs = [1_700_000_000, 0, -1, -1_000_000_000, 4_000_000_000][usize::try_from(number % 5).unwrap()];
        touch(entry.path(), secs + number, number * 123_456 % 1_000_000_000);
    }
}

#[rstest]
fn nothing_of_a_tree_with_everything_is_lost_but_what_is_meant_to_be(#[values(Layout::Files, Layout::Packs)] layout: Layout) {
    let site = Site::with_bucket().of(layout);
    let source = site.source.path();
    let _socket = tree(source);
    let left_out = [("sockets", 1), ("devices", 1), ("lostAndFound", 1)].map(|(kind, count)| (kind.to_owned(), count));
    let pushed = site.push();
    assert_eq!(pushed.skipped, BTreeMap::from(left_out));
    let pulled = site.pull();
    assert_eq!(pulled.skipped, BTreeMap::new());
    // Zeros that take room are holes of layout Packs.
    let differences = match layout {
        Layout::Files => differences(source, site.dest.path()),
        Layout::Packs => differences_but_for_room(source, site.dest.path()),
    };
    let names: Vec<_> = differences.keys().map(|name| String::from_utf8_lossy(name)).collect();
    assert_eq!(names, ["device", "lost+found", "lost+found/#1", "socket"], "{differences:?}");
    let again = site.push();
    assert!(!again.changed && again.hashed == 0);
    assert!(!site.pull().changed);
}
