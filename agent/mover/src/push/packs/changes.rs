//! What a push changes of the map, row by row and in any order: kept in memory up to a bound, then written as a run of the push's own, sorted,
//! to the temporary directory. Such runs become one in the end; until then they are the newest runs of the map that the push works with, and as
//! few as those of a map: each is an open file, and an index and a window in memory.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufWriter};

use crate::error::{Failure, Result};
use crate::packs::id::ObjectId;
use crate::packs::levels::merge_from;
use crate::packs::map::merge;
use crate::packs::node::Node;
use crate::packs::reference::{BlockRef, PackRow, RefKey};
use crate::packs::run::{Run, RunWriter, Written};
use crate::packs::size::BlockSize;
use crate::remote::packed::Source;
use crate::scratch::Scratch;
use crate::stop::Stop;
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
    stop: &'a Stop,
    block: BlockSize,
    entries: BTreeMap<RelPath, Option<Node>>,
    bytes: usize,
    /// See [`ENTRIES`].
    most: usize,
    blocks: BTreeMap<RefKey, Option<BlockRef>>,
    /// The oldest first, with their sizes.
    runs: Vec<Run<Source<'a>>>,
    sizes: Vec<u64>,
}

impl<'a> Changes<'a> {
    /// None so far.
    pub(super) fn new(scratch: &'a Scratch, stop: &'a Stop, block: BlockSize) -> Self {
        let (entries, blocks) = (BTreeMap::new(), BTreeMap::new());
        Self { scratch, stop, block, entries, bytes: 0, most: ENTRIES, blocks, runs: Vec::new(), sizes: Vec::new() }
    }

    /// An entry is this now, or gone. What is said later counts.
    pub(super) fn entry(&mut self, path: &RelPath, node: Option<Node>) -> Result<()> {
        self.bytes += ENTRY + path.as_bytes().len() + node.as_ref().map_or(0, |node| node.meta.attributes.bytes());
        self.entries.insert(path.clone(), node);
        if self.bytes > self.most { self.spill() } else { Ok(()) }
    }

    /// A block is this now, or none any more.
    pub(super) fn block(&mut self, key: RefKey, of: Option<BlockRef>) -> Result<()> {
        self.blocks.insert(key, of);
        if self.blocks.len() > BLOCKS { self.spill() } else { Ok(()) }
    }

    /// All that was said up to now as runs, the oldest first. They take the place of those that were given before.
    pub(super) fn runs(&mut self) -> Result<&[Run<Source<'a>>]> {
        self.spill()?;
        Ok(&self.runs)
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
        self.add(finished(writer)?)?;
        if let Some(from) = merge_from(&self.sizes) {
            let merged = merge(self.runs.get(from..).unwrap_or_default(), false, self::writer(self.scratch, self.block)?, self.stop)?;
            self.runs.truncate(from);
            self.sizes.truncate(from);
            self.add((unbuffered(merged.0)?, merged.1))?;
        }
        Ok(())
    }

    fn add(&mut self, (file, written): (File, Written)) -> Result<()> {
        self.sizes.push(written.size);
        self.runs.push(opened(file, written, self.block)?);
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packs::limits::RUNS;
    use crate::packs::map::Map;
    use crate::packs::node::Kind;
    use crate::packs::run::Entries;
    use crate::volume::entry::Meta;

    /// As many runs as those of a map of any size would be a file and a window each. What is said later counts, also that something is gone.
    #[test]
    fn a_push_of_many_entries_has_few_runs_of_its_own() {
        let (scratch, stop) = (Scratch::new().unwrap(), Stop::default());
        let mut changes = Changes::new(&scratch, &stop, BlockSize::new(16 << 10).unwrap());
        changes.most = 16 * ENTRY;
        let mut expected = BTreeMap::new();
        for number in 0..20_000_u32 {
            // Each name three times, far apart.
            let path = RelPath::root().child(format!("{:05}", number * 7 % 6_661));
            let meta = Meta { mode: number & 0o777, ..Meta::default() };
            let node = (number % 5 > 0).then_some(Node { meta, kind: Kind::Dir });
            changes.entry(&path, node.clone()).unwrap();
            expected.insert(path, node);
            assert!(changes.runs.len() <= RUNS - 8, "{}", changes.runs.len());
        }
        let map = Map::open(changes.runs().unwrap().iter().cloned().map(Ok)).unwrap();
        let rows: BTreeMap<_, _> = map.changes::<Entries>(0).map(Result::unwrap).collect();
        assert!(rows == expected);
    }
}
