//! Whether the path still belongs to this push: checked right before each write that could undo what another push has done, and again
//! after it, because no remote makes a write conditional on what was read before it.
//!
//! One listing of our own folder shows claim and commit together, by their MD5 sums; if it has none, both are read.

use std::cell::Cell;
use std::time::Duration;

use super::PushOptions;
use super::object_names::{Name, manifest_object, of_ours};
use crate::clock::since_boot;
use crate::error::{Failure, Result};
use crate::format::documents::{Claim, Control, Owner, seal};
use crate::format::names::{CLAIM, COMMIT, CONTROL_DIR, is_manifest};
use crate::format::revision::Revision;
use crate::packs::commit::{AnyCommit, Committing};
use crate::remote::committed::{read_any_claim, read_any_commit};
use crate::remote::{ControlSums, Listing, Remote, Waiting};
use crate::report::Reason;
use crate::volume::hash::md5_hex;

/// A step that took longer than this may have been held up, and others may have come by meanwhile.
const LONG: Duration = Duration::from_secs(10);
/// The path, as far as it is held by this push's claim.
pub(super) struct Hold<'a> {
    pub(super) remote: &'a Remote,
    pub(super) options: &'a PushOptions,
    /// The claim of this push.
    pub(super) claim: &'a Claim,
    /// When it was last looked at, as [`since_boot`].
    looked: Cell<Option<Duration>>,
}

impl<'a> Hold<'a> {
    pub(super) fn new(remote: &'a Remote, options: &'a PushOptions, claim: &'a Claim) -> Self {
        Self { remote, options, claim, looked: Cell::new(None) }
    }

    /// The last check before a commit: no other push may have claimed or committed since this one began with `committed`, or with a
    /// commit of the revision `unreadable` that cannot be restored. Of the objects that wait to be put in place, if it is to list them, it returns
    /// what the same listing showed, if that is to be believed.
    pub(super) fn check_before(
        &self,
        committed: Option<&impl Committing>,
        unreadable: Option<&str>,
        lists_waiting: bool,
    ) -> Result<Option<Waiting>> {
        let Self { remote, options, claim, .. } = self;
        let (shown, waiting) = self.shows_waiting(committed, lists_waiting)?;
        if shown {
            return Ok(waiting);
        }
        let (claimed, found) =
            if committed.is_some() { remote.read_claim_and_commit()? } else { (read_any_claim(remote)?, read_any_commit(remote)?) };
        match (found.present(), committed) {
            (Some(found), Some(before)) if found.revision() == before.revision() => {}
            (Some(found), _) if unreadable == Some(found.revision()) => {}
            (Some(found), _) => return Err(rival(remote, options, found.owner())),
            // If ours vanished or was damaged behind our back, the new one puts that right.
            (None, _) => {}
        }
        // One wrong answer is no rival.
        let claimed = if claimed.present() == Some(*claim) { claimed } else { read_any_claim(remote)? };
        match claimed {
            Control::Present(found) if found == **claim => Ok(None),
            Control::Present(found) => Err(rival(remote, options, &found.owner)),
            Control::Absent | Control::Corrupt(_) => Err(Failure::new(
                Reason::RemoteInconsistent,
                format!(
                    "{}/{CONTROL_DIR}/{CLAIM}, which this push wrote when it started, is missing or damaged; nothing was committed, and the next attempt continues from here",
                    remote.name()
                ),
            )),
        }
    }

    /// A check after `commit` was written, and before anything else is done that only its revision allows: claim and commit must be
    /// those of this push.
    pub(super) fn check_committed(&self, commit: &impl Committing) -> Result<()> {
        let Self { remote, claim, .. } = self;
        if self.shows(Some(commit))? {
            return Ok(());
        }
        let (claimed, found) = remote.read_claim_and_commit()?;
        let is_ours = |found: &Control<AnyCommit>| found.present().is_some_and(|found| found.revision() == commit.revision());
        // One wrong answer is no rival.
        let claimed = if claimed.present() == Some(*claim) { claimed } else { read_any_claim(remote)? };
        let found = if is_ours(&found) { found } else { read_any_commit(remote)? };
        if claimed.present() == Some(*claim) && is_ours(&found) {
            return Ok(());
        }
        let committed = found.present().filter(|found| found.revision() != commit.revision()).map(Committing::owner);
        let owner = claimed.present().filter(|found| found != claim).map(|found| &found.owner).or(committed);
        Err(overtaken(remote, self.options, commit.revision(), owner))
    }

