//! Makes the tree of a volume: a walk, and the hash of every file that hints do not vouch for.
//!
//! Imports [`crate::walk`], [`crate::hash`], [`crate::holes`], [`crate::entry`] and [`crate::failure`].

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use crate::entry::{At, Digest, Entry, FileEntry, Hints, Kind, Time};
use crate::failure::{Failure, Result};
use crate::hash::Hasher;
use crate::holes;
use crate::path::RelPath;
use crate::report::Reason;
use crate::stop::Stop;
use crate::walk::{Found, FoundKind, walk};
use jiff::Timestamp;

/// A volume as it was at one look.
#[derive(Debug)]
pub(super) struct Tree {
    /// Every entry; where content goes and when it changed is not decided yet.
    pub(super) entries: Vec<Entry>,
    /// What the walk saw: equal to a later look's if and only if nothing was touched in between.
    pub(super) found: Vec<Found>,
    /// What was left out, by kind.
    pub(super) skipped: BTreeMap<String, u64>,
}

/// What is known of content without reading it: size, mtime, ctime and inode must all be the same.
#[derive(Debug, Default)]
pub(super) struct Known<'a>(HashMap<(&'a RelPath, u64, Time, Hints), Digest>);

impl<'a> Known<'a> {
    /// From an earlier look during the same push.
    pub(super) fn of(entries: impl IntoIterator<Item = &'a Entry>) -> Self {
        Self::where_hints(entries, |_| true)
    }

    /// From an earlier manifest of this very volume, whose hints were last held against a capture at `hints_time`.
    pub(super) fn of_committed(entries: &'a [Entry], hints_time: Timestamp) -> Self {
        Self::where_hints(entries, |hints| !is_racy(hints, hints_time))
    }

    fn where_hints(entries: impl IntoIterator<Item = &'a Entry>, vouch: impl Fn(Hints) -> bool) -> Self {
        let known = entries.into_iter().filter_map(|entry| {
            let file = entry.file()?;
            let hints = file.hints.filter(|hints| vouch(*hints))?;
            Some(((&entry.path, file.size, entry.meta.mtime, hints), file.sha256))
        });
        Self(known.collect())
    }
}

/// Looks at the volume.
pub(super) fn observe(root: &Path, known: &Known, hasher: &Hasher, stop: &Stop) -> Result<Tree> {
    let walk = walk(root, stop)?;
    if walk.staging {
        return Err(Failure::new(
            Reason::SourceChanging,
            format!(
                "{}/{} is there: a pull into this volume is unfinished, so it holds parts of two states. Let the pull finish, or remove that folder if no pull uses this volume",
                root.display(),
                crate::names::STAGING_DIR
            ),
        ));
    }
    // Names of one inode share their content: hash the first.
    let mut first_names: HashMap<u64, usize> = HashMap::new();
    let mut first_of: HashMap<usize, usize> = HashMap::new();
    let mut digests: Vec<Option<Digest>> = vec![None; walk.found.len()];
    let mut unknown = Vec::new();
    for (at, found) in walk.found.iter().enumerate() {
        let FoundKind::File(size) = found.kind else {
            continue;
        };
        if found.links > 1 {
            match first_names.get(&found.hints.inode) {
                Some(&first) => {
                    first_of.insert(at, first);
                    continue;
                }
                None => {
                    first_names.insert(found.hints.inode, at);
                }
            }
        }
        match known.0.get(&(&found.path, size, found.meta.mtime, found.hints)) {
            Some(digest) => set(&mut digests, at, Some(*digest)),
            None => unknown.push(at),
        }
    }
    let paths: Vec<_> = unknown.iter().filter_map(|&at| walk.found.get(at)).map(|found| found.path.under(root)).collect();
    for (at, digest) in unknown.into_iter().zip(hasher.all(&paths, stop)?) {
        set(&mut digests, at, digest);
    }
    let mut entries = Vec::with_capacity(walk.found.len());
    for (at, found) in walk.found.iter().enumerate() {
        let kind = match &found.kind {
            FoundKind::Dir => Kind::Dir,
            FoundKind::Fifo => Kind::Fifo,
            FoundKind::Symlink(target) => Kind::Symlink(target.clone()),
            FoundKind::File(size) => {
                let first = first_of.get(&at);
                let Some(sha256) = digests.get(*first.unwrap_or(&at)).copied().flatten() else {
                    // Gone since the walk: the next look will not find it, and so differs from this one.
                    continue;
                };
                let link = first.and_then(|&first| walk.found.get(first)).map(|found| found.path.clone());
                let holes = if found.sparse && link.is_none() { holes::find(&found.path.under(root))? } else { Box::default() };
                Kind::File(FileEntry { size: *size, sha256, at: At::Own, changed: 0, link, holes, hints: Some(found.hints) })
            }
        };
        entries.push(Entry { path: found.path.clone(), meta: found.meta.clone(), kind });
    }
    Ok(Tree { entries, found: walk.found, skipped: walk.skipped })
}

