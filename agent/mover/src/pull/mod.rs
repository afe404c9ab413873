//! A pull: read the commit, compare the volume, fetch and verify what differs, and only then touch the live tree.

mod apply;
mod carry;
mod compare;
mod durable;
mod fetch;
mod files;
mod guarded;
mod identity;
mod names;
mod observe;
mod obstacles;
mod only;
mod own;
mod packs;
mod parts;
mod plain;
mod plan;
mod prepare;
mod ready;
mod restore;
mod shards;
mod space;
mod staging;
mod standing;
mod wanted;

use std::path::PathBuf;

pub use crate::report::Synced;

use crate::error::{Failure, Result};
use crate::format::documents::Control;
use crate::format::names::{CLAIM, COMMIT, CONTROL_DIR, is_content, is_manifest, is_ours, revision_of_manifest};
use crate::format::revision::Revision;
use crate::guard::Guard;
use crate::packs::commit::{AnyCommit, Committing, read_claim};
use crate::remote::committed::{MENDING, inconsistent, read_any_commit};
use crate::remote::{Listing, Remote, contradiction, shows};
use crate::report::Reason;
use crate::store::Context;
use crate::volume::beneath::Root;
use crate::volume::hash::Hasher;
use crate::volume::path::RelPath;
use carry::Attempt;
use only::Only;
pub use plain::pull_plain;
use restore::HARD_LINKS;
use staging::Staging;
use standing::Holds;
pub use wanted::Wanted;

/// A pusher that commits faster than a pull reads is met this often before the pull gives up for now.
const ATTEMPTS: usize = 8;

/// What helps where the remote is not as its commit says.
const REPAIR: &str = "a push that lists the path repairs it: annotate its source with scribe.backube/verify-now: <any new value>, or wait for its next verification";

/// The options of a pull.
#[derive(Clone, Debug)]
pub struct PullOptions {
    /// The volume's root.
    pub volume: PathBuf,
    /// The revision that this volume is known to hold, or to have held before a pull of a later one, if nothing but pulls ever writes to it.
    pub applied: Option<String>,
    /// Whether nothing but pulls ever writes to the volume.
    pub private: bool,
    /// What it may delete.
    pub guard: Guard,
}

/// How a pull ended, if it did not fail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PullOutcome {
    /// The volume holds the committed revision.
    Done(Synced),
    /// Nothing is committed yet.
    WaitingForFirstPush,
}

/// Pulls the committed revision into the volume.
pub fn pull(remote: &Remote, options: &PullOptions) -> Result<PullOutcome> {
    pull_of(remote, options, None, &Wanted::Newest)
}

/// Pulls the revision that is `wanted`, or one file or folder of it. An older one is compared with the volume by reading, whatever that held.
pub fn pull_wanted(remote: &Remote, options: &PullOptions, path: Option<&RelPath>, wanted: &Wanted) -> Result<PullOutcome> {
    let alone = path.map(|path| of_path(options, path)).transpose()?;
    pull_of(remote, alone.as_ref().unwrap_or(options), path, wanted)
}

/// Pulls one file or folder of the committed revision, of layout Packs, to its place in the volume: into a user's volume, and all else there
/// stays as it is.
pub fn pull_path(remote: &Remote, options: &PullOptions, path: &RelPath) -> Result<PullOutcome> {
    pull_wanted(remote, options, Some(path), &Wanted::Newest)
}

fn of_path(options: &PullOptions, path: &RelPath) -> Result<PullOptions> {
    if path.is_root() {
        return Err(Failure::new(Reason::MoverFailed, "--path names a file or folder of the volume, not the volume itself"));
    }
    Ok(PullOptions { applied: None, private: false, ..options.clone() })
}

fn pull_of(remote: &Remote, options: &PullOptions, path: Option<&RelPath>, wanted: &Wanted) -> Result<PullOutcome> {
    let root = Root::open(&options.volume)?;
    let _alone = root.lock()?;
    after_what_is_left(&root, options, &remote.context, || pull_into(remote, options, &root, path, wanted))
}

