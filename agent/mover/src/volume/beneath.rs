//! Opens files of a volume beneath its root: through no link, whatever others put in the place of a folder meanwhile. A link could lead to
//! our own secrets.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, openat, openat2};
use rustix::io::Errno;

use crate::error::{Failure, Result};
use crate::report::Reason;
use crate::volume::path::RelPath;

/// A change anywhere in the file system while the path is followed may be reason to follow it again.
const ATTEMPTS: usize = 100;

/// The root of a volume, open.
#[derive(Debug)]
pub struct Root {
    dir: OwnedFd,
    path: PathBuf,
}

impl Root {
    /// Opens the root itself.
    pub fn open(path: &Path) -> Result<Self> {
        let dir = openat(CWD, path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
            .map_err(|errno| Failure::volume("open", path, &errno.into()))?;
        Ok(Self { dir, path: path.to_owned() })
    }

    /// A regular file, to be read; `None` where there is none of that name, or it is reached through a link only.
    pub fn file(&self, path: &RelPath) -> Result<Option<File>> {
        let failed = |error: &io::Error| Failure::volume("read", &path.under(&self.path), error);
        // NONBLOCK: a pipe put in the file's place must not hang us.
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
        let open = || openat2(&self.dir, path.as_bytes(), flags, Mode::empty(), resolve);
        let mut opened = open();
        for _ in 1..ATTEMPTS {
            if !matches!(opened, Err(Errno::AGAIN | Errno::INTR)) {
                break;
            }
            opened = open();
        }
        match opened {
            Ok(file) => {
                let file = File::from(file);
                let is_file = file.metadata().map_err(|error| failed(&error))?.is_file();
                Ok(is_file.then_some(file))
            }
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::NXIO | Errno::XDEV) => Ok(None),
            Err(Errno::NOSYS) => Err(unsupported()),
            // As a seccomp profile refuses it; a file that is not to be read is another error.
            Err(Errno::PERM) if matches!(openat2(&self.dir, ".", OFlags::PATH, Mode::empty(), resolve), Err(Errno::PERM)) => {
                Err(unsupported())
            }
            Err(errno) => Err(failed(&errno.into())),
        }
    }
}

fn unsupported() -> Failure {
    Failure::new(
        Reason::VolumeUnreadable,
        "the kernel refuses the system call openat2, without which files cannot be opened safely: it takes Linux 5.6, and a seccomp profile that allows it, such as RuntimeDefault of a current container runtime",
    )
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::Read;
    use std::os::unix::fs::symlink;

    use assert_fs::TempDir;

    use super::*;

    fn read(root: &Root, path: &str) -> Option<String> {
        let mut file = root.file(&RelPath::new(path.as_bytes()).unwrap()).unwrap()?;
        let mut text = String::new();
        file.read_to_string(&mut text).unwrap();
        Some(text)
    }

    #[test]
    fn a_file_is_opened_and_nothing_else_nor_through_a_link() {
        let (dir, outside) = (TempDir::new().unwrap(), TempDir::new().unwrap());
        fs::create_dir(dir.path().join("d")).unwrap();
        fs::write(dir.path().join("d/f"), "inside").unwrap();
        fs::write(outside.path().join("f"), "outside").unwrap();
        symlink(outside.path(), dir.path().join("link")).unwrap();
        symlink("d", dir.path().join("near")).unwrap();
        symlink("d/f", dir.path().join("file")).unwrap();
        rustix::fs::mkfifoat(CWD, dir.path().join("pipe"), Mode::RWXU).unwrap();
        let root = Root::open(dir.path()).unwrap();
        assert_eq!(read(&root, "d/f").as_deref(), Some("inside"));
        for path in ["link/f", "near/f", "file", "pipe", "d", "none", "d/f/x"] {
            assert_eq!(read(&root, path), None, "{path}");
        }
        // The folder itself becomes a link that leads out of the volume.
        fs::rename(dir.path().join("d"), dir.path().join("moved")).unwrap();
        symlink(outside.path(), dir.path().join("d")).unwrap();
        assert_eq!(read(&root, "d/f"), None);
    }
}