fn set(digests: &mut [Option<Digest>], at: usize, digest: Option<Digest>) {
    if let Some(slot) = digests.get_mut(at) {
        *slot = digest;
    }
}

/// Hints of what changed this close to the capture, in seconds, vouch for nothing: a later write may leave the same times.
const RACY: i64 = 2;

fn is_racy(hints: Hints, captured: Timestamp) -> bool {
    hints.ctime.secs >= captured.as_second().saturating_sub(RACY)
}

/// Whether hints that were too young at `hints_time` have come of age by `captured`, and every one of them was seen again with the
/// content it stands for. Then, and only then, the manifest's hints may be trusted up to `captured`.
///
/// `looked` is of the same names as `committed`, with content that was read where the hints did not vouch for it.
pub(super) fn hints_came_of_age(committed: &[Entry], looked: &[Entry], hints_time: Timestamp, captured: Timestamp) -> bool {
    let hints = |entry: &Entry| entry.file().and_then(|file| file.hints);
    let mut young = committed
        .iter()
        .zip(looked)
        .filter_map(|(old, new)| Some((hints(old).filter(|h| is_racy(*h, hints_time))?, hints(new))))
        .peekable();
    young.peek().is_some() && young.all(|(old, new)| new == Some(old) && !is_racy(old, captured))
}

/// The names that differ between two looks, for a message.
pub(super) fn differing(before: &[Found], after: &[Found]) -> Vec<RelPath> {
    let older: HashMap<&RelPath, &Found> = before.iter().map(|found| (&found.path, found)).collect();
    let newer: HashMap<&RelPath, &Found> = after.iter().map(|found| (&found.path, found)).collect();
    let changed = after.iter().filter(|found| older.get(&found.path) != Some(found));
    let gone = before.iter().filter(|found| !newer.contains_key(&found.path));
    changed.chain(gone).map(|found| found.path.clone()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use assert_fs::TempDir;

    fn look(dir: &TempDir, known: &Known, hasher: &Hasher) -> Tree {
        observe(dir.path(), known, hasher, &Stop::default()).unwrap()
    }

    #[test]
    fn a_second_look_reads_nothing_and_sees_the_same() {
        let dir = TempDir::new().unwrap();
        std::fs::write(dir.path().join("a"), "aaaa").unwrap();
        std::fs::hard_link(dir.path().join("a"), dir.path().join("b")).unwrap();
        let hasher = Hasher::default();
        let first = look(&dir, &Known::default(), &hasher);
        assert_eq!(hasher.bytes_read(), 4, "one inode is read once");
        assert_eq!(first.entries[2].file().unwrap().link, Some(first.entries[1].path.clone()));
        let second = look(&dir, &Known::of(&first.entries), &hasher);
        assert_eq!((hasher.bytes_read(), &second.entries, &second.found), (4, &first.entries, &first.found));
        std::fs::write(dir.path().join("a"), "bbbb").unwrap();
        let third = look(&dir, &Known::of(&first.entries), &hasher);
        assert_eq!(hasher.bytes_read(), 8);
        assert_eq!(differing(&first.found, &third.found).len(), 2);
    }

    #[test]
    fn hints_vouch_once_they_are_older_than_the_capture() {
        let dir = TempDir::new().unwrap();
        std::fs::write(dir.path().join("a"), "a").unwrap();
        let hasher = Hasher::default();
        let tree = look(&dir, &Known::default(), &hasher);
        let ctime = tree.entries[1].file().unwrap().hints.unwrap().ctime.secs;
        let at = |secs| Timestamp::from_second(secs).unwrap();
        let bytes_read = |hints_time| {
            let before = hasher.bytes_read();
            look(&dir, &Known::of_committed(&tree.entries, hints_time), &hasher);
            hasher.bytes_read() - before
        };
        assert_eq!((bytes_read(at(ctime + 2)), bytes_read(at(ctime + 3))), (1, 0));

        let again = look(&dir, &Known::default(), &hasher);
        let aged = |looked: &[Entry], hints_time, captured| hints_came_of_age(&tree.entries, looked, hints_time, captured);
        assert!(aged(&again.entries, at(ctime), at(ctime + 3)));
        assert!(!aged(&again.entries, at(ctime), at(ctime + 2)), "still too young");
        assert!(!aged(&again.entries, at(ctime + 3), at(ctime + 9)), "nothing to gain");
        let mut touched = again.entries.clone();
        if let Kind::File(file) = &mut touched[1].kind {
            file.hints = file.hints.map(|hints| Hints { inode: hints.inode + 1, ..hints });
        }
        assert!(!aged(&touched, at(ctime), at(ctime + 3)), "not the same file any more");
    }

    #[test]
    fn a_volume_in_mid_pull_is_not_pushed() {
        let dir = TempDir::new().unwrap();
        std::fs::create_dir(dir.path().join(".scribe-staging")).unwrap();
        let failure = observe(dir.path(), &Known::default(), &Hasher::default(), &Stop::default()).unwrap_err();
        assert_eq!(failure.reason, Reason::SourceChanging);
    }
}
