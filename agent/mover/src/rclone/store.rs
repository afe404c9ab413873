//! The verbs of a remote path as commands of rclone, each with the flags that were measured to cost least.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::Duration;

use super::lines::{self, Backend};
use super::options::TIMEOUT;
use super::process::{BULK_IDLE, CONTROL_IDLE, COPY_IDLE, Finished, Rclone};
use crate::error::Failure;
use crate::store::{Class, Features, Fetch, List, Listed, Names, Place, Put, Replacing, Result, Store, StoreError, Sum};

/// Writing without asking first: one request a file. Only ever used for names nothing committed depends on.
const BLIND_WRITE: [&str; 4] = ["--no-check-dest", "--no-traverse", "--s3-no-head", "--s3-no-check-bucket"];
/// Reading and deleting by name without asking first.
const BLIND: [&str; 2] = ["--no-traverse", "--s3-no-head-object"];
/// Fetching by name, into its place: what is half fetched has no hash that fits, and a suffix could make a name too long. The hash is the
/// caller's to check: rclone would read all of it once more. A folder of which nothing came is missed when its time is to be set.
const FETCH: [&str; 6] =
    ["--no-check-dest", "--no-traverse", "--inplace", "--use-server-modtime", "--ignore-checksum", "--no-update-dir-modtime"];
/// With one request a file: the size is unknown until the file is there.
const BLIND_FETCH: [&str; 2] = ["--s3-no-head-object", "--ignore-size"];
/// With times; rclone checks size and hash of each.
const CHECKED_FETCH: [&str; 3] = ["--no-check-dest", "--no-traverse", "--inplace"];
/// What rclone finds after an upload is no reason to remove it.
const UNCHECKED: [&str; 2] = ["--ignore-size", "--ignore-checksum"];

/// A path of a section.
#[derive(Debug)]
pub struct RcloneStore {
    rclone: Rclone,
    /// `section:path`, without a trailing slash.
    root: String,
    backend: OnceLock<Backend>,
}

impl RcloneStore {
    /// The path `section:path`.
    pub fn new(rclone: Rclone, root: &str) -> Self {
        Self { rclone, root: root.trim_end_matches('/').to_owned(), backend: OnceLock::new() }
    }

    /// Always with a trailing slash: without one rclone first checks whether it is a file, and misreports errors.
    fn at(&self, below: &str) -> OsString {
        let slash = if self.root.ends_with(':') || below.starts_with('/') { "" } else { "/" };
        format!("{}{slash}{below}", self.root).into()
    }

    fn place(&self, place: Place) -> OsString {
        match place {
            Place::Path(below) => self.at(below),
            Place::Section(below) => format!("{}:{below}", self.root.split(':').next().unwrap_or_default()).into(),
        }
    }

    fn command(&self, verb: &str, places: &[OsString], names: &Names, flags: &[&str], idle: Duration) -> Result<Finished> {
        let list = self.rclone.context.scratch.list(names.iter().copied())?;
        let mut args: Vec<OsString> = vec![verb.into()];
        args.extend_from_slice(places);
        args.extend(["--files-from-raw".into(), list.clone().into()]);
        args.extend(flags.iter().map(OsString::from));
        let ran = self.rclone.run(&args, idle);
        fs::remove_file(list).map_err(|e| Failure::scratch(&e))?;
        ran
    }

    fn about(&self) -> Result<&Backend> {
        if let Some(backend) = self.backend.get() {
            return Ok(backend);
        }
        let finished = self.rclone.run(&["backend".into(), "features".into(), self.at("")], CONTROL_IDLE)?;
        let backend = lines::backend(&finished.stdout, &self.root)?;
        Ok(self.backend.get_or_init(|| backend))
    }
}

impl Store for RcloneStore {
    fn kind(&self) -> Option<&str> {
        self.rclone.environment.backend.as_deref()
    }

    fn features(&self) -> Result<Features> {
        self.about().map(Backend::features)
    }

    fn replacing(&self) -> Result<Replacing> {
        let base = self.rclone.environment.base.as_deref();
        // A WebDAV upload that fails is followed by a DELETE of that name. A type that is not known may be any: a section of variables.
        let destroys = matches!(base, Some("webdav") | None);
        Ok(Replacing { destroys, renames: base != Some("s3") && self.about()?.has("PartialUploads") })
    }

    fn read(&self, name: &str) -> Result<Option<PathBuf>> {
        let (dir, file) = name.split_at(name.rfind('/').map_or(0, |slash| slash + 1));
        let finished = match self.command("cat", &[self.at(dir)], &[file.as_bytes()], &BLIND, CONTROL_IDLE) {
            Err(error) if error.is_absence() => return Ok(None),
            finished => finished?,
        };
        // Most backends skip a missing name in silence: only a listing distinguishes it from an empty object.
        if fs::metadata(&finished.stdout).map_err(|e| Failure::scratch(&e))?.len() == 0 {
            let mut found = false;
            match self.list(Place::Path(dir), List::default(), &mut |listed| found |= listed.name == file) {
                Err(error) if !error.is_absence() => return Err(error),
                _ if !found => return Ok(None),
                _ => {}
            }
        }
        Ok(Some(finished.stdout))
    }

