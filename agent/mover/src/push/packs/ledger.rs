//! What the map is going to say once a push has committed, beside its entries: which blocks lie where, and how much of each pack is needed.
//! Each block that is replaced is released once, so that a pack is known to be dead when nothing of it is needed any more.

use std::collections::BTreeMap;

use super::changes::Changes;
use super::checkpoint::Keeping;
use super::packing::{Block, Full, Packing};
use crate::error::{Failure, Result};
use crate::packs::id::ObjectId;
use crate::packs::node::Node;
use crate::packs::policy::table::{Miscount, Pack, Table};
use crate::packs::reference::{Hashed, PackRow, RefKey};
use crate::packs::salt::Hash;
use crate::report::Reason;
use crate::volume::path::RelPath;

/// Packs that are sent together.
const TOGETHER: usize = 4;

/// Sends packs.
pub(super) type Send<'a> = Box<dyn FnMut(Vec<Full>) -> Result<()> + 'a>;

/// A block that is going to be stored.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stored<'a> {
    /// Its content.
    pub(super) plain: &'a [u8],
    /// Of the content.
    pub(super) hash: Hash,
    /// It shares a frame with others.
    pub(super) small: bool,
    /// The generation that gave it its content.
    pub(super) born: u64,
}

/// Blocks and packs as a push changes them.
pub(super) struct Ledger<'a> {
    /// Rows that differ from those of the map.
    pub(super) changes: Changes<'a>,
    /// Packs being filled.
    pub(super) packing: Packing<'a>,
    /// How much of each pack is needed.
    pub(super) table: Table<ObjectId>,
    /// What the map says of each pack, its live bytes aside.
    pub(super) packs: BTreeMap<ObjectId, PackRow>,
    /// Blocks that the map has.
    pub(super) blocks: u64,
    /// That of the revision being pushed.
    pub(super) generation: u64,
    send: Send<'a>,
    /// Full ones that wait until the push knows that it may delete what it is going to; nothing once anything was sent.
    held: Option<Vec<Full>>,
    /// Writes down what has been sent, if that is of use.
    keeping: Option<Keeping<'a, 'a>>,
}

impl<'a> Ledger<'a> {
    /// That of a map with these packs, and so many blocks.
    pub(super) fn new(
        changes: Changes<'a>,
        packing: Packing<'a>,
        packs: BTreeMap<ObjectId, PackRow>,
        blocks: u64,
        generation: u64,
        send: Send<'a>,
    ) -> Result<Self> {
        let mut table = Table::default();
        for (id, row) in &packs {
            table.add(of_row(*id, row)).map_err(|e| miscounted(&e))?;
        }
        Ok(Self { changes, packing, table, packs, blocks, generation, send, held: Some(Vec::new()), keeping: None })
    }

    /// Writes checkpoints, too.
    pub(super) fn keep(&mut self, keeping: Keeping<'a, 'a>) {
        self.keeping = Some(keeping);
    }

    /// A file that the map does not have is going to be read. A checkpoint that is written meanwhile has some of its blocks, and has to say whose
    /// they are.
    pub(super) fn begin_file(&mut self, path: &RelPath, node: impl FnOnce() -> Node) -> Result<()> {
        if self.keeping.is_some() { self.changes.entry(path, Some(node())) } else { Ok(()) }
    }

    /// A block that was `former` lies in a pack of this push now.
    pub(super) fn store(&mut self, key: RefKey, former: Option<Hashed>, of: Stored) -> Result<()> {
        self.release(former)?;
        self.blocks += 1;
        let Stored { plain, hash, small, born } = of;
        let block = Block { key, hash, plain, born };
        let put = if small { Packing::small } else { Packing::block };
        put(&mut self.packing, block, &mut self.changes)?;
        if self.packing.full() < TOGETHER { Ok(()) } else { self.send_full() }
    }

    /// A block that was `former` is none any more, or zero.
    pub(super) fn drop(&mut self, key: RefKey, former: Hashed) -> Result<()> {
        self.release(Some(former))?;
        self.changes.block(key, None)
    }

    /// Gives every block its place, and sends all that was stored, unless it is to wait for [`Self::allow`].
    pub(super) fn flush(&mut self) -> Result<()> {
        self.packing.flush(&mut self.changes)?;
        if self.packing.full() == 0 {
            return Ok(());
        }
        let Some(mut held) = self.held.take() else { return self.send_full() };
        held.extend(self.full()?);
        self.held = Some(held);
        Ok(())
    }

    /// Sends what waits. From now on nothing does.
    pub(super) fn allow(&mut self) -> Result<()> {
        let held = self.held.take().unwrap_or_default();
        if held.is_empty() { Ok(()) } else { self.send(held) }
    }

    /// Of each pack what the map is to say of it now: nothing of those that are not needed.
    pub(super) fn rows(&self) -> impl Iterator<Item = (ObjectId, PackRow)> {
        let row = |pack: &Pack<ObjectId>| Some((pack.id, PackRow { live: pack.live, ..*self.packs.get(&pack.id)? }));
        self.table.packs().filter(|pack| pack.live > 0).filter_map(row)
    }

    fn release(&mut self, former: Option<Hashed>) -> Result<()> {
        let Some(Hashed { pack, weight, .. }) = former else { return Ok(()) };
        self.blocks = self.blocks.saturating_sub(1);
        self.table.release(pack, weight.into()).map_err(|e| miscounted(&e))
    }

    fn send_full(&mut self) -> Result<()> {
        let mut full = self.held.take().unwrap_or_default();
        full.extend(self.full()?);
        self.send(full)
    }

    fn send(&mut self, full: Vec<Full>) -> Result<()> {
        let bytes = full.iter().map(|full| full.row.size).sum();
        (self.send)(full)?;
        if !self.keeping.as_mut().is_some_and(|keeping| keeping.sent(bytes)) {
            return Ok(());
        }
        let packs = self.packs.iter().filter(|(_, row)| row.born == self.generation).map(|(id, row)| (*id, *row)).collect();
        let names = (self.packing.name()?, self.packing.name()?);
        let runs = self.changes.runs()?;
        self.keeping.as_mut().map_or(Ok(()), |keeping| keeping.write(runs, &packs, names))
    }

    /// Those that are full, entered into the table.
    fn full(&mut self) -> Result<Vec<Full>> {
        let full = self.packing.take();
        for Full { id, row, .. } in &full {
            self.table.add(of_row(*id, row)).map_err(|e| miscounted(&e))?;
            self.packs.insert(*id, *row);
        }
        Ok(full)
    }
}

fn of_row(id: ObjectId, row: &PackRow) -> Pack<ObjectId> {
    Pack { id, size: row.weight(), live: row.live, written: row.born }
}

/// Nothing may be committed, and nothing deleted, by such a count.
fn miscounted(error: &Miscount<ObjectId>) -> Failure {
    Failure::new(Reason::RemoteInconsistent, format!("the map of the committed revision is damaged: {error}"))
}
