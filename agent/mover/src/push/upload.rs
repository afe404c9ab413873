//! Uploads content until the volume does not change: uploads, reads the volume again, and uploads what changed meanwhile.

use jiff::Timestamp;

use super::PushOptions;
use super::case_collisions::CaseCollisions;
use super::from_packs::FromPacks;
use super::hold::Hold;
use super::object_names::{Name, emptied, names};
use super::observe::{Known, Moved, ObserveContext, Tree, differing, observe};
use super::plan::{PushPlan, plan};
use super::remote_state::{RemoteState, Strays};
use super::uploaded::Uploaded;
use crate::error::{Failure, Result};
use crate::format::documents::Commit;
use crate::format::names::{CLAIM, COMMIT, StagedDir, is_ours};
use crate::format::revision::Revision;
use crate::remote::committed::Committed;
use crate::remote::{BATCH, Listing, Remote};
use crate::report::Reason;
use crate::scratch::Scratch;
use crate::store::{Class, slices};
use crate::volume::beneath::Root;
use crate::volume::hash::Hasher;
use crate::volume::vanished::failure as unreadable;

/// Looks at the volume until two in a row are the same.
const ROUNDS: usize = 3;

/// What the steps share.
pub(super) struct PushContext<'a> {
    pub(super) remote: &'a Remote,
    pub(super) options: &'a PushOptions,
    /// The volume.
    pub(super) root: &'a Root,
    pub(super) hasher: &'a Hasher,
    pub(super) committed: Option<&'a Committed>,
    /// The committed revision, where it is one of layout Packs.
    pub(super) from_packs: Option<&'a FromPacks>,
    /// A commit whose revision cannot be restored.
    pub(super) unreadable: Option<&'a Commit>,
    pub(super) listing: Option<&'a Listing>,
    /// See [`Commit::latest_listed`].
    pub(super) latest_listed: Option<Timestamp>,
    pub(super) strays: Strays<'a>,
    /// Whether objects are files in folders there.
    pub(super) folders: bool,
    /// By which this push holds the path.
    pub(super) hold: &'a Hold<'a>,
    /// Whether it is written already.
    pub(super) claim_written: bool,
    /// See [`super::old_trees::OldTrees`].
    pub(super) superseded: &'a [Name],
    /// See [`super::old_trees::OldTrees`].
    pub(super) leftovers: &'a [Name],
    /// Whether a claim of ours exists: a push was killed.
    pub(super) claimed: bool,
    /// The revision that is going to be written.
    pub(super) revision: &'a Revision,
    /// See [`crate::format::documents::Commit::rehashed_time`].
    pub(super) rehashed: jiff::Timestamp,
}

/// What is sent, and by which right.
#[derive(Clone, Copy, Debug)]
pub(super) enum Purpose<'a> {
    /// A new revision, with its staged folder. What it is going to consist of is announced before it is sent.
    Revision(&'a StagedDir),
    /// The committed revision's own content, lost behind our back, with its staged folder. If the volume is not, or no longer, that
    /// revision, nothing is sent.
    Repair(&'a StagedDir),
}

impl<'a> Purpose<'a> {
    pub(super) fn staged(self) -> &'a StagedDir {
        match self {
            Self::Revision(staged) | Self::Repair(staged) => staged,
        }
    }
}

