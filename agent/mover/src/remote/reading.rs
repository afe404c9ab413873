//! Reads the control objects, and distinguishes a damaged one from a remote that cannot be read.
//!
//! Behind encryption a damaged object and a wrong password are the same to rclone. The difference is whether anything else on the
//! path can be read.

use std::fs;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;

use super::Remote;
use crate::error::{Failure, Result};
use crate::format::documents::{Claim, Control, unseal};
use crate::format::names::{CLAIM, COMMIT, CONTROL_DIR};
use crate::packs;
use crate::packs::commit::AnyCommit;
use crate::store::{self, Class, DOCUMENT, Fetch, StoreError, slices};

/// What a damaged object is said to be.
const UNDECIPHERABLE: &str = "it cannot be decrypted, or unpacked";

/// What one read of an object gave.
#[derive(Debug)]
pub enum Read {
    /// This read did not find it. That alone proves nothing: who concludes anything from its absence has a listing agree, see
    /// [`super::absence`].
    Absent,
    /// It exists and cannot be deciphered although others can be; with a description.
    Damaged(String),
    /// Its content, in a temporary file.
    Content(PathBuf),
}

impl Remote {
    /// Reads a control document with one request, on S3.
    pub fn read_control<T: DeserializeOwned>(&self, name: &str) -> Result<Control<T>> {
        self.read_document(name, unseal)
    }

    /// The same, of a document that `unseal` checks and reads.
    pub fn read_document<T>(&self, name: &str, unseal: impl Fn(&[u8]) -> Result<Control<T>>) -> Result<Control<T>> {
        match self.read_object(name, DOCUMENT)? {
            Read::Absent => Ok(Control::Absent),
            Read::Damaged(what) => Ok(Control::Corrupt(what)),
            Read::Content(path) => self.unsealed(&fs::read(path).map_err(|e| Failure::scratch(&e))?, unseal),
        }
    }

    /// What is damaged may be the page of a web server, which is no damage that a push repairs.
    fn unsealed<T>(&self, content: &[u8], unseal: impl Fn(&[u8]) -> Result<Control<T>>) -> Result<Control<T>> {
        let control = unseal(content)?;
        if matches!(control, Control::Corrupt(_)) && content.trim_ascii_start().starts_with(b"<") {
            self.confirm_root()?;
        }
        Ok(control)
    }

    /// Reads one object below [`CONTROL_DIR`]. One of more than `most` bytes is damaged.
    pub fn read_object(&self, name: &str, most: u64) -> Result<Read> {
        match self.store.read(&format!("{CONTROL_DIR}/{name}"), most) {
            Ok(None) => Ok(Read::Absent),
            Ok(Some(path)) => {
                if fs::metadata(&path).map_err(|e| Failure::scratch(&e))?.len() > 0 {
                    self.deciphered.get_or_init(|| ());
                }
                Ok(Read::Content(path))
            }
            Err(error) if error.class == Class::TooLarge => {
                // It may be the page of a web server.
                self.confirm_root()?;
                Ok(Read::Damaged(format!("it has more than {most} bytes")))
            }
            Err(error) if self.deciphers(&error)? => Ok(Read::Damaged(UNDECIPHERABLE.to_owned())),
            Err(error) => Err(self.explain(error)),
        }
    }

    /// Bytes `range` of one object below [`CONTROL_DIR`]; an error proves nothing, see [`crate::store::Store::range`].
    pub fn read_range(&self, name: &str, range: Range<u64>) -> store::Result<Vec<u8>> {
        self.store.range(&format!("{CONTROL_DIR}/{name}"), range)
    }

    /// Whether the objects that this error is about are damaged: they cannot be deciphered, and something else on the path can be.
    pub fn deciphers(&self, error: &StoreError) -> Result<bool> {
        if error.class != Class::Undecipherable || self.deciphered.get().is_some() {
            return Ok(error.class == Class::Undecipherable);
        }
        let folder = format!("{CONTROL_DIR}/");
        let is_control = |name: &str| name == COMMIT || name == CLAIM || name.starts_with("manifests/");
        let listing = self.list(&folder)?;
        let names: Vec<String> = listing.keys().filter_map(|name| Some(std::str::from_utf8(name).ok()?.to_owned())).collect();
        let names: Vec<String> = names.into_iter().filter(|name| is_control(name)).collect();
        let dir = self.fetch_control(&names, Fetch::Content)?.0;
        // What cannot be deciphered to its end is removed again.
        if names.iter().any(|name| dir.join(name).is_file()) {
            self.deciphered.get_or_init(|| ());
        }
        Ok(self.deciphered.get().is_some())
    }

    /// Fetches these objects below [`CONTROL_DIR`] into a temporary folder, as far as they can be fetched.
    fn fetch_control(&self, names: &[String], how: Fetch) -> Result<(PathBuf, Option<StoreError>)> {
        let dir = self.context.scratch.fresh_dir("control")?;
        let fetched = self.store.fetch(&format!("{CONTROL_DIR}/"), &dir, &slices(names), how);
        Ok((dir, fetched.err()))
    }

    /// Reads claim and commit, of either layout, with one verb, where both are expected to be there. Whatever does not come that way is read
    /// by itself: nothing is concluded from its absence here.
    pub fn read_claim_and_commit(&self) -> Result<(Control<Claim>, Control<AnyCommit>)> {
        let dir = match self.fetch_control(&[CLAIM, COMMIT].map(str::to_owned), Fetch::Documents)? {
            (dir, None) => dir,
            (dir, Some(error)) if matches!(error.class, Class::NotFound | Class::Undecipherable | Class::TooLarge) => dir,
            (_, Some(error)) => return Err(self.explain(error)),
        };
        let claim = self.fetched_document(&dir, CLAIM, packs::commit::read_claim)?;
        Ok((claim, self.fetched_document(&dir, COMMIT, packs::commit::read)?))
    }

    /// Fetches these objects below [`CONTROL_DIR`] into a temporary folder; what does not come is not in it.
    pub fn read_objects(&self, names: &[String]) -> Result<PathBuf> {
        match self.fetch_control(names, Fetch::Content)? {
            (dir, None) => Ok(dir),
            (dir, Some(error)) if error.class == Class::NotFound || self.deciphers(&error)? => Ok(dir),
            (_, Some(error)) => Err(error.into()),
        }
    }

    fn fetched_document<T>(&self, dir: &Path, name: &str, unseal: impl Fn(&[u8]) -> Result<Control<T>>) -> Result<Control<T>> {
        match fs::read(dir.join(name)) {
            Ok(content) => self.unsealed(&content, unseal),
            Err(error) if error.kind() == io::ErrorKind::NotFound => self.read_document(name, unseal),
            Err(error) => Err(Failure::scratch(&error)),
        }
    }
}
