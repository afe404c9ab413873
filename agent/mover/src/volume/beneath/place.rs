//! A name in an open folder of a volume. A link of that name is made, moved and removed itself; nothing here follows it.

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;

use rustix::fs::{AtFlags, FileType, Mode, OFlags, linkat, mkdirat, mknodat, openat, renameat, symlinkat, unlinkat};
use rustix::io::Errno;

/// See the module.
#[derive(Debug)]
pub struct Place<'a> {
    folder: Parent<'a>,
    name: &'a OsStr,
}

#[derive(Debug)]
enum Parent<'a> {
    Borrowed(BorrowedFd<'a>),
    Owned(OwnedFd),
}

impl<'a> Place<'a> {
    pub(super) fn borrowed(folder: BorrowedFd<'a>, name: &'a OsStr) -> Self {
        Self { folder: Parent::Borrowed(folder), name }
    }

    pub(super) fn owned(folder: OwnedFd, name: &'a OsStr) -> Self {
        Self { folder: Parent::Owned(folder), name }
    }

    fn folder(&self) -> BorrowedFd<'_> {
        match &self.folder {
            Parent::Borrowed(folder) => *folder,
            Parent::Owned(folder) => folder.as_fd(),
        }
    }

    /// Makes a folder.
    pub fn make_folder(&self, mode: u32) -> io::Result<()> {
        Ok(mkdirat(self.folder(), self.name, Mode::from_raw_mode(mode))?)
    }

    /// Makes an empty file, readable by its owner alone.
    pub fn make_file(&self) -> io::Result<File> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        Ok(openat(self.folder(), self.name, flags, Mode::RUSR | Mode::WUSR)?.into())
    }

    /// Makes a symbolic link.
    pub fn make_symlink(&self, target: &[u8]) -> io::Result<()> {
        Ok(symlinkat(OsStr::from_bytes(target), self.folder(), self.name)?)
    }

    /// Makes a named pipe.
    pub fn make_fifo(&self) -> io::Result<()> {
        Ok(mknodat(self.folder(), self.name, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0)?)
    }

    /// Gives the inode of this name another one, too.
    pub fn link_to(&self, to: &Place) -> io::Result<()> {
        Ok(linkat(self.folder(), self.name, to.folder(), to.name, AtFlags::empty())?)
    }

    /// Moves it to another name, in the place of what is there.
    pub fn rename_to(&self, to: &Place) -> io::Result<()> {
        Ok(renameat(self.folder(), self.name, to.folder(), to.name)?)
    }

    /// Removes a folder, which has to be empty, or anything else. `false`: it was gone already.
    pub fn remove(&self) -> io::Result<bool> {
        if self.remove_unless_folder()? { Ok(true) } else { self.remove_folder() }
    }

    /// Removes an empty folder. `false`: it was gone already.
    pub fn remove_folder(&self) -> io::Result<bool> {
        match unlinkat(self.folder(), self.name, AtFlags::REMOVEDIR) {
            Ok(()) => Ok(true),
            Err(Errno::NOENT) => Ok(false),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Removes anything but a folder, if it is there; `false` where it is a folder.
    pub fn remove_unless_folder(&self) -> io::Result<bool> {
        match unlinkat(self.folder(), self.name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(true),
            Err(Errno::ISDIR) => Ok(false),
            Err(errno) => Err(errno.into()),
        }
    }
}