    /// Takes the claim back, where it is still this push's: it would keep the owner of the path from pushing.
    pub(super) fn withdraw(&self) -> Result<()> {
        if read_any_claim(self.remote)?.present() == Some(self.claim) {
            self.remote.delete(&[&*claim_name()])?;
        }
        Ok(())
    }

    /// As [`Self::check_committed`], if the last check was long ago.
    pub(super) fn check_if_held_up(&self, commit: &impl Committing) -> Result<()> {
        if self.is_held_up() { self.check_committed(commit) } else { Ok(()) }
    }

    /// The last check was long ago, or took long.
    pub(super) fn is_held_up(&self) -> bool {
        is_long_ago(self.looked.get(), since_boot())
    }

    /// As [`Self::check_committed`], by what was seen of claim and commit just now, if anything was.
    pub(super) fn check_seen(&self, commit: &impl Committing, seen: Option<&ControlSums>) -> Result<()> {
        match seen {
            Some(sums) if self.are_ours(sums, Some(commit))? => Ok(()),
            _ => self.check_committed(commit),
        }
    }

    /// Whether a listing shows our claim and this commit, or that there is none. `false` may be due to the backend.
    fn shows(&self, commit: Option<&impl Committing>) -> Result<bool> {
        Ok(self.shows_waiting(commit, false)?.0)
    }

    /// The same, with what waits to be put in place, if it is to be listed.
    fn shows_waiting(&self, commit: Option<&impl Committing>, lists_waiting: bool) -> Result<(bool, Option<Waiting>)> {
        // Not after it: its answer may be held up, too.
        let looked = since_boot();
        let all = if lists_waiting { self.remote.waiting(false)? } else { None };
        let (sums, waiting) = match all {
            Some((sums, waiting)) => (sums, Some(waiting)),
            None => (self.remote.control_sums()?, None),
        };
        self.looked.set(Some(looked));
        Ok((self.are_ours(&sums, commit)?, waiting))
    }

    fn are_ours(&self, sums: &ControlSums, commit: Option<&impl Committing>) -> Result<bool> {
        let is = |name: &str, document: &[u8]| sums.get(name).is_some_and(|sum| *sum == md5_hex(document));
        Ok(is(CLAIM, &seal(self.claim)?)
            && match commit {
                Some(commit) => is(COMMIT, &seal(commit)?),
                None => !sums.contains_key(COMMIT),
            })
    }
}

/// The object of a claim.
pub(super) fn claim_name() -> Name {
    of_ours(CLAIM)
}

/// That the commit is still the one that this push began with.
pub(super) fn check_unchanged(remote: &Remote, options: &PushOptions, commit: &impl Committing) -> Result<()> {
    match read_any_commit(remote)?.present() {
        Some(found) if found.revision() != commit.revision() => Err(rival(remote, options, found.owner())),
        // Vanished or damaged behind our back: what this push is going to write puts that right.
        _ => Ok(()),
    }
}

/// As [`check_unchanged`], of a push that has no claim of its own: no other may exist, either.
pub(super) fn check_unclaimed(remote: &Remote, options: &PushOptions, commit: &impl Committing) -> Result<()> {
    let sums = remote.control_sums()?;
    if sums.contains_key(CLAIM)
        && let Control::Present(claim) = read_any_claim(remote)?
    {
        return Err(rival(remote, options, &claim.owner));
    }
    if sums.get(COMMIT).is_some_and(|sum| seal(commit).is_ok_and(|document| *sum == md5_hex(&document))) {
        return Ok(());
    }
    check_unchanged(remote, options, commit)
}

/// The manifests on the path, by which a push without a claim of its own knows that no other push ran meanwhile: that one has left its
/// own, and taken ours away.
pub(super) struct Manifests(Vec<Box<[u8]>>);

