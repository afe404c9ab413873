//! Puts blocks into packs, small contents into frames before, and hands over each pack that is full.

use std::fs::File;
use std::io::BufWriter;

use super::changes::{Changes, unbuffered};
use crate::error::{Failure, Result};
use crate::packs::block::Packer;
use crate::packs::frame::Frame;
use crate::packs::id::ObjectId;
use crate::packs::limits::{BLOCKS_OF_A_PACK, FRAME};
use crate::packs::pack::PackWriter;
use crate::packs::reference::{BlockRef, PackRow, Place, RefKey};
use crate::packs::salt::Hash;
use crate::report::Reason;
use crate::scratch::Scratch;

/// A content that goes into a pack.
#[derive(Clone, Copy, Debug)]
pub(super) struct Block<'a> {
    /// Whose it is.
    pub(super) key: RefKey,
    /// Of the content.
    pub(super) hash: Hash,
    /// The content.
    pub(super) plain: &'a [u8],
    /// The generation that gave it the content.
    pub(super) born: u64,
}

/// A content that waits for its frame to be full.
struct Waiting {
    key: RefKey,
    hash: Hash,
    plain: u32,
    offset: u32,
    born: u64,
}

/// A pack that is full, and what the map says of it.
pub(super) struct Full {
    pub(super) id: ObjectId,
    pub(super) row: PackRow,
    pub(super) file: File,
}

struct Open {
    writer: PackWriter<BufWriter<File>>,
    id: ObjectId,
    blocks: u64,
}

/// Packs being filled.
pub(super) struct Packing<'a> {
    packer: Packer,
    frame: Frame,
    waiting: Vec<Waiting>,
    packs: Filling<'a>,
    /// Plain bytes that were put into packs.
    pub(super) plain: u64,
}

/// The packs themselves.
struct Filling<'a> {
    scratch: &'a Scratch,
    generation: u64,
    /// Bytes of a pack.
    most: u64,
    next: ObjectId,
    open: Option<Open>,
    full: Vec<Full>,
}

impl<'a> Packing<'a> {
    /// Packs of `most` bytes that the push of `generation` writes.
    pub(super) fn new(scratch: &'a Scratch, generation: u64, most: u64) -> Result<Self> {
        let packs = Filling { scratch, generation, most, next: ObjectId::first()?, open: None, full: Vec::new() };
        Ok(Self { packer: Packer::new()?, frame: Frame::default(), waiting: Vec::new(), packs, plain: 0 })
    }

    /// A name for an object of this push.
    pub(super) fn name(&mut self) -> Result<ObjectId> {
        name(&mut self.packs.next)
    }

    /// Adds a block by itself.
    pub(super) fn block(&mut self, of: Block, changes: &mut Changes) -> Result<()> {
        self.plain += of.plain.len() as u64;
        let (form, stored) = self.packer.pack(of.plain)?;
        let (pack, offset) = self.packs.add(stored, 1)?;
        let place = Place { offset, stored: length(stored)?, form, plain: length(of.plain)?, part: None, born: of.born };
        changes.block(of.key, Some(BlockRef { hash: of.hash, pack, place }))
    }

    /// Adds a content that shares a frame with others; one that is large for that by itself.
    pub(super) fn small(&mut self, of: Block, changes: &mut Changes) -> Result<()> {
        if of.plain.len() > FRAME as usize / 2 {
            return self.block(of, changes);
        }
        let mut offset = self.frame.add(of.plain);
        if offset.is_none() {
            self.end_frame(changes)?;
            offset = self.frame.add(of.plain);
        }
        let offset = offset.ok_or_else(|| Failure::new(Reason::MoverFailed, "a fault of the mover: a content larger than a frame"))?;
        self.plain += of.plain.len() as u64;
        self.waiting.push(Waiting { key: of.key, hash: of.hash, plain: length(of.plain)?, offset, born: of.born });
        Ok(())
    }

    /// Ends frame and pack, so that all that was added has its place.
    pub(super) fn flush(&mut self, changes: &mut Changes) -> Result<()> {
        self.end_frame(changes)?;
        self.packs.end()
    }

