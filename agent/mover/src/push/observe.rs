//! Makes the tree of a volume: a walk, and the hash of every file that hints do not vouch for.
//!
//! Imports [`crate::walk`], [`crate::hash`], [`crate::holes`], [`crate::tree`], [`crate::join`], [`crate::entry`] and
//! [`crate::failure`].

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use jiff::Timestamp;

use crate::entry::{At, Digest, Entry, FileEntry, Hints, Kind};
use crate::failure::{Failure, Result};
use crate::hash::Hasher;
use crate::holes;
use crate::join::join;
use crate::path::RelPath;
use crate::report::Reason;
use crate::scratch::Scratch;
use crate::stop::Stop;
use crate::tree::{Entries, EntriesWriter};
use crate::walk::{Found, FoundKind, Walk, walk};

/// Entries whose content is hashed side by side.
const BATCH: usize = 4096;

/// A volume as it was at one look.
#[derive(Debug)]
pub(super) struct Tree {
    /// Every entry; where content goes and when it changed is not decided yet.
    pub(super) entries: Entries,
    /// Files that the walk found and that could not be opened a moment later.
    pub(super) unopened: u64,
    /// What was left out, by kind.
    pub(super) skipped: BTreeMap<String, u64>,
}

/// What a look needs.
#[derive(Clone, Copy, Debug)]
pub(super) struct Look<'a> {
    /// The volume.
    pub(super) root: &'a Path,
    pub(super) hasher: &'a Hasher,
    pub(super) scratch: &'a Scratch,
    pub(super) stop: &'a Stop,
}

/// What is known of content without reading it: path, size, mtime, ctime and inode must all be the same.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Known<'a> {
    entries: Option<&'a Entries>,
    /// The capture that the hints were last held against; none during one push, whose hints always vouch.
    hints_time: Option<Timestamp>,
}

impl<'a> Known<'a> {
    /// From an earlier look during the same push.
    pub(super) fn of(entries: &'a Entries) -> Self {
        Self { entries: Some(entries), hints_time: None }
    }

    /// From an earlier manifest of this very volume, whose hints were last held against a capture at `hints_time`.
    pub(super) fn of_committed(entries: &'a Entries, hints_time: Timestamp) -> Self {
        Self { entries: Some(entries), hints_time: Some(hints_time) }
    }

    fn digest(&self, before: &Entry, found: &Found) -> Option<Digest> {
        let file = before.file()?;
        let hints = file.hints.filter(|hints| self.hints_time.is_none_or(|captured| !is_racy(*hints, captured)))?;
        let same = found.kind == FoundKind::File(file.size) && found.meta.mtime == before.meta.mtime && found.hints == hints;
        same.then_some(file.sha256)
    }
}

/// Looks at the volume.
pub(super) fn observe(look: Look, known: &Known) -> Result<Tree> {
    let mut walk = walk(look.root, look.stop)?;
    let before = known.entries.map(Entries::read).transpose()?.into_iter().flatten();
    let mut work = Work::new(look)?;
    for pair in join(walk.by_ref(), before) {
        let (Some(found), before) = pair? else { continue };
        let digest = before.and_then(|before| known.digest(&before, &found));
        work.add(found, digest)?;
    }
    refuse_unfinished_pull(look.root, &walk)?;
    work.finish_batch()?;
    Ok(Tree { entries: work.out.finish()?, unopened: work.unopened, skipped: walk.skipped })
}

fn refuse_unfinished_pull(root: &Path, walk: &Walk) -> Result<()> {
    if !walk.staging {
        return Ok(());
    }
    Err(Failure::new(
        Reason::SourceChanging,
        format!(
            "{}/{} is there: a pull into this volume is unfinished, so it holds parts of two states. Let the pull finish, or remove that folder if no pull uses this volume",
            root.display(),
            crate::names::STAGING_DIR
        ),
    ))
}

/// Names of one inode share their content: the first is hashed.
struct First {
    path: RelPath,
    digest: Option<Digest>,
}

struct Seen {
    found: Found,
    digest: Option<Digest>,
    /// Whether it is a further name of an inode.
    further: bool,
}

