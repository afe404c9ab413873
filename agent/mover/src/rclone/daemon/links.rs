//! Files that are to be sent, under the names they are to have: links to what the mover has open. rclone never opens a path of the volume,
//! where a name may have been given to another file, or to a link that leads out of it, since the mover looked.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use crate::error::{Failure, Result};
use crate::report::Reason;
use crate::scratch::Scratch;
use crate::store::slices;

/// A private folder of such links. Keeps the files open, so mind RLIMIT_NOFILE: a few hundred at a time cost as little as many.
#[derive(Debug)]
pub struct Links {
    dir: PathBuf,
    files: Vec<File>,
    names: Vec<Vec<u8>>,
}

impl Links {
    /// Without any file.
    pub fn new(scratch: &Scratch) -> Result<Self> {
        Ok(Self { dir: scratch.fresh_dir("links")?, files: Vec::new(), names: Vec::new() })
    }

    /// Adds a file under the name that it is to have below the place it is sent to.
    pub fn add(&mut self, name: &[u8], file: File) -> Result<()> {
        let path = Path::new(OsStr::from_bytes(name));
        let plain = path.components().all(|part| matches!(part, Component::Normal(_)));
        // Put together again, a slash at the end or two in a row are gone: to an object store they are part of a name.
        let same = path.components().collect::<PathBuf>().as_os_str() == path.as_os_str();
        if name.is_empty() || !plain || !same || name.contains(&b'\n') {
            return Err(Failure::new(Reason::MoverFailed, format!("{:?} cannot be the name of an object", path.display())));
        }
        let link = self.dir.join(path);
        let make = || {
            link.parent().map_or(Ok(()), fs::create_dir_all)?;
            std::os::unix::fs::symlink(format!("/proc/{}/fd/{}", std::process::id(), file.as_raw_fd()), &link)
        };
        make().map_err(|e| Failure::scratch(&e))?;
        self.names.push(name.to_owned());
        self.files.push(file);
        Ok(())
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.files.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.files.is_empty()
    }

    /// The first that cannot be opened again, as rclone does: its permissions have changed since.
    pub fn closed(&self) -> Option<String> {
        let closed = |file: &File| File::open(format!("/proc/self/fd/{}", file.as_raw_fd())).is_err();
        let at = self.files.iter().position(closed)?;
        self.names.get(at).map(|name| String::from_utf8_lossy(name).into_owned())
    }

    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    pub(super) fn names(&self) -> Vec<&[u8]> {
        slices(&self.names)
    }
}

impl Drop for Links {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.dir) {
            tracing::warn!(dir = %self.dir.display(), %error, "cannot remove the links to files that were sent");
        }
    }
}
