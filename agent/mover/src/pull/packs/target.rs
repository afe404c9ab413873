//! A file that is going to have other content, and what is known of where its blocks are. There may be a million of them, in memory.

use super::bits::Bits;
use crate::digest::Digest;
use crate::pull::identity::parts;
use crate::volume::path::RelPath;

/// See the module.
#[derive(Debug)]
pub(super) struct Target {
    /// What names the content, and its file in the staging folder.
    pub(super) digest: Digest,
    pub(super) size: u64,
    /// Plain bytes of the blocks that have to be fetched.
    pub(super) bytes: u64,
    /// Of the blocks that the map has of it, in order: which have to be fetched. All or none, by `bytes`, where that is not known of each.
    missing: Option<Box<Bits>>,
    /// Where it is on the volume; the root once that does not matter any more, or where nothing is there.
    pub(super) path: RelPath,
    /// The file that is there is changed, and nothing but its new blocks lies in the staging folder.
    pub(super) in_place: bool,
}

/// What is noted of the blocks of a target, one after another.
#[derive(Debug, Default)]
pub(super) struct Noted {
    bits: Bits,
    blocks: u64,
    bytes: u64,
}

impl Noted {
    /// Notes the next block of the map, whether it has to be fetched, and its plain bytes.
    pub(super) fn note(&mut self, is_missing: bool, length: u32) {
        self.bits.push(is_missing);
        if is_missing {
            self.blocks += 1;
            self.bytes += u64::from(length);
        }
    }
}

impl Target {
    /// A file of which nothing has to be fetched, as far as is known.
    pub(super) fn new((digest, size): (Digest, u64), path: RelPath, in_place: bool) -> Self {
        Self { digest, size, bytes: 0, missing: None, path, in_place }
    }

    /// Its key in the map.
    pub(super) fn id(&self) -> u64 {
        if self.size > 0 { parts(&self.digest).1 } else { 0 }
    }

    /// There are no more blocks.
    pub(super) fn noted(&mut self, Noted { bits, blocks, bytes }: Noted) {
        self.bytes = bytes;
        self.missing = (blocks > 0 && blocks < bits.len()).then(|| Box::new(bits));
    }

    /// Whether anything has to be fetched: no block is empty.
    pub(super) fn misses(&self) -> bool {
        self.bytes > 0
    }

    /// Whether the block at this place of the map's has to be.
    pub(super) fn misses_block(&self, at: usize) -> bool {
        self.missing.as_ref().map_or(self.misses(), |bits| bits.get(at))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(blocks: &[bool]) -> Target {
        let mut noted = Noted::default();
        for is_missing in blocks {
            noted.note(*is_missing, 7);
        }
        let mut target = Target::new((Digest([1; 32]), 100), RelPath::root(), false);
        target.noted(noted);
        target
    }

    #[test]
    fn each_block_is_missed_or_not() {
        for blocks in [&[true, true, true], &[false, false, false], &[true, false, true], &[false, true, false]] {
            let (target, many) = (of(blocks), blocks.iter().filter(|is_missing| **is_missing).count());
            assert!(blocks.iter().enumerate().all(|(at, is_missing)| target.misses_block(at) == *is_missing), "{blocks:?}");
            assert_eq!((target.misses(), target.bytes), (many > 0, 7 * many as u64), "{blocks:?}");
        }
    }

    /// There may be a million of them: of most, all is missing or nothing.
    #[test]
    fn a_file_as_a_whole_takes_little_memory() {
        assert!(size_of::<Target>() <= 80, "{}", size_of::<Target>());
        assert!(of(&[true; 1000]).missing.is_none() && of(&[false; 1000]).missing.is_none());
    }
}
