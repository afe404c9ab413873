//! Follows names of a volume beneath its root: through no link and onto no other file system, whatever others put in the place of a folder
//! meanwhile. A link could lead to our own secrets, or to files that are none of ours to change.
//!
//! A [`Root`] opens folders and files; a [`Place`] is a name in an open folder, to be made, put in place or removed; a [`Held`] is an entry
//! itself, whatever its name leads to by then. No other module of the mover follows a path of a volume (`tests/structure`).

mod files;
mod held;
mod place;

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::Duration;

use rustix::fs::{CWD, Dir, FlockOperation, Mode, OFlags, ResolveFlags, StatVfs, flock, fstatfs, fstatvfs, fsync, openat, openat2, syncfs};
use rustix::io::Errno;

pub use files::Files;
pub use held::{Held, Seen};
pub use place::Place;

use crate::error::{Failure, Result};
use crate::report::Reason;
use crate::volume::path::RelPath;

/// A change anywhere in the file system while the path is followed may be reason to follow it again, and so is a file on which another program
/// has a lease: that one is told to give it up, which takes it a moment.
const ATTEMPTS: usize = 100;
/// Attempts that follow each other at once, and the pause between the others: all together they take four seconds.
const AT_ONCE: usize = 20;
const PAUSE: Duration = Duration::from_millis(50);

/// `TMPFS_MAGIC`, `EXT4_SUPER_MAGIC` and `FUSE_SUPER_MAGIC` of `linux/magic.h`.
pub const TMPFS: u64 = 0x0102_1994;
const EXT: u64 = 0xef53;
const FUSE: u64 = 0x6573_5546;
/// See [`Root::overwrites`].
const OVERWRITING: [u64; 2] = [TMPFS, EXT];

/// How every name is followed.
const BENEATH: ResolveFlags = ResolveFlags::BENEATH.union(ResolveFlags::NO_SYMLINKS).union(ResolveFlags::NO_XDEV);

/// An open folder, of whose names one cannot get out: the root of a volume, or a folder of it.
#[derive(Debug)]
pub struct Root {
    dir: OwnedFd,
    path: PathBuf,
    /// Once that was asked.
    is_fuse: OnceLock<bool>,
}

impl Root {
    /// Opens the root of a volume itself.
    pub fn open(path: &Path) -> Result<Self> {
        let failed = |errno: Errno| Failure::volume("open", path, &errno.into());
        let dir = openat(CWD, path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()).map_err(failed)?;
        let root = Self { dir, path: path.to_owned(), is_fuse: OnceLock::new() };
        match root.follow(&RelPath::root(), OFlags::PATH) {
            Ok(_) => Ok(root),
            // A seccomp profile that does not know a system call refuses it with the one or the other.
            Err(Errno::NOSYS | Errno::PERM) => Err(unsupported()),
            Err(errno) => Err(failed(errno)),
        }
    }

    /// A folder of it, whose names are followed beneath that: it stays this folder if it is moved.
    pub fn below(&self, path: &RelPath) -> io::Result<Self> {
        let dir = self.follow(path, OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW)?;
        Ok(Self { dir, path: self.shown(path), is_fuse: OnceLock::new() })
    }

    /// What an entry is called in a message.
    pub fn shown(&self, path: &RelPath) -> PathBuf {
        path.under(&self.path)
    }

    /// A path by which another process of this user reaches this very folder as long as this is open.
    pub fn for_children(&self) -> PathBuf {
        format!("/proc/{}/fd/{}", std::process::id(), self.dir.as_raw_fd()).into()
    }

    /// A regular file, to be read; `None` where there is none of that name, or it is reached through a link or a mount only.
    pub fn file(&self, path: &RelPath) -> Result<Option<File>> {
        self.file_unless(path, |_| false)
    }

    /// The same; `None` also where we may not read it.
    pub fn file_if_allowed(&self, path: &RelPath) -> Result<Option<File>> {
        self.file_unless(path, |error| error.kind() == io::ErrorKind::PermissionDenied)
    }

    fn file_unless(&self, path: &RelPath, is_none: fn(&io::Error) -> bool) -> Result<Option<File>> {
        match self.open_to_read(path) {
            Ok(file) => Ok(file),
            Err(error) if is_no_file_now(&error) || is_elsewhere(&error) || is_none(&error) => Ok(None),
            Err(error) => Err(Failure::volume("read", &self.shown(path), &error)),
        }
    }

