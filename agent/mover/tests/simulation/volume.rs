//! Volumes: small folders of the machine's memory, their edits, and what they hold.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};

use fastrand::Rng;
use scribe_mover::digest::Digest;

use crate::objects::sha256;
use crate::style::Style;

/// What a path is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Node {
    File(Digest),
    Dir,
    Other,
}

/// What a volume holds.
pub type Tree = BTreeMap<Vec<u8>, Node>;

/// Few, so that edits meet: a file may become a folder, one of them cannot be an object's name, and one waits until it was seen to be kept.
pub const NAMES: [&str; 8] = ["a", "b", "d", "d/x", "d/y", "e/f/g", "odd\nname", "c!"];

#[derive(Clone, Debug)]
pub enum Edit {
    /// Puts a file in the place of whatever is there.
    File(&'static str, Vec<u8>),
    /// The same, with the time that all such files have, as an archive may leave them.
    Dated(&'static str, Vec<u8>),
    Link(&'static str),
    Remove(&'static str),
}

impl Edit {
    pub fn any(rng: &mut Rng, style: &Style) -> Self {
        let name = style.names[rng.usize(0..style.names.len())];
        let content = vec![b'a' + rng.u8(0..6); if style.alike { 1 } else { rng.usize(0..3) }];
        match rng.u8(0..10) {
            0..7 if style.alike => Self::Dated(name, content),
            0..4 => Self::File(name, content),
            4..7 => Self::Dated(name, content),
            7 => Self::Link(name),
            _ => Self::Remove(name),
        }
    }

    pub fn apply(&self, root: &Path) {
        let (Self::File(name, _) | Self::Dated(name, _) | Self::Link(name) | Self::Remove(name)) = self;
        let path = root.join(name);
        remove(&path);
        match self {
            Self::File(_, content) | Self::Dated(_, content) => {
                make_way(root, &path);
                fs::write(&path, content).unwrap();
                if matches!(self, Self::Dated(..)) {
                    fs::File::open(&path).unwrap().set_modified(UNIX_EPOCH + Duration::from_secs(1_000_000_000)).unwrap();
                }
            }
            Self::Link(_) => {
                make_way(root, &path);
                symlink("nowhere", &path).unwrap();
            }
            Self::Remove(_) => {}
        }
    }
}

fn remove(path: &Path) {
    match path.symlink_metadata() {
        Ok(meta) if meta.is_dir() => fs::remove_dir_all(path).unwrap(),
        Ok(_) => fs::remove_file(path).unwrap(),
        Err(_) => {}
    }
}

/// Folders above `path`, in the place of what is none.
fn make_way(root: &Path, path: &Path) {
    let parents: Vec<_> = path.ancestors().skip(1).take_while(|above| *above != root).collect();
    for above in parents.into_iter().rev() {
        if !above.symlink_metadata().is_ok_and(|meta| meta.is_dir()) {
            remove(above);
            fs::create_dir(above).unwrap();
        }
    }
}

/// What there is, the mover's own folder left out.
pub fn tree(root: &Path) -> Tree {
    let mut tree = Tree::new();
    add(root, root, &mut tree);
    tree
}

fn add(root: &Path, dir: &Path, tree: &mut Tree) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let name = path.strip_prefix(root).unwrap().as_os_str().as_bytes().to_vec();
        if name == scribe_mover::volume::STAGING_DIR.as_bytes() {
            continue;
        }
        let meta = path.symlink_metadata().unwrap();
        let node = if meta.is_dir() {
            add(root, &path, tree);
            Node::Dir
        } else if meta.is_file() {
            Node::File(sha256(&fs::read(&path).unwrap()))
        } else {
            Node::Other
        };
        tree.insert(name, node);
    }
}
