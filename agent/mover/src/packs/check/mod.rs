//! Holds a whole map against itself and against its manifest: every reader of a run checks its rows one by one, and this what they say of
//! each other. Reads the map several times rather than keep it in memory.

pub mod lowest;
#[cfg(test)]
mod tests;
mod tree;

use crate::error::Result;
use crate::packs::damaged;
use crate::packs::id::ObjectId;
use crate::packs::limits::{PACKS, TRAILER};
use crate::packs::manifest::{Document, Totals};
use crate::packs::map::Map;
use crate::packs::node::FileNode;
use crate::packs::reference::{BlockRef, RefKey};
use crate::packs::run::{Entries, Packs, ReadAt, References};
use crate::packs::salt::{ContentHash, Hash};
use crate::packs::size::BlockSize;
use crate::stop::Stop;
use lowest::Lowest;
pub use tree::Tree;

/// What is kept in memory of the map at a time: files, or places, of 40 and 48 bytes.
const AT_A_TIME: usize = 1 << 18;

/// Holds `map` against `document`. What they say is possible, of each file all blocks are known, each lies by itself in a pack that the map
/// has, and all of it adds up; or the failure says what does not.
pub fn check<R: ReadAt>(map: &Map<R>, document: &Document, stop: &Stop) -> Result<()> {
    Checking::new(map, document, stop, AT_A_TIME)?.all()
}

struct Checking<'a, R> {
    map: &'a Map<R>,
    document: &'a Document,
    block: BlockSize,
    generation: u64,
    packs: Vec<Pack>,
    stop: &'a Stop,
    at_a_time: usize,
}

/// A pack, with what was found in it.
struct Pack {
    id: ObjectId,
    size: u64,
    live: u64,
    blocks: u64,
    found_live: u64,
    found_blocks: u64,
}

/// What each name of a file says of it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct File {
    id: u64,
    size: u64,
    changed: u64,
    content: Hash,
}

/// Where a block lies, in the order of packs.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Taken {
    pack: usize,
    offset: u32,
    /// Within the frame.
    from: u32,
    plain: u32,
    stored: u32,
    /// 0 for a block by itself.
    frame: u32,
    of: RefKey,
}

impl<'a, R: ReadAt> Checking<'a, R> {
    fn new(map: &'a Map<R>, document: &'a Document, stop: &'a Stop, at_a_time: usize) -> Result<Self> {
        let block = document.block().map_err(|what| wrong(&what))?;
        let generation = document.generation().ok_or_else(|| wrong("its manifest has an impossible revision"))?;
        Ok(Self { map, document, block, generation, packs: Vec::new(), stop, at_a_time })
    }

    fn all(mut self) -> Result<()> {
        self.read_packs()?;
        let mut files = self.entries()?;
        let mut counted = 0;
        let mut before = None;
        // Files in the order of their ids, so many at a time; the walk over all entries above was the first one.
        loop {
            let (batch, more) = files.sorted();
            counted += self.blocks(&batch, before, !more)?;
            before = batch.last().copied().or(before);
            if !more {
                break;
            }
            files = Lowest::new(self.at_a_time, before);
            for entry in self.map.rows::<Entries>() {
                self.stop.check()?;
                if let Some(file) = entry?.1.file() {
                    files.add(File::of(file));
                }
            }
        }
        self.add_up(counted)?;
        self.apart()
    }

    fn read_packs(&mut self) -> Result<()> {
        for row in self.map.rows::<Packs>() {
            self.stop.check()?;
            let (id, row) = row?;
            if self.packs.len() as u64 == PACKS || row.born > self.generation {
                return Err(wrong(&format!("pack {id} is of no generation so far, or one of too many")));
            }
            self.packs.push(Pack { id, size: row.size, live: row.live, blocks: row.blocks, found_live: 0, found_blocks: 0 });
        }
        Ok(())
    }

    /// The tree that the entries are, and its files.
    fn entries(&self) -> Result<Lowest<File>> {
        let mut files = Lowest::new(self.at_a_time, None);
        let mut tree = Tree::of(self.document)?;
        for entry in self.map.rows::<Entries>() {
            self.stop.check()?;
            let (path, node) = entry?;
            tree.add(&path, &node)?;
            if let Some(file) = node.file() {
                files.add(File::of(file));
            }
        }
        tree.end()?;
        Ok(files)
    }

