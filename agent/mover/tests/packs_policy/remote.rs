//! What is stored: packs with their content, and manifests.

use std::collections::{BTreeSet, HashMap};

/// A block in a pack, and which version of its content.
#[derive(Clone, Copy, Debug)]
pub struct Stored {
    pub offset: u32,
    pub block: u32,
    pub version: u32,
}

#[derive(Debug, Default)]
pub struct Object {
    /// When it was written.
    pub date: i64,
    pub blocks: Vec<Stored>,
}

#[derive(Default)]
pub struct Remote {
    pub packs: HashMap<u32, Object>,
    /// By their generation.
    pub manifests: BTreeSet<u64>,
}

impl Remote {
    /// The block and its version that are stored there.
    pub fn read(&self, pack: u32, offset: u32) -> Option<(u32, u32)> {
        let blocks = &self.packs.get(&pack)?.blocks;
        let at = blocks.binary_search_by_key(&offset, |stored| stored.offset).ok()?;
        Some((blocks[at].block, blocks[at].version))
    }
}
