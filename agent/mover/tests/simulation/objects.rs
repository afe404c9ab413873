//! The objects of a remote path in memory, and what a backend makes of them: folders, copies that are cut, names that are taken.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;
use scribe_mover::digest::Digest;
use scribe_mover::store::{Class, StoreError};
use sha2::{Digest as _, Sha256};

pub type Name = Vec<u8>;

/// One object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Object {
    pub content: Arc<[u8]>,
    pub sha256: Digest,
    /// By the server's clock, or the file's own time.
    pub time: Timestamp,
}

impl Object {
    pub fn new(content: &[u8], time: Timestamp) -> Self {
        Self { content: content.into(), sha256: sha256(content), time }
    }
}

pub fn sha256(content: &[u8]) -> Digest {
    Digest(Sha256::digest(content).into())
}

/// For a person.
pub fn show(name: &[u8]) -> String {
    name.escape_ascii().to_string()
}

/// The name of what is in a folder.
pub fn join(folder: &str, name: &[u8]) -> Name {
    [folder.as_bytes(), name].concat()
}

/// What kind of backend it is.
#[allow(clippy::struct_excessive_bools, reason = "each stands for itself")]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Kind {
    /// Objects are files in folders.
    pub folders: bool,
    /// See [`scribe_mover::store::Replacing`].
    pub destroys: bool,
    pub renames: bool,
    /// Listings have no MD5 sums.
    pub no_sums: bool,
    /// A file keeps its own time.
    pub own_times: bool,
    /// See [`scribe_mover::store::Features::reads_once`].
    pub once: Option<u64>,
}

/// A state of the path.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Objects {
    pub bucket: bool,
    pub all: BTreeMap<Name, Object>,
    /// Where there are such; parents of objects, and empty ones.
    pub folders: BTreeSet<Name>,
}

fn above(name: &[u8]) -> impl Iterator<Item = &[u8]> {
    name.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(at, _)| &name[..at])
}

impl Objects {
    /// Puts an object in the place of another, or of none.
    pub fn put(&mut self, kind: Kind, name: &[u8], object: Object) -> Result<(), StoreError> {
        if !self.bucket {
            return Err(StoreError::new(Class::BucketMissing, "the bucket does not exist"));
        }
        if kind.folders {
            if let Some(file) = above(name).find(|folder| self.all.contains_key(*folder)) {
                return Err(StoreError::new(Class::Obstructed, format!("{} is not a directory", String::from_utf8_lossy(file))));
            }
            if self.folders.contains(name) {
                return Err(StoreError::new(Class::Obstructed, format!("{} is a directory", String::from_utf8_lossy(name))));
            }
            self.folders.extend(above(name).map(<[u8]>::to_vec));
        }
        self.all.insert(name.to_vec(), object);
        Ok(())
    }

    pub fn get(&self, name: &[u8]) -> Option<&Object> {
        self.all.get(name)
    }

    pub fn remove(&mut self, name: &[u8]) {
        self.all.remove(name);
    }

    /// Removes the empty folders in `below`, and itself; `b""` stands for all of them.
    pub fn remove_empty(&mut self, below: &[u8]) {
        let objects = &self.all;
        let is_empty = |folder: &Name| {
            let prefix = [folder.as_slice(), b"/"].concat();
            objects.range(prefix.clone()..).next().is_none_or(|(name, _)| !name.starts_with(&prefix))
        };
        let inside = |folder: &Name| {
            let prefix = [below, b"/"].concat();
            below.is_empty() || folder == below || folder.starts_with(&prefix)
        };
        self.folders.retain(|folder| !inside(folder) || !is_empty(folder));
    }
}
