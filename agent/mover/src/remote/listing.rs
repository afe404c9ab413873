//! Lists what lies below a remote path: names and sizes, and more on request.

use std::collections::HashMap;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::path::Path;

use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::Remote;
use super::index::ListedObject;
use crate::error::{Failure, Result};
use crate::format::names::CONTROL_DIR;
use crate::rclone::{BULK_IDLE, CONTROL_IDLE, Finished, RcloneError};
use crate::report::Reason;

/// On S3, a listing has the time of the last write; any other time costs a request for each object.
const TIMES: [&str; 1] = ["--use-server-modtime"];
/// And MD5 sums, where the backend knows them.
const TIMES_AND_SUMS: [&str; 4] = ["--use-server-modtime", "--hash", "--hash-type", "md5"];

/// What a listing of nothing has printed before it fails: the opening bracket and its line's end.
const EMPTY: u64 = 2;

fn flags(sums: bool) -> &'static [&'static str] {
    if sums { &TIMES_AND_SUMS } else { &TIMES }
}

/// What a listing found: names below the path, with sizes.
pub type Listing = HashMap<Box<[u8]>, u64>;

/// Sums in hexadecimal, by name below the path.
pub type Sums = HashMap<Box<[u8]>, Box<str>>;

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
    hashes: Hashes,
}

impl Detail {
    /// For tests.
    #[cfg(test)]
    pub(crate) fn example(path: &str, is_dir: bool, size: u64) -> Self {
        Self { path: path.into(), is_dir, size, ..Self::default() }
    }

    /// The MD5 sum in hexadecimal, where the backend knows it.
    pub fn md5(&self) -> Option<&str> {
        self.hashes.md5()
    }
}

/// Of one object, by kind.
#[derive(Clone, Debug, Default, Deserialize)]
struct Hashes(HashMap<String, String>);

impl Hashes {
    fn md5(&self) -> Option<&str> {
        self.0.get("md5").map(String::as_str).filter(|sum| !sum.is_empty())
    }
}

/// As [`Detail`], of an object whose size may be unknown.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Item {
    path: String,
    size: i64,
    #[serde(default)]
    mod_time: String,
    #[serde(default)]
    is_dir: bool,
    #[serde(default)]
    hashes: Hashes,
}

impl Item {
    /// A negative size means unknown: such a backend cannot be checked by size, but never equals a known one.
    fn known_size(&self) -> u64 {
        u64::try_from(self.size).unwrap_or(u64::MAX)
    }
}

impl Remote {
    /// Every object below `below`; empty when the path, or even the bucket, is said not to exist.
    pub fn list(&self, below: &str) -> Result<Listing> {
        let mut listing = Listing::new();
        self.each_below(below, &["--no-modtime"], |item: Item| {
            let size = item.known_size();
            listing.insert(item.path.into_bytes().into(), size);
        })?;
        Ok(listing)
    }

    /// Calls `each` with every object of the whole path, and its size; MD5 sums where `sums` and the backend knows them.
    pub fn each_listed(&self, sums: bool, mut each: impl FnMut(ListedObject, u64)) -> Result<()> {
        self.each_below("", flags(sums), |item: Item| {
            each(
                ListedObject { name: item.path.as_bytes(), written: item.mod_time.parse().ok(), md5: item.hashes.md5() },
                item.known_size(),
            );
        })
    }

    /// The MD5 sums of the control documents by their names, from one listing of our own folder; empty if the backend does not report
    /// them. Nothing is concluded from what this does not show: a caller that misses anything reads it.
    pub fn control_sums(&self) -> Result<HashMap<String, String>> {
        let args = ["lsjson", "--files-only", "--no-mimetype", "--no-modtime", "--hash", "--hash-type", "md5"];
        let mut args: Vec<OsString> = args.iter().map(OsString::from).collect();
        args.push(self.at(&format!("{CONTROL_DIR}/")));
        let Ok(finished) = self.rclone.run(&args, CONTROL_IDLE)? else { return Ok(HashMap::new()) };
        let text = fs::read(&finished.stdout).map_err(|e| Failure::scratch(&e))?;
        let items: Vec<Item> = serde_json::from_slice(&text).unwrap_or_default();
        Ok(items.into_iter().map(|Item { path, hashes, .. }| (path, hashes.md5().unwrap_or_default().to_owned())).collect())
    }

    /// The names in the folder `place`, which may lie anywhere on the remote; none when it is said not to exist.
    pub(super) fn names_in(&self, place: OsString) -> Result<std::result::Result<Vec<String>, RcloneError>> {
        let args = ["lsjson", "--files-only", "--no-mimetype", "--no-modtime"];
        let mut args: Vec<OsString> = args.iter().map(OsString::from).collect();
        args.push(place);
        let finished = match self.rclone.run(&args, CONTROL_IDLE)? {
            Ok(finished) => finished,
            Err(error) if error.is_absence() && error.printed <= EMPTY => return Ok(Ok(Vec::new())),
            Err(error) => return Ok(Err(error)),
        };
        let text = fs::read(&finished.stdout).map_err(|e| Failure::scratch(&e))?;
        let items: Vec<Item> = serde_json::from_slice(&text)
            .map_err(|e| Failure::new(Reason::MoverFailed, format!("rclone's listing of a folder cannot be read: {e}")))?;
        Ok(Ok(items.into_iter().map(|item| item.path).collect()))
    }

