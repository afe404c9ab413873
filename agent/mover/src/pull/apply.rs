//! Makes the volume's tree the committed one: every file is complete, with its metadata, before a rename puts it in place.

use std::collections::HashMap;
use std::io;

use super::plan::{Action, PullPlan, Step};
use super::restore::{Tally, restore};
use super::staging::Staging;
use crate::digest::Digest;
use crate::error::{Failure, Result};
use crate::format::entries::Entries;
use crate::stop::Stop;
use crate::volume::beneath::{Place, Root};
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
pub(super) fn begin<'a>(root: &'a Root, plan: &PullPlan, staging: &'a Staging, stop: &'a Stop) -> Applier<'a> {
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
pub(super) fn metadata(root: &Root, entries: &Entries, plan: &PullPlan, mark: impl Fn() -> Result<()>, stop: &Stop) -> Result<Applied> {
    let mut applied = Applied::default();
    let mut finish = |entry: &Entry| {
        stop.check()?;
        let changed = applied.changed;
        finish(root, entry, &mut applied)?;
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
pub(super) fn finish_root(root: &Root, entries: &Entries, applied: &mut Applied) -> Result<()> {
    match entries.read()?.next().transpose()? {
        Some(entry) if entry.path.is_root() => finish(root, &entry, applied),
        _ => Ok(()),
    }
}

/// A plan that is being applied.
pub(super) struct Applier<'a> {
    root: &'a Root,
    staging: &'a Staging,
    /// Of content that several files are made of: how many are left.
    uses: HashMap<Digest, usize>,
    next: u64,
    stop: &'a Stop,
    applied: Applied,
}

impl<'a> Applier<'a> {
    /// Removes what has to go before anything is made.
    pub(super) fn clear(&mut self, early: &[RelPath]) -> Result<()> {
        for path in early {
            self.stop.check()?;
            insist(self.root, path, |place| place.remove()).map_err(|e| Failure::volume("remove", &self.root.shown(path), &e))?;
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
            remove(self.root, path, &mut self.applied)?;
        }
        Ok(())
    }

    /// Gives the directories their metadata, once nothing else changes in them.
    pub(super) fn finish(mut self, entries: &Entries) -> Result<Applied> {
        for_directories(entries, |dir| {
            self.stop.check()?;
            finish(self.root, dir, &mut self.applied)
        })?;
        Ok(self.applied)
    }

    /// Whether more than one file is still to be made of this content.
    pub(super) fn is_shared(&self, digest: &Digest) -> bool {
        self.uses.get(digest).is_some_and(|left| *left > 1)
    }

    fn act(&mut self, action: Action, entry: &Entry) -> Result<()> {
        let (root, path) = (self.root, &entry.path);
        match (action, &entry.kind) {
            // Its own metadata comes last; until then only we get in.
            (Action::MakeDir, _) => insist(root, path, |place| place.make_folder(0o700))
                .map_err(|e| Failure::volume("make the directory", &root.shown(path), &e)),
            (Action::Meta, _) => finish(root, entry, &mut self.applied),
            (Action::PutFile, Kind::File(file)) => {
                let ready = self.content(file)?;
                self.put(&ready, entry)
            }
            (Action::Link, Kind::File(file)) => {
                let ready = self.temporary();
                let first = file.link.as_ref().unwrap_or(path);
                ready.make(|place| root.at(first)?.link_to(place)).map_err(|e| Failure::volume("link", &root.shown(first), &e))?;
                // A rename onto another name of the same inode does nothing, and leaves both.
                rename(&ready, root, path)?;
                ready
                    .make(|place| place.remove_unless_folder())
                    .map(drop)
                    .map_err(|e| Failure::volume("remove", &ready.root.shown(&ready.path), &e))
            }
            (Action::PutSymlink, Kind::Symlink(target)) => {
                let ready = self.temporary();
                ready.make(|place| place.make_symlink(target)).map_err(|e| Failure::volume("make the link", &root.shown(path), &e))?;
                self.put(&ready, entry)
            }
            (Action::PutFifo, _) => {
                let ready = self.temporary();
                ready.make(|place| place.make_fifo()).map_err(|e| Failure::volume("make the pipe", &root.shown(path), &e))?;
                self.put(&ready, entry)
            }
            _ => Ok(()),
        }
    }

    /// A file with this content and these holes, ours alone.
    fn content(&mut self, file: &FileEntry) -> Result<Ready<'a>> {
        let ready = self.whole_content(file)?;
        if !file.holes.is_empty() && !holes::punch(ready.root, &ready.path, &file.holes, self.stop)? {
            self.applied.skip("holes");
        }
        Ok(ready)
    }

    fn whole_content(&mut self, file: &FileEntry) -> Result<Ready<'a>> {
        if file.size == 0 {
            let ready = self.temporary();
            ready.make(|place| place.make_file()).map_err(|e| Failure::volume("make", &ready.shown(), &e))?;
            return Ok(ready);
        }
        let verified = Ready { root: self.staging.verified(), path: Staging::content(&file.sha256) };
        let last = self.uses.get_mut(&file.sha256).is_none_or(|left| {
            *left = left.saturating_sub(1);
            *left == 0
        });
        if last {
            return Ok(verified);
        }
        let ready = self.temporary();
        let Some(mut content) = verified.root.file(&verified.path)? else {
            return Err(Failure::volume("read", &verified.shown(), &io::ErrorKind::NotFound.into()));
        };
        let copy = |place: &Place| io::copy(&mut content, &mut place.make_file()?);
        ready.make(copy).map_err(|e| Failure::volume("copy", &verified.shown(), &e))?;
        Ok(ready)
    }

    fn put(&mut self, ready: &Ready, entry: &Entry) -> Result<()> {
        restore(ready.root, &ready.path, entry, &mut self.applied.skipped)?;
        rename(ready, self.root, &entry.path)
    }

    fn temporary(&mut self) -> Ready<'a> {
        self.next += 1;
        Ready { root: self.staging.temporary(), path: RelPath::root().child(self.next.to_string()) }
    }
}