struct Work<'a> {
    look: Look<'a>,
    out: EntriesWriter,
    batch: Vec<Seen>,
    /// Of inodes with several names.
    firsts: HashMap<u64, First>,
    unopened: u64,
}

impl<'a> Work<'a> {
    fn new(look: Look<'a>) -> Result<Self> {
        let out = EntriesWriter::new(look.scratch, "look")?;
        Ok(Self { look, out, batch: Vec::new(), firsts: HashMap::new(), unopened: 0 })
    }

    fn add(&mut self, found: Found, digest: Option<Digest>) -> Result<()> {
        let mut further = false;
        if matches!(found.kind, FoundKind::File(_)) && found.links > 1 {
            further = self.firsts.contains_key(&found.hints.inode);
            self.firsts.entry(found.hints.inode).or_insert_with(|| First { path: found.path.clone(), digest: None });
        }
        self.batch.push(Seen { found, digest, further });
        if self.batch.len() >= BATCH { self.finish_batch() } else { Ok(()) }
    }

    fn finish_batch(&mut self) -> Result<()> {
        let Look { root, hasher, stop, .. } = self.look;
        let mut batch = std::mem::take(&mut self.batch);
        let unknown = |seen: &&mut Seen| matches!(seen.found.kind, FoundKind::File(_)) && seen.digest.is_none() && !seen.further;
        let unknown: Vec<&mut Seen> = batch.iter_mut().filter(unknown).collect();
        let paths: Vec<_> = unknown.iter().map(|seen| seen.found.path.under(root)).collect();
        for (seen, digest) in unknown.into_iter().zip(hasher.all(&paths, stop)?) {
            seen.digest = digest;
        }
        for seen in batch {
            self.write(seen)?;
        }
        Ok(())
    }