    /// As [`Self::file`], with the error that keeps it from being read.
    pub fn open_to_read(&self, path: &RelPath) -> io::Result<Option<File>> {
        self.open_file(path, OFlags::RDONLY)
    }

    /// The same, to be read and written to.
    pub fn file_to_write(&self, path: &RelPath) -> io::Result<Option<File>> {
        self.open_file(path, OFlags::RDWR)
    }

    fn open_file(&self, path: &RelPath, flags: OFlags) -> io::Result<Option<File>> {
        // NONBLOCK: a pipe put in the file's place must not hang us.
        let file = File::from(self.follow(path, flags | OFlags::NONBLOCK | OFlags::NOFOLLOW)?);
        Ok(file.metadata()?.is_file().then_some(file))
    }

    /// A folder, to be read.
    pub fn folder(&self, path: &RelPath) -> io::Result<Folder> {
        Ok(Folder(self.follow(path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW)?))
    }

    /// The names in a folder.
    pub fn names(&self, path: &RelPath) -> io::Result<Vec<OsString>> {
        self.folder(path)?.names()
    }

    /// All regular files in it and its folders, in no order.
    pub fn files(&self) -> Files<'_> {
        Files::of(self)
    }

    /// A name, in the folder that holds it.
    pub fn at<'a>(&'a self, path: &'a RelPath) -> io::Result<Place<'a>> {
        let Some(parent) = path.parent().filter(|parent| !parent.is_empty()) else {
            let name = if path.is_root() { b"." } else { path.as_bytes() };
            return Ok(Place::borrowed(self.dir.as_fd(), OsStr::from_bytes(name)));
        };
        let dir = follow(self.dir.as_fd(), parent, OFlags::PATH | OFlags::DIRECTORY)?;
        Ok(Place::owned(dir, OsStr::from_bytes(path.name())))
    }

    /// An entry itself, a link too.
    pub fn hold(&self, path: &RelPath) -> io::Result<Held> {
        Ok(Held::of(self.follow(path, OFlags::PATH | OFlags::NOFOLLOW)?))
    }

    /// The entry, if there is one.
    pub fn find(&self, path: &RelPath) -> Result<Option<Held>> {
        match self.hold(path) {
            Ok(held) => Ok(Some(held)),
            Err(error) if is_gone(&error) => Ok(None),
            Err(error) => Err(Failure::volume("read", &self.shown(path), &error)),
        }
    }

    /// Removes an entry with all that it holds. Links are removed, not followed.
    pub fn remove_tree(&self, path: &RelPath) -> io::Result<()> {
        if self.at(path)?.remove_unless_folder()? {
            return Ok(());
        }
        let mut open = vec![(path.clone(), false)];
        while let Some((dir, emptied)) = open.last_mut() {
            let dir = dir.clone();
            if std::mem::replace(emptied, true) {
                self.at(&dir)?.remove_folder()?;
                open.pop();
                continue;
            }
            let folder = self.folder(&dir)?;
            for name in folder.names()? {
                if !folder.at(&name).remove_unless_folder()? {
                    open.push((dir.child(&name), false));
                }
            }
        }
        Ok(())
    }

    /// Writes everything of the file system to the disk.
    pub fn sync(&self) -> Result<()> {
        let write = || syncfs(self.folder(&RelPath::root())?.0).map_err(io::Error::from);
        write().map_err(|e| Failure::volume("write out", &self.path, &e))
    }

    /// Writes a file of it to the disk that [`Self::sync`] does not write there: in user space (FUSE), that passes nothing on, and what a server says
    /// when a file is closed is lost.
    pub fn flush(&self, file: &File) -> io::Result<()> {
        let syncs = match self.is_fuse.get() {
            Some(is_fuse) => *is_fuse,
            // Of such a file system, that is a request to its server.
            None => {
                let is_fuse = u64::try_from(fstatfs(&self.dir)?.f_type) == Ok(FUSE);
                *self.is_fuse.get_or_init(|| is_fuse)
            }
        };
        if syncs { file.sync_data() } else { Ok(()) }
    }

    /// Writes the names in the folder itself to the disk.
    pub fn sync_names(&self) -> io::Result<()> {
        match fsync(self.folder(&RelPath::root())?.0) {
            // Not every file system has that of folders.
            Err(Errno::INVAL | Errno::NOTSUP) => Ok(syncfs(self.folder(&RelPath::root())?.0)?),
            synced => Ok(synced?),
        }
    }

    /// Its room.
    pub fn space(&self) -> Result<StatVfs> {
        fstatvfs(&self.dir).map_err(|errno| Failure::volume("read the free space of", &self.path, &errno.into()))
    }

    /// Whether what a file has is written over where it is, and takes no room anew: not known of file systems whose files may share blocks.
    pub fn overwrites(&self) -> Result<bool> {
        let stat = fstatfs(&self.dir).map_err(|errno| Failure::volume("read the type of the file system of", &self.path, &errno.into()))?;
        Ok(u64::try_from(stat.f_type).is_ok_and(|kind| OVERWRITING.contains(&kind)))
    }

    /// Keeps other pulls out of the volume for as long as what it returns is kept, where the file system has locks of this kind (`flock`): two
    /// at a time would leave a mixture, and each could report its own revision.
    pub fn lock(&self) -> Result<Option<Folder>> {
        let Ok(folder) = self.folder(&RelPath::root()) else { return Ok(None) };
        match flock(&folder.0, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Some(folder)),
            Err(Errno::WOULDBLOCK) => Err(Failure::new(
                Reason::VolumeUnreadable,
                format!(
                    "another pull is writing to {}; this one has changed nothing. Give each destination a volume of its own",
                    self.path.display()
                ),
            )),
            Err(errno) => {
                tracing::info!(%errno, "the volume's file system has no locks that would keep another pull out");
                Ok(None)
            }
        }
    }

    fn follow(&self, path: &RelPath, flags: OFlags) -> rustix::io::Result<OwnedFd> {
        follow(self.dir.as_fd(), if path.is_root() { b"." } else { path.as_bytes() }, flags)
    }
}

