//! What is written to files in place: numbers of blocks, in lists that may be too long for memory.

use crate::error::Result;
use crate::scratch::Scratch;
use crate::spill::{Record, Records, Spill, SpillWriter};

/// Blocks of a file, from one to before another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Change {
    /// The place of the file among the targets.
    pub(super) target: usize,
    pub(super) from: u64,
    pub(super) to: u64,
}

impl Record for Change {
    fn encode(&self, bytes: &mut Vec<u8>) {
        for number in [self.target as u64, self.from, self.to] {
            bytes.extend_from_slice(&number.to_le_bytes());
        }
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let number = |at: usize| Some(u64::from_le_bytes(bytes.get(at * 8..at * 8 + 8)?.try_into().ok()?));
        Some(Self { target: usize::try_from(number(0)?).ok()?, from: number(1)?, to: number(2)? })
    }
}

/// One list being written: blocks of a file follow each other, and so join.
#[derive(Debug)]
struct ListWriter {
    out: SpillWriter<Change>,
    last: Option<Change>,
}

impl ListWriter {
    fn new(scratch: &Scratch) -> Result<Self> {
        Ok(Self { out: SpillWriter::new(scratch)?, last: None })
    }

    fn add(&mut self, target: usize, number: u64) -> Result<()> {
        match &mut self.last {
            Some(last) if last.target == target && last.to == number => last.to += 1,
            last => {
                let before = last.replace(Change { target, from: number, to: number + 1 });
                before.map_or(Ok(()), |before| self.out.push(&before))?;
            }
        }
        Ok(())
    }

    fn finish(mut self) -> Result<Spill<Change>> {
        self.last.map_or(Ok(()), |last| self.out.push(&last))?;
        self.out.finish()
    }
}

/// All of them, being written.
#[derive(Debug)]
pub(super) struct ChangesWriter {
    zero: ListWriter,
    copied: ListWriter,
}

impl ChangesWriter {
    /// None yet.
    pub(super) fn new(scratch: &Scratch) -> Result<Self> {
        Ok(Self { zero: ListWriter::new(scratch)?, copied: ListWriter::new(scratch)? })
    }

    /// A block that becomes zero.
    pub(super) fn zero(&mut self, target: usize, number: u64) -> Result<()> {
        self.zero.add(target, number)
    }

    /// A block that is copied from the staging folder.
    pub(super) fn copy(&mut self, target: usize, number: u64) -> Result<()> {
        self.copied.add(target, number)
    }

    /// The lists, to be read.
    pub(super) fn finish(self) -> Result<Changes> {
        Ok(Changes { zero: self.zero.finish()?, copied: self.copied.finish()? })
    }
}

/// All of them.
#[derive(Debug)]
pub(super) struct Changes {
    zero: Spill<Change>,
    copied: Spill<Change>,
}

impl Changes {
    /// Blocks that become zero.
    pub(super) fn zero(&self) -> Result<Records<Change>> {
        self.zero.read()
    }

    /// Blocks that are copied from the staging folder.
    pub(super) fn copied(&self) -> Result<Records<Change>> {
        self.copied.read()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_that_follow_each_other_are_one_record() {
        let scratch = Scratch::new().unwrap();
        let mut writer = ChangesWriter::new(&scratch).unwrap();
        for (target, number) in [(0, 1), (0, 2), (0, 4), (1, 5), (1, 6)] {
            writer.zero(target, number).unwrap();
        }
        let changes = writer.finish().unwrap();
        let all: Vec<_> = changes.zero().unwrap().map(|change| change.map(|c| (c.target, c.from, c.to)).unwrap()).collect();
        assert_eq!(all, [(0, 1, 3), (0, 4, 5), (1, 5, 7)]);
        assert_eq!(changes.copied().unwrap().count(), 0);
    }
}
