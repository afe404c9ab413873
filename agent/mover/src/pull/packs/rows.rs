//! The rows of a map that are those of some files, found in one go where the files are asked for in the order of their ids.

use std::iter::Peekable;

use crate::error::Result;
use crate::packs::map::Map;
use crate::packs::reference::RefKey;
use crate::packs::run::{ReadAt, Section};

/// Rows of other files that are read over; to look for a file anew takes a window of each run.
const PASSED: u32 = 4096;

type Rows<'a, S> = Peekable<Box<dyn Iterator<Item = Result<(RefKey, <S as Section>::Value)>> + 'a>>;

/// See the module.
pub(super) struct FileRows<'a, R, S: Section<Key = RefKey>> {
    map: &'a Map<R>,
    rows: Option<Rows<'a, S>>,
    /// The file that was asked for last.
    last: u64,
}

impl<'a, R: ReadAt, S: Section<Key = RefKey> + 'a> FileRows<'a, R, S> {
    pub(super) fn new(map: &'a Map<R>) -> Self {
        Self { map, rows: None, last: 0 }
    }

    /// Shows the blocks of a file, in order.
    pub(super) fn of(&mut self, file: u64, mut each: impl FnMut(u64, S::Value) -> Result<()>) -> Result<()> {
        let mut rows = match self.rows.take().filter(|_| self.last < file) {
            Some(rows) => rows,
            None => self.seek(file),
        };
        self.last = file;
        let mut passed = 0;
        let is_before = |row: &Result<(RefKey, S::Value)>| row.as_ref().is_ok_and(|(key, _)| key.file < file);
        while rows.next_if(is_before).is_some() {
            passed += 1;
            if passed == PASSED {
                rows = self.seek(file);
            }
        }
        while let Some(row) = rows.next_if(|row| row.as_ref().map_or(true, |(key, _)| key.file == file)) {
            let (key, value) = row?;
            each(key.block, value)?;
        }
        self.rows = Some(rows);
        Ok(())
    }

    fn seek(&self, file: u64) -> Rows<'a, S> {
        let map = self.map;
        let rows: Box<dyn Iterator<Item = Result<(RefKey, S::Value)>> + 'a> = Box::new(map.rows_from::<S>(&RefKey { file, block: 0 }));
        rows.peekable()
    }
}