/// Finishes what an interrupted pull had begun to do to a private volume, and pulls. A failure says what the volume holds.
fn after_what_is_left(
    root: &Root,
    options: &PullOptions,
    context: &Context,
    pull: impl FnOnce() -> Result<PullOutcome>,
) -> Result<PullOutcome> {
    if !options.private {
        return pull();
    }
    let resumed = packs::journal::resume(root, &context.progress, &context.stop);
    let finished = resumed.and_then(|()| Ok((Holds::of(root)?.and_then(|holds| holds.brought), pull()?)));
    let (brought, outcome) = finished.map_err(|failure| standing::explain(root, failure))?;
    Ok(match (outcome, brought) {
        (PullOutcome::Done(pulled), Some(brought)) => PullOutcome::Done(brought.with(pulled)),
        (outcome, _) => outcome,
    })
}

fn pull_into(remote: &Remote, options: &PullOptions, root: &Root, path: Option<&RelPath>, wanted: &Wanted) -> Result<PullOutcome> {
    let only = path.map(|path| Only::of(root, path)).transpose()?;
    only.as_ref().map_or(Ok(()), |only| only.refuse_beside_another(root))?;
    let hasher = Hasher::default();
    let mut transferred = 0;
    let mut last: Option<(AnyCommit, Failure)> = None;
    let mut contradicted = false;
    let mut apart: Option<Synced> = None;
    for _ in 0..ATTEMPTS {
        remote.context.progress.phase("reading", 0);
        let commit = match read_any_commit(remote)? {
            Control::Present(commit) => commit,
            Control::Absent => match nothing_committed(remote, root, options, contradicted)? {
                Some(outcome) => return Ok(outcome),
                // A listing shows the commit that the read did not find.
                None => {
                    contradicted = true;
                    continue;
                }
            },
            Control::Corrupt(what) => {
                return Err(Failure::new(
                    Reason::RemoteInconsistent,
                    format!(
                        "{}/{CONTROL_DIR}/commit.json is damaged ({what}), so which revision is committed is not known. {MENDING}",
                        remote.name()
                    ),
                ));
            }
        };
        let staging_left = Staging::is_left(root)?;
        let applied = options.applied.as_deref().filter(|_| options.private && !staging_left && apart.is_none());
        if let AnyCommit::Files(commit) = &commit {
            wanted.only(remote, commit)?;
        }
        let is_wanted = |held: Option<&str>| held == Some(commit.revision()) && wanted.is_met_by(&commit);
        if is_wanted(applied) {
            tracing::info!(revision = commit.revision(), "nothing changed");
            return Ok(PullOutcome::Done(Synced::from(&commit)));
        }
        let holds = if options.private && staging_left { Holds::of(root)?.and_then(|holds| holds.revision) } else { None };
        if is_wanted(holds.as_deref()) {
            tracing::info!(revision = commit.revision(), "the volume holds it since an interrupted pull was finished");
            Holds::settle(root, &remote.context.stop)?;
            return Ok(PullOutcome::Done(after(apart, Synced::from(&commit))));
        }
        // A failure with the same commit as before is no race with a push, so it is tried just once more.
        let attempt = |commit, transferred: &mut u64| {
            let attempt = Attempt { remote, root, options, hasher: &hasher, only: only.as_ref(), wanted, holds: applied };
            match commit {
                AnyCommit::Files(commit) => files::attempt(&attempt, *commit, transferred),
                AnyCommit::Packs(commit) => packs::attempt(&attempt, &commit, transferred),
            }
        };
        if let Some((before, failure)) = &last
            && *before == commit
        {
            let again = attempt(commit, &mut transferred)?;
            return again.map(|pulled| PullOutcome::Done(after(apart, pulled))).map_err(|_| failure.clone());
        }
        match attempt(commit.clone(), &mut transferred)? {
            // The names that it has left behind are links again once the volume is compared once more.
            Ok(pulled) if pulled.skipped.contains_key(HARD_LINKS) && apart.is_none() => (apart, last) = (Some(pulled), None),
            Ok(pulled) => return Ok(PullOutcome::Done(after(apart, pulled))),
            Err(failure) => {
                tracing::info!(
                    revision = commit.revision(),
                    reason = failure.message,
                    "the remote changed under the pull; reading it again"
                );
                last = Some((commit, failure));
            }
        }
    }
    match (last, apart) {
        (Some((_, failure)), _) => Err(failure),
        (None, Some(pulled)) => Ok(PullOutcome::Done(pulled)),
        (None, None) => Err(Failure::killed()),
    }
}

