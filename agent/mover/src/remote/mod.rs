//! A remote path and what can be done with it.
//!
//! Listings are in `listing`, the control objects are read in `reading` and written in `writing`, content that was sent is put in place in
//! `promoting`, and what an absence means is in `absence`.
//! Knows nothing of what the names mean beyond [`crate::format::names`].

mod absence;
pub mod committed;
mod index;
mod listing;
mod once;
pub mod packed;
mod promoting;
mod reading;
mod writing;

use std::fs;
use std::path::Path;
use std::sync::OnceLock;

pub use absence::{contradiction, shows, unlisted};
pub use index::{Index, ListedObject, Object};
pub use listing::{ControlSums, Detail, Listing, Sums};
pub use once::SentOnce;
pub use promoting::Waiting;
pub use reading::Read;

use crate::error::{Failure, Result};
use crate::format::names::{COMMIT, Folder};
use crate::report::Reason;
use crate::store::{self, Class, Context, DOCUMENT, Features, Fetch, Put, Store, Upload};

/// Names handed to the store at a time: it keeps all of them in memory, and each verb has a cost of its own.
pub const BATCH: usize = 20_000;
/// Files handed to it at a time, each of them open: half of what a process may usually have open, see [`open_files`].
const OPEN_FILES: usize = 500;
/// What the mover has open for itself, sockets and pipes included, and more.
const OWN_FILES: u64 = 40;
/// Files from this size on are fetched with their size known, so that several streams can be used.
pub const LARGE: u64 = 32 * 1024 * 1024;

/// Folders removed one by one; where more are empty, one walk over the whole path is less work.
const MOST_FOLDERS: usize = 16;

/// How many files may be handed to the store at a time, by what this process may have open.
pub fn open_files() -> usize {
    let most = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    most.map_or(OPEN_FILES, |most| usize::try_from(most.saturating_sub(OWN_FILES)).unwrap_or(OPEN_FILES).clamp(1, OPEN_FILES))
}

/// A remote path.
#[derive(Debug)]
pub struct Remote {
    /// What every step has at hand.
    pub context: Context,
    store: Box<dyn Store>,
    /// `section:path`, without a trailing slash.
    root: String,
    /// See [`Self::is_found_to_fold`].
    found_to_fold: OnceLock<bool>,
    /// Something that lies there could be read.
    deciphered: OnceLock<()>,
    /// See [`Self::has_bucket`].
    bucket_listed: OnceLock<bool>,
    /// See [`Self::made`].
    made: OnceLock<()>,
}

impl Remote {
    /// The path `section:path`, which is where `store` leads.
    pub fn new(context: Context, store: Box<dyn Store>, root: &str) -> Self {
        Self {
            context,
            store,
            root: root.trim_end_matches('/').to_owned(),
            found_to_fold: OnceLock::new(),
            deciphered: OnceLock::new(),
            bucket_listed: OnceLock::new(),
            made: OnceLock::new(),
        }
    }

    /// As the user wrote it.
    pub fn name(&self) -> &str {
        &self.root
    }

    /// Makes the bucket or folder.
    pub fn make(&self) -> Result<()> {
        self.store.make().map_err(|error| match error.class {
            Class::AccessDenied => Failure::new(
                Reason::BucketMissing,
                format!("the bucket of {} does not exist and cannot be created with these credentials: {}", self.root, error.message),
            ),
            _ => error.into(),
        })?;
        self.made.get_or_init(|| ());
        Ok(())
    }

    /// The bucket that [`Self::make`] made, or the whole path where it is not known which part of it that is.
    pub fn made(&self) -> Option<&str> {
        self.made.get().map(|()| self.bucket().unwrap_or(&self.root))
    }

    /// Uploads `files` to the folder `to`, overwriting.
    pub fn send(&self, files: Vec<Upload>, to: Folder) -> store::Result<()> {
        if files.is_empty() { Ok(()) } else { self.store.put(files, &to.below(), Put::Content) }
    }

    /// Deletes `names` below the path. One that is gone already is no failure.
    pub fn delete(&self, names: &store::Names) -> store::Result<()> {
        if names.is_empty() { Ok(()) } else { self.store.delete(names) }
    }

    /// Removes the folders `dirs` with all empty ones in them, where the backend keeps folders of their own (S3 does not): a file
    /// could not take the place of one. What holds anything stays.
    pub fn remove_empty<'a>(&self, dirs: impl ExactSizeIterator<Item = &'a str>) -> Result<()> {
        if dirs.len() == 0 || !self.has_folders()? {
            return Ok(());
        }
        if dirs.len() > MOST_FOLDERS {
            return self.remove_all_empty();
        }
        for dir in dirs {
            match self.store.remove_empty_folders(&format!("{dir}/")) {
                Err(error) if error.class != Class::NotFound => return Err(error.into()),
                _ => {}
            }
        }
        Ok(())
    }

    /// Removes every empty folder below the path, where the backend keeps such.
    pub fn remove_all_empty(&self) -> Result<()> {
        if self.has_folders()? {
            self.store.remove_empty_folders("")?;
        }
        Ok(())
    }

    /// Whether folders of this backend exist by themselves, and so outlive the files in them.
    pub fn has_folders(&self) -> Result<bool> {
        Ok(self.features()?.keeps_folders)
    }

    /// What the backend can do.
    pub fn features(&self) -> Result<Features> {
        Ok(self.store.features()?)
    }

    /// Whether a control object that is there is found under a name that differs from its own in case alone.
    pub fn is_found_to_fold(&self, control: &str) -> Result<bool> {
        if let Some(found) = self.found_to_fold.get() {
            return Ok(*found);
        }
        let found = match self.read_object(&control.to_uppercase(), DOCUMENT)? {
            Read::Content(path) => fs::metadata(path).map_err(|e| Failure::scratch(&e))?.len() > 0,
            Read::Damaged(_) => true,
            Read::Absent => false,
        };
        if found {
            tracing::info!("the remote does not distinguish upper and lower case");
        }
        // A claim may not have been written yet.
        if found || control == COMMIT {
            self.found_to_fold.get_or_init(|| found);
        }
        Ok(found)
    }

    /// Fetches `names` from the folder `from` into the local folder `to`. One that does not exist is left out: the
    /// caller verifies every file, so nothing is concluded from the error.
    pub fn fetch(&self, from: Folder, to: &Path, names: &store::Names, how: Fetch) -> store::Result<()> {
        if names.is_empty() { Ok(()) } else { self.store.fetch(&from.below(), to, names, how) }
    }
}
