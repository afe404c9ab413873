//! Lists what lies below a remote path: names and sizes, and more on request.

use std::collections::HashMap;

use jiff::Timestamp;

use super::Remote;
use super::index::ListedObject;
use crate::error::Result;
use crate::format::names::CONTROL_DIR;
use crate::store::{self, Class, List, Listed, Place, Sum};

/// What a listing found: names below the path, with sizes.
pub type Listing = HashMap<Box<[u8]>, u64>;

/// Sums in hexadecimal, by name below the path.
pub type Sums = HashMap<Box<[u8]>, Box<str>>;

/// MD5 sums in hexadecimal of the documents in our own folder, by name there.
pub type ControlSums = HashMap<String, String>;

/// One object of a full listing.
#[derive(Clone, Debug, Default)]
pub struct Detail {
    /// Name below the path.
    pub path: String,
    /// In bytes; `u64::MAX` where it is unknown.
    pub size: u64,
    /// As the backend gives it.
    pub mod_time: String,
    /// A folder: possibly one that exists only in the names of objects.
    pub is_dir: bool,
    md5: Option<String>,
}

impl Detail {
    /// For tests.
    #[cfg(test)]
    pub(crate) fn example(path: &str, is_dir: bool, size: u64) -> Self {
        Self { path: path.into(), is_dir, size, ..Self::default() }
    }

    /// The MD5 sum in hexadecimal, where the backend knows it.
    pub fn md5(&self) -> Option<&str> {
        self.md5.as_deref()
    }
}

/// An unknown size cannot be checked, but never equals a known one.
fn known(size: Option<u64>) -> u64 {
    size.unwrap_or(u64::MAX)
}

impl Remote {
    /// Every object below `below`; empty when the path, or even the bucket, is said not to exist.
    pub fn list(&self, below: &str) -> Result<Listing> {
        let mut listing = Listing::new();
        self.each(below, List::default(), &mut |listed| {
            listing.insert(listed.name.into_bytes().into(), known(listed.size));
        })?;
        Ok(listing)
    }

    /// Calls `each` with every object of the whole path, and its size; MD5 sums where `sums` and the backend knows them.
    pub fn each_listed(&self, sums: bool, mut each: impl FnMut(ListedObject, u64)) -> Result<()> {
        self.each("", List { times: true, sums, ..List::default() }, &mut |listed| {
            let object = ListedObject { name: listed.name.as_bytes(), written: listed.time.parse().ok(), md5: listed.md5.as_deref() };
            each(object, known(listed.size));
        })
    }

    /// Every object and folder of the path with all that a listing reports; MD5 sums where `sums` and the backend knows them.
    pub fn details(&self, sums: bool) -> Result<Vec<Detail>> {
        let mut details = Vec::new();
        self.each("", List { times: true, folders: true, sums, ..List::default() }, &mut |listed| {
            let (size, is_dir) = (known(listed.size), listed.is_folder);
            details.push(Detail { path: listed.name, size, mod_time: listed.time, is_dir, md5: listed.md5 });
        })?;
        Ok(details)
    }

    /// Shows everything below `below`; nothing when the path, or even the bucket, is said not to exist.
    fn each(&self, below: &str, what: List, each: &mut dyn FnMut(Listed)) -> Result<()> {
        match self.store.list(Place::Path(below), List { recursive: true, ..what }, each) {
            Err(error) if !error.is_absence() => Err(self.explain(error)),
            _ => Ok(()),
        }
    }

    /// The MD5 sums of the control documents by their names, from one listing of our own folder; empty if the backend does not report
    /// them. Nothing is concluded from what this does not show: a caller that misses anything reads it.
    pub fn control_sums(&self) -> Result<ControlSums> {
        let mut sums = ControlSums::new();
        let listed = self.each_of_ours(false, false, &mut |listed| {
            sums.insert(listed.name, listed.md5.unwrap_or_default());
        })?;
        Ok(if listed { sums } else { ControlSums::new() })
    }

    /// Shows what lies in our own folder, with MD5 sums; false where it could not be listed and is not `needed`.
    pub(super) fn each_of_ours(&self, recursive: bool, needed: bool, each: &mut dyn FnMut(Listed)) -> Result<bool> {
        match self.store.list(Place::Path(&format!("{CONTROL_DIR}/")), List { recursive, sums: true, ..List::default() }, each) {
            Err(error) if needed || error.class == Class::Mover => Err(self.explain(error)),
            listed => Ok(listed.is_ok()),
        }
    }

    /// All that lies in our own folder, by the names there, each with the time at which it was written, by the server's clock: none where the
    /// backend does not say that, or shows an object's own time instead.
    pub fn written_in_ours(&self) -> Result<Vec<(String, Option<Timestamp>)>> {
        let is_servers = self.features()?.keeps_times.is_none();
        let mut written = Vec::new();
        self.each(&format!("{CONTROL_DIR}/"), List { times: true, ..List::default() }, &mut |listed| {
            let time = if is_servers { listed.time.parse().ok() } else { None };
            written.push((listed.name, time));
        })?;
        Ok(written)
    }

    /// The names in the folder `place`; none when it is said not to exist.
    pub(super) fn names_in(&self, place: Place) -> store::Result<Vec<String>> {
        let mut names = Vec::new();
        match self.store.list(place, List::default(), &mut |listed| names.push(listed.name)) {
            Err(error) if !error.is_absence() => Err(error),
            _ => Ok(names),
        }
    }

    /// Fetches the content of the named objects, and returns its sha256 sums in hexadecimal; one that is not there, or damaged, has none.
    pub fn read_sums(&self, names: &store::Names) -> Result<Sums> {
        let (sums, ran) = self.sums(Sum::Sha256, names);
        match ran {
            Ok(()) => {}
            Err(error) if self.deciphers(&error)? => tracing::warn!(message = error.message, "objects cannot be deciphered"),
            Err(error) => return Err(error.into()),
        }
        Ok(sums)
    }

    /// The MD5 sums of the named objects in hexadecimal, if the backend has them without a download.
    pub fn listed_sums(&self, names: &store::Names) -> Result<Sums> {
        match self.sums(Sum::Md5, names) {
            (sums, Ok(())) => Ok(sums),
            (_, Err(error)) if error.class == Class::Mover => Err(error.into()),
            // An SFTP server may have no md5sum.
            (_, Err(error)) => {
                tracing::info!(message = error.message, "the remote reports no checksums");
                Ok(Sums::new())
            }
        }
    }

    fn sums(&self, kind: Sum, names: &store::Names) -> (Sums, store::Result<()>) {
        let mut sums = Sums::new();
        let ran = self.store.sums(kind, names, &mut |name, sum| {
            sums.insert(name.into(), sum.into());
        });
        (sums, ran)
    }
}
