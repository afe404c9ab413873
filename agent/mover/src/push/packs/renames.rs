//! Files under other names than before: they are known by their inode, so that nothing of them is stored again. Of large files alone, as many
//! as memory is meant to hold; any other is a new one.

use std::collections::HashMap;

use crate::packs::node::Node;
use crate::volume::walk::{Found, FoundKind};

/// Files of fewer bytes are rather stored again.
const LARGE: u64 = 64 << 10;
/// Files that wait until all names are known, each with its metadata.
const WAITING: usize = 4096;
/// Files whose name another one may have now.
const OFFERED: usize = 1 << 16;

/// See the module.
#[derive(Default)]
pub(super) struct Renames {
    /// By the inode.
    offered: HashMap<u64, Node>,
    waiting: Vec<(Found, Option<Node>)>,
}

impl Renames {
    /// Notes a file that the map has under a name that is gone, or another file's.
    pub(super) fn offer(&mut self, known: &Node) {
        let Some((file, hints)) = known.file().and_then(|file| Some((file, file.hints?))) else { return };
        if file.size >= LARGE && self.offered.len() < OFFERED {
            self.offered.insert(hints.inode, known.clone());
        }
    }

    /// Keeps what may have had another name, or has further ones, until all names are known; gives back anything else.
    pub(super) fn put_off(&mut self, found: Found, known: Option<Node>) -> Option<(Found, Option<Node>)> {
        let FoundKind::File(size) = found.kind else { return Some((found, known)) };
        let inode = known.as_ref().and_then(|known| Some(known.file()?.hints?.inode));
        if size < LARGE || inode == Some(found.hints.inode) || self.waiting.len() >= WAITING {
            return Some((found, known));
        }
        if let Some(known) = &known {
            self.offer(known);
        }
        self.waiting.push((found, known));
        None
    }

    /// What was kept.
    pub(super) fn take(&mut self) -> Vec<(Found, Option<Node>)> {
        std::mem::take(&mut self.waiting)
    }

    /// What the map has of this file under the name that it had before. Where it has a file under the name of now, too, inode numbers that are others
    /// each time must not mislead: then size and time have to be the same.
    pub(super) fn former(&mut self, found: &Found, known: Option<&Node>) -> Option<Node> {
        let offered = self.offered.get(&found.hints.inode)?;
        let unmodified =
            offered.meta.mtime == found.meta.mtime && offered.file().is_some_and(|file| found.kind == FoundKind::File(file.size));
        let has_another = known.is_some_and(|known| known.file().is_some());
        (unmodified || !has_another).then(|| offered.clone())
    }
}
