//! A pull of layout Packs: the map says which blocks each file has; those that the volume does not have yet are fetched.
//!
//! `tree` makes of the map the tree that all pulls compare a volume with, or of one path of it, `rows` finds the blocks of files in the map, `local` compares them
//! with what is on the volume, `fetch` brings the others, `patch` changes files in place. A file that is new, and any file of a user's volume,
//! is made whole in the staging folder and put in place by a rename. On a private volume, a file that is there is changed in place, once
//! all of its new blocks lie in the staging folder, verified and on disk: of one that is killed meanwhile, the next pull finds by their
//! hashes which blocks are where, and fetches none again.

mod bits;
mod fetch;
mod local;
mod patch;
mod rows;
mod since;
mod target;
mod targets;
mod tree;

use super::REPAIR;
use super::apply::{self, Applied};
use super::carry::Attempt;
use super::names::Alike;
use super::observe::observe;
use super::obstacles;
use super::plan::{Differences, PullPlan};
use super::space;
use super::staging::Staging;
use crate::error::{Failure, Result};
use crate::format::documents::Control;
use crate::format::entries::{Entries, Totals};
use crate::format::revision::Revision;
use crate::packs::commit::Commit;
use crate::packs::manifest::{Document, Manifest};
use crate::packs::map::Map;
use crate::remote::committed::inconsistent;
use crate::remote::packed::{Extent, Source, open_map, read_packs_manifest};
use crate::report::{Reason, Synced};
use local::Comparing;
use patch::Patching;
use tree::Held;

/// One attempt at one commit. The inner error means that the remote does not hold what the commit says.
pub(super) fn attempt(attempt: &Attempt, commit: &Commit, transferred: &mut u64) -> Result<std::result::Result<Synced, Failure>> {
    let remote = attempt.remote;
    let revision = &commit.statement.revision;
    let manifest = match read_packs_manifest(remote, revision, &commit.manifest)? {
        Control::Present(manifest) => manifest,
        Control::Absent => return Ok(Err(inconsistent(remote, &format!("the manifest of {revision} is missing; {REPAIR}")))),
        Control::Corrupt(what) => return Ok(Err(inconsistent(remote, &format!("{what}; {REPAIR}")))),
    };
    match carried(attempt, commit, &manifest, transferred) {
        // What is wrong with a run shows where it is read.
        Err(failure) if failure.reason == Reason::RemoteInconsistent => Ok(Err(failure)),
        Err(failure) => Err(failure),
        Ok(synced) => Ok(Ok(synced)),
    }
}

fn carried(attempt: &Attempt, commit: &Commit, manifest: &Manifest, transferred: &mut u64) -> Result<Synced> {
    let Attempt { remote, root, options, hasher, only } = *attempt;
    let (document, stop) = (&manifest.document, &remote.context.stop);
    // Of a revision that is none of the committed one's ancestors, nothing is known but by reading.
    let held = attempt.held()?.filter(|held| descends_from(document, held)).map(|held| held.generation());
    let mut held = Held::of(held, document);
    let map = open_map(remote, manifest, if held.generation().is_some() { Extent::Parts } else { Extent::All })?;
    let entries = tree::read(&map, document, &mut held, only, &remote.context)?;
    if let Some(only) = only {
        only.is_in(&entries, remote)?;
    }
    let facts = Differences::of(attempt.writers()?);
    let facts = if options.private { facts.patching() } else { facts };
    let comparing = Comparing { root, map: &map, document, hasher, stop };
    let seen = observe(root, &entries, (held.generation(), facts), &|entries| comparing.are_right(entries), only, stop)?;
    let mut replace = |staging: &Staging, plan: &PullPlan, merged: Option<&Alike>| {
        replace(attempt, (&map, document, &held), &entries, (staging, plan, merged), transferred).map(Ok)
    };
    let Synced { changed, deleted, skipped, .. } = attempt.carry_out((&document.revision, &entries), seen, &mut replace)??;
    let (transferred, hashed) = (*transferred, hasher.bytes_read());
    let Totals { files, bytes, .. } = *entries.totals();
    Ok(Synced { changed, files, bytes, transferred, hashed, deleted, skipped, ..Synced::from(commit) })
}

/// Whether the revision of this manifest is `other`, or is known to descend from it.
fn descends_from(document: &Document, other: &Revision) -> bool {
    let is_other = |name: &String| name == other.as_str();
    is_other(&document.revision) || document.statement.parent.as_ref().is_some_and(is_other) || document.ancestors.iter().any(is_other)
}

/// Fetches, verifies and applies what the plan says.
fn replace(
    attempt: &Attempt,
    (map, document, held): (&Map<Source>, &Document, &Held),
    entries: &Entries,
    (staging, plan, merged): (&Staging, &PullPlan, Option<&Alike>),
    transferred: &mut u64,
) -> Result<Applied> {
    let Attempt { remote, root, hasher, .. } = *attempt;
    let stop = &remote.context.stop;
    staging.keep_unverified(|digest| plan.wants(digest), stop)?;
    let comparing = Comparing { root, map, document, hasher, stop };
    let targets = targets::of(&comparing, plan.steps(entries.read()?), held, staging)?;
    fetch::Fetching { remote, root, map, document, staging }.all(&targets, transferred)?;
    remote.context.progress.phase("applying", 0);
    let patching = Patching::new(&targets, staging, document)?;
    let mut work = apply::begin(root, plan, staging, stop).patching(&patching);
    let needed = fetch::room_of_steps(plan.steps(entries.read()?))?;
    let prepared = work.prepare(plan.steps(entries.read()?), true).map_err(|failure| space::explain(failure, root, needed))?;
    // Fetching may have taken hours.
    obstacles::refuse(root, plan, entries, merged, stop)?;
    // A crash of the node must not leave a name in place, or half of a file, whose content was still on its way to the disk.
    root.sync()?;
    work.put(prepared, plan, entries, merged.is_some())?;
    work.finish(entries)
}
