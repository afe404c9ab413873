//! What exists on the remote path before a push, and under which terms this push may continue.
//!
//! Absence and damage need two witnesses: a read and a listing of the same run have to agree, and what reads as damaged is read
//! twice. Anything else fails the push before its first write, because what is taken for absent is going to be written.

use jiff::Timestamp;

use super::PushOptions;
use super::neighbours::{refuse_inside, refuse_nested};
use super::old_trees::OldTrees;
use super::owner::{Terms, adopted_state, judge};
use super::tampered::{self, ALTERED};
use crate::clock::is_due;
use crate::error::{Failure, Result};
use crate::format::documents::{Claim, Commit, Control};
use crate::format::entries::Entries;
use crate::format::names::{CLAIM, COMMIT, CONTROL_DIR, is_manifest, is_ours, is_unusual, manifest as manifest_name};
use crate::format::revision::Revision;
use crate::remote::committed::{Committed, Manifest, inconsistent, read_commit, read_manifest};
use crate::remote::{Listing, Remote, contradiction, shows};
use crate::report::Reason;
use crate::volume::beneath::Root;

/// What a push begins with.
#[derive(Debug)]
pub(super) struct Found {
    /// The committed revision, with its manifest.
    pub(super) committed: Option<Committed>,
    /// The terms under which the push may continue.
    pub(super) terms: Terms,
    /// The commit, where its manifest is lost or damaged: that revision cannot be restored.
    pub(super) unreadable: Option<Commit>,
    /// A damaged commit, which the user lets this push replace.
    damaged: bool,
    /// Everything below the path, where it was needed already.
    pub(super) listing: Option<Listing>,
}

/// Reads commit and manifest, and decides whether this push may continue.
pub(super) fn read_committed(remote: &Remote, options: &PushOptions) -> Result<Found> {
    let mut found = Found { committed: None, terms: Terms::Own, unreadable: None, damaged: false, listing: None };
    let commit: Commit = match read_commit(remote)? {
        Control::Present(commit) => commit,
        first => match read_again(remote, options, &first, &mut found)? {
            Some(commit) => commit,
            None => return Ok(found),
        },
    };
    found.terms = judge(&options.pusher, &commit.owner, remote.name())?;
    match read_manifest(remote, commit)? {
        Manifest::Whole(committed) => found.committed = Some(*committed),
        Manifest::Missing(commit) | Manifest::Damaged(commit, _) => read_manifest_again(remote, commit, &mut found)?,
    }
    Ok(found)
}

/// A commit that was not found, or is damaged, by a first read. `None`: there is none.
fn read_again(remote: &Remote, options: &PushOptions, first: &Control<Commit>, found: &mut Found) -> Result<Option<Commit>> {
    if *first == Control::Absent {
        let listing = remote.list("")?;
        if !shows(&listing, COMMIT) {
            // Whether it is the right server, a first push learns by its first write.
            found.listing = Some(listing);
            return Ok(None);
        }
    }
    match read_commit(remote)? {
        Control::Present(commit) => Ok(Some(commit)),
        Control::Absent => Err(contradiction(remote, COMMIT)),
        Control::Corrupt(_) if options.pusher.adopt => {
            (found.terms, found.damaged) = (Terms::Takeover, true);
            found.listing = Some(remote.list("")?);
            Ok(None)
        }
        Control::Corrupt(what) => Err(damaged(remote, COMMIT, &what)),
    }
}

/// A manifest that was not found, or is damaged, by a first read.
fn read_manifest_again(remote: &Remote, commit: Commit, found: &mut Found) -> Result<()> {
    let revision = Revision::parse(&commit.revision);
    let what = match read_manifest(remote, commit)? {
        Manifest::Whole(committed) => {
            found.committed = Some(*committed);
            return Ok(());
        }
        Manifest::Missing(commit) => {
            let listing = remote.list("")?;
            if let Some(name) = revision.as_ref().map(manifest_name).filter(|name| shows(&listing, name)) {
                return Err(contradiction(remote, &name));
            }
            found.listing = Some(listing);
            found.unreadable = Some(commit);
            "it is missing".to_owned()
        }
        Manifest::Damaged(commit, what) => {
            found.listing = Some(remote.list("")?);
            found.unreadable = Some(commit);
            what
        }
    };
    // One outdated read of the commit gives a revision whose manifest has gone since, and whose path may be another's by now.
    if let Some(unreadable) = &found.unreadable
        && read_commit(remote)?.present().is_none_or(|again| again.revision != unreadable.revision)
    {
        return Err(inconsistent(
            remote,
            "two reads of its commit gave two revisions; nothing was changed, and the next attempt checks again",
        ));
    }
    // Such a revision cannot be restored.
    tracing::warn!(message = inconsistent(remote, &what).message, "the committed revision cannot be read; everything is pushed again");
    Ok(())
}

