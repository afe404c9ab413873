//! The end of a run: where its windows are, with the first key and the hash of each, and the footer that pins this.

use sha2::{Digest as _, Sha256};

use super::window::{Window, pack, unpack};
use super::{Counts, RunRef, Written};
use crate::digest::Digest;
use crate::error::{Failure, Result};
use crate::format::names::recorded;
use crate::packs::coding::{Decoded, Part, put, put_bytes};
use crate::packs::id::ObjectId;
use crate::packs::limits::{FORMAT, INDEX, LAST, WINDOWS};
use crate::packs::reference::RefKey;
use crate::packs::size::BlockSize;
use crate::report::Reason;
use crate::volume::LONGEST_PATH;
use crate::volume::path::RelPath;

/// Bytes of a footer.
pub(in crate::packs) const FOOTER: usize = 56;
/// What it begins with.
const MAGIC: [u8; 8] = *b"scribrun";
/// Bytes of a sha256.
const SUM: usize = 32;

/// A window, with how many rows it has and the key of the first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Of<K> {
    pub(super) window: Window,
    pub(super) rows: u64,
    pub(super) first: K,
}

/// The windows of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Index {
    pub(super) block: BlockSize,
    pub(super) entries: Vec<Of<RelPath>>,
    pub(super) hashes: Vec<Of<RefKey>>,
    /// One for each of `hashes`, with the same rows but those that say that a block is gone.
    pub(super) places: Vec<Window>,
    pub(super) packs: Vec<Of<ObjectId>>,
}

impl Index {
    /// That of a run without windows.
    pub(super) fn new(block: BlockSize) -> Self {
        Self { block, entries: Vec::new(), hashes: Vec::new(), places: Vec::new(), packs: Vec::new() }
    }

    /// How many rows the run has.
    pub(super) fn counts(&self) -> Counts {
        fn rows<K>(windows: &[Of<K>]) -> u64 {
            windows.iter().map(|window| window.rows).sum()
        }
        Counts { entries: rows(&self.entries), blocks: rows(&self.hashes), packs: rows(&self.packs) }
    }

    /// How many windows the run has.
    pub(in crate::packs) fn windows(&self) -> usize {
        self.entries.len() + self.hashes.len() + self.places.len() + self.packs.len()
    }

    /// Index and footer of a run with so many bytes before them.
    pub(super) fn tail(&self, before: u64) -> Result<(Vec<u8>, Written)> {
        let mut plain = Vec::new();
        section(&mut plain, &self.entries, |out, path| put_bytes(out, path.as_bytes()));
        section(&mut plain, &self.hashes, |out, key| {
            put(out, key.file);
            put(out, key.block);
        });
        self.places.iter().for_each(|window| window.encode(&mut plain));
        section(&mut plain, &self.packs, |out, id| {
            out.extend_from_slice(&id.push.to_be_bytes());
            out.extend_from_slice(&id.number.to_be_bytes());
        });
        if self.windows() > WINDOWS {
            return Err(too_large("windows", self.windows() as u64, WINDOWS as u64));
        }
        if plain.len() as u64 > INDEX {
            return Err(too_large("bytes of index", plain.len() as u64, INDEX));
        }
        let packed = pack(&plain)?;
        let mut tail = packed.unwrap_or_else(|| plain.clone());
        let stored = tail.len();
        tail.extend_from_slice(&MAGIC);
        for number in [FORMAT, self.block.bytes(), u32::try_from(stored).unwrap_or(0), u32::try_from(plain.len()).unwrap_or(0)] {
            tail.extend_from_slice(&number.to_le_bytes());
        }
        let sha256 = Digest(Sha256::digest(&tail).into());
        tail.extend_from_slice(&sha256.0);
        let length = tail.len() as u64;
        Ok((tail, Written { size: before + length, tail: length, sha256, counts: self.counts(), windows: self.windows() }))
    }

