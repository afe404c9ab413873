//! A pull of layout Packs: the map says which blocks each file has; those that the volume does not have yet are fetched.
//!
//! `older` finds the revision that is wanted, `tree` makes of its map the tree that all pulls compare a volume with, or of one path of it,
//! `rows` finds the blocks of files in the map, `local` compares them
//! with what is on the volume, `fetch` brings the others, `patch` changes files in place. A file that is new, and any file of a user's volume,
//! is made whole in the staging folder and put in place by a rename. On a private volume, a file that is there is changed in place, once
//! all of its new blocks lie in the staging folder, verified and on disk, and the `journal` says what is to be done with them: of a pull that is
//! killed meanwhile, the next one finishes that without the remote.

mod bits;
mod changes;
mod contents;
mod fetch;
pub(super) mod journal;
mod local;
mod older;
mod patch;
mod place;
mod rows;
mod since;
mod target;
mod targets;
mod tree;
mod waiting;
mod writable;

use std::fs::File;
use std::path::Path;

use super::apply::{self, Applied};
use super::carry::Attempt;
use super::durable;
use super::names::Alike;
use super::observe::observe;
use super::obstacles;
use super::plan::{Differences, PullPlan};
use super::space;
use super::staging::{JOURNAL, Staging};
use crate::error::{Failure, Result};
use crate::format::documents::Control;
use crate::format::entries::{Entries, Totals};
use crate::format::revision::Revision;
use crate::packs::commit::Commit;
use crate::packs::manifest::Document;
use crate::packs::map::Map;
use crate::remote::committed::inconsistent;
use crate::remote::packed::{Extent, Source, open_map, read_packs_manifest};
use crate::report::{Reason, Synced};
use crate::stop::Stop;
use crate::volume::entry::FileEntry;
use journal::Writing;
use local::Comparing;
use older::Chosen;
use tree::Held;

/// What can be done about a manifest: no push has what it said, or makes another of it.
const RESTORE: &str = "restore that object, or delete everything at this path; then the next push sends everything again";

/// One attempt at one commit. The inner error means that the remote does not hold what the commit says.
pub(super) fn attempt(attempt: &Attempt, commit: &Commit, transferred: &mut u64) -> Result<std::result::Result<Synced, Failure>> {
    let remote = attempt.remote;
    let revision = &commit.statement.revision;
    let manifest = match read_packs_manifest(remote, revision, &commit.manifest)? {
        Control::Present(manifest) => manifest,
        Control::Absent => return Ok(Err(inconsistent(remote, &format!("the manifest of {revision} is missing; {RESTORE}")))),
        Control::Corrupt(what) => return Ok(Err(inconsistent(remote, &format!("{what}; {RESTORE}")))),
    };
    let chosen = match older::choose(remote, (commit, manifest), attempt.wanted)? {
        Ok(chosen) => chosen,
        Err(failure) => return Ok(Err(failure)),
    };
    if chosen.is_older && attempt.holds == Some(&*chosen.commit.statement.revision) {
        tracing::info!(revision = chosen.commit.statement.revision, "nothing changed");
        return Ok(Ok(Synced::from(&chosen.commit)));
    }
    match carried(attempt, &chosen, transferred) {
        // What is wrong with a run shows where it is read.
        Err(failure) if failure.reason == Reason::RemoteInconsistent => {
            Ok(Err(if chosen.is_older { older::explain(failure) } else { failure }))
        }
        Err(failure) => Err(failure),
        Ok(synced) => Ok(Ok(synced)),
    }
}

fn carried(attempt: &Attempt, chosen: &Chosen, transferred: &mut u64) -> Result<Synced> {
    let Attempt { remote, root, options, hasher, only, .. } = *attempt;
    let Chosen { commit, manifest, is_older } = chosen;
    let (document, stop) = (&manifest.document, &remote.context.stop);
    // Of a revision that is none of this one's ancestors, nothing is known but by reading. Of an ancestor of an older one, neither: a later one may
    // have been pulled since, which no generation of the older one's map tells.
    let held = attempt.held()?.filter(|held| !is_older && descends_from(document, held)).map(|held| held.generation());
    let mut held = Held::of(held, document);
    let map = open_map(remote, manifest, if held.generation().is_some() { Extent::Parts } else { Extent::All })?;
    let entries = tree::read(&map, document, &mut held, only, &remote.context)?;
    if let Some(only) = only {
        only.is_in(&entries, &document.revision, remote)?;
    }
    let facts = Differences::of(attempt.writers()?).unlisted();
    let facts = if options.private { facts.patching() } else { facts };
    let comparing = Comparing { root, map: &map, document, hasher, stop };
    let seen = observe(root, &entries, (held.generation(), facts), &|entries| comparing.are_right(entries), only, stop)?;
    let mut replace = |staging: &Staging, plan: &PullPlan, merged: Option<&Alike>| {
        replace(attempt, (&map, document, &held), &entries, (staging, plan, merged), transferred).map(Ok)
    };
    let Synced { changed, deleted, skipped, .. } = attempt.carry_out(
        (&document.revision, &entries),
        seen,
        (&mut replace, &|there, wanted, stop| comparing.has_content(there, wanted, stop)),
    )??;
    let (transferred, hashed) = (*transferred, hasher.bytes_read());
    let Totals { files, bytes, .. } = *entries.totals();
    Ok(Synced { changed, files, bytes, transferred, hashed, deleted, skipped, ..Synced::from(commit) })
}

