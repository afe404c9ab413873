//! What of a revision is gone, by names and types alone: so that the deletion guard speaks before anything is sent, and no file is read for it.

use crate::error::Result;
use crate::guard::{Count, NamesSum};
use crate::packs::node::{self, Node};
use crate::stop::Stop;
use crate::volume::beneath::Root;
use crate::volume::entry::{self, Entry};
use crate::volume::exclude::Exclude;
use crate::volume::merge_join::{Placed, join};
use crate::volume::path::RelPath;
use crate::volume::walk::{Found, FoundKind, walk};

/// The type of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Type {
    Dir,
    File,
    Symlink,
    Fifo,
}

/// An entry of a tree, by name and type.
#[derive(Debug)]
pub(in crate::push) struct Named {
    path: RelPath,
    of: Type,
}

impl Placed for Named {
    fn path(&self) -> &RelPath {
        &self.path
    }
}

impl From<(RelPath, Node)> for Named {
    fn from((path, node): (RelPath, Node)) -> Self {
        let of = match node.kind {
            node::Kind::Dir => Type::Dir,
            node::Kind::File(_) => Type::File,
            node::Kind::Symlink(_) => Type::Symlink,
            node::Kind::Fifo => Type::Fifo,
        };
        Self { path, of }
    }
}

impl From<Entry> for Named {
    fn from(Entry { path, kind, .. }: Entry) -> Self {
        let of = match kind {
            entry::Kind::Dir => Type::Dir,
            entry::Kind::File(_) => Type::File,
            entry::Kind::Symlink(_) => Type::Symlink,
            entry::Kind::Fifo => Type::Fifo,
        };
        Self { path, of }
    }
}

impl From<Found> for Named {
    fn from(Found { path, kind, .. }: Found) -> Self {
        let of = match kind {
            FoundKind::Dir => Type::Dir,
            FoundKind::File(_) => Type::File,
            FoundKind::Symlink(_) => Type::Symlink,
            FoundKind::Fifo => Type::Fifo,
        };
        Self { path, of }
    }
}

/// What one tree has and the next one has not.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::push) struct Losses {
    /// Entries without a successor of the same type.
    pub(in crate::push) gone: Count,
    /// Their names.
    pub(in crate::push) names: NamesSum,
    /// Entries that there are now.
    pub(in crate::push) after: Count,
}

/// Holds two trees against each other, both in path order. The root is no entry.
pub(in crate::push) fn gone<A: Into<Named>, B: Into<Named>>(
    before: impl Iterator<Item = Result<A>>,
    now: impl Iterator<Item = Result<B>>,
) -> Result<Losses> {
    let mut found = Losses::default();
    for pair in join(before.map(|entry| entry.map(Into::into)), now.map(|entry| entry.map(Into::into))) {
        let (before, now): (Option<Named>, Option<Named>) = pair?;
        if let Some(now) = now.as_ref().filter(|now| !now.path.is_root()) {
            found.after.add(now.of == Type::File);
        }
        let Some(before) = before.filter(|before| !before.path.is_root()) else { continue };
        if now.is_none_or(|now| now.of != before.of) {
            found.gone.add(before.of == Type::File);
            found.names.add(before.path.as_bytes());
        }
    }
    Ok(found)
}

/// The same, of a tree and the volume as it is now.
pub(in crate::push) fn gone_of_volume<A: Into<Named>>(
    before: impl Iterator<Item = Result<A>>,
    (root, exclude, stop): (&Root, &Exclude, &Stop),
) -> Result<Losses> {
    gone(before, walk(root, stop)?.without(exclude))
}
