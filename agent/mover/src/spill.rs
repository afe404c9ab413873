//! Lists that may be too long for memory: records in a file of the scratch directory, read in the order they were written.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, ErrorKind, Read, Write};
use std::marker::PhantomData;
use std::path::PathBuf;

use crate::error::{Failure, Result};
use crate::report::Reason;
use crate::scratch::{self, Scratch};

/// What can be written to a list.
pub trait Record: Sized {
    /// Appends its bytes.
    fn encode(&self, bytes: &mut Vec<u8>);
    /// Reads what `encode` wrote.
    fn decode(bytes: &[u8]) -> Option<Self>;
}

impl Record for Box<[u8]> {
    fn encode(&self, bytes: &mut Vec<u8>) {
        bytes.extend_from_slice(self);
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        Some(bytes.into())
    }
}

/// A list being written.
#[derive(Debug)]
pub struct SpillWriter<T> {
    out: BufWriter<File>,
    spill: Spill<T>,
    bytes: Vec<u8>,
}

/// A list; its file goes with it.
#[derive(Debug)]
pub struct Spill<T> {
    path: PathBuf,
    length: usize,
    of: PhantomData<fn() -> T>,
}

impl<T> Drop for Spill<T> {
    fn drop(&mut self) {
        // The whole directory is removed in the end; this only keeps it small.
        let _ = std::fs::remove_file(&self.path);
    }
}

impl<T: Record> SpillWriter<T> {
    /// An empty list.
    pub fn new(scratch: &Scratch) -> Result<Self> {
        let path = scratch.fresh("spill");
        let out = BufWriter::new(File::create_new(&path).map_err(|e| Failure::scratch(&e))?);
        Ok(Self { out, spill: Spill { path, length: 0, of: PhantomData }, bytes: Vec::new() })
    }

    /// Adds a record at the end.
    pub fn push(&mut self, record: &T) -> Result<()> {
        self.bytes.clear();
        record.encode(&mut self.bytes);
        let length = u32::try_from(self.bytes.len()).map_err(|e| Failure::scratch(&io::Error::other(e)))?;
        let written = self.out.write_all(&length.to_le_bytes()).and_then(|()| self.out.write_all(&self.bytes));
        written.map_err(|e| Failure::scratch(&e))?;
        self.spill.length += 1;
        Ok(())
    }

    /// The list, to be read.
    pub fn finish(mut self) -> Result<Spill<T>> {
        self.out.flush().map_err(|e| Failure::scratch(&e))?;
        Ok(self.spill)
    }
}

impl<T: Record> Spill<T> {
    /// An empty list.
    pub fn empty(scratch: &Scratch) -> Result<Self> {
        SpillWriter::new(scratch)?.finish()
    }

    /// Records in it.
    pub fn len(&self) -> usize {
        self.length
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// Reads it from its beginning.
    pub fn read(&self) -> Result<Records<T>> {
        let file = scratch::open(&self.path)?;
        Ok(Records { input: BufReader::new(file), left: self.length, of: PhantomData })
    }
}

/// The records of a list.
#[derive(Debug)]
pub struct Records<T> {
    input: BufReader<File>,
    left: usize,
    of: PhantomData<fn() -> T>,
}

impl<T: Record> Records<T> {
    fn record(&mut self) -> io::Result<T> {
        let mut length = [0; 4];
        self.input.read_exact(&mut length)?;
        let mut bytes = vec![0; usize::try_from(u32::from_le_bytes(length)).map_err(io::Error::other)?];
        self.input.read_exact(&mut bytes)?;
        T::decode(&bytes).ok_or_else(|| ErrorKind::InvalidData.into())
    }
}

impl<T: Record> Iterator for Records<T> {
    type Item = Result<T>;

    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        Some(self.record().map_err(|e| {
            self.left = 0;
            Failure::new(Reason::MoverFailed, format!("a temporary list cannot be read back: {e}"))
        }))
    }
}

/// Puts the items of a fallible stream together, up to `most` at a time.
pub fn batches<T>(items: impl Iterator<Item = Result<T>>, most: usize) -> impl Iterator<Item = Result<Vec<T>>> {
    let mut items = items.fuse();
    std::iter::from_fn(move || {
        let batch: Result<Vec<T>> = items.by_ref().take(most).collect();
        match batch {
            Ok(batch) if batch.is_empty() => None,
            batch => Some(batch),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_come_back_in_order_and_in_batches() {
        let scratch = Scratch::new().unwrap();
        let names: Vec<Box<[u8]>> = (0..1000).map(|n| format!("{n}\n\0").into_bytes().into()).collect();
        let mut writer = SpillWriter::new(&scratch).unwrap();
        for name in &names {
            writer.push(name).unwrap();
        }
        let spill = writer.finish().unwrap();
        assert_eq!((spill.len(), spill.read().unwrap().collect::<Result<Vec<_>>>().unwrap()), (1000, names));
        let sizes: Vec<usize> = batches(spill.read().unwrap(), 300).map(|batch| batch.unwrap().len()).collect();
        assert_eq!(sizes, [300, 300, 300, 100]);
        assert!(Spill::<Box<[u8]>>::empty(&scratch).unwrap().read().unwrap().next().is_none());
    }

    #[test]
    fn a_list_that_was_cut_is_no_shorter_list() {
        let scratch = Scratch::new().unwrap();
        let mut writer = SpillWriter::<Box<[u8]>>::new(&scratch).unwrap();
        writer.push(&(*b"abc").into()).unwrap();
        let spill = writer.finish().unwrap();
        File::options().write(true).open(&spill.path).unwrap().set_len(6).unwrap();
        let read: Vec<_> = spill.read().unwrap().collect();
        assert!(read.len() == 1 && read[0].is_err());
    }
}
