//! What all windows of a run have in common: compressed alone, of a length that is known and bounded before, and pinned by a hash.

use std::io::Write;

use crate::error::{Failure, Result};
use crate::packs::coding::{Decoded, Part, put};
use crate::packs::limits::{LARGEST_ROW, ROWS, WINDOW};
use crate::packs::salt::Hash;
use crate::report::Reason;

/// zstd level: windows are few, and read more often than written.
const LEVEL: i32 = 3;

/// Where a window is, and what is known of it before it is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Window {
    /// Where it begins in the run.
    pub(super) offset: u64,
    /// Bytes of it there.
    pub(super) stored: u32,
    /// Plain bytes.
    pub(super) plain: u32,
    /// Whether it is compressed.
    pub(super) zstd: bool,
    /// Of the stored bytes.
    pub(super) hash: Hash,
}

impl Window {
    /// Writes a window behind the `offset` bytes that were written before.
    pub(super) fn write(plain: &[u8], offset: u64, out: &mut impl Write) -> Result<Self> {
        let packed = pack(plain)?;
        let stored = packed.as_deref().unwrap_or(plain);
        out.write_all(stored).map_err(|e| Failure::scratch(&e))?;
        let length = |bytes: &[u8]| u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        Ok(Self { offset, stored: length(stored), plain: length(plain), zstd: packed.is_some(), hash: Hash::of(stored) })
    }

    /// The first byte behind it.
    pub(super) fn end(&self) -> u64 {
        self.offset + u64::from(self.stored)
    }

    /// Plain bytes, of the bytes that are stored.
    pub(super) fn open(&self, stored: Vec<u8>) -> Decoded<Vec<u8>> {
        if Hash::of(&stored) != self.hash {
            return Err("the hash of a window is another one".into());
        }
        unpack(stored, self.zstd, usize::try_from(self.plain).unwrap_or(0))
    }

    /// Appends what the index says of it. Where it begins follows from those before it.
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        put(out, u64::from(self.stored) << 1 | u64::from(self.zstd));
        if self.zstd {
            put(out, u64::from(self.plain));
        }
        out.extend_from_slice(&self.hash.0);
    }

    /// Reads that, of a window with so many rows behind `offset` bytes.
    pub(super) fn decode(part: &mut Part, bytes: &[u8], offset: u64, rows: u64) -> Decoded<Self> {
        let first = part.number(bytes)?;
        let stored = u32::try_from(first >> 1).map_err(|_| "a window of an impossible length")?;
        let zstd = first & 1 == 1;
        let plain = if zstd { part.small(bytes)? } else { stored };
        let most = if rows == 1 { LARGEST_ROW } else { WINDOW };
        if stored == 0 || plain as usize > most || stored > plain || zstd && stored == plain || !(1..=ROWS).contains(&rows) {
            return Err("a window of an impossible length".into());
        }
        Ok(Self { offset, stored, plain, zstd, hash: Hash(part.array(bytes)?) })
    }
}

/// These bytes compressed, if that makes them fewer.
pub(super) fn pack(plain: &[u8]) -> Result<Option<Vec<u8>>> {
    let packed = zstd::bulk::compress(plain, LEVEL).map_err(|e| Failure::new(Reason::MoverFailed, format!("zstd: {e}")))?;
    Ok(Some(packed).filter(|packed| packed.len() < plain.len()))
}

/// The plain bytes, which are as many as they are said to be.
pub(super) fn unpack(stored: Vec<u8>, zstd: bool, length: usize) -> Decoded<Vec<u8>> {
    let plain = if zstd { zstd::bulk::decompress(&stored, length).map_err(|e| e.to_string())? } else { stored };
    if plain.len() == length { Ok(plain) } else { Err("it has another length than it says".into()) }
}
