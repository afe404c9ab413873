//! A remote path and what can be done with it: bulk commands of rclone, each with the flags measured to cost least.
//!
//! Listings are in `listing` and `listed`, the control objects are read in `reading` and written in `writing`. Knows nothing of what the names mean beyond [`crate::format::names`].

mod absence;
pub mod committed;
mod index;
mod listing;
mod reading;
mod writing;

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::OsStringExt;
use std::path::Path;
use std::sync::OnceLock;

use serde::Deserialize;

pub use absence::{contradiction, shows};
pub use index::{Index, ListedObject, Object};
pub use listing::{Detail, Listing, Sums};
pub use reading::Read;

use crate::error::{Failure, Result};
use crate::format::names::{COMMIT, Folder};
use crate::rclone::options::TIMEOUT;
use crate::rclone::{BULK_IDLE, CONTROL_IDLE, COPY_IDLE, Class, Finished, Rclone, RcloneError};
use crate::report::Reason;

/// Writing without asking first: one request a file. Only ever used for names nothing committed depends on.
const BLIND_WRITE: [&str; 4] = ["--no-check-dest", "--no-traverse", "--s3-no-head", "--s3-no-check-bucket"];
/// Reading and deleting by name without asking first.
const BLIND: [&str; 2] = ["--no-traverse", "--s3-no-head-object"];
/// Fetching by name with one request a file: the size is unknown until the file is there, so the caller verifies what it got.
const BLIND_READ: [&str; 7] =
    ["--no-check-dest", "--no-traverse", "--inplace", "--use-server-modtime", "--ignore-checksum", "--s3-no-head-object", "--ignore-size"];
/// Names handed to one rclone: it keeps all of them in memory, and starting another one costs a tenth of a second.
pub const BATCH: usize = 20_000;
/// Files from this size on are fetched with their size known, so that rclone can use several streams.
pub const LARGE: u64 = 32 * 1024 * 1024;

/// The coarsest time that says anything of a file, in nanoseconds: FAT has two seconds.
const COARSEST: u64 = 2_000_000_000;

/// Folders removed one by one; where more are empty, one walk over the whole path is less work.
const MOST_FOLDERS: usize = 16;

/// A remote path.
#[derive(Debug)]
pub struct Remote {
    /// Runs the commands.
    pub rclone: Rclone,
    /// `section:path`, without a trailing slash.
    root: String,
    backend: OnceLock<Backend>,
    /// See [`Self::is_found_to_fold`].
    found_to_fold: OnceLock<bool>,
    /// Something that lies there could be read.
    deciphered: OnceLock<()>,
}

/// What rclone says of a backend.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Backend {
    features: HashMap<String, serde_json::Value>,
    /// Of the times that it keeps, in nanoseconds; a hundred years where it keeps none.
    #[serde(default)]
    precision: u64,
}

impl Remote {
    /// The path `section:path`.
    pub fn new(rclone: Rclone, root: &str) -> Self {
        Self {
            rclone,
            root: root.trim_end_matches('/').to_owned(),
            backend: OnceLock::new(),
            found_to_fold: OnceLock::new(),
            deciphered: OnceLock::new(),
        }
    }

    /// As the user wrote it.
    pub fn name(&self) -> &str {
        &self.root
    }

    /// Always with a trailing slash: without one rclone first checks whether it is a file, and misreports errors.
    fn at(&self, below: &str) -> OsString {
        let slash = if self.root.ends_with(':') || below.starts_with('/') { "" } else { "/" };
        format!("{}{slash}{below}", self.root).into()
    }

    /// Makes the bucket or folder.
    pub fn make(&self) -> Result<()> {
        let ran = self.rclone.run(&["mkdir".into(), self.at("")], CONTROL_IDLE)?;
        ran.map(drop).map_err(|error| match error.class {
            Class::AccessDenied => Failure::new(
                Reason::BucketMissing,
                format!("the bucket of {} does not exist and cannot be created with these credentials: {}", self.root, error.message),
            ),
            _ => error.into(),
        })
    }

