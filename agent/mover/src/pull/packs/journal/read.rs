//! Reads a journal: nothing of it counts unless all of it is there, as its seal says. It lies on a volume, so it may hold anything all the same:
//! each row is read with no more than a line in memory, and says nothing but names within the volume and blocks within their file.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use sha2::{Digest as _, Sha256};

use super::row::{FORMAT, Head, Row};
use crate::error::{Failure, Result, next_or_end};
use crate::format::lines::Lines;
use crate::format::revision::Revision;
use crate::packs::size::BlockSize;
use crate::pull::staging::JOURNAL;
use crate::report::Reason;
use crate::stop::Stop;
use crate::volume::beneath::Root;
use crate::volume::path::RelPath;

/// Bytes of the seal at the end, the sha256 of all before it.
pub(super) const SEAL: u64 = 32;
/// Bytes of the largest journal: room for some hundred million steps.
pub(super) const LARGEST: u64 = 16 << 30;

/// A journal that is whole.
pub(super) struct Journal {
    file: File,
    shown: PathBuf,
    /// Bytes before the seal.
    length: u64,
    pub(super) head: Head,
    pub(super) block: BlockSize,
}

/// What is found of one.
pub(super) enum Found {
    None,
    /// It is none of ours, or not all there: what it says counts for nothing.
    Damaged(String),
    Whole(Box<Journal>),
}

/// The failure of a journal that is none, or does not fit the volume; the operating system has no part in it.
pub(super) fn damaged(what: &str) -> Failure {
    Failure::new(Reason::VolumeUnreadable, format!("the journal of an interrupted pull is damaged: {what}"))
}

impl Journal {
    /// That of this staging folder.
    pub(super) fn find(folder: &Root, stop: &Stop) -> Result<Found> {
        let path = RelPath::own(JOURNAL);
        let shown = folder.shown(&path);
        if folder.find(&path)?.is_none() {
            return Ok(Found::None);
        }
        let Some(file) = folder.file(&path)? else { return Ok(Found::Damaged("it is no file".into())) };
        let failed = |e: io::Error| Failure::volume("read", &shown, &e);
        let size = file.metadata().map_err(failed)?.len();
        if !(SEAL..=LARGEST).contains(&size) {
            return Ok(Found::Damaged(format!("it has {size} bytes")));
        }
        let length = size - SEAL;
        let mut seal = [0; 32];
        file.read_exact_at(&mut seal, length).map_err(failed)?;
        if hash(Section { file: &file, at: 0, end: length }, stop)?.map_err(failed)? != seal {
            return Ok(Found::Damaged("its seal does not fit".into()));
        }
        let first = Rows::new(&file, length, shown.clone()).and_then(|mut rows| rows.next().transpose());
        let head = match first {
            Ok(Some(Row::Head(head))) => *head,
            Err(failure) if failure.is_of_the_system() => return Err(failure),
            Err(failure) => return Ok(Found::Damaged(failure.message)),
            _ => return Ok(Found::Damaged("it has no head".into())),
        };
        let (FORMAT, Some(block), Some(_)) = (head.format, BlockSize::new(head.block), Revision::parse(&head.revision)) else {
            return Ok(Found::Damaged(format!("it is in format {}, or its head is none", head.format)));
        };
        Ok(Found::Whole(Box::new(Self { file, shown, length, head, block })))
    }

    /// What it says, without the head.
    pub(super) fn rows(&self) -> Result<impl Iterator<Item = Result<Row>>> {
        Ok(Rows::new(&self.file, self.length, self.shown.clone())?.skip(1))
    }
}

fn hash(mut section: Section, stop: &Stop) -> Result<io::Result<[u8; 32]>> {
    let (mut hash, mut buffer) = (Sha256::new(), vec![0; 128 << 10]);
    loop {
        stop.check()?;
        match section.read(&mut buffer) {
            Ok(0) => return Ok(Ok(hash.finalize().into())),
            Ok(read) => hash.update(buffer.get(..read).unwrap_or_default()),
            Err(error) => return Ok(Err(error)),
        }
    }
}

struct Rows<'a> {
    lines: Lines<BufReader<Section<'a>>>,
    shown: PathBuf,
    ended: bool,
}

impl<'a> Rows<'a> {
    fn new(file: &'a File, length: u64, shown: PathBuf) -> Result<Self> {
        let lines = Lines::new(BufReader::new(Section { file, at: 0, end: length }));
        let lines = lines.map_err(|e| failed(&shown, &e))?;
        Ok(Self { lines, shown, ended: false })
    }

    fn row(&mut self) -> Result<Option<Row>> {
        let Some(line) = self.lines.read_line().map_err(|e| failed(&self.shown, &e))? else { return Ok(None) };
        serde_json::from_slice(line).map(Some).map_err(|e| damaged(&e.to_string()))
    }
}

impl Iterator for Rows<'_> {
    type Item = Result<Row>;

    fn next(&mut self) -> Option<Self::Item> {
        next_or_end(self, |rows| &mut rows.ended, Self::row)
    }
}

/// What cannot be unpacked is no error of the operating system.
fn failed(shown: &std::path::Path, error: &io::Error) -> Failure {
    if error.raw_os_error().is_some() { Failure::volume("read", shown, error) } else { damaged(&error.to_string()) }
}

/// Part of a file, which is read at no place that another reader moves.
struct Section<'a> {
    file: &'a File,
    at: u64,
    end: u64,
}

impl Read for Section<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.end - self.at).unwrap_or(usize::MAX).min(buffer.len());
        let read = self.file.read_at(buffer.get_mut(..most).unwrap_or_default(), self.at)?;
        self.at += read as u64;
        Ok(read)
    }
}