    /// Fetches the content of the named objects, and returns its sha256 sums in hexadecimal; one that is not there, or damaged, has none.
    pub fn read_sums<'a>(&self, names: impl ExactSizeIterator<Item = &'a [u8]>) -> Result<Sums> {
        // Not to standard output, which is lost where one of them is damaged.
        let stdout = self.rclone.scratch.fresh("sums");
        let to = format!("--output-file={}", stdout.display());
        match self.hashsum("sha256", &["--download", "--no-traverse", &to], names)? {
            Ok(_) => {}
            Err(error) if self.deciphers(&error)? => tracing::warn!(message = error.message, "objects cannot be deciphered"),
            Err(error) => return Err(error.into()),
        }
        sums_in(&stdout)
    }

    /// The MD5 sums of the named objects in hexadecimal, if the backend has them without a download.
    pub fn listed_sums<'a>(&self, names: impl ExactSizeIterator<Item = &'a [u8]>) -> Result<Sums> {
        match self.hashsum("md5", &["--no-traverse"], names)? {
            Ok(finished) => sums_in(&finished.stdout),
            // An SFTP server may have no md5sum.
            Err(error) => {
                tracing::info!(message = error.message, "the remote reports no checksums");
                Ok(Sums::new())
            }
        }
    }

    fn hashsum<'a>(
        &self,
        kind: &str,
        flags: &[&str],
        names: impl ExactSizeIterator<Item = &'a [u8]>,
    ) -> Result<std::result::Result<Finished, RcloneError>> {
        let list = self.rclone.scratch.list(names)?;
        self.command("hashsum", &[kind.into(), self.at("")], &list, flags, BULK_IDLE)
    }

    /// Every object and folder of the path with all that a listing reports; MD5 sums where `hashes` and the backend knows them.
    pub fn details(&self, hashes: bool) -> Result<Vec<Detail>> {
        let mut details = Vec::new();
        self.each_entry_below("", flags(hashes), |item: Item| {
            let size = item.known_size();
            details.push(Detail { path: item.path, size, mod_time: item.mod_time, is_dir: item.is_dir, hashes: item.hashes });
        })?;
        Ok(details)
    }

    /// Shows every object below `below`; none when the path, or even the bucket, is said not to exist.
    fn each_below<T: DeserializeOwned>(&self, below: &str, flags: &[&str], each: impl FnMut(T)) -> Result<()> {
        self.each_entry_below(below, &[flags, &["--files-only"]].concat(), each)
    }

    /// As [`Self::each_below`], with the folders.
    fn each_entry_below<T: DeserializeOwned>(&self, below: &str, flags: &[&str], mut each: impl FnMut(T)) -> Result<()> {
        let args = ["lsjson", "-R", "--no-mimetype", "--fast-list"];
        let mut args: Vec<OsString> = args.iter().chain(flags).map(OsString::from).collect();
        args.push(self.at(below));
        let finished = match self.rclone.run(&args, BULK_IDLE)? {
            Ok(finished) => finished,
            // A folder that goes away in mid-listing ends it in the same way, but not before the first object.
            Err(error) if error.is_absence() && error.printed <= EMPTY => return Ok(()),
            Err(error) => return Err(self.explain(error)),
        };
        let unreadable = |error: &dyn std::fmt::Display| {
            Failure::new(Reason::MoverFailed, format!("rclone's listing of {} cannot be read: {error}", self.root))
        };
        let mut complete = false;
        // An array with one object a line: far too much of it to be read as a whole.
        each_line(&finished.stdout, |line| {
            match line.trim_end_matches(',') {
                "[" | "" => {}
                "]" | "[]" => complete = true,
                object => each(serde_json::from_str(object).map_err(|e| unreadable(&e))?),
            }
            Ok(())
        })?;
        if complete { Ok(()) } else { Err(unreadable(&"it has no end")) }
    }
}

/// The sums that a command printed.
fn sums_in(printed: &Path) -> Result<Sums> {
    let mut sums = Sums::new();
    each_line(printed, |line| {
        if let Some((sum, name)) = line.split_once("  ") {
            sums.insert(name.as_bytes().into(), sum.into());
        }
        Ok(())
    })?;
    Ok(sums)
}

/// Shows what a command printed, line by line, and drops it.
fn each_line(printed: &Path, mut each: impl FnMut(&str) -> Result<()>) -> Result<()> {
    for line in BufReader::new(File::open(printed).map_err(|e| Failure::scratch(&e))?).lines() {
        each(&line.map_err(|e| Failure::scratch(&e))?)?;
    }
    fs::remove_file(printed).map_err(|e| Failure::scratch(&e))
}
