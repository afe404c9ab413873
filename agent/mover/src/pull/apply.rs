//! Makes the volume's tree the committed one: every file is complete, with its metadata, before a rename puts it in place.
//!
//! Imports [`super::plan`], [`super::staging`], [`crate::entry`] and [`crate::failure`].

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, lchown, symlink};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Mode, Timespec, Timestamps, UTIME_OMIT};

use super::plan::{Plan, Step};
use super::staging::Staging;
use crate::entry::{Digest, Entry, Kind, Meta};
use crate::failure::{Failure, Result};
use crate::stop::Stop;

/// What applying a plan came to.
#[derive(Debug, Default)]
pub(super) struct Applied {
    /// Whether the volume is another one than before.
    pub(super) changed: bool,
    /// What could not be restored, by kind.
    pub(super) skipped: BTreeMap<String, u64>,
}

/// Applies `plan`: all its content is verified and in `staging`.
pub(super) fn apply(root: &Path, entries: &[Entry], plan: &Plan, staging: &Staging, stop: &Stop) -> Result<Applied> {
    let mut work = Work {
        root,
        entries,
        staging,
        uses: plan.fetch.iter().map(|(digest, fetch)| (*digest, fetch.uses)).collect(),
        next: 0,
        applied: Applied { changed: !plan.steps.is_empty() || !plan.removals.is_empty(), ..Applied::default() },
    };
    for step in &plan.steps {
        stop.check()?;
        work.step(step)?;
    }
    for path in &plan.removals {
        stop.check()?;
        remove(&path.under(root), &mut work.applied)?;
    }
    finish_dirs(root, entries, &mut work.applied, stop)?;
    Ok(work.applied)
}

/// Gives every directory but the root its metadata: deepest first, so that nothing is made in one after its time was set.
pub(super) fn finish_dirs(root: &Path, entries: &[Entry], applied: &mut Applied, stop: &Stop) -> Result<()> {
    for entry in entries.iter().rev().filter(|entry| entry.kind == Kind::Dir && !entry.path.is_root()) {
        stop.check()?;
        finish_dir(root, entry, applied)?;
    }
    Ok(())
}

/// Gives the volume's root its metadata: the last change of a pull.
pub(super) fn finish_root(root: &Path, entries: &[Entry], applied: &mut Applied) -> Result<()> {
    entries.first().filter(|entry| entry.path.is_root()).map_or(Ok(()), |entry| finish_dir(root, entry, applied))
}

/// Writes everything to the disk.
pub(super) fn sync(root: &Path) -> Result<()> {
    let write = || rustix::fs::syncfs(fs::File::open(root)?).map_err(io::Error::from);
    write().map_err(|e| Failure::volume("write out", root, &e))
}

struct Work<'a> {
    root: &'a Path,
    entries: &'a [Entry],
    staging: &'a Staging,
    uses: BTreeMap<Digest, usize>,
    next: u64,
    applied: Applied,
}

