//! Scratch files of one mover, in the temporary folder; gone when it ends.
//!
//! Imports `failure`.

use crate::failure::Failure;
use std::io::Write;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

/// A folder of our own that is removed on drop.
#[derive(Debug)]
pub(crate) struct Scratch {
    dir: PathBuf,
    next: AtomicU32,
}

impl Scratch {
    pub(crate) fn new() -> Result<Self, Failure> {
        let dir = std::env::temp_dir().join(format!("scribe-mover-{}", std::process::id()));
        let unique = (0..1000).map(|n| dir.with_extension(n.to_string())).find(|dir| std::fs::create_dir(dir).is_ok());
        let dir = unique.ok_or_else(|| Failure::internal("making a scratch folder", std::env::temp_dir().display()))?;
        Ok(Scratch { dir, next: AtomicU32::new(0) })
    }

    /// A path that nothing else uses.
    pub(crate) fn path(&self) -> PathBuf {
        self.dir.join(self.next.fetch_add(1, Ordering::Relaxed).to_string())
    }

    /// A file with this content.
    pub(crate) fn file(&self, content: &[u8]) -> Result<PathBuf, Failure> {
        let path = self.path();
        std::fs::write(&path, content).map_err(|e| Failure::internal("writing a scratch file", e))?;
        Ok(path)
    }

    /// A file with one name a line, as `--files-from-raw` takes it.
    pub(crate) fn list<'a>(&self, names: impl Iterator<Item = &'a str>) -> Result<PathBuf, Failure> {
        let path = self.path();
        let write = || -> std::io::Result<()> {
            let mut file = std::io::BufWriter::new(std::fs::File::create(&path)?);
            for name in names {
                file.write_all(name.as_bytes())?;
                file.write_all(b"\n")?;
            }
            file.flush()
        };
        write().map_err(|e| Failure::internal("writing a list of names", e))?;
        Ok(path)
    }

    /// An empty folder.
    pub(crate) fn folder(&self) -> Result<PathBuf, Failure> {
        let path = self.path();
        std::fs::create_dir(&path).map_err(|e| Failure::internal("making a scratch folder", e))?;
        Ok(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.dir) {
            tracing::debug!(%error, "the scratch folder stays behind");
        }
    }
}
