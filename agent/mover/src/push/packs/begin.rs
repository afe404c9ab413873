//! The beginning of what a push writes: whether the path is its own to write to, and its claim. Nothing is sent before that.

use std::cell::OnceCell;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::base::Base;
use super::left::{Checkpoints, Written, delete};
use super::untidied::finish_files;
use crate::clock::since_boot;
use crate::error::{Failure, Result};
use crate::format::documents::{Claim, Control};
use crate::format::names::{CLAIM, CONTROL_DIR, Folder, is_manifest, is_ours, revision_of_manifest};
use crate::format::revision::Revision;
use crate::name_set::NameSet;
use crate::packs::limits::FORMAT;
use crate::push::PushOptions;
use crate::push::commit::{claim as write_claim, refuse_committed};
use crate::push::hold::{Hold, check_unchanged};
use crate::push::neighbours::{refuse_inside, refuse_nested};
use crate::push::owner::{Terms, adopted_state};
use crate::push::packs::packing::Full;
use crate::push::state::{At, Looked, find_claim, judge_claim};
use crate::remote::committed::{Committed, read_any_claim};
use crate::remote::{Listing, Remote};
use crate::report::Reason;
use crate::store::Upload;

/// A push that may write.
pub(super) struct Begun {
    pub(super) claim: Claim,
    pub(super) terms: Terms,
    /// A claim was there: an earlier push was killed, and may not have deleted what was due.
    pub(super) interrupted: bool,
}

/// A push, before it writes anything and afterwards.
pub(super) struct Session<'a> {
    pub(super) remote: &'a Remote,
    pub(super) options: &'a PushOptions,
    /// What was committed when it began.
    pub(super) base: Option<&'a Base>,
    /// The same, where that is a revision of layout Files.
    pub(super) files: Option<&'a Committed>,
    pub(super) at: &'a At,
    /// The revision that is going to be written.
    pub(super) revision: &'a Revision,
    /// When it began, as [`since_boot`].
    began: Duration,
    begun: OnceCell<Begun>,
    /// What it has written.
    pub(super) written: Written,
    pub(super) checkpoints: Checkpoints,
}

impl<'a> Session<'a> {
    pub(super) fn new(
        remote: &'a Remote,
        options: &'a PushOptions,
        (base, files): (Option<&'a Base>, Option<&'a Committed>),
        at: &'a At,
        revision: &'a Revision,
    ) -> Self {
        Self {
            remote,
            options,
            base,
            files,
            at,
            revision,
            began: since_boot(),
            begun: OnceCell::new(),
            written: Written::default(),
            checkpoints: Checkpoints::default(),
        }
    }

    /// What time it is, by the clock that was read when the push began.
    pub(super) fn now(&self) -> Timestamp {
        let passed = SignedDuration::try_from(since_boot().saturating_sub(self.began)).unwrap_or_default();
        self.options.started.saturating_add(passed).unwrap_or(self.options.started)
    }

    /// Claims the path, once.
    pub(super) fn begin(&self) -> Result<&Begun> {
        if let Some(begun) = self.begun.get() {
            return Ok(begun);
        }
        let begun = self.claim()?;
        Ok(self.begun.get_or_init(|| begun))
    }

    /// Sends packs, which nothing refers to yet.
    pub(super) fn send(&self, full: Vec<Full>) -> Result<()> {
        self.begin()?;
        let names: Vec<String> = full.iter().map(|full| full.id.to_string()).collect();
        for name in &names {
            self.written.note(Folder::Packs, name);
        }
        let files = names.iter().zip(full).map(|(name, full)| Upload { name: name.as_bytes(), file: full.file }).collect();
        Ok(self.remote.send(files, Folder::Packs)?)
    }

    /// Takes back what this push has written, and gives the failure that it ended with, whatever becomes of that. Only where claim and commit are
    /// still what this push has last seen: what another one has done meanwhile is for that one to judge.
    pub(super) fn taken_back(&self, failure: Failure) -> Failure {
        let names = self.written.take();
        if names.is_empty() {
            return failure;
        }
        let taken_back = || -> Result<()> {
            let claim = &self.begin()?.claim;
            Hold::new(self.remote, self.options, claim).check_before(self.at.commit.as_ref(), None, false)?;
            delete(self.remote, &names)
        };
        if let Err(error) = taken_back() {
            let (objects, message) = (names.len(), error.message);
            tracing::warn!(objects, message, "what this push has sent stays for now; a later verification deletes it");
        }
        failure
    }

