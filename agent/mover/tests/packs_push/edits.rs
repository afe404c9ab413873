//! Changes of a volume: what applications do to files, and what they do to names.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use rustix::fs::{CWD, Mode, mkfifoat};

/// One change. Names are few, so that they meet.
#[derive(Clone, Debug)]
pub enum Edit {
    Write { name: u8, size: u32, seed: u8 },
    Patch { name: u8, at: u32, length: u16, seed: u8 },
    Zero { name: u8, at: u32, length: u32 },
    Resize { name: u8, size: u32 },
    Remove { name: u8 },
    Rename { from: u8, to: u8 },
    Link { from: u8, to: u8 },
    Replace { name: u8, size: u32, seed: u8 },
    Symlink { name: u8, to: u8 },
    Fifo { name: u8 },
    Folder { name: u8 },
    Mode { name: u8, mode: u8 },
}

const NAMES: u8 = 12;

fn path(root: &Path, name: u8) -> PathBuf {
    let name = name % NAMES;
    match name {
        0..=3 => root.join(format!("f{name}")),
        4..=7 => root.join(format!("d/f{name}")),
        8..=9 => root.join(format!("d/e/f{name}")),
        // A name that is no text, and one that is a folder's at times.
        10 => root.join(<std::ffi::OsStr as std::os::unix::ffi::OsStrExt>::from_bytes(b"g\xff\n")),
        _ => root.join("d"),
    }
}

/// Content that compresses, and differs from block to block.
fn content(size: u32, seed: u8) -> Vec<u8> {
    (0..size).map(|at| (at / 1000).to_le_bytes()[0] ^ seed.wrapping_mul(31) ^ (at % 7).to_le_bytes()[0]).collect()
}

fn clear(path: &Path) {
    match fs::symlink_metadata(path) {
        Ok(meta) if meta.is_dir() => fs::remove_dir_all(path).unwrap(),
        Ok(_) => fs::remove_file(path).unwrap(),
        Err(_) => {}
    }
}

fn room(path: &Path, root: &Path) {
    let mut above: Vec<&Path> = path.ancestors().skip(1).take_while(|above| *above != root).collect();
    above.reverse();
    for folder in above {
        if !fs::symlink_metadata(folder).is_ok_and(|meta| meta.is_dir()) {
            clear(folder);
            fs::create_dir(folder).unwrap();
        }
    }
}

fn regular(path: &Path) -> Option<File> {
    fs::symlink_metadata(path).ok().filter(fs::Metadata::is_file)?;
    Some(OpenOptions::new().read(true).write(true).open(path).unwrap())
}

/// Gives a file another name, in place of whatever is there; not where the file goes with that.
fn onto(from: &Path, to: &Path, root: &Path, give: fn(&Path, &Path) -> io::Result<()>) {
    if from == to || regular(from).is_none() {
        return;
    }
    room(to, root);
    if regular(from).is_some() {
        clear(to);
    }
    if regular(from).is_some() {
        room(to, root);
        give(from, to).unwrap();
    }
}

impl Edit {
    pub fn apply(&self, root: &Path) {
        let path = |name: &u8| path(root, *name);
        match self {
            Self::Write { name, size, seed } => {
                let path = path(name);
                room(&path, root);
                match regular(&path) {
                    Some(file) => {
                        file.set_len(0).unwrap();
                        file.write_all_at(&content(*size, *seed), 0).unwrap();
                    }
                    None => {
                        clear(&path);
                        fs::write(&path, content(*size, *seed)).unwrap();
                    }
                }
            }
            Self::Patch { name, at, length, seed } => {
                if let Some(file) = regular(&path(name)) {
                    file.write_all_at(&content((*length).into(), *seed), (*at).into()).unwrap();
                }
            }
            Self::Zero { name, at, length } => {
                if let Some(file) = regular(&path(name)) {
                    let size = file.metadata().unwrap().len();
                    let (from, to) = (u64::from(*at).min(size), u64::from(at + length).min(size));
                    file.write_all_at(&vec![0; usize::try_from(to - from).unwrap()], from).unwrap();
                }
            }
            Self::Resize { name, size } => {
                if let Some(file) = regular(&path(name)) {
                    file.set_len((*size).into()).unwrap();
                }
            }
            Self::Remove { name } => clear(&path(name)),
            Self::Rename { from, to } => onto(&path(from), &path(to), root, |from, to| fs::rename(from, to)),
            Self::Link { from, to } => onto(&path(from), &path(to), root, |from, to| fs::hard_link(from, to)),
            Self::Replace { name, size, seed } => {
                let path = path(name);
                if regular(&path).is_some() {
                    let new = root.join("new");
                    fs::write(&new, content(*size, *seed)).unwrap();
                    fs::rename(new, path).unwrap();
                }
            }
            Self::Symlink { name, to } => {
                let path = path(name);
                room(&path, root);
                clear(&path);
                symlink(format!("to-{to}"), path).unwrap();
            }
            Self::Fifo { name } => {
                let path = path(name);
                room(&path, root);
                clear(&path);
                mkfifoat(CWD, &path, Mode::from(0o640)).unwrap();
            }
            Self::Folder { name } => {
                let path = path(name);
                room(&path, root);
                clear(&path);
                fs::create_dir(path).unwrap();
            }
            Self::Mode { name, mode } => {
                if fs::symlink_metadata(path(name)).is_ok_and(|meta| meta.is_file() || meta.is_dir()) {
                    fs::set_permissions(path(name), fs::Permissions::from_mode(0o700 | u32::from(*mode))).unwrap();
                }
            }
        }
    }
}

/// Any change.
pub fn edit() -> impl Strategy<Value = Edit> {
    let name = || 0..NAMES;
    let size = || prop_oneof![0..300_u32, 16_380..16_390_u32, 0..200_000_u32];
    prop_oneof![
        4 => (name(), size(), any::<u8>()).prop_map(|(name, size, seed)| Edit::Write { name, size, seed }),
        4 => (name(), size(), 1..40_000_u16, any::<u8>()).prop_map(|(name, at, length, seed)| Edit::Patch { name, at, length, seed }),
        2 => (name(), size(), size()).prop_map(|(name, at, length)| Edit::Zero { name, at, length }),
        2 => (name(), size()).prop_map(|(name, size)| Edit::Resize { name, size }),
        2 => name().prop_map(|name| Edit::Remove { name }),
        2 => (name(), name()).prop_map(|(from, to)| Edit::Rename { from, to }),
        2 => (name(), name()).prop_map(|(from, to)| Edit::Link { from, to }),
        2 => (name(), size(), any::<u8>()).prop_map(|(name, size, seed)| Edit::Replace { name, size, seed }),
        1 => (name(), any::<u8>()).prop_map(|(name, to)| Edit::Symlink { name, to }),
        1 => name().prop_map(|name| Edit::Fifo { name }),
        1 => name().prop_map(|name| Edit::Folder { name }),
        1 => (name(), 0..64_u8).prop_map(|(name, mode)| Edit::Mode { name, mode }),
    ]
}
