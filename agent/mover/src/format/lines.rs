//! Documents that are too large for memory: one JSON value a line, zstd around all of them.

use std::io::{self, BufRead, BufReader, Read, Write};

use serde::Serialize;

/// zstd level: 3 costs little time and stays within 60 bytes an entry of a manifest.
const LEVEL: i32 = 3;
/// The longest line: an entry with a megabyte of extended attributes. Whoever can write to the bucket could have a longer one fill the memory.
pub(crate) const LONGEST_LINE: usize = 2 << 20;
/// The largest window that is unpacked, as a power of two: ours have 2 MiB.
const LARGEST_WINDOW: u32 = 23;

/// Writes them.
pub(crate) struct LinesWriter<W: Write> {
    zstd: zstd::Encoder<'static, W>,
}

impl<W: Write> LinesWriter<W> {
    /// None yet.
    pub(crate) fn new(out: W) -> io::Result<Self> {
        let mut zstd = zstd::Encoder::new(out, LEVEL)?;
        zstd.include_checksum(true)?;
        Ok(Self { zstd })
    }

    /// Adds a line. One that no reader takes is `FileTooLarge`.
    pub(crate) fn push(&mut self, value: &impl Serialize) -> io::Result<()> {
        let mut line = serde_json::to_vec(value)?;
        if line.len() > LONGEST_LINE {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        line.push(b'\n');
        self.zstd.write_all(&line)
    }

    /// Ends it and returns the stream.
    pub(crate) fn finish(self) -> io::Result<W> {
        self.zstd.finish()
    }
}

/// Reads them, with one in memory.
pub(crate) struct Lines<R: Read> {
    text: BufReader<zstd::Decoder<'static, BufReader<R>>>,
    line: Vec<u8>,
}

impl<R: Read> Lines<R> {
    /// Those of this stream.
    pub(crate) fn new(input: R) -> io::Result<Self> {
        let mut zstd = zstd::Decoder::new(input)?;
        zstd.window_log_max(LARGEST_WINDOW)?;
        Ok(Self { text: BufReader::with_capacity(64 * 1024, zstd), line: Vec::new() })
    }

    /// Reads the next line; `None` where there is none.
    pub(crate) fn read_line(&mut self) -> io::Result<Option<&[u8]>> {
        self.line.clear();
        self.line.shrink_to(LONGEST_LINE / 16);
        let mut limited = (&mut self.text).take(LONGEST_LINE as u64 + 1);
        let read = limited.read_until(b'\n', &mut self.line)?;
        if self.line.pop_if(|last| *last == b'\n').is_none() && read > LONGEST_LINE {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "an endless line"));
        }
        Ok((read > 0).then_some(&self.line))
    }
}