    fn claim(&self) -> Result<Begun> {
        let Self { remote, options, at, .. } = self;
        let nothing_committed = at.commit.is_none();
        let found = find_claim(remote, read_any_claim, at.listing.as_ref(), nothing_committed)?;
        let listing = at.listing.as_ref().filter(|_| nothing_committed);
        if let Some(listing) = listing {
            refuse_nested(remote, None, &NameSet::default(), listing)?;
        }
        if nothing_committed && !at.damaged {
            refuse_inside(remote)?;
        }
        let mut terms = at.terms;
        // What lies there is judged here: of it, this layout takes nothing over.
        let adopts_all = judge_claim(remote, options, &Looked { claim: &found, listing: None, damaged: at.damaged }, &mut terms)?;
        if (adopts_all || terms == Terms::Takeover) && options.pusher.adopt {
            adopted_state(&options.pusher, at.commit.as_ref(), found.present(), remote.name())?;
        }
        if adopts_all {
            let what = "its commit is damaged, and nothing shows what it said. Push with layout Files once, which replaces everything there, and then with layout Packs";
            return Err(others(remote, what));
        }
        if let Some(listing) = listing {
            refuse_others(remote, listing, &found)?;
        }
        if let Some(files) = self.files {
            finish_files(remote, options, files, &found)?;
        }
        let files_left = match &found {
            Control::Present(found) => found.format != FORMAT || found.files_left,
            Control::Absent => false,
            // It may have been one of layout Files.
            Control::Corrupt(_) => true,
        };
        let claim = Claim::new(self.revision.as_str(), options.pusher.owner.clone(), options.started);
        let claim = Claim { format: FORMAT, files_left, ..claim };
        write_claim(remote, &claim)?;
        let begun = match &at.commit {
            Some(commit) => check_unchanged(remote, options, commit),
            None => refuse_inside(remote).and_then(|()| refuse_committed(remote, options)),
        };
        // Before anything was sent, and unless a push that was killed has sent something, the claim is of no use to anybody else's path.
        if matches!(&begun, Err(failure) if failure.reason == Reason::PathNotOurs) && found == Control::Absent {
            Hold::new(remote, options, &claim).withdraw()?;
        }
        begun.map(|()| Begun { claim, terms, interrupted: found != Control::Absent })
    }
}

/// Nothing is committed, so nothing may lie there but what a first push of this layout leaves when it is killed.
fn refuse_others(remote: &Remote, listing: &Listing, claim: &Control<Claim>) -> Result<()> {
    if claim.present().is_some_and(|claim| claim.format != FORMAT) {
        return Err(others(remote, "a push of layout Files has begun there. Push with layout Files once, and then with layout Packs"));
    }
    let follows = |revision: &Revision| revision.generation() > 1;
    let claimed = claim.present().and_then(|claim| Revision::parse(&claim.revision));
    // Without a claim, not even a first push that was killed explains a manifest.
    let explained = |revision: &Revision| claim.present().is_some() && !follows(revision);
    let lost = claimed.is_some_and(|revision| follows(&revision))
        || listing.keys().any(|name| is_manifest(name) && !revision_of_manifest(name).is_some_and(|revision| explained(&revision)));
    let inconsistent = |what: &str| Failure::new(Reason::RemoteInconsistent, format!("{}: {what}", remote.name()));
    if let Control::Corrupt(what) = claim {
        let advice = "so whose push has begun there is not known. Delete that object if it is this one's, or use another path";
        return Err(inconsistent(&format!("nothing is committed, and {CONTROL_DIR}/{CLAIM} is damaged ({what}), {advice}")));
    }
    if lost {
        let what = "pushes have committed there, but there is no commit any more: something has deleted it. Restore that object";
        return Err(inconsistent(&format!(
            "{what}, or delete everything at this path, or use another one; then everything is pushed again"
        )));
    }
    match listing.keys().filter(|name| !is_ours(name)).min() {
        Some(first) => Err(others(remote, &format!("{:?} lies there", String::from_utf8_lossy(first)))),
        None => Ok(()),
    }
}

fn others(remote: &Remote, why: &str) -> Failure {
    let what = "A push of layout Packs begins on an empty path alone: use one, or delete everything there";
    Failure::new(Reason::PathNotOurs, format!("{}: {why}. {what}", remote.name()))
}
