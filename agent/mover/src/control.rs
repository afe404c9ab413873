//! The control objects of a remote path, and the bulk commands on its data: every request that the mover makes.
//!
//! Imports `failure`, `manifest`, `rclone`, `report`, `scratch`.

use crate::failure::{self, Failure};
use crate::manifest::{Claim, Commit, FORMAT, Tree, decode};
use crate::rclone::{Ended, Rclone};
use crate::report::Reason;
use crate::scratch::Scratch;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::ffi::OsString;
use std::path::Path;

/// Copying by name, without asking first what is there.
const BY_NAME: [&str; 4] = ["--no-check-dest", "--s3-no-head", "--s3-no-check-bucket", "--no-traverse"];

/// A remote path.
#[derive(Debug)]
pub(crate) struct Remote<'a> {
    rclone: &'a Rclone,
    scratch: &'a Scratch,
    /// With a trailing slash.
    path: String,
}

/// What a remote path holds beside what is ours.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Contents {
    /// Not even the bucket is there.
    NoBucket,
    /// Nothing.
    Nothing,
    /// Files or folders of somebody's.
    Foreign(String),
}

impl<'a> Remote<'a> {
    pub(crate) fn new(rclone: &'a Rclone, scratch: &'a Scratch, remote: &str) -> Self {
        Remote { rclone, scratch, path: format!("{}/", remote.trim_end_matches('/')) }
    }

    fn under(&self, path: &str) -> String {
        format!("{}{path}", self.path)
    }

    pub(crate) fn commit(&self) -> Result<Option<Commit>, Failure> {
        let Some(commit) = self.json::<Commit>("commit.json")? else { return Ok(None) };
        if commit.format > FORMAT {
            let message =
                format!("the path was written in format {}, and this scribe-agent reads up to {FORMAT}: update it", commit.format);
            return Err(Failure::new(Reason::RemoteInconsistent, message));
        }
        Ok(Some(commit))
    }

    pub(crate) fn claim(&self) -> Result<Option<Claim>, Failure> {
        self.json("claim.json")
    }

    pub(crate) fn manifest(&self, commit: &Commit) -> Result<Tree, Failure> {
        let name = format!("{}.zst", commit.revision);
        match self.read("manifests/", &name)? {
            Some(stored) => decode(&stored, commit),
            None => Err(Failure::new(Reason::RemoteInconsistent, format!("the manifest of revision {} is gone", commit.revision))),
        }
    }

    fn json<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>, Failure> {
        let Some(bytes) = self.read("", name)? else { return Ok(None) };
        let parsed = serde_json::from_slice(&bytes);
        parsed.map(Some).map_err(|e| Failure::new(Reason::RemoteInconsistent, format!("{}.scribe/{name} is damaged: {e}", self.path)))
    }

    /// One small object, by one request on S3; none where it, its folder or its bucket is not there.
    fn read(&self, folder: &str, name: &str) -> Result<Option<Vec<u8>>, Failure> {
        let list = self.scratch.list(std::iter::once(name))?;
        let from = self.under(&format!(".scribe/{folder}"));
        let args: [OsString; 6] =
            ["cat".into(), "--s3-no-head-object".into(), "--no-traverse".into(), "--files-from-raw".into(), list.into(), from.into()];
        let what = format!("reading .scribe/{folder}{name}");
        let ended = self.rclone.small(&what, &args)?;
        match ended.code {
            Some(0) if !ended.stdout.is_empty() => Ok(Some(ended.stdout)),
            // Backends other than S3 pass over what is not there.
            Some(0 | 3) => Ok(None),
            Some(4) if ended.stderr.contains("not found") => Ok(None),
            _ => Err(refused(&what, &ended)),
        }
    }

    pub(crate) fn write_json<T: Serialize>(&self, name: &str, value: &T) -> Result<(), Failure> {
        let bytes = serde_json::to_vec(value).map_err(|e| Failure::internal("writing JSON", e))?;
        self.write(name, &bytes)
    }

    /// One object, whole or not at all.
    pub(crate) fn write(&self, name: &str, bytes: &[u8]) -> Result<(), Failure> {
        let file = self.scratch.file(bytes)?;
        let mut args: Vec<OsString> = vec!["copyto".into()];
        args.extend(BY_NAME.iter().map(OsString::from));
        args.extend([file.into(), self.under(&format!(".scribe/{name}")).into()]);
        let what = format!("writing .scribe/{name}");
        let ended = self.rclone.small(&what, &args)?;
        if ended.good() { Ok(()) } else { Err(refused(&what, &ended)) }
    }

