//! The staging folder on the volume: where fetched content waits until all of it is verified.
//!
//! `.scribe-staging/in/` is what rclone writes, believed by its hash alone; `ok/<sha256>` is what was verified; `tmp/` is made ready
//! there for its rename. Its presence says that the volume is not a whole revision.

use std::collections::HashSet;
use std::fs;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use walkdir::{DirEntry, WalkDir};

use super::plan::PullPlan;
use crate::digest::Digest;
use crate::error::{Failure, Result};
use crate::remote::BATCH;
use crate::spill::batches;
use crate::stop::Stop;
use crate::volume::STAGING_DIR;
use crate::volume::hash::Hasher;

const INCOMING: &str = "in";

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
            if dir == staging.temporary() {
                // A killed pull's; it is quickly made again.
                remove_tree(&dir)?;
            }
            // What a link of that name leads to is none of ours: everything in these folders is going to be deleted.
            if is(&dir, fs::FileType::is_symlink) {
                fs::remove_file(&dir).map_err(|e| Failure::volume("remove", &dir, &e))?;
            }
            match fs::DirBuilder::new().mode(0o700).create(&dir) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists && is(&dir, fs::FileType::is_dir) => {}
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
        self.dir.join(INCOMING)
    }

    /// As [`Self::incoming`], on the volume at `root`, where it need not be yet.
    pub(super) fn incoming_on(root: &Path) -> PathBuf {
        root.join(STAGING_DIR).join(INCOMING)
    }

    /// Keeps what an earlier pull fetched and this one needs, drops the rest, and says what was kept.
    ///
    /// Kept content is hashed, even what was verified: a crash of the node may have lost what was written.
    pub(super) fn keep(&self, plan: &PullPlan, hasher: &Hasher, stop: &Stop) -> Result<HashSet<Digest>> {
        let mut kept = HashSet::new();
        for folder in [self.verified(), self.incoming()] {
            let found = WalkDir::new(&folder).into_iter().map(|entry| entry.map_err(|e| Failure::volume("read", &folder, &e.into())));
            let files = found.filter(|entry| entry.as_ref().map_or(true, |entry| entry.file_type().is_file()));
            for batch in batches(files, BATCH) {
                let paths: Vec<PathBuf> = batch?.into_iter().map(DirEntry::into_path).collect();
                for (path, hashed) in paths.iter().zip(hasher.all(&paths, stop)?) {
                    let wanted = hashed.filter(|digest| plan.wants(digest)).map(|digest| (digest, self.content(&digest)));
                    match wanted {
                        Some((digest, to)) if *path == to => {
                            kept.insert(digest);
                        }
                        Some((digest, to)) if kept.insert(digest) => {
                            fs::rename(path, to).map_err(|e| Failure::volume("rename", path, &e))?;
                        }
                        _ => fs::remove_file(path).map_err(|e| Failure::volume("remove", path, &e))?,
                    }
                }
            }
        }
        self.clear_incoming()?;
        Ok(kept)
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

/// Whether this very name is of such a type: a link is not followed.
fn is(path: &Path, of_type: impl Fn(&fs::FileType) -> bool) -> bool {
    fs::symlink_metadata(path).is_ok_and(|meta| of_type(&meta.file_type()))
}

fn remove_tree(dir: &Path) -> Result<()> {
    match fs::symlink_metadata(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Ok(meta) if !meta.is_dir() => fs::remove_file(dir),
        _ => fs::remove_dir_all(dir),
    }
    .map_err(|e| Failure::volume("remove", dir, &e))
}