    /// The packs that are full, to be sent.
    pub(super) fn take(&mut self) -> Vec<Full> {
        std::mem::take(&mut self.packs.full)
    }

    /// How many are full.
    pub(super) fn full(&self) -> usize {
        self.packs.full.len()
    }

    fn end_frame(&mut self, changes: &mut Changes) -> Result<()> {
        let waiting = std::mem::take(&mut self.waiting);
        if waiting.is_empty() {
            return Ok(());
        }
        let (form, stored) = self.packer.pack(self.frame.plain())?;
        let (pack, offset) = self.packs.add(stored, waiting.len() as u64)?;
        let stored = length(stored)?;
        for Waiting { key, hash, plain, offset: from, born } in waiting {
            let part = self.frame.part(from);
            // What has a frame for itself is a block like any other.
            let part = (plain != part.frame).then_some(part);
            changes.block(key, Some(BlockRef { hash, pack, place: Place { offset, stored, form, plain, part, born } }))?;
        }
        self.frame.clear();
        Ok(())
    }
}

impl Filling<'_> {
    /// Puts stored bytes, of so many blocks, into a pack.
    fn add(&mut self, stored: &[u8], blocks: u64) -> Result<(ObjectId, u32)> {
        let is_full = |open: &Open| !open.writer.fits(stored.len()) || open.blocks.saturating_add(blocks) > BLOCKS_OF_A_PACK;
        if self.open.as_ref().is_some_and(is_full) {
            self.end()?;
        }
        let open = match &mut self.open {
            Some(open) => open,
            none => {
                let id = name(&mut self.next)?;
                let out = BufWriter::new(self.scratch.unnamed()?);
                none.insert(Open { writer: PackWriter::new(id, out, self.most), id, blocks: 0 })
            }
        };
        open.blocks += blocks;
        Ok((open.id, open.writer.add(stored)?))
    }

    fn end(&mut self) -> Result<()> {
        let Some(Open { writer, id, blocks }) = self.open.take() else { return Ok(()) };
        let (out, packed) = writer.finish()?;
        let mut row = PackRow { size: packed.size, md5: packed.md5, live: 0, blocks, born: self.generation };
        row.live = row.weight();
        self.full.push(Full { id, row, file: unbuffered(out)? });
        Ok(())
    }
}

fn name(next: &mut ObjectId) -> Result<ObjectId> {
    let id = *next;
    *next = id.next().ok_or_else(|| Failure::new(Reason::MoverFailed, "one push cannot write four billion objects"))?;
    Ok(id)
}

fn length(bytes: &[u8]) -> Result<u32> {
    u32::try_from(bytes.len()).map_err(|_| Failure::new(Reason::MoverFailed, "a fault of the mover: a block of impossible length"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packs::size::BlockSize;
    use crate::stop::Stop;

    /// By their bytes, all of them would fit into one.
    #[test]
    fn a_pack_of_tiny_contents_has_no_more_blocks_than_memory_is_for() {
        const ALL: u64 = 500_000;
        let scratch = Scratch::new().unwrap();
        let stop = Stop::default();
        let mut changes = Changes::new(&scratch, &stop, BlockSize::new(16 << 10).unwrap());
        let mut packing = Packing::new(&scratch, 1, 64 << 20).unwrap();
        for file in 0..ALL {
            let plain = file.to_le_bytes();
            // Frames of a byte each have the most.
            let plain = if file < ALL / 2 { &plain[..1] } else { &plain[..5] };
            packing.small(Block { key: RefKey { file, block: 0 }, hash: Hash::default(), plain, born: 1 }, &mut changes).unwrap();
        }
        packing.flush(&mut changes).unwrap();
        let blocks: Vec<u64> = packing.take().iter().map(|full| full.row.blocks).collect();
        assert!(blocks.iter().all(|blocks| *blocks <= BLOCKS_OF_A_PACK) && blocks.iter().sum::<u64>() == ALL, "{blocks:?}");
    }
}
