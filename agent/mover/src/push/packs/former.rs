//! The hashes that the blocks of a file had, by which a push knows what of the file it has to store.

use crate::error::Result;
use crate::packs::map::Map;
use crate::packs::reference::{Hashed, RefKey};
use crate::packs::run::Hashes;
use crate::remote::packed::Source;

type Row = (RefKey, Hashed);

/// Rows that are read over to come to a file that is near; one that is farther is looked for.
const NEAR: usize = 4096;

/// Goes through the hashes of a map, file by file. Cheapest in the order of their ids.
pub(super) struct Former<'m> {
    map: &'m Map<Source<'m>>,
    rows: Option<Box<dyn Iterator<Item = Result<Row>> + 'm>>,
    /// The next row, if the last look found one.
    head: Option<Row>,
    /// The file that was looked for last.
    at: u64,
}

impl<'m> Former<'m> {
    pub(super) fn new(map: &'m Map<Source<'m>>) -> Self {
        Self { map, rows: None, head: None, at: 0 }
    }

    /// Goes to the first block of a file.
    pub(super) fn seek(&mut self, file: u64) -> Result<()> {
        if self.rows.is_some() && self.at < file {
            self.at = file;
            for _ in 0..NEAR {
                if self.head.is_none_or(|(key, _)| key.file >= file) {
                    return Ok(());
                }
                self.step()?;
            }
        }
        self.rows = Some(Box::new(self.map.rows_from::<Hashes>(&RefKey { file, block: 0 })));
        self.at = file;
        self.step()
    }

    /// The next block of the file that was looked for, before block `end`.
    pub(super) fn next_before(&mut self, end: u64) -> Result<Option<Row>> {
        let Some(row) = self.head.filter(|(key, _)| key.file == self.at && key.block < end) else { return Ok(None) };
        self.step()?;
        Ok(Some(row))
    }

    fn step(&mut self) -> Result<()> {
        self.head = self.rows.as_mut().and_then(Iterator::next).transpose()?;
        Ok(())
    }
}
