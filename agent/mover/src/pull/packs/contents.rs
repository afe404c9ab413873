//! A file that is read block by block, and held against the blocks that it is to have.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use rustix::fs::{SeekFrom, seek};
use rustix::io::Errno;

use crate::error::Result;
use crate::packs::salt::{Hash, Salt};
use crate::packs::size::BlockSize;
use crate::stop::Stop;

/// A file that is compared block by block.
pub(super) struct Contents {
    pub(super) file: File,
    pub(super) size: u64,
    pub(super) block: BlockSize,
    salt: Salt,
    /// The last block that was found to be right.
    pub(super) buffer: Vec<u8>,
    /// Bytes that were read.
    pub(super) read: u64,
}

impl Contents {
    pub(super) fn of(file: File, block: BlockSize, salt: Salt) -> io::Result<Self> {
        let size = file.metadata()?.len();
        Ok(Self { file, size, block, salt, buffer: Vec::new(), read: 0 })
    }

    /// Whether it has the block of this number of a file of `size` bytes.
    pub(super) fn has(&mut self, size: u64, number: u64, hash: &Hash) -> io::Result<bool> {
        let length = self.block.length(size, number);
        Ok(self.read_block(number, length)? && self.salt.hash(&self.buffer) == *hash)
    }

    /// Reads so many bytes of a block; whether there are that many.
    fn read_block(&mut self, number: u64, length: u32) -> io::Result<bool> {
        let at = number.saturating_mul(self.block.bytes().into());
        if at.saturating_add(length.into()) > self.size {
            return Ok(false);
        }
        self.buffer.resize(usize::try_from(length).unwrap_or(0), 0);
        match self.file.read_exact_at(&mut self.buffer, at) {
            Ok(()) => {}
            // It became shorter.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(false),
            Err(error) => return Err(error),
        }
        self.read += u64::from(length);
        Ok(true)
    }

    /// Shows the blocks of a range that are not zero, as far as the file goes, until told to stop; whether there were none. Holes are not read.
    pub(super) fn not_zero(&mut self, (from, to): (u64, u64), stop: &Stop, mut each: impl FnMut(u64) -> bool) -> Result<io::Result<bool>> {
        let (block, mut number, mut none) = (u64::from(self.block.bytes()), from, true);
        let end = to.saturating_mul(block).min(self.size);
        while number.saturating_mul(block) < end {
            stop.check()?;
            match seek(&self.file, SeekFrom::Data(number * block)) {
                Ok(data) if data >= end => break,
                Ok(data) => number = number.max(data / block),
                Err(Errno::NXIO) => break,
                // Not known here.
                Err(Errno::INVAL | Errno::NOTSUP) => {}
                Err(errno) => return Ok(Err(errno.into())),
            }
            let length = self.block.length(self.size, number);
            match self.read_block(number, length) {
                Ok(true) if self.buffer.iter().all(|byte| *byte == 0) => {}
                Ok(_) => {
                    none = false;
                    if each(number) {
                        break;
                    }
                }
                Err(error) => return Ok(Err(error)),
            }
            number += 1;
        }
        Ok(Ok(none))
    }
}
