//! Where a block of a file is: its key in the map, and what the map says of it.

use crate::packs::coding::Decoded;
use crate::packs::id::ObjectId;
use crate::packs::limits::{FRAME, LARGEST_PACK_OBJECT, LAST, TRAILER};
use crate::packs::salt::Hash;
use crate::packs::size::BlockSize;

/// A block of a file, in the order of the map.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RefKey {
    /// The file's id: given once, never again, and the same under each name of a hard-linked file.
    pub file: u64,
    /// Counted from 0, in blocks.
    pub block: u64,
}

/// How a block or frame is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// As it is.
    Raw,
    /// Compressed by itself.
    Zstd,
}

/// The part of a frame that is one block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    /// Where it begins in the plain frame, in bytes.
    pub offset: u32,
    /// Plain bytes of the whole frame.
    pub frame: u32,
}

/// Where a block lies within its pack, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Where its stored bytes, or those of its frame, begin.
    pub offset: u32,
    /// How many these are.
    pub stored: u32,
    /// How they are stored.
    pub form: Form,
    /// Plain bytes of the block.
    pub plain: u32,
    /// Which part of a frame it is, if it does not lie there by itself.
    pub part: Option<Part>,
    /// The generation that gave the block its content: a move to another pack does not change it.
    pub born: u64,
}

/// What a push needs of the blocks of a file that changed: whether a block did, and which pack has less that is needed if so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hashed {
    /// Of the plain content.
    pub hash: Hash,
    /// Where it is.
    pub pack: ObjectId,
    /// See [`Place::weight`].
    pub weight: u32,
}

/// All that the map says of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockRef {
    /// Of the plain content.
    pub hash: Hash,
    /// Where it is.
    pub pack: ObjectId,
    /// Where there.
    pub place: Place,
}

/// What the map says of a pack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PackRow {
    /// Bytes of the object, with its trailer.
    pub size: u64,
    /// Of the whole object.
    pub md5: [u8; 16],
    /// The weights of the blocks in it that the map refers to, together: at least 1, or the pack is gone.
    pub live: u64,
    /// How many blocks were written to it, each part of a frame one.
    pub blocks: u64,
    /// The generation that wrote it.
    pub born: u64,
}

impl Place {
    /// Plain bytes of what is stored: the frame, or the block.
    pub fn frame(&self) -> u32 {
        self.part.map_or(self.plain, |part| part.frame)
    }

    /// The block, from the plain bytes of its frame; `None` if they are not as many as that has.
    pub fn cut<'a>(&self, frame: &'a [u8]) -> Option<&'a [u8]> {
        let frame = (frame.len() as u64 == u64::from(self.frame())).then_some(frame)?;
        let from = usize::try_from(self.part.map_or(0, |part| part.offset)).ok()?;
        frame.get(from..from.checked_add(usize::try_from(self.plain).ok()?)?)
    }

    /// What this block accounts for of its pack: 1, and its stored bytes, or its share of those of its frame. The shares of all parts of a
    /// frame add up to what is stored of it. A share may be nothing; with the 1, no pack weighs nothing that is needed.
    pub fn weight(&self) -> u32 {
        let Some(part) = self.part else { return self.stored.saturating_add(1) };
        let up_to = |plain: u64| plain.saturating_mul(u64::from(self.stored)) / u64::from(part.frame).max(1);
        let (from, to) = (u64::from(part.offset), u64::from(part.offset).saturating_add(u64::from(self.plain)));
        u32::try_from(1 + up_to(to) - up_to(from)).unwrap_or(u32::MAX)
    }

    /// The first byte behind it in the pack.
    pub fn end(&self) -> u64 {
        u64::from(self.offset) + u64::from(self.stored)
    }

    /// Refuses what no writer makes.
    pub(super) fn check(&self, block: BlockSize) -> Decoded<()> {
        let fine = match self.part {
            None => true,
            Some(part) => part.frame <= FRAME && u64::from(part.offset) + u64::from(self.plain) <= u64::from(part.frame),
        };
        let packed = match self.form {
            Form::Raw => self.stored == self.frame(),
            Form::Zstd => self.stored < self.frame(),
        };
        if !fine || !packed || self.stored == 0 || self.plain == 0 || self.plain > block.bytes() {
            return Err("a block of an impossible length".into());
        }
        if self.end() > LARGEST_PACK_OBJECT - TRAILER as u64 {
            return Err("a block behind the end of any pack".into());
        }
        Ok(())
    }
}

impl From<&BlockRef> for Hashed {
    fn from(of: &BlockRef) -> Self {
        Self { hash: of.hash, pack: of.pack, weight: of.place.weight() }
    }
}

impl PackRow {
    /// What all blocks weigh that were written to it, together: of this, `live` is needed.
    pub fn weight(&self) -> u64 {
        self.size.saturating_sub(TRAILER as u64).saturating_add(self.blocks)
    }

    /// Refuses what no writer makes.
    pub(super) fn check(&self) -> Decoded<()> {
        let content = self.size.saturating_sub(TRAILER as u64);
        if content == 0 || self.size > LARGEST_PACK_OBJECT || self.blocks > LAST || !(1..=self.weight()).contains(&self.live) {
            return Err("a pack of an impossible size".into());
        }
        Ok(())
    }
}
