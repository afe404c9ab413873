//! Compares a volume with the manifest: both are read side by side, and content is hashed if nothing else shows whether it is the same.

use std::collections::BTreeMap;

use super::compare::{Content, compare};
use super::names::Alike;
use super::only::Only;
use super::plan::Differences;
use crate::error::{Failure, Result};
use crate::format::entries::Entries;
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

/// Tells by reading them which of these files have the content that their entries say.
pub(super) type Reads<'a> = &'a dyn Fn(&[&Entry]) -> Result<Vec<bool>>;

/// Reads whole files, and compares their sha256.
pub(super) fn whole<'a>(root: &'a Root, hasher: &'a Hasher, stop: &'a Stop) -> impl Fn(&[&Entry]) -> Result<Vec<bool>> + 'a {
    move |entries| {
        let paths: Vec<RelPath> = entries.iter().map(|entry| entry.path.clone()).collect();
        let digests = hasher.all(root, &paths, stop)?;
        Ok(entries.iter().zip(digests).map(|(entry, digest)| digest.is_some() && digest == entry.file().map(|file| file.sha256)).collect())
    }
}

/// Compares the volume at `root` with `entries`; of their history, it is known to hold the generation `held`, if any, and it is looked at
/// as far as `only` goes. What `facts` has so far
/// is whose the volume is.
pub(super) fn observe(
    root: &Root,
    entries: &Entries,
    (held, mut facts): (Option<u64>, Differences),
    reads: Reads,
    only: Option<&Only>,
    stop: &Stop,
) -> Result<Observation> {
    let mut walk = walk(root, stop)?;
    let looked_at = |found: &Result<Found>| found.as_ref().map_or(true, |found| only.is_none_or(|only| only.touches(&found.path)));
    let mut alike = Alike::default();
    let mut batch = Batch::default();
    // The walk leaves this directory out, and nothing else can have its name.
    let own = has_lost_and_found(root)?;
    for pair in join(entries.read()?, walk.by_ref().filter(looked_at)) {
        let (entry, found) = pair?;
        if let Some(path) = entry.as_ref().map(|entry| &entry.path).or(found.as_ref().map(|found| &found.path)) {
            alike.add(path);
        }
        if let Some(entry) = entry.as_ref().filter(|entry| own && entry.path.first() == LOST_AND_FOUND.as_bytes()) {
            settle(batch.take(), &mut facts, reads)?;
            facts.leave_out(entry);
            continue;
        }
        let content = entry.as_ref().map_or(Content::Right, |entry| {
            let changed = entry.file().map_or(0, |file| file.changed);
            compare(entry, found.as_ref(), held.map(|generation| changed <= generation))
        });
        let bytes = entry.as_ref().map_or(0, Entry::bytes) + found.as_ref().map_or(0, Found::bytes);
        if batch.push(Pair { entry, found, content }, bytes) {
            settle(batch.take(), &mut facts, reads)?;
        }
    }
    settle(batch.take(), &mut facts, reads)?;
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
fn settle(mut batch: Vec<Pair>, facts: &mut Differences, reads: Reads) -> Result<()> {
    let unsure: Vec<&Entry> = batch.iter().filter(|pair| pair.content == Content::Unsure).filter_map(|pair| pair.entry.as_ref()).collect();
    let mut right = if unsure.is_empty() { Vec::new() } else { reads(&unsure)? }.into_iter();
    for pair in batch.iter_mut().filter(|pair| pair.content == Content::Unsure) {
        pair.content = if right.next() == Some(true) { Content::Right } else { Content::Wrong };
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
