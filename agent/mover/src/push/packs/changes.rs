//! What a push changes of the map, row by row and in any order: kept in memory up to a bound, then written as a run of the push's own, sorted,
//! to the temporary directory. Such runs become one in the end; until then they are the newest runs of the map that the push works with.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufWriter};

use crate::error::{Failure, Result};
use crate::packs::id::ObjectId;
use crate::packs::node::Node;
use crate::packs::reference::{BlockRef, PackRow, RefKey};
use crate::packs::run::{Run, RunWriter, Written};
use crate::packs::size::BlockSize;
use crate::remote::packed::Source;
use crate::scratch::Scratch;
use crate::volume::path::RelPath;

/// Memory for entries, in bytes, more or less.
const ENTRIES: usize = 8 << 20;
/// Blocks in memory, of about a hundred bytes each.
const BLOCKS: usize = 1 << 17;
/// What an entry takes beside its path and attributes.
const ENTRY: usize = 256;

/// Rows that are not in a run yet, and runs that no map has yet.
pub(super) struct Changes<'a> {
    scratch: &'a Scratch,
    block: BlockSize,
    entries: BTreeMap<RelPath, Option<Node>>,
    bytes: usize,
    blocks: BTreeMap<RefKey, Option<BlockRef>>,
    runs: Vec<Run<Source<'a>>>,
    /// All that there were, where checkpoints are written.
    all: Option<Vec<Run<Source<'a>>>>,
}

impl<'a> Changes<'a> {
    /// None so far.
    pub(super) fn new(scratch: &'a Scratch, block: BlockSize) -> Self {
        Self { scratch, block, entries: BTreeMap::new(), bytes: 0, blocks: BTreeMap::new(), runs: Vec::new(), all: None }
    }

    /// An entry is this now, or gone. What is said later counts.
    pub(super) fn entry(&mut self, path: &RelPath, node: Option<Node>) -> Result<()> {
        self.bytes += ENTRY + path.as_bytes().len() + node.as_ref().map_or(0, |node| node.meta.attributes.bytes());
        self.entries.insert(path.clone(), node);
        if self.bytes > ENTRIES { self.spill() } else { Ok(()) }
    }

    /// A block is this now, or none any more.
    pub(super) fn block(&mut self, key: RefKey, of: Option<BlockRef>) -> Result<()> {
        self.blocks.insert(key, of);
        if self.blocks.len() > BLOCKS { self.spill() } else { Ok(()) }
    }

    /// Keeps all runs, which follow these, for [`Self::all`].
    pub(super) fn keep(&mut self, before: &[Run<Source<'a>>]) {
        self.all = Some(before.to_vec());
    }

    /// All runs that were kept, with what was said up to now.
    pub(super) fn all(&mut self) -> Result<&[Run<Source<'a>>]> {
        self.spill()?;
        Ok(self.all.as_deref().unwrap_or_default())
    }

    /// The runs that have come since this was asked last, the oldest first.
    pub(super) fn take(&mut self) -> Result<Vec<Run<Source<'a>>>> {
        self.spill()?;
        Ok(std::mem::take(&mut self.runs))
    }

    /// A run of rows of packs, which come last and all at once.
    pub(super) fn of_packs(&self, packs: &BTreeMap<ObjectId, Option<PackRow>>) -> Result<Run<Source<'a>>> {
        let mut writer = writer(self.scratch, self.block)?;
        for (id, row) in packs {
            writer.pack(*id, row.as_ref())?;
        }
        let (file, written) = finished(writer)?;
        opened(file, written, self.block)
    }

    fn spill(&mut self) -> Result<()> {
        if self.entries.is_empty() && self.blocks.is_empty() {
            return Ok(());
        }
        let mut writer = writer(self.scratch, self.block)?;
        for (path, node) in std::mem::take(&mut self.entries) {
            writer.entry(&path, node.as_ref())?;
        }
        for (key, of) in std::mem::take(&mut self.blocks) {
            writer.block(key, of.as_ref())?;
        }
        self.bytes = 0;
        let (file, written) = finished(writer)?;
        let run = opened(file, written, self.block)?;
        if let Some(all) = &mut self.all {
            all.push(run.clone());
        }
        self.runs.push(run);
        Ok(())
    }
}

/// A run that is going to be written to the temporary directory.
pub(super) fn writer(scratch: &Scratch, block: BlockSize) -> Result<RunWriter<BufWriter<File>, File>> {
    Ok(RunWriter::new(BufWriter::new(scratch.unnamed()?), scratch.unnamed()?, block))
}

/// The file of a run that was written.
pub(super) fn finished(writer: RunWriter<BufWriter<File>, File>) -> Result<(File, Written)> {
    let (out, written) = writer.finish()?;
    Ok((unbuffered(out)?, written))
}

/// The file behind what was written to it.
pub(super) fn unbuffered(out: BufWriter<File>) -> Result<File> {
    out.into_inner().map_err(|error| Failure::scratch(&io::Error::from(error.error().kind())))
}

/// Opens a run that no manifest names.
fn opened<'a>(file: File, written: Written, block: BlockSize) -> Result<Run<Source<'a>>> {
    let of = written.named(ObjectId { push: 0, number: 0 }, 1, 1);
    Run::open(Source::of(file), &of, block)
}