/// A folder of a volume, open to be read.
#[derive(Debug)]
pub struct Folder(OwnedFd);

impl Folder {
    /// The names in it.
    pub fn names(&self) -> io::Result<Vec<OsString>> {
        let mut names = Vec::new();
        for entry in Dir::read_from(&self.0)? {
            let entry = entry?;
            let name = entry.file_name().to_bytes();
            if name != b"." && name != b".." {
                names.push(OsString::from_vec(name.to_vec()));
            }
        }
        Ok(names)
    }

    /// A name in it.
    pub fn at<'a>(&'a self, name: &'a OsStr) -> Place<'a> {
        Place::borrowed(self.0.as_fd(), name)
    }

    /// The entry of a name itself, a link too.
    pub fn hold(&self, name: &OsStr) -> io::Result<Held> {
        Ok(Held::of(follow(self.0.as_fd(), name.as_bytes(), OFlags::PATH | OFlags::NOFOLLOW)?))
    }
}

fn follow(dir: BorrowedFd, path: &[u8], flags: OFlags) -> rustix::io::Result<OwnedFd> {
    let open = || openat2(dir, path, flags | OFlags::CLOEXEC, Mode::empty(), BENEATH);
    for attempt in 1..ATTEMPTS {
        match open() {
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) if attempt < AT_ONCE => {}
            Err(Errno::AGAIN) => std::thread::sleep(PAUSE),
            opened => return opened,
        }
    }
    open()
}

fn unsupported() -> Failure {
    Failure::new(
        Reason::VolumeUnreadable,
        "the kernel refuses the system call openat2, without which files of a volume cannot be opened safely: it takes Linux 5.6, and a seccomp profile that allows it, such as RuntimeDefault of a current container runtime",
    )
}

/// Whether the entry, or a folder above it, went away since it was seen; a link, or a file, may have taken the folder's place.
pub fn is_gone(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) || is(error, Errno::LOOP)
}

/// The same of a file that was to be opened: a socket may have taken its place, too (ENXIO).
fn is_no_file_now(error: &io::Error) -> bool {
    is_gone(error) || is(error, Errno::NXIO)
}

/// Whether something else is mounted there.
pub fn is_elsewhere(error: &io::Error) -> bool {
    is(error, Errno::XDEV)
}

fn is(error: &io::Error, errno: Errno) -> bool {
    error.raw_os_error() == Some(errno.raw_os_error())
}

#[cfg(test)]
mod tests;
