//! A pull: read the commit, compare the volume, fetch and verify what differs, and only then touch the live tree.

mod apply;
mod fetch;
mod guarded;
mod names;
mod observe;
mod obstacles;
mod parts;
mod plain;
mod plan;
mod prepare;
mod ready;
mod restore;
mod space;
mod staging;

use std::collections::HashSet;
use std::path::PathBuf;

pub use crate::report::Synced;

use crate::digest::Digest;
use crate::error::{Failure, Result};
use crate::format::documents::{Claim, Commit, Control};
use crate::format::names::{CLAIM, COMMIT, CONTROL_DIR, is_content, is_manifest, is_ours, revision_of_manifest};
use crate::format::revision::Revision;
use crate::guard::{Deletions, Guard};
use crate::remote::committed::{Manifest, inconsistent, read_commit, read_manifest};
use crate::remote::{BATCH, Listing, Remote, contradiction, shows};
use crate::report::Reason;
use crate::spill::batches;
use crate::volume::beneath::Root;
use crate::volume::hash::Hasher;
use crate::volume::path::RelPath;
use crate::volume::walk::OTHER_ATTRIBUTES;
use apply::Applied;
use fetch::{Fetched, Fetching};
use names::Alike;
use observe::observe;
pub use plain::pull_plain;
use plan::{PullPlan, Writers, plan};
use prepare::Prepared;
use restore::HARD_LINKS;
use space::Room;
use staging::Staging;

/// A pusher that commits faster than a pull reads is met this often before the pull gives up for now.
const ATTEMPTS: usize = 8;

/// What helps where the remote is not as its commit says.
const REPAIR: &str = "a push that lists the path repairs it: annotate its source with scribe.backube/verify-now: <any new value>, or wait for its next verification";

