//! The manifest: every entry of a revision, one JSON object a line, in path order, zstd around it.
//!
//! Format described in `docs/remote-format.md`. Readers ignore members they do not know and refuse values they do
//! not know.

mod line;

use std::io::{self, BufRead, BufReader, Read, Write};

use serde::{Deserialize, Serialize};

use crate::error::{Failure, Result, next_or_end};
use crate::report::Reason;
use crate::volume::entry::{Entry, Kind};
use crate::volume::path::RelPath;

/// Version of the whole remote layout this program writes, and the newest it reads.
pub const FORMAT: u32 = 1;
/// zstd level: 3 costs little time and stays within 60 bytes an entry.
const LEVEL: i32 = 3;
/// The longest line: an entry with a megabyte of extended attributes. Whoever can write to the bucket could have a longer one fill the memory.
const LONGEST_LINE: usize = 2 << 20;
/// The largest window that is unpacked, as a power of two: ours have 2 MiB.
const LARGEST_WINDOW: u32 = 23;

#[derive(Serialize, Deserialize)]
struct Header {
    format: u32,
    revision: String,
    /// The revisions that this one descends from, newest first: the latest of them. Absent from older manifests.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    ancestors: Vec<String>,
}

/// Writes entries, one by one and in path order.
pub struct Writer<W: Write> {
    zstd: zstd::Encoder<'static, W>,
}

impl<W: Write> Writer<W> {
    /// A manifest of `revision`, which descends from nothing.
    pub fn new(out: W, revision: &str) -> std::io::Result<Self> {
        Self::following(out, revision, Vec::new())
    }

    /// A manifest of `revision`, which descends from these.
    pub fn following(out: W, revision: &str, ancestors: Vec<String>) -> std::io::Result<Self> {
        let mut zstd = zstd::Encoder::new(out, LEVEL)?;
        zstd.include_checksum(true)?;
        let mut writer = Self { zstd };
        writer.line(&Header { format: FORMAT, revision: revision.to_owned(), ancestors })?;
        Ok(writer)
    }

    /// Adds an entry.
    pub fn push(&mut self, entry: &Entry) -> std::io::Result<()> {
        self.line(&line::encode(entry))
    }

    fn line(&mut self, value: &impl Serialize) -> std::io::Result<()> {
        let mut line = serde_json::to_vec(value)?;
        if line.len() > LONGEST_LINE {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        line.push(b'\n');
        self.zstd.write_all(&line)
    }

    /// Ends it and returns the stream.
    pub fn finish(self) -> std::io::Result<W> {
        self.zstd.finish()
    }
}

/// Reads a manifest entry by entry, and checks its order, its paths and that every entry's directory is there. What is wrong with
/// it shows when it is met: all entries have to be read before any is believed.
pub struct Reader<R: Read> {
    text: BufReader<zstd::Decoder<'static, BufReader<R>>>,
    line: Vec<u8>,
    revision: String,
    /// The revisions that it descends from, newest first, as far as it lists them.
    pub ancestors: Vec<String>,
    /// The entry before.
    last: Option<RelPath>,
    /// The directories above the entry being read.
    above: Vec<RelPath>,
    ended: bool,
}

/// Begins to read the manifest of `revision`.
pub fn read<R: Read>(input: R, revision: &str) -> Result<Reader<R>> {
    let mut zstd = zstd::Decoder::new(input).map_err(|e| corrupt(revision, &e.to_string()))?;
    zstd.window_log_max(LARGEST_WINDOW).map_err(|e| corrupt(revision, &e.to_string()))?;
    let text = BufReader::with_capacity(64 * 1024, zstd);
    let mut reader = Reader {
        text,
        line: Vec::new(),
        revision: revision.to_owned(),
        ancestors: Vec::new(),
        last: None,
        above: Vec::new(),
        ended: false,
    };
    if !reader.read_line()? {
        return Err(corrupt(revision, "empty"));
    }
    let header: Header = serde_json::from_slice(&reader.line).map_err(|e| corrupt(revision, &e.to_string()))?;
    check_format(header.format)?;
    if header.revision != revision {
        return Err(corrupt(revision, &format!("it is that of {}", header.revision)));
    }
    reader.ancestors = header.ancestors;
    Ok(reader)
}

/// The failure of a manifest that no push has written as it is.
pub(super) fn corrupt(revision: &str, what: &str) -> Failure {
    Failure::new(Reason::RemoteInconsistent, format!("the manifest of {revision} is damaged: {what}"))
}

impl<R: Read> Reader<R> {
    /// Reads the next line, without its end; false where there is none.
    fn read_line(&mut self) -> Result<bool> {
        self.line.clear();
        self.line.shrink_to(LONGEST_LINE / 16);
        let mut limited = (&mut self.text).take(LONGEST_LINE as u64 + 1);
        let read = limited.read_until(b'\n', &mut self.line).map_err(|e| corrupt(&self.revision, &e.to_string()))?;
        if self.line.pop_if(|last| *last == b'\n').is_none() && read > LONGEST_LINE {
            return Err(corrupt(&self.revision, "an endless line"));
        }
        Ok(read > 0)
    }

    fn entry(&mut self) -> Result<Option<Entry>> {
        if !self.read_line()? {
            return Ok(None);
        }
        let corrupt = |what: String| corrupt(&self.revision, &what);
        let line: line::Line = serde_json::from_slice(&self.line).map_err(|e| corrupt(e.to_string()))?;
        let entry = line::decode(line).map_err(corrupt)?;
        if self.last.as_ref().is_some_and(|last| *last >= entry.path) {
            return Err(corrupt(format!("{} is out of order", entry.path)));
        }
        while self.above.last().is_some_and(|dir| !entry.path.is_below(dir)) {
            self.above.pop();
        }
        let in_place = match entry.path.parent() {
            None => entry.kind == Kind::Dir,
            Some(parent) => self.above.last().is_some_and(|dir| dir.as_bytes() == parent),
        };
        if !in_place {
            return Err(corrupt(format!("the directory of {} is missing", entry.path)));
        }
        if entry.kind == Kind::Dir {
            self.above.push(entry.path.clone());
        }
        self.last = Some(entry.path.clone());
        Ok(Some(entry))
    }
}

impl<R: Read> Iterator for Reader<R> {
    type Item = Result<Entry>;

    fn next(&mut self) -> Option<Self::Item> {
        next_or_end(self, |reader| &mut reader.ended, Self::entry)
    }
}

/// Refuses a remote written by a newer program, rather than guess.
pub fn check_format(format: u32) -> Result<()> {
    if format == FORMAT {
        return Ok(());
    }
    Err(Failure::new(
        Reason::MoverFailed,
        format!(
            "the remote path is in format {format}, this program supports format {FORMAT}: use the version that wrote it, or a newer one"
        ),
    ))
}

#[cfg(test)]
mod tests;