    fn write(&mut self, seen: Seen) -> Result<()> {
        let Seen { found, mut digest, further } = seen;
        let kind = match found.kind {
            FoundKind::Dir => Kind::Dir,
            FoundKind::Fifo => Kind::Fifo,
            FoundKind::Symlink(target) => Kind::Symlink(target),
            FoundKind::File(size) => {
                let mut link = None;
                if let Some(first) = self.firsts.get_mut(&found.hints.inode) {
                    if further {
                        (link, digest) = (Some(first.path.clone()), first.digest);
                    } else {
                        first.digest = digest;
                    }
                }
                let Some(sha256) = digest else {
                    // Gone since the walk: the next look will not find it.
                    self.unopened += 1;
                    return Ok(());
                };
                let holes = if found.sparse && link.is_none() { holes::find(&found.path.under(self.look.root))? } else { Box::default() };
                Kind::File(FileEntry { size, sha256, at: At::Own, changed: 0, link, holes, hints: Some(found.hints) })
            }
        };
        self.out.push(&Entry { path: found.path, meta: found.meta, kind })
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
pub(super) fn hints_came_of_age(committed: &Entries, looked: &Entries, hints_time: Timestamp, captured: Timestamp) -> Result<bool> {
    let hints = |entry: &Entry| entry.file().and_then(|file| file.hints);
    let mut any = false;
    for pair in join(committed.read()?, looked.read()?) {
        let (Some(old), new) = pair? else { continue };
        let Some(young) = hints(&old).filter(|hints| is_racy(*hints, hints_time)) else { continue };
        if new.as_ref().and_then(hints) != Some(young) || is_racy(young, captured) {
            return Ok(false);
        }
        any = true;
    }
    Ok(any)
}

/// A name that is not as it was at an earlier look.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Moved {
    pub(super) path: RelPath,
    /// The content that was seen there.
    pub(super) was: Option<Digest>,
}

/// The names that differ between two looks. A file's change shows in its hints, whatever was changed.
pub(super) fn differing(before: &Entries, after: &Entries) -> Result<Vec<Moved>> {
    let hints = |entry: &Entry| entry.file().and_then(|file| file.hints);
    let mut moved = Vec::new();
    for pair in join(before.read()?, after.read()?) {
        let (before, after) = pair?;
        let same = matches!((&before, &after), (Some(a), Some(b)) if a.same_result(b) && hints(a) == hints(b));
        if !same {
            let was = before.as_ref().and_then(|entry| Some(entry.file()?.sha256));
            moved.extend(before.or(after).map(|entry| Moved { path: entry.path, was }));
        }
    }
    Ok(moved)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::tests::all;
    use assert_fs::TempDir;

    struct Volume {
        dir: TempDir,
        hasher: Hasher,
        scratch: Scratch,
        stop: Stop,
    }

    impl Volume {
        fn new() -> Self {
            Self { dir: TempDir::new().unwrap(), hasher: Hasher::default(), scratch: Scratch::new().unwrap(), stop: Stop::default() }
        }

        fn try_look(&self, known: &Known) -> Result<Tree> {
            observe(Look { root: self.dir.path(), hasher: &self.hasher, scratch: &self.scratch, stop: &self.stop }, known)
        }

        fn look(&self, known: &Known) -> Tree {
            self.try_look(known).unwrap()
        }
    }

    #[test]
    fn a_second_look_reads_nothing_and_sees_the_same() {
        let volume = Volume::new();
        let file = |name: &str| volume.dir.path().join(name);
        std::fs::write(file("a"), "aaaa").unwrap();
        std::fs::hard_link(file("a"), file("b")).unwrap();
        let first = volume.look(&Known::default());
        assert_eq!(volume.hasher.bytes_read(), 4, "one inode is read once");
        let entries = all(&first.entries);
        assert_eq!(entries[2].file().unwrap().link, Some(entries[1].path.clone()));
        let second = volume.look(&Known::of(&first.entries));
        assert_eq!((volume.hasher.bytes_read(), all(&second.entries)), (4, entries));
        assert_eq!(differing(&first.entries, &second.entries).unwrap(), []);
        std::fs::write(file("a"), "bbbb").unwrap();
        std::fs::write(file("c"), "").unwrap();
        let third = volume.look(&Known::of(&first.entries));
        assert_eq!(volume.hasher.bytes_read(), 8);
        let moved: Vec<String> = differing(&first.entries, &third.entries).unwrap().iter().map(|moved| moved.path.to_string()).collect();
        assert_eq!(moved[1..], ["a", "b", "c"], "and the directory that holds them");
    }

    #[test]
    fn hints_vouch_once_they_are_older_than_the_capture() {
        let volume = Volume::new();
        std::fs::write(volume.dir.path().join("a"), "a").unwrap();
        let tree = volume.look(&Known::default());
        let ctime = all(&tree.entries)[1].file().unwrap().hints.unwrap().ctime.secs;
        let at = |secs| Timestamp::from_second(secs).unwrap();
        let bytes_read = |hints_time| {
            let before = volume.hasher.bytes_read();
            volume.look(&Known::of_committed(&tree.entries, hints_time));
            volume.hasher.bytes_read() - before
        };
        assert_eq!((bytes_read(at(ctime + 2)), bytes_read(at(ctime + 3))), (1, 0));

        let again = volume.look(&Known::default());
        let aged = |looked: &Entries, hints_time, captured| hints_came_of_age(&tree.entries, looked, hints_time, captured).unwrap();
        assert!(aged(&again.entries, at(ctime), at(ctime + 3)));
        assert!(!aged(&again.entries, at(ctime), at(ctime + 2)), "still too young");
        assert!(!aged(&again.entries, at(ctime + 3), at(ctime + 9)), "nothing to gain");
        let mut touched = all(&again.entries);
        if let Kind::File(file) = &mut touched[1].kind {
            file.hints = file.hints.map(|hints| Hints { inode: hints.inode + 1, ..hints });
        }
        assert!(!aged(&crate::tree::tests::tree(&volume.scratch, &touched), at(ctime), at(ctime + 3)), "not the same file any more");
    }

    #[test]
    fn a_volume_in_mid_pull_is_not_pushed() {
        let volume = Volume::new();
        std::fs::create_dir(volume.dir.path().join(".scribe-staging")).unwrap();
        let failure = volume.try_look(&Known::default()).unwrap_err();
        assert_eq!(failure.reason, Reason::SourceChanging);
    }
}
