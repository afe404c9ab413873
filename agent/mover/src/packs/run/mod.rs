//! A run: a sorted part of the map that never changes once it is written.
//!
//! Windows of rows, each compressed by itself, in four sections: entries by path, hashes of blocks by file and number, the places of the
//! same blocks, packs by name. Then the index, which pins every window by a hash, and a footer, which pins the index. So any part of a run
//! can be read, and believed, without the rest. `write` writes one, `read` reads one; `index` is the end of it and `window` what all
//! windows have in common; `entries`, `references` and `packs` are what stands in those of each section.

mod entries;
mod index;
mod packs;
mod places;
mod read;
mod references;
mod window;
mod write;

#[cfg(test)]
pub(in crate::packs) mod tests;

use serde::{Deserialize, Serialize};

pub use entries::Entries;
pub use index::too_large;
pub use packs::Packs;
pub use read::{ReadAt, Row, Rows, Run, Section};
pub use references::{Hashes, References};
pub use write::RunWriter;

use crate::digest::Digest;
use crate::packs::id::ObjectId;

/// A run as a manifest names it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunRef {
    /// Its name.
    pub id: ObjectId,
    /// Bytes of it.
    pub size: u64,
    /// Bytes of index and footer at its end.
    pub tail: u64,
    /// Pins these, and through them every byte: the sha256 at the end of the footer, which is over all of the tail before it.
    pub sha256: Digest,
    /// The first generation whose changes are in it.
    pub first: u64,
    /// The last one.
    pub last: u64,
    /// How many rows it has.
    #[serde(rename = "rows")]
    pub counts: Counts,
    /// Whether it stands in the manifest itself, and is no object of its own.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub inline: bool,
}

/// Rows of a run, those included that say that something is gone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Of entries.
    pub entries: u64,
    /// Of blocks.
    pub blocks: u64,
    /// Of packs.
    pub packs: u64,
}

/// What is known of a run once it is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// See [`RunRef::size`].
    pub size: u64,
    /// See [`RunRef::tail`].
    pub tail: u64,
    /// See [`RunRef::sha256`].
    pub sha256: Digest,
    /// See [`RunRef::counts`].
    pub counts: Counts,
    /// How many windows it has.
    pub windows: usize,
}

impl Written {
    /// As a manifest names it, an object of its own.
    pub fn named(self, id: ObjectId, first: u64, last: u64) -> RunRef {
        let Self { size, tail, sha256, counts, .. } = self;
        RunRef { id, size, tail, sha256, first, last, counts, inline: false }
    }
}