impl Manifests {
    /// What a listing of the path shows, but for `dropped`.
    pub(super) fn among<'n>(listing: &Listing, dropped: impl Iterator<Item = &'n Box<[u8]>>) -> Self {
        let dropped: Vec<_> = dropped.collect();
        let mut names: Vec<_> = listing.keys().filter(|name| is_manifest(name) && !dropped.contains(name)).cloned().collect();
        names.sort();
        Self(names)
    }

    /// What is there now.
    pub(super) fn list(remote: &Remote) -> Result<Self> {
        let folder = format!("{CONTROL_DIR}/manifests/");
        let listing = remote.list(&folder)?.into_keys().map(|name| [folder.as_bytes(), &name].concat().into());
        let mut names: Vec<_> = listing.collect();
        names.sort();
        Ok(Self(names))
    }

    pub(super) fn has(&self, revision: &Revision) -> bool {
        self.0.contains(&manifest_object(revision))
    }

    /// That no other one has come, and none has gone, since these were seen and `commit` was written.
    pub(super) fn check(&self, remote: &Remote, options: &PushOptions, commit: &impl Committing) -> Result<()> {
        if Self::list(remote)?.0 == self.0 {
            return Ok(());
        }
        let claim = read_any_claim(remote)?;
        Err(overtaken(remote, options, commit.revision(), claim.present().map(|claim| &claim.owner)))
    }
}

/// Another push has claimed or committed meanwhile, or the remote did not show a commit when this one began.
pub(super) fn rival(remote: &Remote, options: &PushOptions, owner: &Owner) -> Failure {
    let (name, Owner { namespace, name: object, uid }) = (remote.name(), owner);
    if *owner == options.pusher.owner {
        return Failure::new(
            Reason::RemoteInconsistent,
            format!(
                "{name} has another revision of this object than when this push started; nothing was committed, and the next attempt starts over"
            ),
        );
    }
    Failure::new(
        Reason::PathNotOurs,
        format!(
            "{namespace}/{object} (UID {uid}) pushes to {name} at the same time; nothing was committed. Give each source a path of its own"
        ),
    )
}

/// The failure of a push that has met another object's after it had sent files in place. Its manifest stays: by that, a verification of the
/// other one knows what to read.
pub(super) fn having_sent(failure: &Failure) -> Failure {
    let what = "What this push had sent by then may have replaced files of that one, which its next verification repairs; at once: annotate the object that owns this path with scribe.backube/verify-now: <any new value>";
    Failure::new(failure.reason, format!("{}. {what}", failure.message))
}

/// Another push has come by after this one had committed, or what this one wrote did not stay: it stops before it writes more.
fn overtaken(remote: &Remote, options: &PushOptions, revision: &str, owner: Option<&Owner>) -> Failure {
    let name = remote.name();
    let others = owner.filter(|owner| **owner != options.pusher.owner);
    let what = format!("the last write of this push, of revision {revision}, may have replaced something newer");
    match others {
        Some(Owner { namespace, name: object, uid }) => Failure::new(
            Reason::PathNotOurs,
            format!(
                "{namespace}/{object} (UID {uid}) pushes to {name} at the same time; {what}. Give each source a path of its own, then annotate the one that owns this path with scribe.backube/verify-now: <any new value>"
            ),
        ),
        None => Failure::new(
            Reason::RemoteInconsistent,
            format!(
                "another push wrote to {name} while this one finished, or the writes of this one are missing; {what}. Annotate the object that owns this path with scribe.backube/verify-now: <any new value>, so that its next push lists the path and repairs what differs"
            ),
        ),
    }
}

/// Whether a look at `looked` is out of date at `now`.
fn is_long_ago(looked: Option<Duration>, now: Duration) -> bool {
    looked.is_none_or(|looked| now.saturating_sub(looked) > LONG)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_look_is_out_of_date_after_ten_seconds() {
        let at = Duration::from_secs;
        assert_eq!([None, Some(at(0)), Some(at(90)), Some(at(99))].map(|looked| is_long_ago(looked, at(100))), [true, true, false, false]);
    }
}
