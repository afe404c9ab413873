//! The volume: blocks, each with the version of its content, and where the current revision has it.

use std::sync::Arc;

use scribe_mover::packs::policy::merge_gaps::Range;

/// Where a block is stored, and since which generation it has had this content.
#[derive(Clone, Copy, Debug, Default)]
pub struct Place {
    pub pack: u32,
    pub offset: u32,
    pub length: u32,
    pub born: u32,
}

impl Place {
    pub fn range(&self) -> Range {
        Range { offset: self.offset.into(), length: self.length.into() }
    }
}

/// A block that is to be put into a pack.
#[derive(Clone, Copy, Debug)]
pub struct Put {
    pub block: usize,
    pub length: u32,
    pub born: u32,
}

/// A revision that somebody may still read.
#[derive(Debug)]
pub struct Snapshot {
    pub generation: u64,
    pub places: Vec<Place>,
    pub versions: Vec<u32>,
    /// In order.
    pub packs: Arc<[u32]>,
}

pub fn packs_of(places: &[Place]) -> Arc<[u32]> {
    let mut packs: Vec<u32> = places.iter().map(|place| place.pack).collect();
    packs.sort_unstable();
    packs.dedup();
    packs.into()
}

/// All blocks of `chosen`, by pack and offset.
pub fn by_pack(places: &[Place], chosen: impl Fn(usize, &Place) -> bool) -> Vec<Place> {
    let mut found: Vec<Place> = places.iter().enumerate().filter(|(at, place)| chosen(*at, place)).map(|(_, place)| *place).collect();
    found.sort_unstable_by_key(|place| (place.pack, place.offset));
    found
}
