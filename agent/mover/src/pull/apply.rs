//! Makes the volume's tree the committed one: every file is complete, with its metadata, before a rename puts it in place.
//!
//! Imports [`super::plan`], [`super::staging`], [`super::restore`], [`crate::entry`], [`crate::holes`] and [`crate::failure`].

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{self, Permissions};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Mode};

use super::plan::{Plan, Step};
use super::restore::{Tally, restore};
use super::staging::Staging;
use crate::entry::{Digest, Entry, FileEntry, Kind};
use crate::failure::{Failure, Result};
use crate::holes;
use crate::path::RelPath;
use crate::stop::Stop;

/// What applying a plan came to.
#[derive(Debug, Default)]
pub(super) struct Applied {
    /// Whether the volume is another one than before.
    pub(super) changed: bool,
    /// What could not be restored, by kind.
    pub(super) skipped: Tally,
}

impl Applied {
    fn skip(&mut self, kind: &str) {
        *self.skipped.entry(kind.into()).or_default() += 1;
    }
}

/// Begins to apply `plan`.
pub(super) fn begin<'a>(root: &'a Path, entries: &'a [Entry], plan: &Plan, staging: &'a Staging, stop: &'a Stop) -> Work<'a> {
    Work {
        root,
        entries,
        staging,
        uses: plan.fetch.iter().map(|(digest, fetch)| (*digest, fetch.uses)).collect(),
        next: 0,
        stop,
        // Metadata may turn out not to be changeable here, and a pull that changes nothing says so.
        applied: Applied { changed: !plan.is_metadata_alone(), ..Applied::default() },
    }
}

/// Applies a plan that [changes metadata alone](Plan::is_metadata_alone), or nothing; calls `mark` after the first change.
pub(super) fn metadata(root: &Path, entries: &[Entry], plan: &Plan, mark: impl Fn() -> Result<()>, stop: &Stop) -> Result<Applied> {
    let mut applied = Applied::default();
    let steps = plan.steps.iter().filter_map(|step| match step {
        Step::Meta(number) => entries.get(*number),
        _ => None,
    });
    for entry in steps.chain(directories(entries)) {
        stop.check()?;
        let changed = applied.changed;
        finish(&entry.path.under(root), entry, &mut applied)?;
        if applied.changed && !changed {
            mark()?;
        }
    }
    Ok(applied)
}

/// Every directory but the root: deepest first, so that nothing is made in one after its time was set.
fn directories(entries: &[Entry]) -> impl Iterator<Item = &Entry> {
    entries.iter().rev().filter(|entry| entry.kind == Kind::Dir && !entry.path.is_root())
}

fn finish_dirs(root: &Path, entries: &[Entry], applied: &mut Applied, stop: &Stop) -> Result<()> {
    for entry in directories(entries) {
        stop.check()?;
        finish(&entry.path.under(root), entry, applied)?;
    }
    Ok(())
}

/// Gives the volume's root its metadata: the last change of a pull.
pub(super) fn finish_root(root: &Path, entries: &[Entry], applied: &mut Applied) -> Result<()> {
    entries.first().filter(|entry| entry.path.is_root()).map_or(Ok(()), |entry| finish(root, entry, applied))
}

/// Writes everything to the disk.
pub(super) fn sync(root: &Path) -> Result<()> {
    let write = || rustix::fs::syncfs(fs::File::open(root)?).map_err(io::Error::from);
    write().map_err(|e| Failure::volume("write out", root, &e))
}

/// A plan that is being applied.
pub(super) struct Work<'a> {
    root: &'a Path,
    entries: &'a [Entry],
    staging: &'a Staging,
    uses: BTreeMap<Digest, usize>,
    next: u64,
    stop: &'a Stop,
    applied: Applied,
}