    /// Holds the blocks of these files against them, and says how many there are. `before` is the last file of those before these.
    fn blocks(&mut self, files: &[File], before: Option<File>, last: bool) -> Result<u64> {
        let mut files = files.iter().peekable();
        let from = RefKey { file: before.map_or(0, |file| file.id + 1), block: 0 };
        let mut id = before.map(|file| file.id);
        let (mut file, mut blocks) = (None, 0);
        for row in self.map.rows_from::<References>(&from) {
            self.stop.check()?;
            let (key, of) = row?;
            if !last && files.len() == 0 && id.is_some_and(|id| key.file > id) {
                // That of a file that comes next time.
                break;
            }
            while let Some(next) = files.next_if(|next| next.id <= key.file) {
                begins(next, &mut id)?;
                ends(file.take())?;
                file = Some((next, ContentHash::new(next.size, self.block)));
            }
            let Some((file, content)) = file.as_mut().filter(|(file, _)| file.id == key.file) else {
                return Err(wrong(&format!("it has blocks of file {}, which no entry has", key.file)));
            };
            self.lies(file, key, &of)?;
            content.add(key.block, &of.hash);
            blocks += 1;
        }
        ends(file)?;
        for next in files {
            begins(next, &mut id)?;
            ends(Some((next, ContentHash::new(next.size, self.block))))?;
        }
        Ok(blocks)
    }

    /// Holds a block against its file and its pack.
    fn lies(&mut self, file: &File, key: RefKey, of: &BlockRef) -> Result<()> {
        if of.place.plain != self.block.length(file.size, key.block) || of.place.born > file.changed {
            return Err(wrong(&format!("block {} of file {} is none of that file", key.block, key.file)));
        }
        let found = self.packs.binary_search_by_key(&of.pack, |pack| pack.id).ok().and_then(|at| self.packs.get_mut(at));
        let pack = found.ok_or_else(|| wrong(&format!("pack {} is not in it, but blocks that lie there are", of.pack)))?;
        if of.place.end() > pack.size.saturating_sub(TRAILER as u64) {
            return Err(wrong(&format!("it has a block behind the end of pack {}", of.pack)));
        }
        pack.found_blocks += 1;
        pack.found_live = pack.found_live.saturating_add(of.place.weight().into());
        Ok(())
    }

    /// Holds the sums against what was found.
    fn add_up(&self, blocks: u64) -> Result<()> {
        for pack in &self.packs {
            if pack.live != pack.found_live || pack.found_blocks > pack.blocks {
                return Err(wrong(&format!("of pack {}, other blocks are needed than it says", pack.id)));
            }
        }
        let sum = |of: fn(&Pack) -> u64| self.packs.iter().map(of).fold(0, u64::saturating_add);
        let (packs, pack_bytes, live) = (self.packs.len() as u64, sum(|pack| pack.size), sum(|pack| pack.live));
        if self.document.totals == (Totals { blocks, packs, pack_bytes, live }) {
            Ok(())
        } else {
            Err(wrong("its totals are others than it is said to have"))
        }
    }

    /// No two blocks share bytes, but those of one frame.
    fn apart(&self) -> Result<()> {
        let mut before: Option<Taken> = None;
        loop {
            let mut lowest = Lowest::new(self.at_a_time, before);
            for row in self.map.rows::<References>() {
                self.stop.check()?;
                let (of, BlockRef { pack, place, .. }) = row?;
                let pack = self.packs.binary_search_by_key(&pack, |pack| pack.id).unwrap_or(usize::MAX);
                let (from, frame) = place.part.map_or((0, 0), |part| (part.offset, part.frame));
                lowest.add(Taken { pack, offset: place.offset, from, plain: place.plain, stored: place.stored, frame, of });
            }
            let (batch, more) = lowest.sorted();
            for next in batch {
                if before.is_some_and(|before| !before.lets(&next)) {
                    return Err(wrong(&format!("block {} of file {} takes the place of another one", next.of.block, next.of.file)));
                }
                before = Some(next);
            }
            if !more {
                return Ok(());
            }
        }
    }
}

impl Taken {
    /// Whether `next`, which comes after it, takes other bytes.
    fn lets(&self, next: &Self) -> bool {
        let of_one_frame = (self.pack, self.offset, self.stored, self.frame) == (next.pack, next.offset, next.stored, next.frame);
        self.pack != next.pack
            || u64::from(self.offset) + u64::from(self.stored) <= u64::from(next.offset)
            || of_one_frame && self.frame > 0 && u64::from(self.from) + u64::from(self.plain) <= u64::from(next.from)
    }
}

impl File {
    fn of(node: &FileNode) -> Self {
        Self { id: node.id, size: node.size, changed: node.changed, content: node.content }
    }
}

/// Files come once each, in the order of their ids.
fn begins(file: &File, before: &mut Option<u64>) -> Result<()> {
    if before.replace(file.id).is_some_and(|before| before >= file.id) {
        return Err(wrong(&format!("the names of file {} say different things of it", file.id)));
    }
    Ok(())
}

/// A file of which all blocks are known.
fn ends(file: Option<(&File, ContentHash)>) -> Result<()> {
    match file {
        Some((file, content)) if content.clone().end() != file.content => {
            Err(wrong(&format!("the blocks of file {} are not its content", file.id)))
        }
        _ => Ok(()),
    }
}

fn wrong(what: &str) -> crate::error::Failure {
    damaged("the map", what)
}
