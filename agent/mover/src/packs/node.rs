//! What the map says of an entry of the volume.

use crate::packs::coding::Decoded;
use crate::packs::limits::{ATTRIBUTES, LAST, MOST_ATTRIBUTES};
use crate::packs::salt::Hash;
use crate::packs::size::BlockSize;
use crate::volume::LONGEST_PATH;
use crate::volume::entry::{Hints, Meta, Time};

/// An entry, without its path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// What a pull restores.
    pub meta: Meta,
    /// What it is.
    pub kind: Kind,
}

/// The type of an entry, with what only that type has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A directory.
    Dir,
    /// A regular file.
    File(FileNode),
    /// A symbolic link and its target.
    Symlink(Box<[u8]>),
    /// A named pipe.
    Fifo,
}

/// What the map says of a regular file, beside its blocks. Names of one hard-linked file have the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileNode {
    /// The key of its blocks: given once, never again.
    pub id: u64,
    /// Length in bytes.
    pub size: u64,
    /// See [`crate::packs::salt::ContentHash`].
    pub content: Hash,
    /// The generation in which the content last changed.
    pub changed: u64,
    /// How the source recognises it without reading it; absent where it changed too close to the capture for that.
    pub hints: Option<Hints>,
}

impl Node {
    /// The file, if it is one.
    pub fn file(&self) -> Option<&FileNode> {
        match &self.kind {
            Kind::File(file) => Some(file),
            _ => None,
        }
    }

    /// Bytes of its extended attributes as they are counted against [`ATTRIBUTES`].
    pub(super) fn attributes(&self) -> usize {
        self.meta.attributes.iter().map(|attribute| attribute.name.len() + attribute.value.len() + 8).sum()
    }

    /// Refuses what no writer makes.
    pub(super) fn check(&self, block: BlockSize) -> Decoded<()> {
        let fits = |time: Time| time.nanos < 1_000_000_000;
        let meta = &self.meta;
        if meta.mode & 0o7777 != meta.mode {
            return Err("an impossible mode".into());
        }
        // The kernel takes that number for "as it is".
        if [meta.uid, meta.gid].contains(&u32::MAX) {
            return Err("an impossible owner".into());
        }
        if !fits(meta.mtime) {
            return Err("an impossible time".into());
        }
        if self.attributes() > ATTRIBUTES || meta.attributes.iter().count() > MOST_ATTRIBUTES {
            return Err("too many extended attributes".into());
        }
        match &self.kind {
            Kind::Symlink(target) if target.len() > LONGEST_PATH => Err("an impossible link target".into()),
            Kind::File(file) if file.hints.is_some_and(|hints| !fits(hints.ctime)) => Err("an impossible time".into()),
            Kind::File(file) if file.id > LAST || i64::try_from(file.size).is_err() || block.count(file.size) > LAST => {
                Err("a file of an impossible size or id".into())
            }
            _ => Ok(()),
        }
    }
}
