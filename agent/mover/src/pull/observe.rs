//! Compares a volume with the manifest: both are read side by side, and content is hashed if nothing else shows whether it is the same.

use std::collections::BTreeMap;

use super::names::Alike;
use super::plan::{Content, Differences, Writers, compare};
use crate::error::{Failure, Result};
use crate::format::revision::Revision;
use crate::remote::committed::Committed;
use crate::stop::Stop;
use crate::volume::LOST_AND_FOUND;
use crate::volume::batch::Batch;
use crate::volume::beneath::Root;
use crate::volume::entry::Entry;
use crate::volume::hash::Hasher;
use crate::volume::merge_join::join;
use crate::volume::path::RelPath;
use crate::volume::walk::{Found, LEFT_LOST_AND_FOUND, walk};

/// The result of comparing the volume.
#[derive(Debug)]
pub(super) struct Observation {
    /// How it differs from the manifest.
    pub(super) facts: Differences,
    /// What was left out, by kind.
    pub(super) skipped: BTreeMap<String, u64>,
    /// Whether an unfinished pull left its staging folder behind.
    pub(super) staging: bool,
    /// Names of both together that are alike.
    pub(super) alike: Alike,
}

/// Compares the volume at `root` with `committed`; it is known to hold the revision `applied`, if any, and `writers` write to it.
pub(super) fn observe(
    root: &Root,
    committed: &Committed,
    (applied, writers): (Option<&Revision>, Writers),
    hasher: &Hasher,
    stop: &Stop,
) -> Result<Observation> {
    let mut walk = walk(root, stop)?;
    // Of a revision that is none of the committed one's ancestors, nothing is known but by reading.
    let held = applied.filter(|applied| committed.descends_from(applied)).map(Revision::generation);
    let mut facts = Differences::of(writers);
    let mut alike = Alike::default();
    let mut batch = Batch::default();
    // The walk leaves this directory out, and nothing else can have its name.
    let own = has_lost_and_found(root)?;
    for pair in join(committed.entries.read()?, walk.by_ref()) {
        let (entry, found) = pair?;
        if let Some(path) = entry.as_ref().map(|entry| &entry.path).or(found.as_ref().map(|found| &found.path)) {
            alike.add(path);
        }
        if let Some(entry) = entry.as_ref().filter(|entry| own && entry.path.first() == LOST_AND_FOUND.as_bytes()) {
            settle(root, batch.take(), &mut facts, hasher, stop)?;
            facts.leave_out(entry);
            continue;
        }
        let content = entry.as_ref().map_or(Content::Right, |entry| {
            let changed = entry.file().map_or(0, |file| file.changed);
            compare(entry, found.as_ref(), held.map(|generation| changed <= generation))
        });
        let bytes = entry.as_ref().map_or(0, Entry::bytes) + found.as_ref().map_or(0, Found::bytes);
        if batch.push(Pair { entry, found, content }, bytes) {
            settle(root, batch.take(), &mut facts, hasher, stop)?;
        }
    }
    settle(root, batch.take(), &mut facts, hasher, stop)?;
    let mut skipped = walk.skipped;
    if facts.left_out() > 0 {
        *skipped.entry(LEFT_LOST_AND_FOUND.into()).or_default() += 1;
    }
    Ok(Observation { facts, skipped, staging: walk.staging, alike })
}

struct Pair {
    entry: Option<Entry>,
    found: Option<Found>,
    content: Content,
}

/// Hashes what is unsure, and notes what is known then.
fn settle(root: &Root, mut batch: Vec<Pair>, facts: &mut Differences, hasher: &Hasher, stop: &Stop) -> Result<()> {
    let unsure: Vec<&mut Pair> = batch.iter_mut().filter(|pair| pair.content == Content::Unsure).collect();
    let paths: Vec<RelPath> = unsure.iter().filter_map(|pair| Some(pair.entry.as_ref()?.path.clone())).collect();
    for (pair, digest) in unsure.into_iter().zip(hasher.all(root, &paths, stop)?) {
        let wanted = pair.entry.as_ref().and_then(|entry| Some(entry.file()?.sha256));
        pair.content = if digest.is_some() && digest == wanted { Content::Right } else { Content::Wrong };
    }
    for Pair { entry, found, content } in batch {
        facts.add(entry.as_ref(), found.as_ref(), content == Content::Right);
    }
    Ok(())
}

/// Whether the volume has a directory of the name that some file systems have for one of their own.
pub(super) fn has_lost_and_found(root: &Root) -> Result<bool> {
    let path = RelPath::own(LOST_AND_FOUND);
    let Some(there) = root.find(&path)? else { return Ok(false) };
    there.look().map(|seen| seen.is_dir()).map_err(|e| Failure::volume("read", &root.shown(&path), &e))
}