    /// Removes one object; one that is gone already is as good as removed.
    pub(crate) fn remove(&self, name: &str) -> Result<(), Failure> {
        let what = format!("removing .scribe/{name}");
        let ended = self.rclone.small(&what, &["deletefile", &self.under(&format!(".scribe/{name}"))])?;
        match ended.code {
            Some(0 | 3 | 4) => Ok(()),
            _ => Err(refused(&what, &ended)),
        }
    }

    /// Makes the bucket or folder.
    pub(crate) fn make(&self) -> Result<(), Failure> {
        let what = "making the bucket";
        let ended = self.rclone.small(what, &["mkdir", &self.path])?;
        if ended.good() { Ok(()) } else { Err(refused(what, &ended)) }
    }

    /// What is there beside `.scribe/`, seen from the top.
    pub(crate) fn contents(&self) -> Result<Contents, Failure> {
        let what = "listing the path";
        let ended = self.rclone.small(what, &["lsf", &self.path])?;
        match ended.code {
            Some(0) => {
                let listing = String::from_utf8_lossy(&ended.stdout).into_owned();
                let foreign = listing.lines().find(|name| !name.is_empty() && *name != ".scribe/");
                Ok(foreign.map_or(Contents::Nothing, |name| Contents::Foreign(name.to_owned())))
            }
            Some(3) => Ok(Contents::NoBucket),
            _ => Err(refused(what, &ended)),
        }
    }

    /// Names of all files at and below the path, but for `.scribe/`.
    pub(crate) fn all_names(&self) -> Result<Vec<String>, Failure> {
        let what = "listing all of the path";
        let args = ["lsf", "-R", "--files-only", "--fast-list", "--format", "p", "--exclude", "/.scribe/**", &self.path];
        let ended = self.rclone.small(what, &args)?;
        if !ended.good() {
            return Err(refused(what, &ended));
        }
        Ok(String::from_utf8_lossy(&ended.stdout).lines().map(str::to_owned).collect())
    }

    /// Uploads files of `from` by name; `to` is relative to the path. Links are followed: a folder of links is a way to rename.
    pub(crate) fn upload<'n>(&self, what: &str, from: &Path, to: &str, names: impl Iterator<Item = &'n str>) -> Result<(), Failure> {
        let list = self.scratch.list(names)?;
        let mut args: Vec<OsString> = vec!["copy".into(), "--copy-links".into(), "--ignore-times".into()];
        args.extend(BY_NAME.iter().map(OsString::from));
        args.extend(["--files-from-raw".into(), list.into(), from.into(), self.under(to).into()]);
        self.rclone.transfer(what, &args)
    }

    /// Fetches files by name into a folder.
    pub(crate) fn download<'n>(&self, what: &str, from: &str, to: &Path, names: impl Iterator<Item = &'n str>) -> Result<(), Failure> {
        let list = self.scratch.list(names)?;
        let mut args: Vec<OsString> = vec!["copy".into(), "--no-check-dest".into(), "--no-traverse".into(), "--ignore-times".into()];
        args.extend(["--files-from-raw".into(), list.into(), self.under(from).into(), to.into()]);
        self.rclone.transfer(what, &args)
    }

    /// Copies staged files to their own names, on the server where the backend can.
    pub(crate) fn promote<'n>(&self, revision: &str, names: impl Iterator<Item = &'n str>) -> Result<(), Failure> {
        let list = self.scratch.list(names)?;
        let mut args: Vec<OsString> = vec!["copy".into(), "--ignore-times".into()];
        args.extend(BY_NAME.iter().map(OsString::from));
        let staged = self.under(&format!(".scribe/staged/{revision}/"));
        args.extend(["--files-from-raw".into(), list.into(), staged.into(), self.path.clone().into()]);
        self.rclone.transfer("promoting replaced files", &args)
    }

    /// Deletes files by name; those that are gone already do not matter.
    pub(crate) fn delete<'n>(&self, folder: &str, names: impl Iterator<Item = &'n str>) -> Result<(), Failure> {
        let list = self.scratch.list(names)?;
        let args: [OsString; 5] =
            ["delete".into(), "--no-traverse".into(), "--files-from-raw".into(), list.into(), self.under(folder).into()];
        self.rclone.transfer("deleting old files", &args)
    }

    /// Removes everything staged.
    pub(crate) fn purge_staged(&self) -> Result<(), Failure> {
        let what = "removing staged files";
        let ended = self.rclone.small(what, &["purge", &self.under(".scribe/staged/")])?;
        match ended.code {
            Some(0 | 3) => Ok(()),
            _ => Err(refused(what, &ended)),
        }
    }
}

fn refused(what: &str, ended: &Ended) -> Failure {
    failure::of_rclone(what, ended.code, &ended.stderr)
}
