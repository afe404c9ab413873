//! Carries out what a comparison of the volume has found, whatever the layout: guards, what is in the way, names, and the order of all of it.

use super::PullOptions;
use super::apply::{self, Applied};
use super::names::{self, Alike};
use super::observe::Observation;
use super::obstacles;
use super::only::Only;
use super::plan::{PullPlan, Writers, plan};
use super::restore::HasContent;
use super::staging::Staging;
use super::standing::{self, Holds};
use super::wanted::Wanted;
use crate::error::{Failure, Result};
use crate::format::entries::Entries;
use crate::format::revision::Revision;
use crate::guard::Deletions;
use crate::remote::Remote;
use crate::report::Synced;
use crate::volume::beneath::Root;
use crate::volume::hash::Hasher;
use crate::volume::walk::OTHER_ATTRIBUTES;

/// What an attempt at one commit works on.
pub(super) struct Attempt<'a> {
    pub(super) remote: &'a Remote,
    pub(super) root: &'a Root,
    pub(super) options: &'a PullOptions,
    /// Reads the volume.
    pub(super) hasher: &'a Hasher,
    /// What of the revision is pulled, if not all of it.
    pub(super) only: Option<&'a Only>,
    /// Which revision is pulled.
    pub(super) wanted: &'a Wanted,
    /// The revision of which nothing has to be done, because the volume holds it, and no pull of it has stopped halfway.
    pub(super) holds: Option<&'a str>,
}

/// Fetches, verifies and applies all that a plan says. Names that are `merged` are those of a volume that takes some for one. The inner error
/// means that the remote does not hold what the commit says.
pub(super) type Replace<'a> = &'a mut dyn FnMut(&Staging, &PullPlan, Option<&Alike>) -> Result<std::result::Result<Applied, Failure>>;

impl Attempt<'_> {
    /// Which revision the volume is known to hold.
    pub(super) fn held(&self) -> Result<Option<Revision>> {
        if !self.options.private {
            return Ok(None);
        }
        // An unfinished pull may have put something of another revision in place, and the path may have been put back since.
        if Staging::is_left(self.root)? {
            return Ok(Holds::of(self.root)?.and_then(|holds| holds.revision()));
        }
        Ok(self.options.applied.as_deref().and_then(Revision::parse))
    }

    /// The staging folder, with what is to be known before anything is changed. Of a volume on which one was `seen`, whatever was in it, what was
    /// known before is not: it may be half changed, or somebody asks by an empty one that all of it is compared.
    fn staging(&self, seen: bool) -> Result<Staging> {
        if let Some(only) = self.only {
            let staging = Staging::begin(self.root, |folder| only.note(folder))?;
            // One that was left may be of less.
            only.note(staging.folder())?;
            return Ok(staging);
        }
        if self.options.private && !seen {
            let holds = Holds { revision: self.options.applied.clone(), brought: None };
            drop(Staging::begin(self.root, |folder| holds.note(folder))?);
        }
        let staging = Staging::open(self.root)?;
        standing::note_place(staging.folder(), self.remote.name())?;
        Ok(staging)
    }

    /// Who writes to the volume.
    pub(super) fn writers(&self) -> Result<Writers> {
        Writers::of(self.options.private, self.root)
    }

    /// Makes the volume, as it was `seen`, the tree `entries` of this revision.
    pub(super) fn carry_out(
        &self,
        (revision, entries): (&str, &Entries),
        seen: Observation,
        (replace, has_content): (Replace, HasContent),
    ) -> Result<std::result::Result<Synced, Failure>> {
        let Self { remote, root, options, .. } = *self;
        let stop = &remote.context.stop;
        let plan = plan(entries.read()?, seen.facts)?;
        options.guard.check(&Deletions {
            place: "the volume",
            base: revision,
            before: plan.before,
            gone: plan.lost,
            names: plan.lost_names,
            // Of the manifest itself: what the commit says of it is not pinned by anything.
            after: entries.totals().count(),
        })?;
        obstacles::refuse(root, &plan, entries, None, stop)?;
        let mut applied;
        if seen.staging || !plan.is_metadata_alone() {
            let staging = self.staging(seen.staging)?;
            let merges = names::check((root, &staging, seen.staging), entries, plan.gone(), &seen.alike, stop)?;
            let merged = Some(&seen.alike).filter(|_| merges);
            if merges && let Err(failure) = obstacles::refuse(root, &plan, entries, merged, stop) {
                if !seen.staging {
                    Staging::remove(root, stop)?;
                }
                return Err(failure);
            }
            applied = match replace(&staging, &plan, merged)? {
                Ok(applied) => applied,
                Err(failure) => return Ok(Err(failure)),
            };
            root.sync()?;
            if merges {
                names::verify(root, entries, &stop.unheeded())?;
            }
            Staging::remove(root, stop)?;
        } else {
            // A mover that may not change what differs must leave no trace at every pull: marked from the first change on.
            applied = apply::metadata(root, entries, (&plan, has_content), || Staging::open(root).map(drop), stop)?;
            if applied.changed {
                root.sync()?;
                Staging::remove(root, stop)?;
            }
        }
        apply::finish_root(root, entries, &mut applied)?;
        if applied.changed {
            root.sync()?;
        }
        let mut skipped = seen.skipped;
        // What a source has is its push's to count.
        skipped.remove(OTHER_ATTRIBUTES);
        let deleted = applied.removed(plan.lost.all);
        skipped.extend(applied.skipped);
        Ok(Ok(Synced { changed: applied.changed, deleted, skipped, ..Synced::default() }))
    }
}
