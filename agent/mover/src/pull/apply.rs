//! Makes the volume's tree the committed one: every file is complete, with its metadata, before a rename puts it in place.

#![allow(clippy::redundant_closure_for_method_calls, reason = "a method of `Place` by its path is one of a single lifetime")]

use std::io;

use super::plan::{Action, PullPlan, Step};
use super::prepare::{Prepared, Preparer, release};
use super::ready::{Ready, insist};
use super::restore::{HasContent, Tally, Unchanged, restore, restore_unchanged};
use super::staging::Staging;
use super::standing;
use crate::digest::Digest;
use crate::error::{Failure, Result};
use crate::format::entries::Entries;
use crate::stop::Stop;
use crate::volume::beneath::Root;
use crate::volume::entry::{Entry, Kind};
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
    /// How many entries were removed of those that have no successor: all but those that could not go.
    pub(super) fn removed(&self, lost: u64) -> u64 {
        lost.saturating_sub(self.skipped.get(IN_USE).copied().unwrap_or_default())
    }

    fn skip(&mut self, kind: &str) {
        *self.skipped.entry(kind.into()).or_default() += 1;
    }
}

/// Counts directories that hold what is not replicated, and stay for that.
const IN_USE: &str = "directoriesInUse";

/// Begins to apply `plan`. A request to stop is heeded until the volume is changed, and not then: a user's volume would be left with a mix of
/// two revisions, and what is ready is put in place in little time.
pub(super) fn begin<'a>(
    root: &'a Root,
    plan: &'a PullPlan,
    staging: &'a Staging,
    has_content: HasContent<'a>,
    stop: &'a Stop,
) -> Applier<'a> {
    Applier {
        root,
        has_content,
        plan,
        staging,
        preparer: Preparer::new(root, plan, staging, stop),
        begun: false,
        stop: stop.unheeded(),
        // Metadata may turn out not to be changeable here, and a pull that changes nothing says so.
        applied: Applied { changed: !plan.is_metadata_alone(), ..Applied::default() },
    }
}

/// Applies a plan that [changes metadata alone](PullPlan::is_metadata_alone), or nothing; calls `mark` after the first change, and heeds no
/// request to stop from then on.
pub(super) fn metadata(
    root: &Root,
    entries: &Entries,
    (plan, has_content): (&PullPlan, HasContent),
    mark: impl Fn() -> Result<()>,
    stop: &Stop,
) -> Result<Applied> {
    let mut applied = Applied::default();
    let unheeded = stop.unheeded();
    let mut finish = |entry: &Entry| {
        let changed = applied.changed;
        if changed { &unheeded } else { stop }.check()?;
        finish_guarded(root, entry, (plan, has_content), &unheeded, &mut applied)?;
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

/// Shows every directory but the root, after all that it holds: nothing is made in one after its time was set.
pub(super) fn for_directories(entries: &Entries, mut visit: impl FnMut(&Entry) -> Result<()>) -> Result<()> {
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
    plan: &'a PullPlan,
    staging: &'a Staging,
    has_content: HasContent<'a>,
    preparer: Preparer<'a>,
    /// Whether the volume has been changed.
    begun: bool,
    stop: Stop,
    applied: Applied,
}

impl Applier<'_> {
    /// Makes what these steps put in place; their content is verified. Nothing of the volume is changed. If they are all of a plan (`whole`),
    /// room for their names is kept free, so that none of them fails for that.
    pub(super) fn prepare(&mut self, steps: impl Iterator<Item = Result<Step>>, whole: bool) -> Result<Prepared> {
        self.preparer.prepare(steps, whole, &mut self.applied.skipped)
    }

    /// What was done so far, for another one to apply what is prepared.
    pub(super) fn into_applied(self) -> Applied {
        self.applied
    }

    /// The first change is next.
    fn begin(&mut self) -> Result<()> {
        if std::mem::replace(&mut self.begun, true) { Ok(()) } else { standing::forget(self.staging.folder()) }
    }

    /// Removes what has to go before anything is put in place. What an application has removed meanwhile is gone as well.
    pub(super) fn clear(&mut self, early: &[RelPath]) -> Result<()> {
        self.begin()?;
        for path in early {
            self.stop.check()?;
            match insist(self.root, path, |place| place.remove()) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                other => other.map(drop).map_err(|e| Failure::volume("remove", &self.root.shown(path), &e))?,
            }
        }
        Ok(())
    }

    /// Takes these steps, for which all is prepared.
    pub(super) fn steps(&mut self, prepared: Prepared, steps: impl Iterator<Item = Result<Step>>) -> Result<()> {
        self.begin()?;
        release(self.staging)?;
        for step in prepared.ready(steps) {
            self.stop.check()?;
            let ((action, entry), lies) = step?;
            if let Some(lies) = lies {
                put(self.root, &lies.within(self.staging), &entry.path, action == Action::Link)?;
            } else if action == Action::Meta {
                finish_guarded(self.root, &entry, (self.plan, self.has_content), &self.stop, &mut self.applied)?;
            }
        }
        Ok(())
    }

    /// Puts all that is prepared in the place of what is there. Where the volume `merges` names, a name that goes may be another one's that
    /// comes, and goes first.
    pub(super) fn put(&mut self, prepared: Prepared, plan: &PullPlan, entries: &Entries, merges: bool) -> Result<()> {
        self.clear(&plan.early)?;
        let (first, last): (&[RelPath], &[RelPath]) = if merges { (&plan.late, &[]) } else { (&[], &plan.late) };
        self.remove(first)?;
        self.steps(prepared, plan.steps(entries.read()?))?;
        self.remove(last)
    }

    /// Removes what the manifest does not hold.
    pub(super) fn remove(&mut self, late: &[RelPath]) -> Result<()> {
        self.begin()?;
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
        self.preparer.is_shared(digest)
    }
}

/// Puts in place what is ready, perhaps one more name of what is there.
pub(super) fn put(root: &Root, ready: &Ready, path: &RelPath, is_link: bool) -> Result<()> {
    ready.put(root, path)?;
    if is_link { ready.drop_name() } else { Ok(()) }
}

/// Gives an entry that is in place its metadata.
pub(super) fn finish(root: &Root, entry: &Entry, applied: &mut Applied) -> Result<()> {
    applied.changed |= restore(root, &entry.path, entry, &mut applied.skipped)?;
    Ok(())
}

/// The same, of one that may be a file which must not have changed since it was compared.
fn finish_guarded(
    root: &Root,
    entry: &Entry,
    (plan, has_content): (&PullPlan, HasContent),
    stop: &Stop,
    applied: &mut Applied,
) -> Result<()> {
    let Some(compared) = plan.guard(&entry.path) else { return finish(root, entry, applied) };
    applied.changed |= restore_unchanged(root, entry, Unchanged { compared, has_content, stop }, &mut applied.skipped)?;
    Ok(())
}

/// Removes what goes last. A directory that holds what is not replicated, such as a live socket, stays.
pub(super) fn remove(root: &Root, path: &RelPath, applied: &mut Applied) -> Result<()> {
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
