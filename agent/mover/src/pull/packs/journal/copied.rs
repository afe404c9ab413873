//! Which blocks of a file that is changed in place come from those that wait in the staging folder: what rows of a journal say of it, one after
//! another, and the blocks themselves, which are read once for all of these rows, in the order in which they wait.

use super::super::bits::Bits;
use super::super::waiting::{self, HEADER, Of};
use super::read::{Journal, damaged};
use crate::digest::Digest;
use crate::error::{Failure, Result};
use crate::pull::staging::Staging;
use crate::stop::Stop;

/// See the module.
pub(super) struct Copied {
    of: Of,
    digest: Digest,
    bits: Bits,
    /// How many more there can be, once that was looked at.
    left: Option<u64>,
}

impl Copied {
    /// Those of a file of `size` bytes, of which no row has said anything yet.
    pub(super) fn new(journal: &Journal, size: u64, digest: Digest) -> Result<Self> {
        if i64::try_from(size).is_err() {
            return Err(damaged(&format!("a file of {size} bytes")));
        }
        let of = Of { size, block: journal.block, salt: journal.head.salt };
        Ok(Self { of, digest, bits: Bits::default(), left: None })
    }

    /// Refuses blocks that this file does not have.
    pub(super) fn has(&self, (from, to): (u64, u64)) -> Result<()> {
        if from < to && to <= self.of.block.count(self.of.size) {
            return Ok(());
        }
        Err(damaged(&format!("blocks {from} to {to} are none of their file")))
    }

    /// Adds what a row says.
    pub(super) fn add(&mut self, (from, to): (u64, u64), staging: &Staging) -> Result<()> {
        self.has((from, to))?;
        // Of an absurd range, no memory is taken.
        let left = self.left.map_or_else(|| self.most(staging), Ok)?;
        self.left = Some(left.checked_sub(to - from).ok_or_else(|| damaged("more new blocks than wait"))?);
        (from..to).for_each(|number| self.bits.set(number));
        Ok(())
    }

    /// How many blocks can wait, by the size of the file that they wait in.
    fn most(&self, staging: &Staging) -> Result<u64> {
        let (folder, name) = (staging.verified(), Staging::blocks(&self.digest));
        let length = folder.file(&name)?.map_or(Ok(0), |file| file.metadata().map(|meta| meta.len()));
        Ok(length.map_err(|e| Failure::volume("read", &folder.shown(&name), &e))? / (HEADER as u64 + 1))
    }

    /// Shows the blocks that rows have named since it was asked the last time, all of which have to wait in the staging folder.
    pub(super) fn blocks(&mut self, staging: &Staging, stop: &Stop, mut each: impl FnMut(u64, &[u8]) -> Result<()>) -> Result<()> {
        let wanted = std::mem::take(&mut self.bits);
        if wanted.len() == 0 {
            return Ok(());
        }
        let (folder, name, digest) = (staging.verified(), Staging::blocks(&self.digest), self.digest);
        let file = folder.file(&name)?.ok_or_else(|| damaged(&format!("new blocks of {digest:?} are not there")))?;
        let mut seen = Bits::default();
        let read = waiting::read(&file, self.of, stop, |number, plain| {
            // What an earlier pull has left may be more.
            if !wanted.has(number) {
                return Ok(());
            }
            seen.set(number);
            each(number, plain)
        })?;
        read.map_err(|e| Failure::volume("read", &folder.shown(&name), &e))?;
        match wanted.first_beside(&seen) {
            Some(number) => Err(damaged(&format!("new block {number} of {digest:?} is not there"))),
            None => Ok(()),
        }
    }
}
