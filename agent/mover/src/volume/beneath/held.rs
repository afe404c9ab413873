//! An entry of a volume, held by a descriptor: its metadata is read and changed, a link's own too, whatever has taken its name by then.

use std::fmt;
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

use rustix::fs::{
    Access, AtFlags, CWD, FileType, Gid, Mode, OFlags, StatxAttributes, StatxFlags, StatxTimestamp, Timespec, Timestamps, UTIME_OMIT, Uid,
    XattrFlags, accessat, chmodat, chownat, getxattr, listxattr, openat, readlinkat, removexattr, setxattr, statx, utimensat,
};

use rustix::io::Errno;

use crate::volume::entry::Time;

/// See the module.
pub struct Held {
    entry: OwnedFd,
    /// By which system calls reach it that take no such descriptor. A link of `/proc` leads to the entry itself, and no further.
    by_proc: String,
}

impl fmt::Debug for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Held").field(&self.entry).finish()
    }
}

/// What the file system says of an entry.
#[derive(Clone, Debug)]
pub struct Seen {
    /// Its type.
    pub kind: FileType,
    /// Permission bits with setuid, setgid and sticky.
    pub mode: u32,
    /// The file system that it is on.
    pub device: (u32, u32),
    /// Its number there.
    pub inode: u64,
    /// Names of this inode.
    pub links: u64,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Length in bytes.
    pub size: u64,
    /// Room that it takes, in blocks of 512 bytes.
    pub blocks: u64,
    /// Time of last modification.
    pub mtime: Time,
    /// Time of last status change.
    pub ctime: Time,
    /// Whether it is immutable or append-only: the file system lets nobody change, move or remove it.
    pub fixed: bool,
}

impl Seen {
    /// Whether it is a directory.
    pub fn is_dir(&self) -> bool {
        self.kind == FileType::Directory
    }
}

impl Held {
    pub(super) fn of(entry: OwnedFd) -> Self {
        let by_proc = format!("/proc/self/fd/{}", entry.as_raw_fd());
        Self { entry, by_proc }
    }

    /// What the file system says of it now.
    pub fn look(&self) -> io::Result<Seen> {
        let seen = statx(&self.entry, c"", AtFlags::EMPTY_PATH, StatxFlags::BASIC_STATS)?;
        let mode = u32::from(seen.stx_mode);
        Ok(Seen {
            kind: FileType::from_raw_mode(mode),
            mode: mode & 0o7777,
            device: (seen.stx_dev_major, seen.stx_dev_minor),
            inode: seen.stx_ino,
            links: seen.stx_nlink.into(),
            uid: seen.stx_uid,
            gid: seen.stx_gid,
            size: seen.stx_size,
            blocks: seen.stx_blocks,
            mtime: time(seen.stx_mtime)?,
            ctime: time(seen.stx_ctime)?,
            fixed: seen.stx_attributes.intersects(StatxAttributes::IMMUTABLE | StatxAttributes::APPEND),
        })
    }

    /// Its content, to be read; of a regular file.
    pub fn open(&self) -> io::Result<File> {
        Ok(openat(CWD, &self.by_proc, OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC, Mode::empty())?.into())
    }

    /// Where a link leads to.
    pub fn target(&self) -> io::Result<Box<[u8]>> {
        Ok(readlinkat(&self.entry, c"", Vec::new())?.into_bytes().into())
    }

    /// Whether we may do this with it.
    pub fn allows(&self, access: Access) -> bool {
        accessat(CWD, &self.by_proc, access, AtFlags::EACCESS).is_ok()
    }

    /// Whether the file system says that we may not do this with it; not where it cannot be asked.
    pub fn denies(&self, access: Access) -> bool {
        accessat(CWD, &self.by_proc, access, AtFlags::EACCESS) == Err(Errno::ACCESS)
    }

    /// Sets the mode. Of a link, which has none, it fails.
    pub fn set_mode(&self, mode: u32) -> io::Result<()> {
        Ok(chmodat(CWD, &self.by_proc, Mode::from_raw_mode(mode), AtFlags::empty())?)
    }

    /// Sets group, and owner if there is one given.
    pub fn set_owner(&self, uid: Option<u32>, gid: u32) -> io::Result<()> {
        Ok(chownat(&self.entry, c"", uid.map(Uid::from_raw), Some(Gid::from_raw(gid)), AtFlags::EMPTY_PATH)?)
    }

    /// Sets the time of last modification.
    pub fn set_mtime(&self, mtime: Time) -> io::Result<()> {
        let times = Timestamps {
            last_access: Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT },
            last_modification: Timespec { tv_sec: mtime.secs, tv_nsec: i64::from(mtime.nanos) },
        };
        Ok(utimensat(CWD, &self.by_proc, &times, AtFlags::empty())?)
    }

    /// The names of its extended attributes, each with a NUL behind it: how many bytes they are, as far as they go into `names`.
    pub fn list_attributes(&self, names: &mut [u8]) -> rustix::io::Result<usize> {
        listxattr(&self.by_proc, names)
    }

    /// The value of an extended attribute, as far as it goes into `value`.
    pub fn attribute(&self, name: &[u8], value: &mut [u8]) -> rustix::io::Result<usize> {
        getxattr(&self.by_proc, name, value)
    }

    /// Whether its file system can have such an attribute at all.
    pub fn has_attributes_like(&self, name: &[u8]) -> bool {
        self.attribute(name, &mut []) != Err(Errno::NOTSUP)
    }

    /// Sets an extended attribute.
    pub fn set_attribute(&self, name: &[u8], value: &[u8]) -> rustix::io::Result<()> {
        setxattr(&self.by_proc, name, value, XattrFlags::empty())
    }

    /// Removes an extended attribute.
    pub fn remove_attribute(&self, name: &[u8]) -> rustix::io::Result<()> {
        removexattr(&self.by_proc, name)
    }
}

fn time(time: StatxTimestamp) -> io::Result<Time> {
    if time.tv_nsec < 1_000_000_000 {
        Ok(Time { secs: time.tv_sec, nanos: time.tv_nsec })
    } else {
        Err(io::Error::other("it has an impossible time"))
    }
}
