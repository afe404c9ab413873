//! A pull of layout Files: each file that differs is fetched whole, beside the old one, and put in its place.

use std::collections::HashSet;

use super::REPAIR;
use super::apply::{self, Applied};
use super::carry::Attempt;
use super::fetch::{Fetched, Fetching};
use super::names::Alike;
use super::observe::{observe, whole};
use super::obstacles;
use super::parts;
use super::plan::{Differences, PullPlan};
use super::prepare::Prepared;
use super::restore::has_hash;
use super::space::{self, Room};
use super::staging::Staging;
use crate::digest::Digest;
use crate::error::{Failure, Result};
use crate::format::documents::Commit;
use crate::remote::BATCH;
use crate::remote::committed::{Manifest, inconsistent, read_manifest};
use crate::report::{Reason, Synced};
use crate::spill::batches;
use crate::volume::beneath::Root;
use crate::volume::hash::Hasher;
use crate::volume::path::RelPath;

/// One attempt at one commit. The inner error means that the remote does not hold what the commit says.
pub(super) fn attempt(attempt: &Attempt, commit: Commit, transferred: &mut u64) -> Result<std::result::Result<Synced, Failure>> {
    let Attempt { remote, root, options, hasher, only, .. } = *attempt;
    if only.is_some() {
        return Err(Failure::new(
            Reason::MoverFailed,
            format!("{} is of layout Files, of which no single path is pulled: leave --path out, or fetch it with rclone", remote.name()),
        ));
    }
    let committed = match read_manifest(remote, commit)? {
        Manifest::Whole(committed) => *committed,
        Manifest::Missing(commit) => {
            return Ok(Err(inconsistent(remote, &format!("the manifest of {} is missing; {REPAIR}", commit.revision))));
        }
        Manifest::Damaged(_, what) => return Ok(Err(inconsistent(remote, &format!("{what}; {REPAIR}")))),
    };
    let stop = &remote.context.stop;
    // Of a revision that is none of the committed one's ancestors, nothing is known but by reading.
    let held = attempt.held()?.filter(|held| committed.descends_from(held)).map(|held| held.generation());
    let facts = Differences::of(attempt.writers()?);
    let seen = observe(root, &committed.entries, (held, facts), &whole(root, hasher, stop), None, stop)?;
    let mut replace = |staging: &Staging, plan: &PullPlan, merged: Option<&Alike>| {
        let fetching = Fetching { remote, committed: &committed, staging, verifier: &Hasher::default() };
        Ok(replace(&fetching, root, (options.private, merged), plan, transferred)?.map_err(|path| {
            Failure::new(
                Reason::RemoteInconsistent,
                format!("{} does not hold {path} as revision {} has it; {REPAIR}", remote.name(), committed.revision),
            )
        }))
    };
    let carried = attempt.carry_out((committed.revision.as_str(), &committed.entries), seen, (&mut replace, &has_hash))?;
    Ok(carried.map(|Synced { changed, deleted, skipped, .. }| {
        let (transferred, hashed) = (*transferred, hasher.bytes_read());
        Synced { changed, transferred, hashed, deleted, skipped, ..Synced::from(&committed.commit) }
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
    let mut work = apply::begin(root, plan, staging, &has_hash, stop);
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
                staging.clear_incoming(stop)?;
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
