//! A configuration that is a sync's own: what rclone reads is what was checked. rclone reads its file again whenever that has changed, and
//! each of its processes does so for itself, while a mounted Secret may be replaced at any moment.
//!
//! A file in a folder that can be written to, because rclone adds to its file what it has found out about a server (`sftp`), and tries for
//! six seconds each time if it cannot. In memory where there is such a folder, because a temporary directory may lie on a disk, and a
//! Secret does not.

use std::fs::File;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{Access, access, statfs};

use crate::error::{Failure, Result};
use crate::scratch::Scratch;
use crate::volume::beneath::TMPFS;

/// A file system in memory that containers have.
pub(crate) const MEMORY: &str = "/dev/shm";

/// Clones are the same file, which goes with the last of them.
#[derive(Clone, Debug)]
pub(crate) struct Private(Arc<Scratch>);

impl Private {
    /// With this content.
    pub(crate) fn new(content: &[u8]) -> Result<Self> {
        let private = Self(Arc::new(Scratch::within(&parent())?));
        let create = || File::options().write(true).create_new(true).mode(0o600).open(private.path())?.write_all(content);
        create().map_err(|e| Failure::scratch(&e))?;
        Ok(private)
    }

    /// Where it is.
    pub(crate) fn path(&self) -> PathBuf {
        self.0.dir().join("rclone.conf")
    }
}

impl PartialEq for Private {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Private {}

fn parent() -> PathBuf {
    let memory = Path::new(MEMORY);
    let is_memory = statfs(memory).is_ok_and(|stat| u64::try_from(stat.f_type).is_ok_and(|kind| kind == TMPFS));
    if is_memory && access(memory, Access::WRITE_OK | Access::EXEC_OK).is_ok() { memory.to_owned() } else { std::env::temp_dir() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn it_is_one_users_alone_and_goes() {
        let private = Private::new(b"[a]\n").unwrap();
        let path = private.path();
        assert_eq!(fs::read(&path).unwrap(), b"[a]\n");
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o7777;
        assert_eq!((mode(&path), mode(path.parent().unwrap())), (0o600, 0o700));
        let other = private.clone();
        drop(private);
        assert!(path.exists());
        drop(other);
        assert!(!path.parent().unwrap().exists());
    }
}