/// Whether the revision of this manifest is `other`, or is known to descend from it. A manifest whose ancestors are no older ones of its lineage is
/// not read at all; its parent stands apart from them.
fn descends_from(document: &Document, other: &Revision) -> bool {
    let is_other = |name: &String| name == other.as_str();
    let follows = |of: Revision| of.lineage() == other.lineage() && other.generation() < of.generation();
    let is_parent = || document.statement.parent.as_ref().is_some_and(is_other) && Revision::parse(&document.revision).is_some_and(follows);
    is_other(&document.revision) || is_parent() || document.ancestors.iter().any(is_other)
        // Each was the committed one before this one.
        || document.retained.iter().any(|kept| is_other(&kept.revision))
}

/// Fetches, verifies and applies what the plan says.
fn replace(
    attempt: &Attempt,
    (map, document, held): (&Map<Source>, &Document, &Held),
    entries: &Entries,
    (staging, plan, merged): (&Staging, &PullPlan, Option<&Alike>),
    transferred: &mut u64,
) -> Result<Applied> {
    let Attempt { remote, root, options, hasher, .. } = *attempt;
    let stop = &remote.context.stop;
    let comparing = Comparing { root, map, document, hasher, stop };
    let (targets, changes) = targets::of(&comparing, plan.steps(entries.read()?), held, (staging, &remote.context.scratch))?;
    let has_content = |there: (File, &Path), wanted: &FileEntry, stop: &Stop| comparing.has_content(there, wanted, stop);
    let block = comparing.block()?;
    writable::check(root, &targets, staging, stop)?;
    let placed = place::in_place(root, &targets, &changes, block, stop)?;
    fetch::Fetching { remote, root, map, document, staging }.all(&targets, placed, transferred)?;
    remote.context.progress.phase("applying", 0);
    let mut work = apply::begin(root, plan, staging, &has_content, stop);
    let needed = fetch::room_of_steps(plan.steps(entries.read()?), stop)?;
    let explain = |failure| space::explain(failure, root, needed);
    let prepared = work.prepare(plan.steps(entries.read()?), true).map_err(explain)?;
    // Fetching may have taken hours.
    obstacles::refuse(root, plan, entries, merged, stop)?;
    // A crash of the node must not leave a name in place, or half of a file, whose content was still on its way to the disk.
    root.sync()?;
    // Of what comes now, nothing may fail for lack of room: that leaves a mix of two revisions.
    space::check(root, placed)?;
    if !options.private {
        work.put(prepared, plan, entries, merged.is_some())?;
        return work.finish(entries);
    }
    writable::check(root, &targets, staging, stop)?;
    let (revision, salt, merges) = (&document.revision, document.salt, merged.is_some());
    let writing = Writing { root, staging, plan, entries, targets: &targets, changes: &changes, revision, block, salt, merges, stop };
    journal::write(&writing, prepared, &work.into_applied()).map_err(explain)?;
    // It takes room itself, and is of no use to a volume that is as it was.
    if let Err(failure) = space::check(root, placed) {
        durable::remove(staging.folder(), JOURNAL)?;
        return Err(failure);
    }
    journal::carry_out(root, staging, stop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packs::manifest::tests::empty;

    #[test]
    fn no_revision_descends_from_one_that_is_not_older() {
        let revision = |lineage: &str, generation: u64| format!("20261123T032858Z-{lineage}-{generation}-0a91");
        let (ours, others) = ("1c9a77e0", "00000001");
        let mut document = empty("20261123T042858Z-1c9a77e0-17-5f2e");
        for (parent, descends) in [
            (revision(ours, 16), true),
            (revision(ours, 3), true),
            // Forged: all that the map says would be no newer than what the volume holds.
            (revision(ours, 17), false),
            (revision(ours, 99), false),
            (revision(others, 16), false),
        ] {
            document.statement.parent = Some(parent.clone());
            assert_eq!(descends_from(&document, &Revision::parse(&parent).unwrap()), descends, "{parent}");
        }
        let own = Revision::parse(&document.revision).unwrap();
        assert!(descends_from(&document, &own));
        document.ancestors = vec![revision(ours, 15)];
        let named = |name: &str| descends_from(&document, &Revision::parse(name).unwrap());
        assert!(named(&revision(ours, 15)) && !named(&revision(ours, 14)) && !named("20261123T032858Z-1c9a77e0-15-0a92"));
    }
}
