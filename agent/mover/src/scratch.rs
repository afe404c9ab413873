//! A private temporary directory for the lists and control objects handed to rclone, removed when dropped.

use std::fs;
use std::io::Write;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use crate::error::{Failure, Result};
use crate::random::random;

/// The directory; every file in it has a name of its own.
#[derive(Debug)]
pub struct Scratch {
    dir: PathBuf,
    next: AtomicU64,
}

impl Scratch {
    /// Makes a fresh directory, readable by this user alone, under the system's temporary directory.
    pub fn new() -> Result<Self> {
        Self::within(&std::env::temp_dir())
    }

    /// As [`Self::new`], under another directory.
    pub fn within(parent: &Path) -> Result<Self> {
        let dir = parent.join(format!("scribe-mover-{:016x}", random()?));
        fs::DirBuilder::new().mode(0o700).recursive(false).create(&dir).map_err(|e| Failure::scratch(&e))?;
        Ok(Self { dir, next: AtomicU64::new(0) })
    }

    /// Where it is.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// A path nothing has used yet.
    pub fn fresh(&self, kind: &str) -> PathBuf {
        self.dir.join(format!("{kind}-{}", self.next.fetch_add(1, Ordering::Relaxed)))
    }

    /// A fresh, empty directory.
    pub fn fresh_dir(&self, kind: &str) -> Result<PathBuf> {
        let path = self.fresh(kind);
        fs::create_dir(&path).map_err(|e| Failure::scratch(&e))?;
        Ok(path)
    }

    /// Whether there is any room left: a program may have written less than it had, and ended well.
    pub fn has_room(&self) -> Result<()> {
        let path = self.fresh("room");
        fs::write(&path, [0; 4096]).and_then(|()| fs::remove_file(&path)).map_err(|e| Failure::scratch(&e))
    }

    /// A file of names, one a line, for `--files-from-raw`.
    pub fn list<'a>(&self, names: impl IntoIterator<Item = &'a [u8]>) -> Result<PathBuf> {
        let path = self.fresh("list");
        let write = || -> std::io::Result<()> {
            let mut out = std::io::BufWriter::new(fs::File::create(&path)?);
            for name in names {
                out.write_all(name)?;
                out.write_all(b"\n")?;
            }
            out.flush()
        };
        write().map_err(|e| Failure::scratch(&e))?;
        Ok(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.dir) {
            tracing::warn!(dir = %self.dir.display(), %error, "cannot remove the temporary directory");
        }
    }
}