impl Work<'_> {
    /// Takes these steps; their content is verified and in the staging folder.
    pub(super) fn steps(&mut self, steps: &[Step]) -> Result<()> {
        for step in steps {
            self.stop.check()?;
            self.step(step)?;
        }
        Ok(())
    }

    /// Removes these names.
    pub(super) fn removals(&mut self, removals: &[RelPath]) -> Result<()> {
        for path in removals {
            self.stop.check()?;
            remove(&path.under(self.root), &mut self.applied)?;
        }
        Ok(())
    }

    /// Gives the directories their metadata, once nothing else changes in them.
    pub(super) fn finish(mut self) -> Result<Applied> {
        finish_dirs(self.root, self.entries, &mut self.applied, self.stop)?;
        Ok(self.applied)
    }

    /// How often this content is still to be put in place.
    pub(super) fn uses(&self, digest: &Digest) -> usize {
        self.uses.get(digest).copied().unwrap_or_default()
    }

    fn step(&mut self, step: &Step) -> Result<()> {
        let number = match step {
            Step::Remove(path) => {
                let path = path.under(self.root);
                return insist(&path, || remove_one(&path)).map_err(|e| Failure::volume("remove", &path, &e));
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
            (Step::MakeDir(_), _) => {
                let make = || fs::DirBuilder::new().mode(0o700).create(&path);
                insist(&path, make).map_err(|e| Failure::volume("make the directory", &path, &e))
            }
            (Step::Meta(_), _) => finish(&path, entry, &mut self.applied),
            (Step::PutFile(_), Kind::File(file)) => {
                let ready = self.content(file)?;
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

    /// A file with this content and these holes, ours alone.
    fn content(&mut self, file: &FileEntry) -> Result<PathBuf> {
        let ready = self.whole_content(file)?;
        if !file.holes.is_empty() && !holes::punch(&ready, &file.holes, self.stop)? {
            self.applied.skip("holes");
        }
        Ok(ready)
    }

    fn whole_content(&mut self, file: &FileEntry) -> Result<PathBuf> {
        let verified = self.staging.content(&file.sha256);
        if file.size == 0 {
            let ready = self.temporary();
            fs::File::create_new(&ready).map_err(|e| Failure::volume("make", &ready, &e))?;
            return Ok(ready);
        }
        let left = self.uses.entry(file.sha256).or_default();
        *left = left.saturating_sub(1);
        if *left == 0 {
            return Ok(verified);
        }
        let ready = self.temporary();
        fs::copy(&verified, &ready).map_err(|e| Failure::volume("copy", &verified, &e))?;
        Ok(ready)
    }

    fn put(&mut self, ready: &Path, path: &Path, entry: &Entry) -> Result<()> {
        restore(ready, entry, &mut self.applied.skipped)?;
        rename(ready, path)
    }

    fn temporary(&mut self) -> PathBuf {
        self.next += 1;
        self.staging.temporary().join(self.next.to_string())
    }
}

fn rename(ready: &Path, path: &Path) -> Result<()> {
    insist(path, || fs::rename(ready, path)).map_err(|e| Failure::volume("put in place", path, &e))
}

/// Does `change` to a name, if need be after letting ourselves into its directory, which gets its mode back in the end: a mover
/// without privileges is bound by it even where the directory is its own.
fn insist(path: &Path, change: impl Fn() -> io::Result<()>) -> io::Result<()> {
    let result = change();
    let Some(dir) = path.parent() else { return result };
    match &result {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            let mode = fs::symlink_metadata(dir)?.permissions().mode();
            if mode & 0o700 == 0o700 || fs::set_permissions(dir, Permissions::from_mode(mode | 0o700)).is_err() {
                return result;
            }
            change()
        }
        _ => result,
    }
}

/// Gives an entry that is in place its metadata.
fn finish(path: &Path, entry: &Entry, applied: &mut Applied) -> Result<()> {
    applied.changed |= restore(path, entry, &mut applied.skipped)?;
    Ok(())
}

/// A directory that holds what is not replicated, such as a live socket, stays.
fn remove(path: &Path, applied: &mut Applied) -> Result<()> {
    match insist(path, || remove_one(path)) {
        Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => {
            applied.skip("directoriesInUse");
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
