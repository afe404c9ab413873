//! Changes a file in place: zeros, its length, and blocks. Done again, each ends the same.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use rustix::fs::{FallocateFlags, fallocate};

use crate::error::{Failure, Result};
use crate::packs::size::BlockSize;
use crate::stop::Stop;
use crate::volume::beneath::Root;
use crate::volume::path::RelPath;

/// Bytes of zeros that are written at a time.
const PART: u64 = 1 << 20;

/// A file that is being changed.
pub(super) struct Patched<'a> {
    root: &'a Root,
    file: File,
    shown: PathBuf,
    /// What it is going to have.
    size: u64,
    block: BlockSize,
}

impl<'a> Patched<'a> {
    /// That of this path, which is going to have `size` bytes.
    pub(super) fn open(root: &'a Root, path: &RelPath, size: u64, block: BlockSize) -> Result<Self> {
        let shown = root.shown(path);
        let file = to_write(root, path).map_err(|e| Failure::volume("write to", &shown, &e))?;
        Ok(Self { root, file, shown, size, block })
    }

    /// Makes these blocks zero.
    pub(super) fn zero(&self, range: (u64, u64), stop: &Stop) -> Result<()> {
        clear(&self.file, range, (self.block, self.size), stop)?.map_err(|e| self.failed(&e))
    }

    /// Gives it its size. Behind the end of a shorter one there are zeros then.
    pub(super) fn resize(&self) -> Result<()> {
        self.file.set_len(self.size).map_err(|e| self.failed(&e))
    }

    /// Writes a block.
    pub(super) fn write(&self, number: u64, plain: &[u8]) -> Result<()> {
        let at = number.saturating_mul(self.block.bytes().into());
        self.file.write_all_at(plain, at).map_err(|e| self.failed(&e))
    }

    /// Nothing more is changed.
    pub(super) fn close(self) -> Result<()> {
        self.root.flush(&self.file).map_err(|e| self.failed(&e))
    }

    fn failed(&self, error: &io::Error) -> Failure {
        Failure::volume("write to", &self.shown, error)
    }
}

/// The file, if need be after letting ourselves in: it gets its mode afterwards. There is one, or that is the error.
pub(super) fn to_write(root: &Root, path: &RelPath) -> io::Result<File> {
    let open = || root.file_to_write(path).and_then(|file| file.ok_or_else(|| io::ErrorKind::NotFound.into()));
    match open() {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            let held = root.hold(path)?;
            held.set_mode(held.look()?.mode | 0o600)?;
            open()
        }
        opened => opened,
    }
}

/// Makes blocks of a file of `size` bytes zero, and frees their room where the file system does that.
pub(super) fn clear(file: &File, (from, to): (u64, u64), (block, size): (BlockSize, u64), stop: &Stop) -> Result<io::Result<()>> {
    let block = u64::from(block.bytes());
    let (mut at, whole) = (from.saturating_mul(block), to.saturating_mul(block));
    let end = whole.min(size);
    // The room of the last block is freed only as a whole.
    if at >= end || fallocate(file, FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE, at, whole - at).is_ok() {
        return Ok(Ok(()));
    }
    let zeros = vec![0; usize::try_from(PART.min(end - at)).unwrap_or(0)];
    while at < end {
        stop.check()?;
        let part = usize::try_from(end - at).unwrap_or(usize::MAX).min(zeros.len());
        if let Err(error) = file.write_all_at(zeros.get(..part).unwrap_or_default(), at) {
            return Ok(Err(error));
        }
        at += part as u64;
    }
    Ok(Ok(()))
}
