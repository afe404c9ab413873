//! What exists on the remote path before a push, and under which terms this push may continue.
//!
//! Absence and damage need two witnesses: a read and a listing of the same run have to agree, and what reads as damaged is read
//! twice. Anything else fails the push before its first write, because what is taken for absent is going to be written.

use jiff::Timestamp;

use super::PushOptions;
use super::from_packs::{FromPacks, refuse_foreign};
use super::mended::find_by_manifests;
use super::neighbours::{refuse_inside, refuse_nested};
use super::old_trees::OldTrees;
use super::owner::{Terms, adopted_state, judge};
use super::tampered::{self, ALTERED};
use crate::error::{Failure, Result};
use crate::format::documents::{Claim, Commit, Control};
use crate::format::entries::Entries;
use crate::format::manifest::FORMAT;
use crate::format::names::{CLAIM, COMMIT, CONTROL_DIR, is_manifest, is_ours, is_unusual, manifest as manifest_name};
use crate::format::revision::Revision;
use crate::packs::commit::{AnyCommit, Committing};
use crate::remote::committed::{Committed, Manifest, inconsistent, read_any_claim, read_any_commit, read_commit, read_manifest};
use crate::remote::{Listing, Remote, contradiction, shows};
use crate::report::Reason;
use crate::volume::beneath::Root;

/// What a push begins with.
#[derive(Debug)]
pub(super) struct Found {
    /// The committed revision, with its manifest.
    pub(super) committed: Option<Committed>,
    /// The committed revision, where it is one of layout Packs.
    pub(super) from_packs: Option<FromPacks>,
    /// The terms under which the push may continue.
    pub(super) terms: Terms,
    /// The commit, where its manifest is lost or damaged: that revision cannot be restored.
    pub(super) unreadable: Option<Commit>,
    /// A damaged commit, which the user lets this push replace.
    damaged: bool,
    /// Everything below the path, where it was needed already.
    pub(super) listing: Option<Listing>,
}

/// What the commit of a path says, whichever layout may be read.
#[derive(Debug)]
pub(super) struct At {
    /// The commit, if there is one.
    pub(super) commit: Option<AnyCommit>,
    /// It is damaged, and was found by its manifest, see [`find_by_manifests`].
    pub(super) mended: bool,
    /// See [`Found::terms`].
    pub(super) terms: Terms,
    /// See [`Found::damaged`].
    pub(super) damaged: bool,
    /// See [`Found::listing`].
    pub(super) listing: Option<Listing>,
}

/// Reads commit and manifest, and decides whether this push may continue.
pub(super) fn read_committed(remote: &Remote, options: &PushOptions) -> Result<Found> {
    let At { commit, terms, damaged, listing, .. } = find_commit(remote, options)?;
    let mut found = Found { committed: None, from_packs: None, terms, unreadable: None, damaged, listing };
    let commit = match commit {
        None => return Ok(found),
        Some(AnyCommit::Packs(commit)) => {
            found.from_packs = Some(FromPacks::read(remote, *commit)?);
            return Ok(found);
        }
        Some(AnyCommit::Files(commit)) => *commit,
    };
    match read_manifest(remote, commit)? {
        Manifest::Whole(committed) => found.committed = Some(*committed),
        Manifest::Missing(commit) | Manifest::Damaged(commit, _) => read_manifest_again(remote, commit, &mut found)?,
    }
    Ok(found)
}

/// Reads the commit, and decides whether this push may continue.
pub(super) fn find_commit(remote: &Remote, options: &PushOptions) -> Result<At> {
    let mut at = At { commit: None, mended: false, terms: Terms::Own, damaged: false, listing: None };
    at.commit = match read_any_commit(remote)? {
        Control::Present(commit) => Some(commit),
        first => read_again(remote, options, &first, &mut at)?,
    };
    if let Some(commit) = &at.commit {
        at.terms = judge(&options.pusher, commit.owner(), remote.name())?;
    }
    Ok(at)
}

fn of_packs(remote: &Remote) -> Failure {
    let what = "has no commit, and a push of layout Packs has begun there. Push with layout Packs once, and then with layout Files; or delete everything there, or use an empty path";
    Failure::new(Reason::PathNotOurs, format!("{} {what}", remote.name()))
}