impl Work<'_> {
    fn step(&mut self, step: &Step) -> Result<()> {
        let number = match step {
            Step::Remove(path) => {
                let path = path.under(self.root);
                return remove_one(&path).map_err(|e| Failure::volume("remove", &path, &e));
            }
            Step::MakeDir(number)
            | Step::PutFile(number)
            | Step::Link(number)
            | Step::PutSymlink(number)
            | Step::PutFifo(number)
            | Step::Meta(number) => *number,
        };
        let Some(entry) = self.entries.get(number) else {
            return Ok(());
        };
        let path = entry.path.under(self.root);
        match (step, &entry.kind) {
            // Its own metadata comes last; until then only we get in.
            (Step::MakeDir(_), _) => fs::create_dir(&path).map_err(|e| Failure::volume("make the directory", &path, &e)),
            (Step::Meta(_), _) => set_meta(&path, entry, &mut self.applied),
            (Step::PutFile(_), Kind::File(file)) => {
                let ready = self.content(&file.sha256, file.size)?;
                self.put(&ready, &path, entry)
            }
            (Step::Link(_), Kind::File(file)) => {
                let ready = self.temporary();
                let first = file.link.as_ref().unwrap_or(&entry.path).under(self.root);
                fs::hard_link(&first, &ready).map_err(|e| Failure::volume("link", &first, &e))?;
                // A rename onto another name of the same inode does nothing, and leaves both.
                rename(&ready, &path)?;
                remove_if_there(&ready)
            }
            (Step::PutSymlink(_), Kind::Symlink(target)) => {
                let ready = self.temporary();
                symlink(OsStr::from_bytes(target), &ready).map_err(|e| Failure::volume("make the link", &path, &e))?;
                self.put(&ready, &path, entry)
            }
            (Step::PutFifo(_), _) => {
                let ready = self.temporary();
                rustix::fs::mknodat(CWD, &ready, rustix::fs::FileType::Fifo, Mode::RUSR | Mode::WUSR, 0)
                    .map_err(|e| Failure::volume("make the pipe", &path, &e.into()))?;
                self.put(&ready, &path, entry)
            }
            _ => Ok(()),
        }
    }

    /// A file with this content, ours alone.
    fn content(&mut self, digest: &Digest, size: u64) -> Result<PathBuf> {
        let verified = self.staging.content(digest);
        if size == 0 {
            let ready = self.temporary();
            fs::File::create_new(&ready).map_err(|e| Failure::volume("make", &ready, &e))?;
            return Ok(ready);
        }
        let left = self.uses.entry(*digest).or_default();
        *left = left.saturating_sub(1);
        if *left == 0 {
            return Ok(verified);
        }
        let ready = self.temporary();
        fs::copy(&verified, &ready).map_err(|e| Failure::volume("copy", &verified, &e))?;
        Ok(ready)
    }

    fn put(&mut self, ready: &Path, path: &Path, entry: &Entry) -> Result<()> {
        set_meta(ready, entry, &mut self.applied)?;
        rename(ready, path)
    }

    fn temporary(&mut self) -> PathBuf {
        self.next += 1;
        self.staging.temporary().join(self.next.to_string())
    }
}

fn rename(ready: &Path, path: &Path) -> Result<()> {
    fs::rename(ready, path).map_err(|e| Failure::volume("put in place", path, &e))
}

fn finish_dir(root: &Path, entry: &Entry, applied: &mut Applied) -> Result<()> {
    let path = entry.path.under(root);
    let there = fs::symlink_metadata(&path).map_err(|e| Failure::volume("read", &path, &e))?;
    if differs(&there, &entry.meta) {
        set_meta(&path, entry, applied)?;
        applied.changed = true;
    }
    Ok(())
}

fn differs(there: &Metadata, meta: &Meta) -> bool {
    (there.mode() & 0o7777, there.uid(), there.gid()) != (meta.mode, meta.uid, meta.gid)
        || (there.mtime(), there.mtime_nsec()) != (meta.mtime.secs, i64::from(meta.mtime.nanos))
}

/// Owner first, because a change of owner clears setuid and setgid; the time last, because nothing may touch it after.
fn set_meta(path: &Path, entry: &Entry, applied: &mut Applied) -> Result<()> {
    let Meta { mode, uid, gid, mtime } = entry.meta;
    let failure = |doing: &str, error: &io::Error| Failure::volume(doing, path, error);
    match lchown(path, Some(uid), Some(gid)) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            let there = fs::symlink_metadata(path).map_err(|e| failure("read", &e))?;
            if (there.uid(), there.gid()) != (uid, gid) {
                *applied.skipped.entry("owners".into()).or_default() += 1;
            }
        }
        other => other.map_err(|e| failure("set the owner of", &e))?,
    }
    if !matches!(entry.kind, Kind::Symlink(_)) {
        rustix::fs::chmodat(CWD, path, Mode::from_raw_mode(mode), AtFlags::empty()).map_err(|e| failure("set the mode of", &e.into()))?;
    }
    let times = Timestamps {
        last_access: Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT },
        last_modification: Timespec { tv_sec: mtime.secs, tv_nsec: i64::from(mtime.nanos) },
    };
    rustix::fs::utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW).map_err(|e| failure("set the time of", &e.into()))
}

/// A directory that holds what is not replicated, such as a live socket, stays.
fn remove(path: &Path, applied: &mut Applied) -> Result<()> {
    match remove_one(path) {
        Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => {
            *applied.skipped.entry("directoriesInUse".into()).or_default() += 1;
            Ok(())
        }
        other => other.map_err(|e| Failure::volume("remove", path, &e)),
    }
}

fn remove_one(path: &Path) -> io::Result<()> {
    if fs::symlink_metadata(path)?.is_dir() { fs::remove_dir(path) } else { fs::remove_file(path) }
}

fn remove_if_there(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(Failure::volume("remove", path, &error)),
        _ => Ok(()),
    }
}
