//! Makes the volume's tree the committed one: every file is complete, with its metadata, before a rename puts it in place.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs::{self, Permissions};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Mode};

use super::plan::{Action, PullPlan, Step};
use super::restore::{Tally, restore};
use super::staging::Staging;
use crate::digest::Digest;
use crate::error::{Failure, Result};
use crate::format::entries::Entries;
use crate::stop::Stop;
use crate::volume::entry::{Entry, FileEntry, Kind};
use crate::volume::holes;
use crate::volume::path::RelPath;

/// The result of applying a plan.
#[derive(Debug, Default)]
pub(super) struct Applied {
    /// Whether the volume is another one than before.
    pub(super) changed: bool,
    /// What could not be restored, by kind.
    pub(super) skipped: Tally,
}

impl Applied {
    /// How many entries the plan removed: all that have no successor, but those that could not go.
    pub(super) fn removed(&self, plan: &PullPlan) -> u64 {
        plan.lost.all.saturating_sub(self.skipped.get(IN_USE).copied().unwrap_or_default())
    }

    fn skip(&mut self, kind: &str) {
        *self.skipped.entry(kind.into()).or_default() += 1;
    }
}

/// Counts directories that hold what is not replicated, and stay for that.
const IN_USE: &str = "directoriesInUse";

/// Begins to apply `plan`.
pub(super) fn begin<'a>(root: &'a Path, plan: &PullPlan, staging: &'a Staging, stop: &'a Stop) -> Applier<'a> {
    Applier {
        root,
        staging,
        uses: plan.shared_content(),
        next: 0,
        stop,
        // Metadata may turn out not to be changeable here, and a pull that changes nothing says so.
        applied: Applied { changed: !plan.is_metadata_alone(), ..Applied::default() },
    }
}

/// Applies a plan that [changes metadata alone](PullPlan::is_metadata_alone), or nothing; calls `mark` after the first change.
pub(super) fn metadata(root: &Path, entries: &Entries, plan: &PullPlan, mark: impl Fn() -> Result<()>, stop: &Stop) -> Result<Applied> {
    let mut applied = Applied::default();
    let mut finish = |entry: &Entry| {
        stop.check()?;
        let changed = applied.changed;
        finish(&entry.path.under(root), entry, &mut applied)?;
        if applied.changed && !changed { mark() } else { Ok(()) }
    };
    if plan.actions.contains(&Action::Meta) {
        for step in plan.steps(entries.read()?) {
            finish(&step?.1)?;
        }
    }
    for_directories(entries, finish)?;
    Ok(applied)
}

/// Every directory but the root, after all that it holds: nothing is made in one after its time was set.
fn for_directories(entries: &Entries, mut visit: impl FnMut(&Entry) -> Result<()>) -> Result<()> {
    let mut open: Vec<Entry> = Vec::new();
    for entry in entries.read()? {
        let entry = entry?;
        while let Some(dir) = open.pop_if(|dir| !entry.path.is_below(&dir.path)) {
            visit(&dir)?;
        }
        if entry.kind == Kind::Dir && !entry.path.is_root() {
            open.push(entry);
        }
    }
    open.iter().rev().try_for_each(visit)
}

/// Gives the volume's root its metadata: the last change of a pull.
pub(super) fn finish_root(root: &Path, entries: &Entries, applied: &mut Applied) -> Result<()> {
    match entries.read()?.next().transpose()? {
        Some(entry) if entry.path.is_root() => finish(root, &entry, applied),
        _ => Ok(()),
    }
}

/// Writes everything to the disk.
pub(super) fn sync(root: &Path) -> Result<()> {
    let write = || rustix::fs::syncfs(fs::File::open(root)?).map_err(io::Error::from);
    write().map_err(|e| Failure::volume("write out", root, &e))
}

/// A plan that is being applied.
pub(super) struct Applier<'a> {
    root: &'a Path,
    staging: &'a Staging,
    /// Of content that several files are made of: how many are left.
    uses: HashMap<Digest, usize>,
    next: u64,
    stop: &'a Stop,
    applied: Applied,
}

impl Applier<'_> {
    /// Removes what has to go before anything is made.
    pub(super) fn clear(&mut self, early: &[RelPath]) -> Result<()> {
        for path in early {
            self.stop.check()?;
            let path = path.under(self.root);
            insist(&path, || remove_one(&path)).map_err(|e| Failure::volume("remove", &path, &e))?;
        }
        Ok(())
    }

    /// Takes one step; its content is verified and in the staging folder.
    pub(super) fn step(&mut self, (action, entry): &Step) -> Result<()> {
        self.stop.check()?;
        self.act(*action, entry)
    }

    /// Removes what the manifest does not hold.
    pub(super) fn remove(&mut self, late: &[RelPath]) -> Result<()> {
        for path in late {
            self.stop.check()?;
            remove(&path.under(self.root), &mut self.applied)?;
        }
        Ok(())
    }

    /// Gives the directories their metadata, once nothing else changes in them.
    pub(super) fn finish(mut self, entries: &Entries) -> Result<Applied> {
        for_directories(entries, |dir| {
            self.stop.check()?;
            finish(&dir.path.under(self.root), dir, &mut self.applied)
        })?;
        Ok(self.applied)
    }

    /// Whether more than one file is still to be made of this content.
    pub(super) fn is_shared(&self, digest: &Digest) -> bool {
        self.uses.get(digest).is_some_and(|left| *left > 1)
    }

    fn act(&mut self, action: Action, entry: &Entry) -> Result<()> {
        let path = entry.path.under(self.root);
        match (action, &entry.kind) {
            // Its own metadata comes last; until then only we get in.
            (Action::MakeDir, _) => {
                let make = || fs::DirBuilder::new().mode(0o700).create(&path);
                insist(&path, make).map_err(|e| Failure::volume("make the directory", &path, &e))
            }
            (Action::Meta, _) => finish(&path, entry, &mut self.applied),
            (Action::PutFile, Kind::File(file)) => {
                let ready = self.content(file)?;
                self.put(&ready, &path, entry)
            }
            (Action::Link, Kind::File(file)) => {
                let ready = self.temporary();
                let first = file.link.as_ref().unwrap_or(&entry.path).under(self.root);
                fs::hard_link(&first, &ready).map_err(|e| Failure::volume("link", &first, &e))?;
                // A rename onto another name of the same inode does nothing, and leaves both.
                rename(&ready, &path)?;
                remove_if_there(&ready)
            }
            (Action::PutSymlink, Kind::Symlink(target)) => {
                let ready = self.temporary();
                symlink(OsStr::from_bytes(target), &ready).map_err(|e| Failure::volume("make the link", &path, &e))?;
                self.put(&ready, &path, entry)
            }
            (Action::PutFifo, _) => {
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
        let last = self.uses.get_mut(&file.sha256).is_none_or(|left| {
            *left = left.saturating_sub(1);
            *left == 0
        });
        if last {
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
            applied.skip(IN_USE);
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
