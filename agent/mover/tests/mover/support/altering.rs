//! A store that stores some names under another one, as servers do that decompose letters or know no backslash: it finds them under either.

use std::ops::Range;
use std::path::{Path, PathBuf};

use scribe_mover::store::{Content, Features, Fetch, List, Listed, Names, Place, Put, Replacing, Result, Store, Sum, Upload, slices};

/// What becomes of a name.
pub(crate) type Alter = fn(&[u8]) -> Vec<u8>;

#[derive(Debug)]
pub(crate) struct Altering {
    pub(crate) store: Box<dyn Store>,
    pub(crate) alter: Alter,
}

impl Altering {
    fn all(&self, names: &Names) -> Vec<Vec<u8>> {
        names.iter().map(|name| (self.alter)(name)).collect()
    }
}

impl Store for Altering {
    fn kind(&self) -> Option<&str> {
        self.store.kind()
    }

    fn features(&self) -> Result<Features> {
        self.store.features()
    }

    fn replacing(&self) -> Result<Replacing> {
        self.store.replacing()
    }

    fn read(&self, name: &str, most: u64) -> Result<Option<PathBuf>> {
        self.store.read(name, most)
    }

    fn range(&self, name: &str, range: Range<u64>) -> Result<Vec<u8>> {
        self.store.range(name, range)
    }

    fn fetch(&self, from: &str, to: &Path, names: &Names, how: Fetch) -> Result<()> {
        self.store.fetch(from, to, &slices(&self.all(names)), how)
    }

    fn put(&self, files: Vec<Upload>, to: &str, how: Put) -> Result<()> {
        // One after another, so that the last one counts where two have one name.
        for file in files {
            let name = (self.alter)(file.name);
            self.store.put(vec![Upload { name: &name, file: file.file }], to, how)?;
        }
        Ok(())
    }

    fn put_once(&self, files: Vec<Upload>, to: &str) -> Result<Vec<Content>> {
        let mut sent = Vec::new();
        for file in files {
            let name = (self.alter)(file.name);
            sent.extend(self.store.put_once(vec![Upload { name: &name, file: file.file }], to)?);
        }
        Ok(sent)
    }

    fn copy(&self, from: &str, to: &str, names: &Names) -> Result<()> {
        self.store.copy(from, to, &slices(&self.all(names)))
    }

    fn rename(&self, from: &str, to: &str) -> Result<()> {
        self.store.rename(from, to)
    }

    fn delete(&self, names: &Names) -> Result<()> {
        self.store.delete(&slices(&self.all(names)))
    }

    fn list(&self, place: Place, what: List, each: &mut dyn FnMut(Listed)) -> Result<()> {
        self.store.list(place, what, each)
    }

    fn look(&self, names: &Names, sums: bool, each: &mut dyn FnMut(Listed)) -> Result<()> {
        self.store.look(&slices(&self.all(names)), sums, each)
    }

    fn sums(&self, kind: Sum, names: &Names, each: &mut dyn FnMut(&[u8], &str)) -> Result<()> {
        self.store.sums(kind, &slices(&self.all(names)), each)
    }

    fn make(&self) -> Result<()> {
        self.store.make()
    }

    fn remove_empty_folders(&self, below: &str) -> Result<()> {
        self.store.remove_empty_folders(below)
    }
}
