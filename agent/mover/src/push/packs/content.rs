//! Reads a file once, block by block, and stores the blocks that are others than they were.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use rustix::fs::{SeekFrom, seek};
use rustix::io::Errno;

use super::former::Former;
use super::ledger::{Ledger, Stored};
use crate::error::Result;
use crate::packs::block::is_zero;
use crate::packs::reference::{Hashed, RefKey};
use crate::packs::salt::{ContentHash, Hash, Salt};
use crate::packs::size::BlockSize;
use crate::stop::Stop;
use crate::volume::hash::Hasher;

/// Bytes that are read at a time, unless blocks are larger.
const AT_A_TIME: u64 = 1 << 20;

/// What all files of a path have in common.
#[derive(Clone, Copy)]
pub(super) struct Reader<'a> {
    pub(super) block: BlockSize,
    pub(super) salt: Salt,
    /// Counts what is read.
    pub(super) hasher: &'a Hasher,
    pub(super) stop: &'a Stop,
}

/// A file that is open to be read.
pub(super) struct Open<'a> {
    pub(super) file: &'a File,
    /// Its blocks' key.
    pub(super) id: u64,
    /// Bytes that it had when it was found.
    pub(super) size: u64,
    /// It may have holes.
    pub(super) sparse: bool,
}

/// What was read of a file.
pub(super) struct Content {
    /// Its identity.
    pub(super) hash: Hash,
    /// It ended before its size: it was changed since it was found, so that this is the content of no moment.
    pub(super) cut: bool,
}

impl Reader<'_> {
    /// Reads a file. `former` gives what its blocks were; nothing does of a new one.
    pub(super) fn read(
        &self,
        of: &Open,
        mut former: Option<&mut Former>,
        buffer: &mut Vec<u8>,
        ledger: &mut Ledger,
    ) -> Result<io::Result<Content>> {
        let (Self { block, salt, .. }, Open { file, id, size, sparse }) = (self, of);
        let length = u64::from(block.bytes());
        let mut work = Work { id: *id, small: *size < length, content: ContentHash::new(*size, *block), former: &mut former, ledger };
        if let Some(former) = &mut work.former {
            former.seek(*id)?;
        }
        let (mut at, mut cut) = (0, false);
        while at < *size {
            self.stop.check()?;
            if *sparse {
                match data_from(file, at) {
                    // Up to a whole block: the rest of it is zero.
                    Ok(Some(data)) if data < *size => at = at.max(data - data % length),
                    Ok(_) => break,
                    Err(error) => return Ok(Err(error)),
                }
            }
            let want = usize::try_from((*size - at).min(AT_A_TIME.max(length))).unwrap_or(usize::MAX);
            buffer.clear();
            buffer.resize(want, 0);
            let got = match fill(file, buffer, at) {
                Ok(got) => got,
                Err(error) => return Ok(Err(error)),
            };
            self.hasher.note(got as u64);
            cut |= got < want;
            for plain in buffer.chunks(usize::try_from(length).unwrap_or(usize::MAX)) {
                work.block(at / length, plain, salt)?;
                at += plain.len() as u64;
            }
        }
        work.drop_before(u64::MAX)?;
        Ok(Ok(Content { hash: work.content.end(), cut }))
    }
}

/// A file on its way.
struct Work<'w, 'l, 'm, 'f> {
    id: u64,
    /// Smaller than a block.
    small: bool,
    content: ContentHash,
    former: &'w mut Option<&'f mut Former<'m>>,
    ledger: &'w mut Ledger<'l>,
}

impl Work<'_, '_, '_, '_> {
    fn block(&mut self, number: u64, plain: &[u8], salt: &Salt) -> Result<()> {
        self.drop_before(number)?;
        let former = self.next_before(number + 1)?.map(|(_, former)| former);
        let key = RefKey { file: self.id, block: number };
        if is_zero(plain) {
            return former.map_or(Ok(()), |former| self.ledger.drop(key, former));
        }
        let hash = salt.hash(plain);
        self.content.add(number, &hash);
        if former.is_some_and(|former| former.hash == hash) {
            return Ok(());
        }
        let stored = Stored { plain, hash, small: self.small, born: self.ledger.generation };
        self.ledger.store(key, former, stored)
    }

    /// What was stored of the blocks before this one, and was not met, is zero now, or behind the end.
    fn drop_before(&mut self, number: u64) -> Result<()> {
        while let Some((key, former)) = self.next_before(number)? {
            self.ledger.drop(key, former)?;
        }
        Ok(())
    }

    fn next_before(&mut self, number: u64) -> Result<Option<(RefKey, Hashed)>> {
        self.former.as_mut().map_or(Ok(None), |former| former.next_before(number))
    }
}

/// Where the next data is, from here on; `None` if there is none up to the end.
fn data_from(file: &File, at: u64) -> io::Result<Option<u64>> {
    match seek(file, SeekFrom::Data(at)) {
        Ok(data) => Ok(Some(data)),
        Err(Errno::NXIO) => Ok(None),
        // It does not tell.
        Err(Errno::INVAL | Errno::NOTSUP) => Ok(Some(at)),
        Err(error) => Err(error.into()),
    }
}

/// Fills the buffer; how many bytes there were.
fn fill(file: &File, buffer: &mut [u8], from: u64) -> io::Result<usize> {
    let mut got = 0;
    while let Some(rest) = buffer.get_mut(got..).filter(|rest| !rest.is_empty()) {
        match file.read_at(rest, from + got as u64) {
            Ok(0) => break,
            Ok(more) => got += more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(got)
}