/// Reads a control document.
pub(super) type Reading<C> = fn(&Remote) -> Result<Control<C>>;

/// A commit that was not found, or is damaged, by a first read. `None`: there is none.
fn read_again(remote: &Remote, options: &PushOptions, first: &Control<AnyCommit>, found: &mut At) -> Result<Option<AnyCommit>> {
    if matches!(first, Control::Absent) {
        let listing = remote.list("")?;
        if !shows(&listing, COMMIT) {
            // Whether it is the right server, a first push learns by its first write.
            found.listing = Some(listing);
            return Ok(None);
        }
    }
    let what = match read_any_commit(remote)? {
        Control::Present(commit) => return Ok(Some(commit)),
        Control::Absent => return Err(contradiction(remote, COMMIT)),
        Control::Corrupt(what) => what,
    };
    let adopt = options.pusher.adopt;
    match find_by_manifests(remote, &options.pusher, &what) {
        Ok(Some(commit)) => {
            found.mended = true;
            Ok(Some(AnyCommit::Packs(Box::new(commit))))
        }
        Ok(None) if !adopt => Err(damaged(remote, COMMIT, &what)),
        Err(failure) if !adopt || failure.reason != Reason::RemoteInconsistent => Err(failure),
        other => {
            if let Err(failure) = other {
                tracing::warn!(message = failure.message, "the path is adopted, whatever was committed there");
            }
            (found.terms, found.damaged) = (Terms::Takeover, true);
            found.listing = Some(remote.list("")?);
            Ok(None)
        }
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
fn old_trees(
    remote: &Remote,
    (committed, packs_go): (Option<&Committed>, bool),
    tree: &Entries,
    listing: &mut Listing,
) -> Result<OldTrees> {
    let old = OldTrees::read(remote, (committed, packs_go), tree, listing)?;
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
    if listing.len() == before { Ok(old) } else { OldTrees::read(remote, (committed, packs_go), tree, listing) }
}

/// Lists the path where that is due, reads the claim, and refuses what is not this push's to write to.
pub(super) fn before_writing(remote: &Remote, root: &Root, options: &PushOptions, tree: &Entries, found: &mut Found) -> Result<Prepared> {
    let (committed, from_packs) = (found.committed.as_ref(), found.from_packs.as_ref());
    let list = || match committed {
        Some(committed) => {
            let (listing, latest) = tampered::list(remote, root, options, committed, tree)?;
            // A listing that does not show what was read just now shows nothing that could be relied upon.
            if shows(&listing, COMMIT) { Ok((Some(listing), latest)) } else { Err(unlisted(remote, COMMIT)) }
        }
        None => {
            let listing = remote.list("")?;
            if from_packs.is_some() && !shows(&listing, COMMIT) { Err(unlisted(remote, COMMIT)) } else { Ok((Some(listing), None)) }
        }
    };
    let (mut listing, mut latest_listed) = match found.listing.take() {
        Some(listing) => (Some(listing), None),
        None if committed.is_none_or(|committed| options.verification_due(&committed.commit)) => list()?,
        None => (None, None),
    };
    let nothing_committed = committed.is_none() && from_packs.is_none() && found.unreadable.is_none();
    // What a push of layout Packs has left that was killed before it took the place of this revision is known by its folders.
    // Under a damaged commit, the user lets this push replace all that is there.
    let read = if nothing_committed && !found.damaged { read_own_claim } else { read_any_claim };
    let claim = find_claim(remote, read, listing.as_ref(), nothing_committed)?;
    let claimed = claim != Control::Absent;
    if claimed && listing.is_none() {
        // A push of ours was killed before its commit, or while it cleaned up: only a listing shows what it left.
        (listing, latest_listed) = list()?;
    }
    let packs = from_packs.zip(listing.as_mut()).map(|(from, listing)| from.take_manifests(listing)).unwrap_or_default();
    let packs_go = committed.is_some() || from_packs.is_some() || found.damaged;
    let read = |listing| old_trees(remote, (committed, packs_go), tree, listing);
    let mut old = listing.as_mut().map_or_else(|| Ok(OldTrees::default()), read)?;
    old.leftovers.extend(packs);
    if let (Some(listing), Some(committed)) = (&mut listing, committed) {
        tampered::settle(remote, committed, &old.doubted, listing)?;
    }
    if let Some(listing) = &listing {
        refuse_nested(remote, committed, &old.names, listing)?;
    }
    if nothing_committed && !found.damaged {
        refuse_inside(remote)?;
    }
    let looked = Looked { claim: &claim, listing: listing.as_ref().filter(|_| nothing_committed), damaged: found.damaged };
    let mut adopts_all = judge_claim(remote, options, &looked, &mut found.terms)?;
    adopts_all |= found.unreadable.is_some() && options.pusher.adopt;
    if let Some((_, listing)) = from_packs.zip(listing.as_ref()) {
        let foreign = refuse_foreign(remote, listing, &old.names);
        adopts_all |= foreign.is_err() && options.pusher.adopt;
        foreign.or_else(|failure| if options.pusher.adopt { Ok(()) } else { Err(failure) })?;
    }
    if (adopts_all || found.terms == Terms::Takeover) && options.pusher.adopt {
        let commit = committed.map(|committed| &committed.commit).or(found.unreadable.as_ref());
        match from_packs {
            Some(from) => adopted_state(&options.pusher, Some(&from.commit), claim.present(), remote.name())?,
            None => adopted_state(&options.pusher, commit, claim.present(), remote.name())?,
        }
    }
    Ok(Prepared { listing, latest_listed, claimed, old, adopts_all })
}

/// What a push has seen of a path before it writes there.
pub(super) struct Looked<'a> {
    pub(super) claim: &'a Control<Claim>,
    /// All that is there, where nothing is committed.
    pub(super) listing: Option<&'a Listing>,
    /// See [`Found::damaged`].
    pub(super) damaged: bool,
}

/// Reads the claim, twice where nothing is committed that would say whose the path is.
pub(super) fn find_claim(
    remote: &Remote,
    read: Reading<Claim>,
    listing: Option<&Listing>,
    nothing_committed: bool,
) -> Result<Control<Claim>> {
    let claim = read_claim(remote, read, listing)?;
    // An outdated one of this object's own would make it go on with what another one has begun there since.
    if nothing_committed && claim.present().is_some() && read(remote)? != claim {
        return Err(inconsistent(
            remote,
            "two reads of its claim gave two answers; nothing was changed, and the next attempt checks again",
        ));
    }
    Ok(claim)
}

/// Whether this push may continue under the claim that it found, and whether it is to replace every object that it finds.
pub(super) fn judge_claim(remote: &Remote, options: &PushOptions, looked: &Looked, terms: &mut Terms) -> Result<bool> {
    let Looked { claim, listing, damaged: is_damaged } = looked;
    if let Some(claim) = claim.present()
        && judge(&options.pusher, &claim.owner, remote.name())? == Terms::Takeover
    {
        *terms = Terms::Takeover;
    }
    let Some(listing) = listing else { return Ok(*is_damaged) };
    match claim {
        Control::Corrupt(what) if !options.pusher.adopt => Err(damaged(remote, CLAIM, what)),
        Control::Absent if !is_damaged => adopts_foreign_files(remote, options, listing),
        // A push that was allowed to adopt the path was killed.
        Control::Present(claim) => Ok(*is_damaged || claim.adopts && options.pusher.adopt),
        _ => Ok(*is_damaged),
    }
}

fn read_own_claim(remote: &Remote) -> Result<Control<Claim>> {
    let claim = read_any_claim(remote)?;
    // What a push of that layout has left is in no list of this one.
    if claim.present().is_some_and(|claim| claim.format != FORMAT) { Err(of_packs(remote)) } else { Ok(claim) }
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
fn read_claim(remote: &Remote, read: Reading<Claim>, listing: Option<&Listing>) -> Result<Control<Claim>> {
    match (read(remote)?, listing) {
        (Control::Absent, Some(listing)) if shows(listing, CLAIM) => match read(remote)? {
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
    died_first_by(remote, options, read_any_claim)
}

/// The same, with this reader of claims.
pub(super) fn died_first_by(remote: &Remote, options: &PushOptions, read: Reading<Claim>) -> Result<bool> {
    let is_ours = |claim: &Control<Claim>| claim.present().is_some_and(|claim| claim.owner == options.pusher.owner);
    Ok(options.pusher.pushed.is_none() && is_ours(&read_claim(remote, read, None)?))
}