    /// Reads the tail of the run that a manifest names.
    pub(super) fn read(tail: &[u8], of: &RunRef, block: BlockSize) -> Decoded<Self> {
        let mut all = Part::all(tail);
        let (mut rest, sum) = (all.split(tail.len().saturating_sub(SUM) as u64)?, Digest(all.array(tail)?));
        let sealed = tail.get(..tail.len().saturating_sub(SUM)).unwrap_or_default();
        if sum != of.sha256 || Digest(Sha256::digest(sealed).into()) != sum {
            return Err("its sum is another one".into());
        }
        let stored = rest.split((rest.left() as u64).saturating_sub((FOOTER - SUM) as u64))?;
        if rest.array(tail)? != MAGIC {
            return Err("it does not end as a run does".into());
        }
        let mut number = || rest.array(tail).map(u32::from_le_bytes);
        let (format, size, length, plain) = (number()?, number()?, number()?, number()?);
        if format != FORMAT {
            return Err(format!("it is of format {format}"));
        }
        if size != block.bytes() {
            return Err("it has blocks of another size".into());
        }
        if length as usize != stored.left() || u64::from(plain) > INDEX || plain < length {
            return Err("an index of an impossible length".into());
        }
        let stored = { stored }.take(tail, length.into())?.to_vec();
        let index =
            Self::decode(&unpack(stored, plain > length, usize::try_from(plain).unwrap_or(0))?, of.size.saturating_sub(of.tail), block)?;
        if index.counts() != of.counts {
            return Err("it has other rows than it is said to have".into());
        }
        Ok(index)
    }

    /// Reads the index of a run with so many bytes of windows.
    fn decode(bytes: &[u8], before: u64, block: BlockSize) -> Decoded<Self> {
        let (mut index, mut part) = (Self::new(block), Part::all(bytes));
        let mut at = Reading { part: &mut part, bytes, offset: 0, windows: 0 };
        index.entries = at.section(|part| recorded(part.bytes(bytes, LONGEST_PATH)?))?;
        index.hashes = at.section(|part| {
            let key = RefKey { file: part.number(bytes)?, block: part.number(bytes)? };
            if key.file.max(key.block) > LAST { Err("an impossible block".into()) } else { Ok(key) }
        })?;
        for of in &index.hashes {
            index.places.push(at.window(of.rows)?);
        }
        index.packs = at.section(|part| {
            Ok(ObjectId { push: u64::from_be_bytes(part.array(bytes)?), number: u32::from_be_bytes(part.array(bytes)?) })
        })?;
        if at.offset != before {
            return Err("windows of other lengths than the run".into());
        }
        part.end()?;
        Ok(index)
    }
}

/// The failure of a push whose map no reader would take.
pub fn too_large(what: &str, has: u64, takes: u64) -> Failure {
    let advice = "exclude some of it (spec.rclone.exclude), or push parts of it to paths of their own";
    Failure::new(Reason::MoverFailed, format!("the map of the volume has {has} {what}, and a path takes {takes}: {advice}"))
}

/// Appends what a section has: how many windows, and each with rows and first key.
fn section<K>(out: &mut Vec<u8>, windows: &[Of<K>], key: impl Fn(&mut Vec<u8>, &K)) {
    put(out, windows.len() as u64);
    for of in windows {
        put(out, of.rows);
        of.window.encode(out);
        key(out, &of.first);
    }
}

/// An index on its way in.
struct Reading<'a> {
    part: &'a mut Part,
    bytes: &'a [u8],
    /// The end of the windows so far.
    offset: u64,
    windows: usize,
}

impl Reading<'_> {
    fn window(&mut self, rows: u64) -> Decoded<Window> {
        self.windows += 1;
        if self.windows > WINDOWS {
            return Err("more windows than any run has".into());
        }
        let window = Window::decode(self.part, self.bytes, self.offset, rows)?;
        self.offset = window.end();
        Ok(window)
    }

    fn section<K: Ord>(&mut self, key: impl Fn(&mut Part) -> Decoded<K>) -> Decoded<Vec<Of<K>>> {
        let mut windows: Vec<Of<K>> = Vec::new();
        for _ in 0..self.part.number(self.bytes)? {
            let rows = self.part.number(self.bytes)?;
            let window = self.window(rows)?;
            let first = key(self.part)?;
            if windows.last().is_some_and(|last| last.first >= first) {
                return Err("windows out of order".into());
            }
            windows.push(Of { window, rows, first });
        }
        Ok(windows)
    }
}
