//! The manifest: every entry of a revision, one JSON object a line, in path order, zstd around it.
//!
//! Format described in `docs/remote-format.md`. Readers ignore members they do not know and refuse values they do
//! not know.

mod line;

use std::io::{Read, Write};

use serde::{Deserialize, Serialize};

use crate::error::{Failure, Result, next_or_end};
use crate::format::lines::{Lines, LinesWriter};
use crate::report::Reason;
use crate::volume::entry::{Entry, Kind};
use crate::volume::path::RelPath;

pub(crate) use line::{Line, decode, encode};

/// Version of the whole remote layout this program writes, and the newest it reads.
pub const FORMAT: u32 = 1;

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
    lines: LinesWriter<W>,
}

impl<W: Write> Writer<W> {
    /// A manifest of `revision`, which descends from nothing.
    pub fn new(out: W, revision: &str) -> std::io::Result<Self> {
        Self::following(out, revision, Vec::new())
    }

    /// A manifest of `revision`, which descends from these.
    pub fn following(out: W, revision: &str, ancestors: Vec<String>) -> std::io::Result<Self> {
        let mut lines = LinesWriter::new(out)?;
        lines.push(&Header { format: FORMAT, revision: revision.to_owned(), ancestors })?;
        Ok(Self { lines })
    }

    /// Adds an entry.
    pub fn push(&mut self, entry: &Entry) -> std::io::Result<()> {
        self.lines.push(&encode(entry))
    }

    /// Ends it and returns the stream.
    pub fn finish(self) -> std::io::Result<W> {
        self.lines.finish()
    }
}

/// Reads a manifest entry by entry, and checks its order, its paths and that every entry's directory is there. What is wrong with
/// it shows when it is met: all entries have to be read before any is believed.
pub struct Reader<R: Read> {
    lines: Lines<R>,
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
    let failed = |e: std::io::Error| corrupt(revision, &e.to_string());
    let mut lines = Lines::new(input).map_err(failed)?;
    let header = lines.read_line().map_err(failed)?.ok_or_else(|| corrupt(revision, "empty"))?;
    let header: Header = serde_json::from_slice(header).map_err(|e| corrupt(revision, &e.to_string()))?;
    check_format(header.format)?;
    if header.revision != revision {
        return Err(corrupt(revision, &format!("it is that of {}", header.revision)));
    }
    let ancestors = header.ancestors;
    Ok(Reader { lines, revision: revision.to_owned(), ancestors, last: None, above: Vec::new(), ended: false })
}

/// The failure of a manifest that no push has written as it is.
pub(super) fn corrupt(revision: &str, what: &str) -> Failure {
    Failure::new(Reason::RemoteInconsistent, format!("the manifest of {revision} is damaged: {what}"))
}

impl<R: Read> Reader<R> {
    fn entry(&mut self) -> Result<Option<Entry>> {
        let corrupt = |what: String| corrupt(&self.revision, &what);
        let Some(line) = self.lines.read_line().map_err(|e| corrupt(e.to_string()))? else { return Ok(None) };
        let line: Line = serde_json::from_slice(line).map_err(|e| corrupt(e.to_string()))?;
        let entry = decode(line).map_err(corrupt)?;
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