/// What is in the staging folder and is going to be put in place.
struct Ready<'a> {
    root: &'a Root,
    path: RelPath,
}

impl Ready<'_> {
    fn make<T>(&self, make: impl FnOnce(&Place) -> io::Result<T>) -> io::Result<T> {
        make(&self.root.at(&self.path)?)
    }

    fn shown(&self) -> std::path::PathBuf {
        self.root.shown(&self.path)
    }
}

fn rename(ready: &Ready, root: &Root, path: &RelPath) -> Result<()> {
    insist(root, path, |place| ready.make(|ready| ready.rename_to(place)))
        .map_err(|e| Failure::volume("put in place", &root.shown(path), &e))
}

/// Does `change` to a name, if need be after letting ourselves into its directory, which gets its mode back in the end: a mover
/// without privileges is bound by it even where the directory is its own.
fn insist<T>(root: &Root, path: &RelPath, change: impl Fn(&Place) -> io::Result<T>) -> io::Result<T> {
    let result = root.at(path).and_then(|place| change(&place));
    let Some(dir) = path.parent().and_then(RelPath::new) else { return result };
    match &result {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            let dir = root.hold(&dir)?;
            let mode = dir.look()?.mode;
            if mode & 0o700 == 0o700 || dir.set_mode(mode | 0o700).is_err() {
                return result;
            }
            change(&root.at(path)?)
        }
        _ => result,
    }
}

/// Gives an entry that is in place its metadata.
fn finish(root: &Root, entry: &Entry, applied: &mut Applied) -> Result<()> {
    applied.changed |= restore(root, &entry.path, entry, &mut applied.skipped)?;
    Ok(())
}

/// A directory that holds what is not replicated, such as a live socket, stays.
fn remove(root: &Root, path: &RelPath, applied: &mut Applied) -> Result<()> {
    match insist(root, path, |place| place.remove()) {
        Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => {
            applied.skip(IN_USE);
            Ok(())
        }
        // Its directory was removed with it.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other.map(drop).map_err(|e| Failure::volume("remove", &root.shown(path), &e)),
    }
}
