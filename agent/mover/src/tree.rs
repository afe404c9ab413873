//! A tree too large for memory: its entries in a file of the scratch directory, in the form of a manifest.
//!
//! Imports [`crate::manifest`], [`crate::scratch`] and [`crate::failure`].

use std::collections::HashSet;
use std::fs::File;
use std::path::{Path, PathBuf};

use crate::entry::{At, Digest, Entry};
use crate::failure::{Failure, Result};
use crate::guard::Count;
use crate::manifest::{self, Reader, Writer};
use crate::scratch::Scratch;

/// Entries in path order; their file goes with them.
#[derive(Debug)]
pub struct Entries {
    path: PathBuf,
    revision: String,
    facts: Facts,
}

/// What is known of all entries together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// Regular files.
    pub files: u64,
    /// Entries of every type but the root.
    pub entries: u64,
    /// Their size.
    pub bytes: u64,
    /// Content that lies under its hash on the remote.
    pub objects: HashSet<Digest>,
}

impl Facts {
    fn add(&mut self, entry: &Entry) {
        self.entries += u64::from(!entry.path.is_root());
        let Some(file) = entry.file() else { return };
        self.files += 1;
        self.bytes += file.size;
        if file.at == At::Object {
            self.objects.insert(file.sha256);
        }
    }

    /// For the deletion guard.
    pub fn count(&self) -> Count {
        Count { files: self.files, all: self.entries }
    }
}

impl Drop for Entries {
    fn drop(&mut self) {
        // The whole directory is removed in the end; this only keeps it small.
        let _ = std::fs::remove_file(&self.path);
    }
}

impl Entries {
    /// Takes over the manifest at `path`, after reading it from end to end: what it says is possible, or it is refused.
    pub fn open(path: PathBuf, revision: &str) -> Result<Self> {
        let mut entries = Self { path, revision: revision.to_owned(), facts: Facts::default() };
        let mut facts = Facts::default();
        for entry in entries.read()? {
            facts.add(&entry?);
        }
        entries.facts = facts;
        Ok(entries)
    }

    /// Reads them from the beginning.
    pub fn read(&self) -> Result<Reader<File>> {
        manifest::read(File::open(&self.path).map_err(|e| Failure::scratch(&e))?, &self.revision)
    }

    /// What is known of all of them together.
    pub fn facts(&self) -> &Facts {
        &self.facts
    }

    /// The manifest.
    pub fn file(&self) -> &Path {
        &self.path
    }
}

/// A tree being written.
pub struct EntriesWriter {
    out: Writer<File>,
    entries: Entries,
}

impl EntriesWriter {
    /// An empty tree.
    pub fn new(scratch: &Scratch, revision: &str) -> Result<Self> {
        let path = scratch.fresh("tree");
        let file = File::create_new(&path).map_err(|e| Failure::scratch(&e))?;
        let out = Writer::new(file, revision).map_err(|e| Failure::scratch(&e))?;
        Ok(Self { out, entries: Entries { path, revision: revision.to_owned(), facts: Facts::default() } })
    }

    /// Adds an entry, which comes after all before it.
    pub fn push(&mut self, entry: &Entry) -> Result<()> {
        self.entries.facts.add(entry);
        self.out.push(entry).map_err(|e| Failure::scratch(&e))
    }

    /// The tree, to be read.
    pub fn finish(self) -> Result<Entries> {
        self.out.finish().map_err(|e| Failure::scratch(&e))?;
        Ok(self.entries)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A tree of these entries.
    pub(crate) fn tree(scratch: &Scratch, entries: &[Entry]) -> Entries {
        let mut writer = EntriesWriter::new(scratch, "test").unwrap();
        for entry in entries {
            writer.push(entry).unwrap();
        }
        writer.finish().unwrap()
    }

    /// The entries of a tree.
    pub(crate) fn all(entries: &Entries) -> Vec<Entry> {
        entries.read().unwrap().collect::<Result<_>>().unwrap()
    }
}