impl PushContext<'_> {
    /// For lists and control objects.
    pub(super) fn scratch(&self) -> &Scratch {
        &self.remote.context.scratch
    }

    /// Looks at the volume.
    pub(super) fn observe(&self, known: &Known) -> Result<Tree> {
        let (root, exclude, stop) = (self.root, &self.options.exclude, &self.remote.context.stop);
        observe(ObserveContext { root, exclude, hasher: self.hasher, scratch: self.scratch(), stop }, known)
    }

    /// The same as [`Self::plan`], of content that was read.
    pub(super) fn plan_of(&self, tree: &Tree, uploaded: &Uploaded) -> Result<PushPlan> {
        let committed = self.committed.map(|committed| &committed.entries);
        let collisions = self.collisions(tree)?;
        let state = RemoteState {
            committed,
            unreadable: self.unreadable,
            listing: self.listing,
            strays: self.strays,
            there: &uploaded.there,
            folders: self.folders,
            refuses_long_names: uploaded.refuses_long_names,
            altered: &uploaded.altered,
            collisions: collisions.as_ref(),
            exclude: &self.options.exclude,
        };
        plan(state, &tree.entries, self.revision.generation(), self.revision.as_str(), self.scratch())
    }

    /// Names that the remote takes for one. Where objects are files in folders, it may be of that kind without rclone's knowledge: as soon
    /// as there are such names, it is tried out, by our own control object under another case.
    fn collisions(&self, tree: &Tree) -> Result<Option<CaseCollisions>> {
        let folds = self.remote.features()?.folds_case;
        if !folds && !self.remote.has_folders()? {
            return Ok(None);
        }
        let committed = self.committed.map(|committed| &committed.entries);
        let strays = self.listing.into_iter().flat_map(Listing::keys).map(|name| &**name);
        let collisions = CaseCollisions::of(committed, &tree.entries, strays.filter(|name| !is_ours(name) && self.strays.contains(name)))?;
        if collisions.is_empty() || !folds && !self.remote.is_found_to_fold(if self.committed.is_some() { COMMIT } else { CLAIM })? {
            return Ok(None);
        }
        Ok(Some(collisions))
    }

    /// Whether anything but new names in the staged folder is written, or deleted, before the commit. An outdated answer must not lead
    /// to that: what another push has committed meanwhile may need those names.
    pub(super) fn writes_in_place(&self, plan: &PushPlan) -> bool {
        let in_place = !plan.own.is_empty() || !plan.objects.is_empty() || !self.superseded.is_empty();
        let own = self.committed.is_some_and(|committed| committed.commit.owner == self.options.pusher.owner);
        in_place || !own || self.listing.is_some() || self.claimed
    }

    /// Deletes what an earlier round, or a dead push, sent and neither tree needs: where objects are files of a file system, it may be in
    /// the way.
    fn drop_abandoned(&self, plan: &PushPlan, moved: &[Moved], staged: &StagedDir, uploaded: &mut Uploaded) -> Result<()> {
        let committed = self.committed.map(|committed| &committed.entries);
        // What an adoption may delete goes once it has committed.
        let stray = |name: &[u8]| {
            matches!(self.strays, Strays::Named(_))
                && self.strays.contains(name)
                && self.listing.is_some_and(|listing| listing.contains_key(name))
        };
        let of_dead =
            moved.iter().map(|moved| &moved.path).filter(|path| uploaded.there.contains(path.as_bytes()) || stray(path.as_bytes()));
        let mut abandoned = uploaded.drop_abandoned(plan, of_dead.cloned().collect(), staged, committed, self.scratch())?;
        // What lies there by now may be another file's.
        abandoned.retain(|name| !uploaded.altered.contains(name));
        if abandoned.is_empty() {
            return Ok(());
        }
        for batch in abandoned.chunks(BATCH) {
            match self.remote.delete(&slices(batch)) {
                // That it refused: what cannot be there need not go.
                Err(error) if error.class == Class::NameTooLong => {}
                deleted => deleted?,
            }
        }
        let needed = committed.map(names).transpose()?.into_iter().flatten();
        let gone = abandoned.into_iter().map(Ok);
        self.remote.remove_empty(emptied(gone, needed.chain(uploaded.names(staged)?))?.iter().map(String::as_str))
    }

    /// What is known of content once the plan is carried out: of a live volume, not what may have changed under the upload unseen.
    fn known_once_sent<'a>(&'a self, tree: &Tree, plan: &'a PushPlan) -> Known<'a> {
        if self.options.is_live() {
            Known::of_sent(&plan.entries, tree.began, self.revision.generation(), self.listing)
        } else {
            Known::of(&plan.entries)
        }
    }

    /// An object that is not listed may have become an empty folder, which is listed nowhere, and which it could not be put in the place of.
    fn clear_folders(&self, plan: &PushPlan) -> Result<()> {
        let Some(listing) = self.listing.filter(|_| self.folders) else { return Ok(()) };
        for upload in plan.staged.read()? {
            if !listing.contains_key(upload?.path.as_bytes()) {
                // Not by its name: what a listing does not show may be a file all the same.
                return self.remote.remove_all_empty();
            }
        }
        Ok(())
    }

    /// Uploads, reads the volume again, and uploads what changed meanwhile, until nothing does.
    pub(super) fn send_until_still(
        &self,
        mut tree: Tree,
        mut plan: PushPlan,
        purpose: Purpose,
        uploaded: &mut Uploaded,
    ) -> Result<(Tree, PushPlan)> {
        if self.committed.is_none() && self.collisions(&tree)?.is_some() {
            // Before the claim was written, nothing was there to try it out.
            plan = self.plan(&mut tree, uploaded)?;
        }
        self.clear_folders(&plan)?;
        let (mut moving, mut cleared) = (Vec::new(), false);
        let mut rounds = ROUNDS;
        while let Some(left) = rounds.checked_sub(1) {
            rounds = left;
            self.remote.context.progress.phase("uploading", plan.bytes_to_send);
            let error = match self.send_and_read(&mut tree, &mut plan, purpose, uploaded)? {
                Ok(()) => None,
                // A file that changed or vanished under the upload: the next look shows it. One that became shorter is trouble
                // without a name, because the server waits for what was announced.
                Err(error) if error.class == Class::NameTooLong && !std::mem::replace(&mut uploaded.refuses_long_names, true) => {
                    tracing::info!(message = error.message, "the remote refuses a name for its length; long ones go under their hash");
                    plan = self.plan(&mut tree, uploaded)?;
                    self.drop_abandoned(&plan, &[], purpose.staged(), uploaded)?;
                    continue;
                }
                Err(error) if matches!(error.class, Class::SourceChanging | Class::NotFound | Class::Obstructed | Class::Other) => {
                    Some(error)
                }
                Err(error) => return Err(error.into()),
            };
            let again = self.observe(&self.known_once_sent(&tree, &plan).doubting(&uploaded.others))?;
            // What was sent of them is none of what either look has read: they are sent again.
            let doubted = !std::mem::take(&mut uploaded.others).is_empty();
            moving = differing(&tree.entries, &again.entries, &self.options.exclude)?;
            if moving.is_empty() && error.is_some() && !std::mem::replace(&mut cleared, true) && self.remote.has_folders()? {
                // An empty folder may be where a file is to go, and is listed nowhere.
                self.remote.remove_all_empty()?;
                continue;
            }
            if moving.is_empty() {
                match error {
                    Some(error) if doubted => {
                        if rounds == 0 {
                            return Err(error.into());
                        }
                        continue;
                    }
                    Some(error) if matches!(error.class, Class::Obstructed | Class::Other) => return Err(error.into()),
                    Some(error) => {
                        let what = format!("rclone could not send every file, and none of them changed: {}", error.message);
                        return Err(Failure::new(Reason::MoverFailed, what));
                    }
                    None if again.unsettled.is_empty() => {
                        if !self.are_altered(purpose.staged(), uploaded)? {
                            return Ok((tree, plan));
                        }
                        // The volume is still: that is no change of it.
                        rounds = rounds.max(1);
                        plan = self.plan(&mut tree, uploaded)?;
                        self.drop_abandoned(&plan, &[], purpose.staged(), uploaded)?;
                        continue;
                    }
                    None => return Err(unreadable(&again.unsettled)),
                }
            }
            uploaded.forget(&moving, self.scratch())?;
            tracing::info!(count = moving.len(), first = ?moving.first(), "the volume changed while it was read");
            tree = again;
            plan = self.plan(&mut tree, uploaded)?;
            self.drop_abandoned(&plan, &moving, purpose.staged(), uploaded)?;
        }
        let names: Vec<String> = moving.iter().take(3).map(|moved| moved.path.to_string()).collect();
        Err(changing(moving.len() as u64, &names))
    }
}

/// The failure of a push whose volume did not stay the same for long enough, with some of the names.
pub(super) fn changing(count: u64, names: &[String]) -> Failure {
    Failure::new(
        Reason::SourceChanging,
        format!(
            "{count} entries kept changing while they were read, {} among them; use copyMethod Snapshot or Clone, or stop the writer during syncs",
            names.join(", ")
        ),
    )
}
