//! The manifest of layout Packs: a small document that says what the commit says, and names the runs of the map and all that garbage
//! collection has to know. Small runs stand in it.
//!
//! zstd around: one line of JSON, one line with its sha256, then the bytes of the inline runs. The first line is one that a reader of format 1
//! understands well enough to refuse it by its format.

mod document;
#[cfg(test)]
pub(crate) mod tests;

use std::io::{BufRead, BufReader, Read, Write};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

pub use document::{DeadManifest, DeadObject, Document, Feature, Meter, PushClock, Reading, Retained, Totals};

use crate::digest::Digest;
use crate::error::{Failure, Result};
use crate::packs::commit::unsupported;
use crate::packs::limits::{DOCUMENT, FORMAT};
use crate::packs::run::{ReadAt, RunRef};
use crate::packs::{damaged, misused};
use crate::report::Reason;

/// zstd level, as that of the manifest of format 1.
const LEVEL: i32 = 3;
/// The largest window that is unpacked, as a power of two: more than any of ours has.
const LARGEST_WINDOW: u32 = 23;
/// Longer than the line of the seal.
const SEAL_LINE: u64 = 128;

/// A manifest, with the runs that stand in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    /// All that it says.
    pub document: Document,
    /// The bytes of its inline runs, in the order of [`Document::runs`].
    pub inline: Vec<Vec<u8>>,
}

/// The line behind the document.
#[derive(Serialize, Deserialize)]
struct Seal {
    sha256: Digest,
}

/// What a line is read for before anything else.
#[derive(Deserialize)]
struct Version {
    format: u32,
}

impl Manifest {
    /// Its bytes as they are stored. Fails where a reader would refuse them.
    pub fn write(&self) -> Result<Vec<u8>> {
        self.check().map_err(|what| misused(&format!("a manifest that has {what}")))?;
        let unusable = |e: &dyn std::fmt::Display| Failure::new(Reason::MoverFailed, e.to_string());
        let mut text = serde_json::to_vec(&self.document).map_err(|e| unusable(&e))?;
        text.push(b'\n');
        if text.len() > DOCUMENT {
            return Err(misused("a manifest of more bytes than a reader takes"));
        }
        let seal = Seal { sha256: Digest(Sha256::digest(&text).into()) };
        serde_json::to_writer(&mut text, &seal).map_err(|e| unusable(&e))?;
        text.push(b'\n');
        let mut zstd = zstd::Encoder::new(Vec::new(), LEVEL).map_err(|e| unusable(&e))?;
        let whole = [&text].into_iter().chain(&self.inline);
        let written = zstd.include_checksum(true).and_then(|()| whole.into_iter().try_for_each(|part| zstd.write_all(part)));
        written.and_then(|()| zstd.finish()).map_err(|e| unusable(&e))
    }

    /// Reads the manifest of `revision`.
    pub fn read(input: impl Read, revision: &str) -> Result<Self> {
        let what = |what: &dyn std::fmt::Display| damaged(&format!("the manifest of {revision}"), &what.to_string());
        let mut zstd = zstd::Decoder::new(input).map_err(|e| what(&e))?;
        zstd.window_log_max(LARGEST_WINDOW).map_err(|e| what(&e))?;
        let mut text = BufReader::new(zstd);
        let mut line = |most: u64| -> Result<Vec<u8>> {
            let mut line = Vec::new();
            (&mut text).take(most).read_until(b'\n', &mut line).map_err(|e| what(&e))?;
            if line.ends_with(b"\n") { Ok(line) } else { Err(what(&"it was cut, or has an endless line")) }
        };
        let json = line(DOCUMENT as u64)?;
        let version: Version = serde_json::from_slice(&json).map_err(|e| what(&e))?;
        if version.format != FORMAT {
            return Err(unsupported(version.format));
        }
        let seal: Seal = serde_json::from_slice(&line(SEAL_LINE)?).map_err(|e| what(&e))?;
        if seal.sha256 != Digest(Sha256::digest(&json).into()) {
            return Err(what(&"its sum is another one"));
        }
        // First the features alone: what they stand for may be anywhere in the document.
        let feature: Feature = serde_json::from_slice(&json).map_err(|e| what(&e))?;
        feature.check()?;
        let document: Document = serde_json::from_slice(&json).map_err(|e| what(&e))?;
        if document.statement.revision != revision {
            return Err(what(&format_args!("it is that of {}", document.statement.revision)));
        }
        document.check().map_err(|e| what(&format_args!("it has {e}")))?;
        let mut inline = Vec::new();
        for run in document.inline() {
            let mut bytes = Vec::new();
            (&mut text).take(run.size).read_to_end(&mut bytes).map_err(|e| what(&e))?;
            inline.push(bytes);
        }
        if text.read(&mut [0]).map_err(|e| what(&e))? > 0 {
            return Err(what(&"it has more bytes than its runs"));
        }
        let manifest = Self { document, inline };
        manifest.check().map_err(|e| what(&format_args!("it has {e}")))?;
        Ok(manifest)
    }

    /// The runs of the map, the oldest first, each with its bytes if it stands in here.
    pub fn runs(&self) -> impl Iterator<Item = (&RunRef, Option<&Vec<u8>>)> {
        let mut inline = self.inline.iter();
        self.document.runs.iter().map(move |run| (run, if run.inline { inline.next() } else { None }))
    }

    fn check(&self) -> std::result::Result<(), String> {
        self.document.check()?;
        let sizes = self.inline.iter().map(|bytes| bytes.len() as u64);
        if sizes.eq(self.document.inline().map(|run| run.size)) { Ok(()) } else { Err("inline runs of other sizes".into()) }
    }
}

/// A run, wherever it is: in a manifest, or in a file.
impl ReadAt for &Vec<u8> {
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<()> {
        (**self).read_at(offset, buffer)
    }
}

impl<T: ReadAt + ?Sized> ReadAt for Box<T> {
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<()> {
        (**self).read_at(offset, buffer)
    }
}
