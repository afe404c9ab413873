//! Writes a run: entries, then blocks, then packs, each in order.

use std::io::{Read, Seek, Write};

use super::Written;
use super::entries::EntryWindow;
use super::index::{Index, Of};
use super::packs::PackWindow;
use super::references::ReferenceWindow;
use super::window::Window;
use crate::error::{Failure, Result};
use crate::packs::id::ObjectId;
use crate::packs::limits::{LAST, ROWS, WINDOW};
use crate::packs::misused;
use crate::packs::node::Node;
use crate::packs::reference::{BlockRef, PackRow, RefKey};
use crate::packs::size::BlockSize;
use crate::volume::path::RelPath;

/// What is written at the time. Sections follow each other.
#[derive(Debug)]
enum Last {
    Entry(Option<RelPath>),
    Block(Option<RefKey>),
    Pack(Option<ObjectId>),
}

/// A run being written: to `out` from its beginning to its end, and the places of blocks to `places` before their turn comes.
#[derive(Debug)]
pub struct RunWriter<W, P> {
    out: W,
    places: P,
    /// Bytes in each of them.
    written: u64,
    spilled: u64,
    index: Index,
    last: Last,
    entries: EntryWindow,
    references: ReferenceWindow,
    packs: PackWindow,
}

impl<W: Write, P: Read + Write + Seek> RunWriter<W, P> {
    /// A run of a path with blocks of this size. `places` is empty, and of no use afterwards.
    pub fn new(out: W, places: P, block: BlockSize) -> Self {
        Self {
            out,
            places,
            written: 0,
            spilled: 0,
            index: Index::new(block),
            last: Last::Entry(None),
            entries: EntryWindow::default(),
            references: ReferenceWindow::default(),
            packs: PackWindow::default(),
        }
    }

    /// Adds an entry, or that there is none any more. Paths ascend.
    pub fn entry(&mut self, path: &RelPath, node: Option<&Node>) -> Result<()> {
        match &mut self.last {
            Last::Entry(last) if last.as_ref().is_none_or(|last| last < path) => *last = Some(path.clone()),
            _ => return Err(misused("entries of a run out of order")),
        }
        if self.entries.with(path, node) > WINDOW || self.entries.count == ROWS {
            self.end_entries()?;
        }
        self.entries.add(path, node, self.index.block)
    }

    /// Adds a block, or that it is none any more or zero. Keys ascend, and no entry comes after a block.
    pub fn block(&mut self, key: RefKey, of: Option<&BlockRef>) -> Result<()> {
        if let Last::Entry(_) = self.last {
            self.end_entries()?;
            self.last = Last::Block(None);
        }
        match &mut self.last {
            Last::Block(last) if last.is_none_or(|last| last < key) && key.file.max(key.block) < LAST => *last = Some(key),
            _ => return Err(misused("blocks of a run out of order")),
        }
        if let Some(of) = of {
            of.place.check(self.index.block).map_err(|what| misused(&what))?;
        }
        if self.references.with_one() > WINDOW || self.references.count == ROWS {
            self.end_blocks()?;
        }
        self.references.add(key, of, self.index.block.bytes());
        Ok(())
    }

    /// Adds a pack, or that there is none any more. Names ascend, and neither entry nor block comes after a pack.
    pub fn pack(&mut self, id: ObjectId, row: Option<&PackRow>) -> Result<()> {
        self.end_places()?;
        match &mut self.last {
            Last::Pack(last) if last.is_none_or(|last| last < id) => *last = Some(id),
            _ => return Err(misused("packs of a run out of order")),
        }
        if let Some(row) = row {
            row.check().map_err(|what| misused(&what))?;
        }
        if self.packs.with_one() > WINDOW || self.packs.count == ROWS {
            self.end_packs()?;
        }
        self.packs.add(id, row);
        Ok(())
    }

    /// Ends it.
    pub fn finish(mut self) -> Result<(W, Written)> {
        self.end_places()?;
        self.end_packs()?;
        let (tail, written) = self.index.tail(self.written)?;
        self.out.write_all(&tail).and_then(|()| self.out.flush()).map_err(|e| Failure::scratch(&e))?;
        Ok((self.out, written))
    }

    fn end_entries(&mut self) -> Result<()> {
        let window = std::mem::take(&mut self.entries);
        let of = (&mut self.out, &mut self.written);
        self.index.entries.extend(end(&window.plain(), window.count, window.first, of)?);
        Ok(())
    }

    fn end_blocks(&mut self) -> Result<()> {
        let mut window = std::mem::take(&mut self.references);
        let (hashes, places) = window.plain();
        let of = (&mut self.out, &mut self.written);
        self.index.hashes.extend(end(&hashes, window.count, window.first, of)?);
        let of = (&mut self.places, &mut self.spilled);
        self.index.places.extend(end(&places, window.count, window.first, of)?.map(|of| of.window));
        Ok(())
    }

    /// Ends what comes before the packs, and puts the places where they belong.
    fn end_places(&mut self) -> Result<()> {
        if let Last::Pack(_) = self.last {
            return Ok(());
        }
        self.end_entries()?;
        self.end_blocks()?;
        self.places.rewind().map_err(|e| Failure::scratch(&e))?;
        let copied = std::io::copy(&mut (&mut self.places).take(self.spilled), &mut self.out).map_err(|e| Failure::scratch(&e))?;
        if copied != self.spilled {
            return Err(misused("the places of a run cannot be read back"));
        }
        for window in &mut self.index.places {
            window.offset += self.written;
        }
        self.written += self.spilled;
        self.last = Last::Pack(None);
        Ok(())
    }

    fn end_packs(&mut self) -> Result<()> {
        let window = std::mem::take(&mut self.packs);
        let of = (&mut self.out, &mut self.written);
        self.index.packs.extend(end(&window.plain(), window.count, window.first, of)?);
        Ok(())
    }
}

/// Writes a window that has rows.
fn end<K>(plain: &[u8], rows: u64, first: Option<K>, (out, written): (&mut impl Write, &mut u64)) -> Result<Option<Of<K>>> {
    let Some(first) = first else { return Ok(None) };
    let window = Window::write(plain, *written, out)?;
    *written = window.end();
    Ok(Some(Of { window, rows, first }))
}