/// What a push that is going to write knows of the path beyond its commit.
pub(super) struct Prepared {
    pub(super) listing: Option<Listing>,
    /// See [`Commit::latest_listed`].
    pub(super) latest_listed: Option<Timestamp>,
    /// A claim of ours exists: a push was killed.
    pub(super) claimed: bool,
    /// What earlier pushes have left.
    pub(super) old: OldTrees,
    /// The user lets this push replace every object that it finds.
    pub(super) adopts_all: bool,
}

/// Objects that are deleted although no listing shows them.
const UNSEEN: usize = 1_000;

/// What earlier pushes have left. Once their manifests are gone, nothing says whose the rest is, so that a listing alone does not say that
/// there is none: what is not listed, and is of no use, is taken for a damaged object that has to go, or if there is much of it, or any of an
/// unusual name, a second listing is asked.
fn old_trees(remote: &Remote, committed: Option<&Committed>, tree: &Entries, listing: &mut Listing) -> Result<OldTrees> {
    let old = OldTrees::read(remote, committed, tree, listing)?;
    if old.unlisted.is_empty() {
        return Ok(old);
    }
    let before = listing.len();
    // By an unusual name, a remote that has another one for it might delete another file.
    if old.unlisted.len() > UNSEEN || old.unlisted.iter().any(|name| is_unusual(name)) {
        for (name, size) in remote.list("")? {
            listing.entry(name).or_insert(size);
        }
    } else {
        listing.extend(old.unlisted.iter().map(|name| (name.clone(), ALTERED)));
    }
    if listing.len() == before { Ok(old) } else { OldTrees::read(remote, committed, tree, listing) }
}

/// Lists the path where that is due, reads the claim, and refuses what is not this push's to write to.
pub(super) fn before_writing(remote: &Remote, root: &Root, options: &PushOptions, tree: &Entries, found: &mut Found) -> Result<Prepared> {
    let committed = found.committed.as_ref();
    let list = || match committed {
        Some(committed) => {
            let (listing, latest) = tampered::list(remote, root, options, committed, tree)?;
            // A listing that does not show what was read just now shows nothing that could be relied upon.
            if shows(&listing, COMMIT) { Ok((Some(listing), latest)) } else { Err(unlisted(remote, COMMIT)) }
        }
        None => Ok((Some(remote.list("")?), None)),
    };
    let (mut listing, mut latest_listed) = match found.listing.take() {
        Some(listing) => (Some(listing), None),
        None if committed.is_none_or(|committed| options.verification_due(&committed.commit)) => list()?,
        None => (None, None),
    };
    let claim = read_claim(remote, listing.as_ref())?;
    let nothing_committed = committed.is_none() && found.unreadable.is_none();
    // An outdated one of this object's own would make it go on with what another one has begun there since.
    if nothing_committed && claim.present().is_some() && remote.read_control::<Claim>(CLAIM)? != claim {
        return Err(inconsistent(
            remote,
            "two reads of its claim gave two answers; nothing was changed, and the next attempt checks again",
        ));
    }
    let claimed = claim != Control::Absent;
    if claimed && listing.is_none() {
        // A push of ours was killed before its commit, or while it cleaned up: only a listing shows what it left.
        (listing, latest_listed) = list()?;
    }
    let old = listing.as_mut().map_or_else(|| Ok(OldTrees::default()), |listing| old_trees(remote, committed, tree, listing))?;
    if let (Some(listing), Some(committed)) = (&mut listing, committed) {
        tampered::settle(remote, committed, &old.doubted, listing)?;
    }
    if let Some(listing) = &listing {
        refuse_nested(remote, committed, &old.names, listing)?;
    }
    if nothing_committed && !found.damaged {
        refuse_inside(remote)?;
    }
    if let Some(claim) = claim.present()
        && judge(&options.pusher, &claim.owner, remote.name())? == Terms::Takeover
    {
        found.terms = Terms::Takeover;
    }
    let mut adopts_all = found.damaged || found.unreadable.is_some() && options.pusher.adopt;
    if let (true, Some(listing)) = (nothing_committed, &listing) {
        match &claim {
            Control::Corrupt(what) if !options.pusher.adopt => return Err(damaged(remote, CLAIM, what)),
            Control::Absent if !found.damaged => adopts_all = adopts_foreign_files(remote, options, listing)?,
            // A push that was allowed to adopt the path was killed.
            Control::Present(claim) => adopts_all |= claim.adopts && options.pusher.adopt,
            _ => {}
        }
    }
    if (adopts_all || found.terms == Terms::Takeover) && options.pusher.adopt {
        let commit = committed.map(|committed| &committed.commit).or(found.unreadable.as_ref());
        adopted_state(&options.pusher, commit, claim.present(), remote.name())?;
    }
    Ok(Prepared { listing, latest_listed, claimed, old, adopts_all })
}

