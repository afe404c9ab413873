//! Volumes: small folders of the machine's memory, their edits, and what they hold.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, symlink};
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
    /// A file of blocks, each of one byte; zero stands for a hole. The last one is short.
    Blocks(&'static str, Vec<u8>),
    /// Another content for one of these, in place.
    Block(&'static str, u8, u8),
    /// The length that such a file has from now on, in blocks.
    Length(&'static str, u8),
    Rename(&'static str, &'static str),
    /// A folder of links, which takes a run of its own: so many, and what they are made of.
    Many(usize, u64),
}

impl Edit {
    pub fn any(rng: &mut Rng, style: &Style) -> Self {
        let name = style.names[rng.usize(0..style.names.len())];
        if style.blocks && rng.u8(0..10) < 7 {
            return Self::of_blocks(rng, style, name);
        }
        let content = vec![b'a' + rng.u8(0..6); if style.alike { 1 } else { rng.usize(0..3) }];
        match rng.u8(0..10) {
            0..7 if style.alike => Self::Dated(name, content),
            0..4 => Self::File(name, content),
            4..7 => Self::Dated(name, content),
            7 => Self::Link(name),
            _ => Self::Remove(name),
        }
    }

    fn of_blocks(rng: &mut Rng, style: &Style, name: &'static str) -> Self {
        let byte = |rng: &mut Rng| if rng.u8(0..4) == 0 { 0 } else { rng.u8(1..6) };
        match rng.u8(0..12) {
            0..3 => Self::Blocks(name, (0..rng.usize(1..6)).map(|_| byte(rng)).collect()),
            3..8 => Self::Block(name, rng.u8(0..5), byte(rng)),
            8 => Self::Length(name, rng.u8(0..6)),
            9 | 10 if style.many => Self::Many([150, 400][rng.usize(0..2)], rng.u64(..)),
            _ => Self::Rename(name, style.names[rng.usize(0..style.names.len())]),
        }
    }

    pub fn apply(&self, root: &Path) {
        let path = match self {
            Self::Block(name, number, byte) => return in_place(&root.join(name), *number, *byte),
            Self::Length(name, blocks) => return resize(&root.join(name), *blocks),
            Self::Rename(from, to) => return rename(root, &root.join(from), &root.join(to)),
            Self::Many(count, seed) => return many(&root.join("many"), *count, *seed),
            Self::File(name, _) | Self::Dated(name, _) | Self::Link(name) | Self::Remove(name) | Self::Blocks(name, _) => root.join(name),
        };
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
            Self::Blocks(_, bytes) => {
                make_way(root, &path);
                let file = fs::File::create(&path).unwrap();
                file.set_len(bytes.len() as u64 * BLOCK - SHORT).unwrap();
                for (number, byte) in bytes.iter().enumerate().filter(|(_, byte)| **byte > 0) {
                    write_block(&file, number as u64, *byte);
                }
            }
            _ => {}
        }
    }
}

/// Bytes of a block of a small volume.
const BLOCK: u64 = 16 << 10;
/// By which the last block of a file is shorter.
const SHORT: u64 = 1_000;

fn write_block(file: &fs::File, number: u64, byte: u8) {
    let length = file.metadata().unwrap().len().saturating_sub(number * BLOCK).min(BLOCK);
    file.write_all_at(&vec![byte; usize::try_from(length).unwrap()], number * BLOCK).unwrap();
}

fn is_file(path: &Path) -> bool {
    path.symlink_metadata().is_ok_and(|meta| meta.is_file())
}

fn in_place(path: &Path, number: u8, byte: u8) {
    if is_file(path) {
        write_block(&fs::File::options().write(true).open(path).unwrap(), number.into(), byte);
    }
}

fn resize(path: &Path, blocks: u8) {
    if is_file(path) {
        fs::File::options().write(true).open(path).unwrap().set_len((u64::from(blocks) * BLOCK).saturating_sub(SHORT)).unwrap();
    }
}

fn rename(root: &Path, from: &Path, to: &Path) {
    if is_file(from) && from != to {
        // Out of the way first: one of them may be in the other one's folder.
        let way = root.join("way");
        fs::rename(from, &way).unwrap();
        remove(to);
        make_way(root, to);
        fs::rename(&way, to).unwrap();
    }
}

fn many(dir: &Path, count: usize, seed: u64) {
    remove(dir);
    fs::create_dir(dir).unwrap();
    let mut rng = Rng::with_seed(seed);
    for number in 0..count {
        let target: String = (0..3_000).map(|_| rng.alphanumeric()).collect();
        symlink(target, dir.join(number.to_string())).unwrap();
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
