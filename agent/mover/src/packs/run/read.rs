//! Reads a run: the index at once, and then window by window, row by row. What is wrong with it shows when it is met.

use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::FileExt;

use super::RunRef;
use super::index::{FOOTER, Index};
use super::window::Window;
use crate::error::{Failure, Result, next_or_end};
use crate::packs::coding::Decoded;
use crate::packs::damaged;
use crate::packs::id::ObjectId;
use crate::packs::limits::INDEX;
use crate::packs::size::BlockSize;

/// Where the bytes of a run come from.
pub trait ReadAt {
    /// Fills the buffer with the bytes from `offset` on; all of them have to be there.
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<()>;
}

impl ReadAt for File {
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<()> {
        self.read_exact_at(buffer, offset).map_err(|e| match e.kind() {
            std::io::ErrorKind::UnexpectedEof => damaged("a run", "it was cut"),
            _ => Failure::scratch(&e),
        })
    }
}

impl ReadAt for Vec<u8> {
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<()> {
        let from = usize::try_from(offset).ok();
        let part = from.and_then(|from| self.get(from..from.checked_add(buffer.len())?));
        buffer.copy_from_slice(part.ok_or_else(|| damaged("a run", "it was cut"))?);
        Ok(())
    }
}

/// A run whose index was read.
#[derive(Clone, Debug)]
pub struct Run<R> {
    source: R,
    id: ObjectId,
    pub(in crate::packs) index: Index,
}

impl<R: ReadAt> Run<R> {
    /// Reads the index of the run that a manifest names, of a path with blocks of this size.
    pub fn open(source: R, of: &RunRef, block: BlockSize) -> Result<Self> {
        let what = |what: &str| damaged(&format!("run {}", of.id), what);
        let possible = (FOOTER as u64..=INDEX + FOOTER as u64).contains(&of.tail) && of.tail <= of.size;
        let length = usize::try_from(of.tail).ok().filter(|_| possible).ok_or_else(|| what("an index of an impossible length"))?;
        let mut tail = vec![0; length];
        source.read_at(of.size - of.tail, &mut tail)?;
        let index = Index::read(&tail, of, block).map_err(|e| what(&e))?;
        Ok(Self { source, id: of.id, index })
    }

    /// How many windows it has.
    pub fn windows(&self) -> usize {
        self.index.windows()
    }

    /// All rows of a section.
    pub fn rows<S: Section>(&self) -> Rows<'_, R, S> {
        Rows { run: self, next: 0, window: None, last: None, from: None, ended: false }
    }

    /// The rows of a section from this key on.
    pub fn rows_from<S: Section>(&self, key: &S::Key) -> Rows<'_, R, S> {
        Rows { next: self.window_of::<S>(key), from: Some(key.clone()), ..self.rows() }
    }

    /// The bytes of the run that hold the rows of a section from one key to another, both included, in order: what has to be fetched
    /// before these are read.
    pub fn ranges<S: Section>(&self, from: &S::Key, to: &S::Key) -> Vec<Range<u64>> {
        let windows = self.window_of::<S>(from)..=self.window_of::<S>(to);
        let mut ranges: Vec<_> = windows.flat_map(|at| S::ranges(&self.index, at)).collect();
        ranges.sort_by_key(|range| range.start);
        ranges
    }

    /// The number of the window that has this key, if any window does.
    fn window_of<S: Section>(&self, key: &S::Key) -> usize {
        let (mut low, mut high) = (0, S::count(&self.index));
        while low < high {
            let middle = low.midpoint(high);
            if S::first(&self.index, middle).is_some_and(|first| first <= key) {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        low.saturating_sub(1)
    }

    /// The plain bytes of a window.
    pub(super) fn window(&self, window: &Window) -> Result<Vec<u8>> {
        let mut stored = vec![0; usize::try_from(window.stored).unwrap_or(0)];
        self.source.read_at(window.offset, &mut stored)?;
        window.open(stored).map_err(|what| self.damaged(what))
    }

    /// The failure of a run that no push has written as it is.
    pub(super) fn damaged(&self, what: impl AsRef<str>) -> Failure {
        damaged(&format!("run {}", self.id), what.as_ref())
    }
}

/// A row: its key, and its value unless that is gone.
pub type Row<S> = (<S as Section>::Key, Option<<S as Section>::Value>);

/// One kind of rows, and a window of them being read.
pub trait Section: Sized {
    /// What they are sorted by.
    type Key: Ord + Clone;
    /// What they say.
    type Value;

    /// How many windows the run has.
    fn count(index: &Index) -> usize;
    /// The first key of a window.
    fn first(index: &Index, at: usize) -> Option<&Self::Key>;
    /// The bytes of a window in the run.
    fn ranges(index: &Index, at: usize) -> Vec<Range<u64>>;
    /// Reads a window; `None` behind the last.
    fn open<R: ReadAt>(run: &Run<R>, at: usize) -> Result<Option<Self>>;
    /// Its next row. Whether they are in order is not for it to say.
    fn next(&mut self) -> std::result::Result<Option<Row<Self>>, String>;
}

/// The rows of a section of a run, in order; the first failure ends it.
#[derive(Debug)]
pub struct Rows<'a, R, S: Section> {
    run: &'a Run<R>,
    /// The number of the next window.
    next: usize,
    window: Option<S>,
    last: Option<S::Key>,
    /// Rows before this one are left out.
    from: Option<S::Key>,
    ended: bool,
}

impl<R: ReadAt, S: Section> Rows<'_, R, S> {
    fn row(&mut self) -> Result<Option<Row<S>>> {
        loop {
            // The first row of a window is the one that the index names.
            let mut named = None;
            if self.window.is_none() {
                (self.window, named) = (S::open(self.run, self.next)?, S::first(&self.run.index, self.next));
                self.next += 1;
            }
            let Some(window) = &mut self.window else { return Ok(None) };
            let row = window.next().and_then(|row| self.in_order(row, named)).map_err(|what| self.run.damaged(what))?;
            let Some((key, value)) = row else {
                self.window = None;
                continue;
            };
            self.last = Some(key.clone());
            if self.from.as_ref().is_none_or(|from| key >= *from) {
                return Ok(Some((key, value)));
            }
        }
    }

    fn in_order(&self, row: Option<Row<S>>, named: Option<&S::Key>) -> Decoded<Option<Row<S>>> {
        if let Some((key, _)) = &row {
            if self.last.as_ref().is_some_and(|last| last >= key) {
                return Err("its rows are out of order".into());
            }
            if named.is_some_and(|named| named != key) {
                return Err("a window begins with another row than the index says".into());
            }
        }
        Ok(row)
    }
}

impl<R: ReadAt, S: Section> Iterator for Rows<'_, R, S> {
    type Item = Result<Row<S>>;

    fn next(&mut self) -> Option<Self::Item> {
        next_or_end(self, |rows| &mut rows.ended, Self::row)
    }
}
