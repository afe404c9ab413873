//! The staging folder on the volume: where fetched content waits until all of it is verified.
//!
//! `.scribe-staging/in/` is what rclone writes; `ok/<sha256>` is what was verified; `tmp/` is made ready there for its
//! rename. Its presence says that the volume is not a whole revision. Imports [`crate::hash`] and [`crate::failure`].

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use super::plan::Fetch;
use crate::entry::Digest;
use crate::failure::{Failure, Result};
use crate::hash::Hasher;
use crate::names::STAGING_DIR;
use crate::report::Reason;
use crate::stop::Stop;

/// The folder.
#[derive(Debug)]
pub(super) struct Staging {
    dir: PathBuf,
}

impl Staging {
    /// On the volume at `root`, made if it is not there.
    pub(super) fn open(root: &Path) -> Result<Self> {
        let staging = Self { dir: root.join(STAGING_DIR) };
        for dir in [staging.dir.clone(), staging.verified(), staging.temporary(), staging.incoming()] {
            if dir == staging.incoming() || dir == staging.temporary() {
                // Of unknown content: a killed pull's.
                remove_tree(&dir)?;
            }
            match fs::DirBuilder::new().mode(0o700).create(&dir) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists && dir.is_dir() => {}
                Err(error) => return Err(Failure::volume("make the folder", &dir, &error)),
            }
        }
        Ok(staging)
    }

    /// Removes it with all it holds: the volume is whole.
    pub(super) fn remove(root: &Path) -> Result<()> {
        remove_tree(&root.join(STAGING_DIR))
    }

    fn verified(&self) -> PathBuf {
        self.dir.join("ok")
    }

    /// Verified content.
    pub(super) fn content(&self, digest: &Digest) -> PathBuf {
        self.verified().join(digest.hex())
    }

    /// Where entries are made ready.
    pub(super) fn temporary(&self) -> PathBuf {
        self.dir.join("tmp")
    }

    /// Where rclone writes.
    pub(super) fn incoming(&self) -> PathBuf {
        self.dir.join("in")
    }

    /// Keeps what an earlier pull verified and this one needs, drops the rest, and says what is still to fetch.
    ///
    /// Kept content is hashed again: a crash of the node may have lost what was written.
    pub(super) fn still_missing(&self, wanted: &BTreeMap<Digest, Fetch>, hasher: &Hasher, stop: &Stop) -> Result<BTreeMap<Digest, Fetch>> {
        let mut missing = wanted.clone();
        let dir = self.verified();
        let unreadable = |error: io::Error| Failure::volume("read", &dir, &error);
        let mut kept = Vec::new();
        for file in fs::read_dir(&dir).map_err(unreadable)? {
            let file = file.map_err(unreadable)?;
            let digest = file.file_name().to_str().and_then(Digest::parse);
            match digest.filter(|digest| wanted.contains_key(digest)) {
                Some(digest) => kept.push((digest, file.path())),
                None => fs::remove_file(file.path()).map_err(|e| Failure::volume("remove", &file.path(), &e))?,
            }
        }
        let paths: Vec<PathBuf> = kept.iter().map(|(_, path)| path.clone()).collect();
        for ((digest, path), hashed) in kept.into_iter().zip(hasher.all(&paths, stop)?) {
            if hashed == Some(digest) {
                missing.remove(&digest);
            } else {
                fs::remove_file(&path).map_err(|e| Failure::volume("remove", &path, &e))?;
            }
        }
        Ok(missing)
    }

    /// Verifies what rclone wrote as `files` and keeps what is right; returns the digests that are not there yet.
    pub(super) fn verify(&self, files: &[(Digest, PathBuf)], hasher: &Hasher, stop: &Stop) -> Result<Vec<Digest>> {
        let paths: Vec<PathBuf> = files.iter().map(|(_, path)| path.clone()).collect();
        let mut wrong = Vec::new();
        for ((digest, path), hashed) in files.iter().zip(hasher.all(&paths, stop)?) {
            if hashed == Some(*digest) {
                fs::rename(path, self.content(digest)).map_err(|e| Failure::volume("rename", path, &e))?;
            } else {
                wrong.push(*digest);
            }
        }
        Ok(wrong)
    }

    /// Empties what rclone writes to.
    pub(super) fn clear_incoming(&self) -> Result<()> {
        remove_tree(&self.incoming())?;
        fs::create_dir(self.incoming()).map_err(|e| Failure::volume("make the folder", &self.incoming(), &e))
    }
}

/// `NoSpace` with the figures when `needed` bytes do not fit on the volume at `root`.
pub(super) fn check_space(root: &Path, needed: u64) -> Result<()> {
    let stat = rustix::fs::statvfs(root).map_err(|e| Failure::volume("read the free space of", root, &e.into()))?;
    let free = stat.f_bavail.saturating_mul(stat.f_frsize);
    if needed <= free {
        return Ok(());
    }
    Err(Failure::new(
        Reason::NoSpace,
        format!(
            "the volume has {free} bytes free, and {needed} more are needed: new content is kept beside the old until all of it is verified. Make the volume larger"
        ),
    ))
}

fn remove_tree(dir: &Path) -> Result<()> {
    match fs::symlink_metadata(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Ok(meta) if !meta.is_dir() => fs::remove_file(dir),
        _ => fs::remove_dir_all(dir),
    }
    .map_err(|e| Failure::volume("remove", dir, &e))
}