/// The options of a pull.
#[derive(Clone, Debug)]
pub struct PullOptions {
    /// The volume's root.
    pub volume: PathBuf,
    /// The revision that this volume is known to hold, or to have held before another pull, if nothing but pulls ever writes to it.
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
    let root = Root::open(&options.volume)?;
    let _alone = root.lock()?;
    let hasher = Hasher::default();
    let mut transferred = 0;
    let mut last: Option<(Commit, Failure)> = None;
    let mut contradicted = false;
    let mut apart: Option<Synced> = None;
    for _ in 0..ATTEMPTS {
        remote.context.progress.phase("reading", 0);
        let commit = match read_commit(remote)? {
            Control::Present(commit) => commit,
            Control::Absent => match nothing_committed(remote, options, contradicted)? {
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
                        "{}/{CONTROL_DIR}/commit.json is damaged ({what}), so no push knows the owner of the path; annotate its source with scribe.backube/adopt-path: <path>, and it pushes everything again",
                        remote.name()
                    ),
                ));
            }
        };
        let staging_left = Staging::is_left(&root)?;
        if options.private && options.applied.as_ref() == Some(&commit.revision) && !staging_left && apart.is_none() {
            tracing::info!(revision = commit.revision, "nothing changed");
            return Ok(PullOutcome::Done(Synced::from(&commit)));
        }
        // A failure with the same commit as before is no race with a push, so it is tried just once more.
        if let Some((before, failure)) = &last
            && *before == commit
        {
            let again = attempt(remote, &root, options, commit, &hasher, &mut transferred)?;
            return again.map(|pulled| PullOutcome::Done(after(apart, pulled))).map_err(|_| failure.clone());
        }
        match attempt(remote, &root, options, commit.clone(), &hasher, &mut transferred)? {
            // The names that it has left behind are links again once the volume is compared once more.
            Ok(pulled) if pulled.skipped.contains_key(HARD_LINKS) && apart.is_none() => (apart, last) = (Some(pulled), None),
            Ok(pulled) => return Ok(PullOutcome::Done(after(apart, pulled))),
            Err(failure) => {
                tracing::info!(revision = commit.revision, reason = failure.message, "the remote changed under the pull; reading it again");
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

/// One attempt at one commit. The inner error means that the remote does not hold what the commit says.
fn attempt(
    remote: &Remote,
    root: &Root,
    options: &PullOptions,
    commit: Commit,
    hasher: &Hasher,
    transferred: &mut u64,
) -> Result<std::result::Result<Synced, Failure>> {
    let committed = match read_manifest(remote, commit)? {
        Manifest::Whole(committed) => *committed,
        Manifest::Missing(commit) => {
            return Ok(Err(inconsistent(remote, &format!("the manifest of {} is missing; {REPAIR}", commit.revision))));
        }
        Manifest::Damaged(_, what) => return Ok(Err(inconsistent(remote, &format!("{what}; {REPAIR}")))),
    };
    let stop = &remote.context.stop;
    // An unfinished pull may have put something of another revision in place, and the path may have been put back since.
    let unfinished = Staging::is_left(root)?;
    let applied = options.applied.as_deref().filter(|_| options.private && !unfinished).and_then(Revision::parse);
    let writers = Writers::of(options.private, root)?;
    let seen = observe(root, &committed, (applied.as_ref(), writers), hasher, stop)?;
    let plan = plan(committed.entries.read()?, seen.facts)?;
    options.guard.check(&Deletions {
        place: "the volume",
        base: committed.revision.as_str(),
        before: plan.before,
        gone: plan.lost,
        names: plan.lost_names,
        // Of the manifest itself: what the commit says of it is not pinned by anything.
        after: committed.entries.totals().count(),
    })?;
    obstacles::refuse(root, &plan, &committed.entries, None, stop)?;
    let mut applied;
    if seen.staging || !plan.is_metadata_alone() {
        let staging = Staging::open(root)?;
        let merges = names::check((root, &staging, seen.staging), &committed.entries, plan.gone(), &seen.alike, stop)?;
        let merged = Some(&seen.alike).filter(|_| merges);
        if merges && let Err(failure) = obstacles::refuse(root, &plan, &committed.entries, merged, stop) {
            if !seen.staging {
                Staging::remove(root)?;
            }
            return Err(failure);
        }
        let fetching = Fetching { remote, committed: &committed, staging: &staging, verifier: &Hasher::default() };
        applied = match replace(&fetching, root, (options.private, merged), &plan, transferred)? {
            Ok(applied) => applied,
            Err(path) => {
                return Ok(Err(Failure::new(
                    Reason::RemoteInconsistent,
                    format!("{} does not hold {path} as revision {} has it; {REPAIR}", remote.name(), committed.revision),
                )));
            }
        };
        root.sync()?;
        if merges {
            names::verify(root, &committed.entries, &stop.unheeded())?;
        }
        Staging::remove(root)?;
    } else {
        // A mover that may not change what differs must leave no trace at every pull: marked from the first change on.
        applied = apply::metadata(root, &committed.entries, &plan, || Staging::open(root).map(drop), stop)?;
        if applied.changed {
            root.sync()?;
            Staging::remove(root)?;
        }
    }
    apply::finish_root(root, &committed.entries, &mut applied)?;
    if applied.changed {
        root.sync()?;
    }
    let mut skipped = seen.skipped;
    // What a source has is its push's to count.
    skipped.remove(OTHER_ATTRIBUTES);
    let deleted = applied.removed(&plan);
    skipped.extend(applied.skipped);
    Ok(Ok(Synced {
        changed: applied.changed,
        transferred: *transferred,
        hashed: hasher.bytes_read(),
        deleted,
        skipped,
        ..Synced::from(&committed.commit)
    }))
}

/// Fetches, verifies and applies what the plan says: in one go, or in parts where a private volume is short of space. The inner error is
/// the name whose content is not on the remote. Names that are `merged` are those of a volume that takes some for one.
fn replace(
    fetching: &Fetching,
    root: &Root,
    (private, merged): (bool, Option<&Alike>),
    plan: &PullPlan,
    transferred: &mut u64,
) -> Result<std::result::Result<Applied, RelPath>> {
    let Fetching { remote, committed, staging, verifier } = fetching;
    let (stop, entries) = (&remote.context.stop, &committed.entries);
    let mut kept = staging.keep(plan, verifier, stop)?;
    let mut work = apply::begin(root, plan, staging, stop);
    let mut needed = Room::default();
    for step in plan.steps(entries.read()?) {
        needed = needed.plus(Room::of(&step?));
    }
    // What is there takes no more room, and needs no fetching.
    for fetch in plan.fetches(entries.read()?) {
        let (digest, fetch) = fetch?;
        if kept.contains(&digest) {
            needed = needed.minus(Room::of_content(fetch.size));
        }
    }
    if !private || space::fits(root, needed)? {
        space::check(root, needed)?;
        let copied = staging.copy(root, plan, &kept, stop).map_err(|failure| space::explain(failure, root, needed))?;
        kept.extend(copied);
        let mut size = 0;
        for fetch in plan.fetches(entries.read()?) {
            let (digest, fetch) = fetch?;
            size += if kept.contains(&digest) { 0 } else { fetch.size };
        }
        match at_once(fetching, root, (plan, merged), &kept, size, &mut work) {
            // Not all that a file system takes can be known before.
            Err(failure) if private && failure.reason == Reason::NoSpace => {
                for fetch in plan.fetches(entries.read()?) {
                    let (digest, _) = fetch?;
                    if !kept.contains(&digest) {
                        staging.drop_content(&digest)?;
                    }
                }
                staging.clear_incoming()?;
            }
            Err(failure) => return Err(space::explain(failure, root, needed)),
            Ok(Err(path)) => return Ok(Err(path)),
            Ok(Ok(prepared)) => {
                *transferred += size;
                work.put(prepared, plan, entries, merged.is_some())?;
                return work.finish(entries).map(Ok);
            }
        }
    }
    tracing::info!(?needed, "the volume is short of space: replacing its files part by part");
    work.remove(&plan.late)?;
    work.clear(&plan.early)?;
    if let Err(path) = parts::in_parts(fetching, root, plan, kept, &mut work, transferred)? {
        return Ok(Err(path));
    }
    work.finish(entries).map(Ok)
}

/// Fetches all that is not `kept`, and makes everything ready.
fn at_once(
    fetching: &Fetching,
    root: &Root,
    (plan, merged): (&PullPlan, Option<&Alike>),
    kept: &HashSet<Digest>,
    size: u64,
    work: &mut apply::Applier,
) -> Result<std::result::Result<Prepared, RelPath>> {
    let Fetching { remote, committed, .. } = fetching;
    remote.context.progress.phase("fetching", size);
    let missing = plan.fetches(committed.entries.read()?).filter(|fetch| !matches!(fetch, Ok((digest, _)) if kept.contains(digest)));
    for batch in batches(missing, BATCH) {
        let batch = batch?.into_iter().collect();
        if let Fetched::Inconsistent(path) = fetching.fetch(&batch)? {
            return Ok(Err(path));
        }
    }
    remote.context.progress.phase("applying", 0);
    let prepared = work.prepare(plan.steps(committed.entries.read()?), true)?;
    // Fetching may have taken hours.
    obstacles::refuse(root, plan, &committed.entries, merged, &remote.context.stop)?;
    // A crash of the node must not leave a name in place whose content was still on its way to the disk.
    root.sync()?;
    Ok(Ok(prepared))
}

/// What a path without a commit is: one that has not been pushed to yet, one that was, or one that holds other files. `None` where
/// what is there contradicts the read for the first time: another read is due.
fn nothing_committed(remote: &Remote, options: &PullOptions, contradicted: bool) -> Result<Option<PullOutcome>> {
    let listing = remote.list("")?;
    if shows(&listing, COMMIT) {
        return if contradicted { Err(contradiction(remote, COMMIT)) } else { Ok(None) };
    }
    if listing.is_empty() {
        remote.confirm_root()?;
        remote.confirm_password()?;
    }
    if let Some(applied) = &options.applied {
        return Err(gone(remote, listing.len(), applied));
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
    Ok(match remote.read_control::<Claim>(CLAIM)? {
        // One that adopts a path finds objects there.
        Control::Present(claim) => Revision::parse(&claim.revision).is_some_and(follows) || objects && no_manifest && !claim.adopts,
        Control::Corrupt(_) => objects,
        // It has gone since it was listed: so has what made it.
        Control::Absent => false,
    })
}

/// There is no commit any more where a revision was pulled from.
fn gone(remote: &Remote, left: usize, applied: &str) -> Failure {
    let name = remote.name();
    let what =
        if left == 0 { format!("{name} is empty") } else { format!("{name} has no {CONTROL_DIR}/{COMMIT}, beside {left} other objects") };
    Failure::new(
        Reason::RemoteInconsistent,
        format!(
            "{what}, but revision {applied} was pulled from it before. The volume and its images are kept. Check whether the bucket was emptied, and which path rcloneDestPath and rclone.conf name"
        ),
    )
}