    /// Uploads `names` from the folder `from` to the folder `to`, overwriting. Links are left out.
    pub fn upload<'a>(
        &self,
        from: &Path,
        to: Folder,
        names: impl ExactSizeIterator<Item = &'a [u8]>,
    ) -> Result<std::result::Result<(), RcloneError>> {
        self.send(from, to, names, "--skip-links")
    }

    /// Uploads what the links `names` in the folder `from` lead to. Never for a folder that others can write to.
    pub fn upload_links<'a>(
        &self,
        from: &Path,
        to: Folder,
        names: impl ExactSizeIterator<Item = &'a [u8]>,
    ) -> Result<std::result::Result<(), RcloneError>> {
        self.send(from, to, names, "--copy-links")
    }

    fn send<'a>(
        &self,
        from: &Path,
        to: Folder,
        names: impl ExactSizeIterator<Item = &'a [u8]>,
        links: &'static str,
    ) -> Result<std::result::Result<(), RcloneError>> {
        let count = names.len();
        if count == 0 {
            return Ok(Ok(()));
        }
        let list = self.rclone.scratch.list(names)?;
        let mut flags = BLIND_WRITE.to_vec();
        flags.push(links);
        let ran = self.command("copy", &[folder(from), self.at(&to.below())], &list, &flags, BULK_IDLE)?;
        Ok(ran.and_then(|finished| expect_transfers(&finished, count)))
    }

    /// Copies `names` from one folder of the path to another, on the server where it can.
    pub fn promote<'a>(&self, from: Folder, to: Folder, names: impl ExactSizeIterator<Item = &'a [u8]>) -> Result<()> {
        if self.promote_whole(from, to, names)? {
            return Ok(());
        }
        let what = "content that was sent and waits to be put in place cannot be decrypted any more; the next attempt sends it again";
        Err(Failure::new(Reason::RemoteInconsistent, format!("{}: {what}", self.root)))
    }

    /// The same; false where any of them cannot be deciphered, which matters to a server that does not copy by itself.
    pub fn promote_whole<'a>(&self, from: Folder, to: Folder, names: impl ExactSizeIterator<Item = &'a [u8]>) -> Result<bool> {
        let count = names.len();
        if count == 0 {
            return Ok(true);
        }
        let list = self.rclone.scratch.list(names)?;
        let mut flags = BLIND_WRITE.to_vec();
        flags.push("--s3-no-head-object");
        let timeout = format!("--timeout={}s", COPY_IDLE.as_secs());
        // What the user has set is meant so.
        if self.rclone.environment.vars.get(OsStr::new("RCLONE_TIMEOUT")).is_some_and(|set| set == TIMEOUT) {
            flags.push(&timeout);
        }
        match self.command("copy", &[self.at(&from.below()), self.at(&to.below())], &list, &flags, COPY_IDLE)? {
            Ok(finished) => Ok(expect_transfers(&finished, count).map(|()| true)?),
            Err(error) if self.deciphers(&error)? => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Deletes `names` below the path. One that is gone already is no failure.
    pub fn delete<'a>(&self, names: impl ExactSizeIterator<Item = &'a [u8]>) -> Result<()> {
        if names.len() == 0 {
            return Ok(());
        }
        let list = self.rclone.scratch.list(names)?;
        self.command("delete", &[self.at("")], &list, &BLIND, BULK_IDLE)??;
        Ok(())
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
            match self.rclone.run(&["rmdirs".into(), self.at(&format!("{dir}/"))], BULK_IDLE)? {
                Err(error) if error.class != Class::NotFound => return Err(error.into()),
                _ => {}
            }
        }
        Ok(())
    }

    /// Removes every empty folder below the path, where the backend keeps such.
    pub fn remove_all_empty(&self) -> Result<()> {
        if self.has_folders()? {
            self.rclone.run(&["rmdirs".into(), "--leave-root".into(), self.at("")], BULK_IDLE)??;
        }
        Ok(())
    }

    /// Whether folders of this backend exist by themselves, and so outlive the files in them.
    pub fn has_folders(&self) -> Result<bool> {
        self.feature("CanHaveEmptyDirectories")
    }

    /// Whether names that differ in case alone are one name there, as far as rclone knows.
    pub fn folds_case(&self) -> Result<bool> {
        self.feature("CaseInsensitive")
    }

    /// Whether a control object that is there is found under a name that differs from its own in case alone.
    pub fn is_found_to_fold(&self, control: &str) -> Result<bool> {
        if let Some(found) = self.found_to_fold.get() {
            return Ok(*found);
        }
        let found = match self.read_object(&control.to_uppercase())? {
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

    /// Whether the backend has this one of rclone's features. Asks rclone once, and no server.
    pub fn feature(&self, name: &str) -> Result<bool> {
        Ok(self.about()?.features.get(name).and_then(serde_json::Value::as_bool).unwrap_or(false))
    }

    /// How finely the backend keeps a file's own time, in nanoseconds, where its listings show that one: not that of the upload.
    pub fn keeps_times(&self) -> Result<Option<u64>> {
        let precision = self.about()?.precision;
        let listed = !self.feature("SlowModTime")?;
        Ok(Some(precision).filter(|precision| listed && *precision <= COARSEST))
    }

    fn about(&self) -> Result<&Backend> {
        if let Some(backend) = self.backend.get() {
            return Ok(backend);
        }
        let finished = self.rclone.run(&["backend".into(), "features".into(), self.at("")], CONTROL_IDLE)??;
        let text = fs::read(&finished.stdout).map_err(|e| Failure::scratch(&e))?;
        let backend: Backend = serde_json::from_slice(&text)
            .map_err(|e| Failure::new(Reason::MoverFailed, format!("what rclone can do on {} cannot be read: {e}", self.root)))?;
        Ok(self.backend.get_or_init(|| backend))
    }

    /// Fetches `names` from the folder `from` into the local folder `to`. One that does not exist is left out: the
    /// caller verifies every file, so nothing is concluded from the exit code.
    pub fn fetch<'a>(
        &self,
        from: Folder,
        to: &Path,
        names: impl ExactSizeIterator<Item = &'a [u8]>,
        large: bool,
    ) -> Result<std::result::Result<(), RcloneError>> {
        if names.len() == 0 {
            return Ok(Ok(()));
        }
        let list = self.rclone.scratch.list(names)?;
        // In place: what is half fetched has no hash that fits, and a suffix could make a name too long.
        // Large files with a size that is known. Their hash is ours to check: rclone would read all of them once more.
        let flags = if large { &BLIND_READ[..5] } else { &BLIND_READ[..] };
        let ran = self.command("copy", &[self.at(&from.below()), folder(to)], &list, flags, BULK_IDLE)?;
        Ok(ran.map(drop))
    }

    /// Fetches `names` of the path into the local folder `to`, with their times; rclone checks size and hash of each.
    pub fn fetch_checked(&self, to: &Path, names: &[&[u8]]) -> Result<std::result::Result<(), RcloneError>> {
        if names.is_empty() {
            return Ok(Ok(()));
        }
        let list = self.rclone.scratch.list(names.iter().copied())?;
        let flags = ["--no-check-dest", "--no-traverse", "--inplace"];
        Ok(self.command("copy", &[self.at(""), folder(to)], &list, &flags, BULK_IDLE)?.map(drop))
    }

    fn command(
        &self,
        verb: &str,
        places: &[OsString],
        list: &Path,
        flags: &[&str],
        idle: std::time::Duration,
    ) -> Result<std::result::Result<Finished, RcloneError>> {
        let mut args: Vec<OsString> = vec![verb.into()];
        args.extend_from_slice(places);
        args.extend(["--files-from-raw".into(), list.into()]);
        args.extend(flags.iter().map(OsString::from));
        let ran = self.rclone.run(&args, idle);
        fs::remove_file(list).map_err(|e| Failure::scratch(&e))?;
        ran
    }
}

/// A local folder as rclone is to see it: absolute, so that no colon in it is taken for a remote's.
fn folder(path: &Path) -> OsString {
    let mut bytes = path.as_os_str().to_owned().into_vec();
    bytes.push(b'/');
    OsString::from_vec(bytes)
}

/// rclone leaves out what it cannot find and exits 0: the number of files it moved must be the one it was given.
fn expect_transfers(finished: &Finished, count: usize) -> std::result::Result<(), RcloneError> {
    let moved = usize::try_from(finished.stats.transfers).unwrap_or(usize::MAX);
    if moved >= count {
        return Ok(());
    }
    let message = format!("rclone moved {moved} of {count} files");
    Err(RcloneError { class: Class::NotFound, code: None, printed: 0, message })
}