/// A listing does not show what was read in the same run.
fn unlisted(remote: &Remote, name: &str) -> Failure {
    Failure::new(
        Reason::RemoteInconsistent,
        format!(
            "{}/{CONTROL_DIR}/{name} was read, but a listing of the path does not show it; nothing was changed, and the next attempt checks again",
            remote.name()
        ),
    )
}

/// The claim. It is read even where a listing does not show it, or shows nothing at all: that of another object keeps this push from writing.
fn read_claim(remote: &Remote, listing: Option<&Listing>) -> Result<Control<Claim>> {
    match (remote.read_control(CLAIM)?, listing) {
        (Control::Absent, Some(listing)) if shows(listing, CLAIM) => match remote.read_control(CLAIM)? {
            Control::Absent => Err(contradiction(remote, CLAIM)),
            claim => Ok(claim),
        },
        (claim, _) => Ok(claim),
    }
}

fn damaged(remote: &Remote, name: &str, what: &str) -> Failure {
    Failure::new(
        Reason::RemoteInconsistent,
        format!(
            "{}/{CONTROL_DIR}/{name} is damaged ({what}), so the owner of the path is unknown; if it is this object, annotate it with scribe.backube/adopt-path: <path> to push everything again",
            remote.name()
        ),
    )
}

/// A path that holds files but neither commit nor claim is not this push's, unless the user lets it adopt them. What lies in our own
/// folder alone, such as the half-written claim of a push that was killed, belongs to no other.
fn adopts_foreign_files(remote: &Remote, options: &PushOptions, listing: &Listing) -> Result<bool> {
    let mut foreign = listing.keys().filter(|name| !is_ours(name));
    let (reason, what) = if listing.keys().any(|name| is_manifest(name)) {
        let what = format!(
            "{} holds manifests of scribe-agent, but no {CONTROL_DIR}/{COMMIT}: something has deleted it. Restore that object",
            remote.name()
        );
        (Reason::RemoteInconsistent, what)
    } else if let Some(first) = foreign.by_ref().min() {
        let what = format!(
            "{} holds {} files that scribe-agent did not write, {:?} among them; use an empty path",
            remote.name(),
            listing.len(),
            String::from_utf8_lossy(first)
        );
        (Reason::PathNotOurs, what)
    } else {
        return Ok(false);
    };
    if options.pusher.adopt {
        return Ok(true);
    }
    Err(Failure::new(reason, format!("{what}, or annotate this object with scribe.backube/adopt-path: <path> to replace everything there")))
}

/// Whether there is a claim, where the object is not known to have pushed anything: its first push, or the one that took the path over,
/// may have been killed after its commit, and then only the claim shows that it has not cleaned up.
pub(super) fn died_first(remote: &Remote, options: &PushOptions) -> Result<bool> {
    let is_ours = |claim: &Control<Claim>| claim.present().is_some_and(|claim| claim.owner == options.pusher.owner);
    Ok(options.pusher.pushed.is_none() && is_ours(&read_claim(remote, None)?))
}

impl PushOptions {
    /// Whether this push lists the path, and repairs it.
    pub(super) fn verification_due(&self, commit: &Commit) -> bool {
        self.verify_now || self.died_tidying(commit) || is_due(commit.verified_time, self.verify_interval, self.started)
    }

    /// Whether the push that made this commit was killed before it had cleaned up, so that its agent has no report of it.
    pub(super) fn died_tidying(&self, commit: &Commit) -> bool {
        let known = self.pusher.pushed.as_ref();
        commit.staged || self.pusher.owner == commit.owner && known.is_some_and(|known| *known != commit.revision)
    }
}
