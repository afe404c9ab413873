//! A file that is going to have other content, and what is known of where its blocks are.

use super::bits::Bits;
use crate::digest::Digest;
use crate::volume::path::RelPath;

/// See the module.
#[derive(Debug)]
pub(super) struct Target {
    pub(super) path: RelPath,
    /// What names the content, and its file in the staging folder.
    pub(super) digest: Digest,
    /// Its key in the map.
    pub(super) id: u64,
    pub(super) size: u64,
    /// The file that is there is changed, and nothing but its new blocks lies in the staging folder.
    pub(super) in_place: bool,
    /// Of each block that the map has of it, in order: whether it has to be fetched.
    pub(super) missing: Bits,
    /// How many these are.
    pub(super) blocks: u64,
    /// Their plain bytes.
    pub(super) bytes: u64,
    /// Blocks that are copied from the staging folder to the file in place.
    pub(super) copied: Ranges,
    /// Blocks of the file in place that become zero.
    pub(super) zero: Ranges,
}

/// Numbers of blocks, from one to before another.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Ranges(Vec<(u64, u64)>);

impl Ranges {
    /// Adds a number, after all that are there.
    pub(super) fn add(&mut self, number: u64) {
        match self.0.last_mut() {
            Some((_, end)) if *end == number => *end += 1,
            _ => self.0.push((number, number + 1)),
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (u64, u64)> {
        self.0.iter().copied()
    }
}