    fn fetch(&self, from: &str, to: &Path, names: &Names, how: Fetch) -> Result<()> {
        let (flags, idle) = match how {
            Fetch::Documents => ([&FETCH[..], &BLIND_FETCH].concat(), CONTROL_IDLE),
            Fetch::Content => ([&FETCH[..], &BLIND_FETCH].concat(), BULK_IDLE),
            Fetch::Large => (FETCH.to_vec(), BULK_IDLE),
            Fetch::Checked => (CHECKED_FETCH.to_vec(), BULK_IDLE),
        };
        self.command("copy", &[self.at(from), folder(to)], names, &flags, idle).map(drop)
    }

    fn put(&self, from: &Path, to: &str, names: &Names, how: Put) -> Result<()> {
        let (more, idle): (&[&str], _) = match how {
            Put::Files => (&["--skip-links"], BULK_IDLE),
            Put::Linked => (&["--copy-links"], BULK_IDLE),
            Put::Document { checked: true } => (&[], CONTROL_IDLE),
            Put::Document { checked: false } => (&UNCHECKED, CONTROL_IDLE),
        };
        let flags = [&BLIND_WRITE[..], more].concat();
        expect_transfers(&self.command("copy", &[folder(from), self.at(to)], names, &flags, idle)?, names.len())
    }

    fn copy(&self, from: &str, to: &str, names: &Names) -> Result<()> {
        let mut flags = BLIND_WRITE.to_vec();
        flags.push("--s3-no-head-object");
        let timeout = format!("--timeout={}s", COPY_IDLE.as_secs());
        // What the user has set is meant so.
        if self.rclone.environment.vars.get(OsStr::new("RCLONE_TIMEOUT")).is_some_and(|set| set == TIMEOUT) {
            flags.push(&timeout);
        }
        expect_transfers(&self.command("copy", &[self.at(from), self.at(to)], names, &flags, COPY_IDLE)?, names.len())
    }

    fn rename(&self, from: &str, to: &str) -> Result<()> {
        let args = ["moveto".into(), self.at(from), self.at(to), "--no-check-dest".into(), "--no-traverse".into()];
        self.rclone.run(&args, CONTROL_IDLE).map(drop)
    }

    fn delete(&self, names: &Names) -> Result<()> {
        self.command("delete", &[self.at("")], names, &BLIND, BULK_IDLE).map(drop)
    }

    fn list(&self, place: Place, what: List, each: &mut dyn FnMut(Listed)) -> Result<()> {
        let mut args = vec!["lsjson", "--no-mimetype"];
        if !what.folders {
            args.push("--files-only");
        }
        if what.recursive {
            args.extend(["-R", "--fast-list"]);
        }
        // On S3, a listing has the time of the last write; any other time costs a request for each object.
        args.push(if what.times { "--use-server-modtime" } else { "--no-modtime" });
        if what.sums {
            args.extend(["--hash", "--hash-type", "md5"]);
        }
        let mut args: Vec<OsString> = args.into_iter().map(OsString::from).collect();
        args.push(self.place(place));
        let finished = self.rclone.run(&args, if what.recursive { BULK_IDLE } else { CONTROL_IDLE })?;
        Ok(lines::listing(&finished.stdout, &self.root, each)?)
    }

    fn sums(&self, kind: Sum, names: &Names, each: &mut dyn FnMut(&[u8], &str)) -> Result<()> {
        // Not to standard output, which is lost where one of them cannot be read.
        let to = self.rclone.context.scratch.fresh("sums");
        let output = format!("--output-file={}", to.display());
        let (kind, flags): (&str, &[&str]) = match kind {
            Sum::Sha256 => ("sha256", &["--download", "--no-traverse", &output]),
            Sum::Md5 => ("md5", &["--no-traverse", &output]),
        };
        let ran = self.command("hashsum", &[kind.into(), self.at("")], names, flags, BULK_IDLE);
        lines::sums(&to, each)?;
        ran.map(drop)
    }

    fn make(&self) -> Result<()> {
        self.rclone.run(&["mkdir".into(), self.at("")], CONTROL_IDLE).map(drop)
    }

    fn remove_empty_folders(&self, below: &str) -> Result<()> {
        let mut args: Vec<OsString> = vec!["rmdirs".into(), self.at(below)];
        if below.is_empty() {
            args.push("--leave-root".into());
        }
        self.rclone.run(&args, BULK_IDLE).map(drop)
    }
}

/// A local folder as rclone is to see it: absolute, so that no colon in it is taken for a remote's.
fn folder(path: &Path) -> OsString {
    let mut bytes = path.as_os_str().to_owned().into_vec();
    bytes.push(b'/');
    OsString::from_vec(bytes)
}

/// rclone leaves out what it cannot find and exits 0: the number of files it moved must be the one it was given.
fn expect_transfers(finished: &Finished, count: usize) -> Result<()> {
    let moved = usize::try_from(finished.stats.transfers).unwrap_or(usize::MAX);
    if moved >= count {
        return Ok(());
    }
    Err(StoreError::new(Class::NotFound, format!("rclone moved {moved} of {count} files")))
}
