//! A file that is going to have other content, and what is known of where its blocks are. There may be a million of them.

use super::bits::Bits;
use super::tree::parts;
use crate::digest::Digest;
use crate::volume::path::RelPath;

/// See the module.
#[derive(Debug)]
pub(super) struct Target {
    /// What names the content, and its file in the staging folder.
    pub(super) digest: Digest,
    pub(super) size: u64,
    pub(super) missing: Missing,
    /// How many blocks these are.
    pub(super) blocks: u64,
    /// Their plain bytes.
    pub(super) bytes: u64,
    /// Where it is on the volume; the root once that does not matter any more.
    pub(super) path: RelPath,
    /// The file that is there is changed, and nothing but its new blocks lies in the staging folder.
    pub(super) in_place: bool,
}

/// Of the blocks that the map has of a file, in order: which have to be fetched.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) enum Missing {
    #[default]
    None,
    All,
    Some(Bits),
}

impl Target {
    /// Its key in the map.
    pub(super) fn id(&self) -> u64 {
        if self.size > 0 { parts(&self.digest).1 } else { 0 }
    }

    /// Notes the next block of the map, whether it has to be fetched, and its plain bytes.
    pub(super) fn note(&mut self, bits: &mut Bits, is_missing: bool, length: u32) {
        bits.push(is_missing);
        if is_missing {
            self.blocks += 1;
            self.bytes += u64::from(length);
        }
    }

    /// There are no more blocks.
    pub(super) fn noted(&mut self, bits: Bits) {
        self.missing = match self.blocks {
            0 => Missing::None,
            blocks if blocks == bits.len() => Missing::All,
            _ => Missing::Some(bits),
        };
    }
}

impl Missing {
    /// Whether the block at this place of the map's is one of them.
    pub(super) fn has(&self, at: usize) -> bool {
        match self {
            Self::None => false,
            Self::All => true,
            Self::Some(bits) => bits.get(at),
        }
    }
}