/// What two rounds have done: one that left names of one file apart, and the one after it.
fn after(apart: Option<Synced>, pulled: Synced) -> Synced {
    let Some(before) = apart else { return pulled };
    Synced { changed: pulled.changed || before.changed, deleted: pulled.deleted + before.deleted, ..pulled }
}

/// What a path without a commit is: one that has not been pushed to yet, one that was, or one that holds other files. `None` where
/// what is there contradicts the read for the first time: another read is due.
fn nothing_committed(remote: &Remote, root: &Root, options: &PullOptions, contradicted: bool) -> Result<Option<PullOutcome>> {
    let listing = remote.list("")?;
    if shows(&listing, COMMIT) {
        return if contradicted { Err(contradiction(remote, COMMIT)) } else { Ok(None) };
    }
    if listing.is_empty() {
        remote.confirm_root()?;
        remote.confirm_password()?;
    }
    if let Some(before) = standing::pulled_before(root, options.applied.as_deref(), remote.name())? {
        return Err(gone(remote, listing.len(), &before));
    }
    let had_commit = had_commit(remote, &listing)?;
    if had_commit && !contradicted {
        // The first push, and more, may have come between the read and the listing.
        return Ok(None);
    }
    if !had_commit && shows(&listing, CLAIM) {
        return Ok(Some(PullOutcome::WaitingForFirstPush));
    }
    if had_commit || listing.keys().any(|name| is_manifest(name)) {
        return Err(inconsistent(
            remote,
            &format!(
                "revisions were pushed, but there is no {CONTROL_DIR}/{COMMIT}: something has deleted it; restore that object, or let the source push everything again"
            ),
        ));
    }
    let Some(first) = listing.keys().filter(|name| !is_ours(name)).min() else {
        // Left by a push that was killed while it wrote its claim.
        return Ok(Some(PullOutcome::WaitingForFirstPush));
    };
    Err(Failure::new(
        Reason::PathNotOurs,
        format!(
            "{} holds {} files but no commit of scribe-agent, {:?} among them. If they were written by rclone, Scribe or VolSync, set layout: Plain; otherwise check rcloneDestPath",
            remote.name(),
            listing.len(),
            String::from_utf8_lossy(first)
        ),
    ))
}

/// Whether a commit must have been there: a claim, manifest or object exists that no first push leaves. Claims and manifests of a first push,
/// and of others before it that were killed, name the first revision of a lineage each; its objects come after its manifest.
fn had_commit(remote: &Remote, listing: &Listing) -> Result<bool> {
    let follows = |revision: Revision| revision.generation() > 1;
    let mut manifests = listing.keys().filter_map(|name| revision_of_manifest(name)).peekable();
    let no_manifest = manifests.peek().is_none();
    if manifests.any(follows) {
        return Ok(true);
    }
    if !shows(listing, CLAIM) {
        return Ok(false);
    }
    let objects = listing.keys().any(|name| is_content(name));
    Ok(match remote.read_document(CLAIM, read_claim)? {
        // One that adopts a path finds objects there.
        Control::Present(claim) => Revision::parse(&claim.revision).is_some_and(follows) || objects && no_manifest && !claim.adopts,
        Control::Corrupt(_) => objects,
        // It has gone since it was listed: so has what made it.
        Control::Absent => false,
    })
}

/// There is no commit any more where a revision was pulled from.
fn gone(remote: &Remote, left: usize, before: &str) -> Failure {
    let name = remote.name();
    let what =
        if left == 0 { format!("{name} is empty") } else { format!("{name} has no {CONTROL_DIR}/{COMMIT}, beside {left} other objects") };
    Failure::new(
        Reason::RemoteInconsistent,
        format!(
            "{what}, but {before}. The volume and its images are kept. Check whether the bucket was emptied, and which path rcloneDestPath and rclone.conf name"
        ),
    )
}
