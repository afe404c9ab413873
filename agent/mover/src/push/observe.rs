//! Makes the tree of a volume: a walk, and the hash of every file that hints do not vouch for.

use std::collections::{BTreeMap, HashMap, HashSet};

use jiff::Timestamp;

use super::hints::is_racy;
use super::object_names::object_name;
use super::rehash::Rehash;
use super::remote_state::intact;
use crate::digest::Digest;
use crate::error::{Failure, Result};
use crate::format::entries::{Entries, EntriesWriter};
use crate::remote::Listing;
use crate::report::Reason;
use crate::scratch::Scratch;
use crate::stop::Stop;
use crate::volume::batch::Batch;
use crate::volume::beneath::Root;
use crate::volume::entry::{Entry, FileEntry, Kind, Location};
use crate::volume::exclude::Exclude;
use crate::volume::hash::Hasher;
use crate::volume::holes;
use crate::volume::merge_join::join;
use crate::volume::path::RelPath;
use crate::volume::vanished::{EYES, settle};
use crate::volume::walk::{Found, FoundKind, Inode, Walk, walk};

/// A volume as one pass found it.
#[derive(Debug)]
pub(super) struct Tree {
    /// Every entry; where content goes and when it changed is not decided yet.
    pub(super) entries: Entries,
    /// When the pass began.
    pub(super) began: Timestamp,
    /// What exists although this pass could not read it.
    pub(super) unsettled: Vec<RelPath>,
    /// What was left out, by kind.
    pub(super) skipped: BTreeMap<String, u64>,
}

/// What a pass needs.
#[derive(Clone, Copy, Debug)]
pub(super) struct ObserveContext<'a> {
    /// The volume.
    pub(super) root: &'a Root,
    /// What of it is left out.
    pub(super) exclude: &'a Exclude,
    pub(super) hasher: &'a Hasher,
    pub(super) scratch: &'a Scratch,
    pub(super) stop: &'a Stop,
}

/// What is known of content without reading it: path, size, mtime, ctime and inode must all be the same, and vouch for it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Known<'a> {
    entries: Option<&'a Entries>,
    doubts: Doubts<'a>,
}

/// Whose hints do not vouch.
#[derive(Clone, Copy, Debug, Default)]
enum Doubts<'a> {
    /// None.
    #[default]
    No,
    /// Those that were too young at the time of the capture, or are due to be read again.
    Committed { captured: Timestamp, rehash: &'a Rehash },
    /// Those that were too young when they were read, of what this generation sends because the listing lacks it.
    Uploaded { looked: Timestamp, generation: u64, listing: Option<&'a Listing> },
    /// Those of these names.
    These(&'a HashSet<RelPath>),
}

impl<'a> Known<'a> {
    /// From an earlier pass of the same push.
    pub(super) fn of(entries: &'a Entries) -> Self {
        Self { entries: Some(entries), doubts: Doubts::No }
    }

    /// As [`Known::of`], but for these names.
    pub(super) fn but(entries: &'a Entries, doubtful: &'a HashSet<RelPath>) -> Self {
        Self { entries: Some(entries), doubts: Doubts::These(doubtful) }
    }

    /// From the plan of a push whose files have been sent, and which was made of a pass that began at `looked`, of a volume that may be
    /// written to meanwhile: where a file had changed shortly before it was read, other content may have been sent under the same hints.
    pub(super) fn of_sent(entries: &'a Entries, looked: Timestamp, generation: u64, listing: Option<&'a Listing>) -> Self {
        Self { entries: Some(entries), doubts: Doubts::Uploaded { looked, generation, listing } }
    }

    /// From an earlier manifest of this very volume, whose hints were last held against the capture at `hints_time`.
    pub(super) fn of_committed(entries: &'a Entries, hints_time: Timestamp, rehash: &'a Rehash) -> Self {
        Self { entries: Some(entries), doubts: Doubts::Committed { captured: hints_time, rehash } }
    }

    fn digest(&self, before: &Entry, found: &Found) -> Option<Digest> {
        let file = before.file()?;
        let hints = file.hints.filter(|_| !self.doubts.apply_to(before, file))?;
        let same = found.kind == FoundKind::File(file.size) && found.meta.mtime == before.meta.mtime && found.hints == hints;
        same.then_some(file.sha256)
    }
}

impl Doubts<'_> {
    fn apply_to(&self, entry: &Entry, file: &FileEntry) -> bool {
        match self {
            Self::No => false,
            Self::Committed { captured, rehash } => is_racy(entry, *captured) || rehash.is_due(&entry.path),
            Self::Uploaded { looked, generation, listing } => {
                let uploaded = file.changed == *generation || !intact(*listing, &object_name(&entry.path, file), file.size);
                uploaded && is_racy(entry, *looked)
            }
            Self::These(names) => names.contains(&entry.path),
        }
    }
}

/// Looks at the volume.
pub(super) fn observe(look: ObserveContext, known: &Known) -> Result<Tree> {
    let began = Timestamp::now();
    let mut walk = walk(look.root, look.stop)?.without(look.exclude);
    let before = known.entries.map(Entries::read).transpose()?.into_iter().flatten();
    let mut work = Pass::new(look)?;
    for pair in join(walk.by_ref(), before) {
        let (Some(found), before) = pair? else { continue };
        let digest = before.and_then(|before| known.digest(&before, &found));
        work.add(found, digest)?;
    }
    refuse_unfinished_pull(look.root, &walk)?;
    work.finish_batch()?;
    let mut unsettled = walk.unsettled;
    unsettled.extend(settle(look.root, work.unopened, EYES)?);
    Ok(Tree { entries: work.out.finish()?, began, unsettled, skipped: walk.skipped })
}

fn refuse_unfinished_pull(root: &Root, walk: &Walk) -> Result<()> {
    if !walk.staging {
        return Ok(());
    }
    Err(Failure::new(
        Reason::SourceChanging,
        format!(
            "{}/{} is there: a pull into this volume is unfinished, so it holds parts of two states. Let the pull finish, or remove that folder if no pull uses this volume",
            root.shown(&RelPath::root()).display(),
            crate::volume::STAGING_DIR
        ),
    ))
}

/// Names of one inode share their content: the first is hashed.
struct First {
    path: RelPath,
    digest: Option<Digest>,
}

struct Observed {
    found: Found,
    digest: Option<Digest>,
    /// Whether it is a further name of an inode.
    further: bool,
}

struct Pass<'a> {
    look: ObserveContext<'a>,
    out: EntriesWriter,
    batch: Batch<Observed>,
    /// Of inodes with several names.
    firsts: HashMap<Inode, First>,
    /// Files that the walk found and that could not be opened a moment later.
    unopened: Vec<RelPath>,
}

impl<'a> Pass<'a> {
    fn new(look: ObserveContext<'a>) -> Result<Self> {
        let out = EntriesWriter::new(look.scratch, "look")?;
        Ok(Self { look, out, batch: Batch::default(), firsts: HashMap::new(), unopened: Vec::new() })
    }

    fn add(&mut self, found: Found, digest: Option<Digest>) -> Result<()> {
        let mut further = false;
        if matches!(found.kind, FoundKind::File(_)) && found.links > 1 {
            further = self.firsts.contains_key(&found.inode());
            self.firsts.entry(found.inode()).or_insert_with(|| First { path: found.path.clone(), digest: None });
        }
        let bytes = found.bytes();
        if self.batch.push(Observed { found, digest, further }, bytes) { self.finish_batch() } else { Ok(()) }
    }

    fn finish_batch(&mut self) -> Result<()> {
        let ObserveContext { root, hasher, stop, .. } = self.look;
        let mut batch = self.batch.take();
        let unknown = |seen: &&mut Observed| matches!(seen.found.kind, FoundKind::File(_)) && seen.digest.is_none() && !seen.further;
        let unknown: Vec<&mut Observed> = batch.iter_mut().filter(unknown).collect();
        let paths: Vec<_> = unknown.iter().map(|seen| seen.found.path.clone()).collect();
        for (seen, digest) in unknown.into_iter().zip(hasher.all(root, &paths, stop)?) {
            seen.digest = digest;
        }
        for seen in batch {
            self.write(seen)?;
        }
        Ok(())
    }

    fn write(&mut self, seen: Observed) -> Result<()> {
        let Observed { found, mut digest, further } = seen;
        let inode = found.inode();
        let kind = match found.kind {
            FoundKind::Dir => Kind::Dir,
            FoundKind::Fifo => Kind::Fifo,
            FoundKind::Symlink(target) => Kind::Symlink(target),
            FoundKind::File(size) => {
                let mut link = None;
                if let Some(first) = self.firsts.get_mut(&inode) {
                    if further {
                        (link, digest) = (Some(first.path.clone()), first.digest);
                    } else {
                        first.digest = digest;
                    }
                }
                let Some(sha256) = digest else {
                    // Gone since the walk, or so it seems.
                    self.unopened.push(found.path);
                    return Ok(());
                };
                let holes = if found.sparse && link.is_none() { holes::find(self.look.root, &found.path)? } else { Box::default() };
                Kind::File(FileEntry { size, sha256, at: Location::Own, changed: 0, link, holes, hints: Some(found.hints) })
            }
        };
        self.out.push(&Entry { path: found.path, meta: found.meta, kind })
    }
}

/// A name that has changed since an earlier pass.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Moved {
    pub(super) path: RelPath,
    /// The content that was seen there.
    pub(super) was: Option<Digest>,
}

/// The names that differ between two passes. A file's change shows in its hints, whatever was changed: in the time of its last change, as some
/// file systems have other inode numbers each time. A file whose number is another one than before was read again by the later pass.
pub(super) fn differing(before: &Entries, after: &Entries, exclude: &Exclude) -> Result<Vec<Moved>> {
    let hints = |entry: &Entry| entry.file().and_then(|file| Some(file.hints?.ctime));
    let mut moved = Vec::new();
    for pair in join(before.read()?, after.read()?) {
        let (before, after) = pair?;
        let same = matches!((&before, &after), (Some(a), Some(b)) if exclude.same_result(a, b) && hints(a) == hints(b));
        if !same {
            let was = before.as_ref().and_then(|entry| Some(entry.file()?.sha256));
            moved.extend(before.or(after).map(|entry| Moved { path: entry.path, was }));
        }
    }
    Ok(moved)
}

#[cfg(test)]
mod tests {
    use super::super::hints::RACY;
    use super::*;
    use crate::format::entries::tests::all;
    use assert_fs::TempDir;
    use jiff::SignedDuration;

    struct Volume {
        dir: TempDir,
        hasher: Hasher,
        scratch: Scratch,
        stop: Stop,
        exclude: Exclude,
    }

    impl Volume {
        fn new() -> Self {
            let (hasher, scratch, stop) = (Hasher::default(), Scratch::new().unwrap(), Stop::default());
            Self { dir: TempDir::new().unwrap(), hasher, scratch, stop, exclude: Exclude::default() }
        }

        fn try_look(&self, known: &Known) -> Result<Tree> {
            let root = Root::open(self.dir.path())?;
            let Self { hasher, scratch, stop, exclude, .. } = self;
            observe(ObserveContext { root: &root, exclude, hasher, scratch, stop }, known)
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
        assert_eq!(differing(&first.entries, &second.entries, &volume.exclude).unwrap(), []);
        std::fs::write(file("a"), "bbbb").unwrap();
        std::fs::write(file("c"), "").unwrap();
        let third = volume.look(&Known::of(&first.entries));
        assert_eq!(volume.hasher.bytes_read(), 8);
        let moved: Vec<String> =
            differing(&first.entries, &third.entries, &volume.exclude).unwrap().iter().map(|moved| moved.path.to_string()).collect();
        assert_eq!(moved[1..], ["a", "b", "c"], "and the directory that holds them");
    }

    /// As a share whose server does not number its files.
    #[test]
    fn inode_numbers_that_do_not_stay_are_no_change_and_vouch_for_nothing() {
        let volume = Volume::new();
        for name in ["a", "b"] {
            std::fs::write(volume.dir.path().join(name), name).unwrap();
        }
        let first = volume.look(&Known::default());
        let mut numbered = EntriesWriter::new(&volume.scratch, "numbered").unwrap();
        for mut entry in all(&first.entries) {
            if let Kind::File(FileEntry { hints: Some(hints), .. }) = &mut entry.kind {
                hints.inode += 1;
            }
            numbered.push(&entry).unwrap();
        }
        let numbered = numbered.finish().unwrap();
        let second = volume.look(&Known::of(&numbered));
        assert_eq!(volume.hasher.bytes_read(), 4, "all was read again");
        assert_eq!(differing(&numbered, &second.entries, &volume.exclude).unwrap(), []);
        std::fs::write(volume.dir.path().join("b"), "c").unwrap();
        assert_eq!(differing(&numbered, &volume.look(&Known::of(&numbered)).entries, &volume.exclude).unwrap().len(), 1);
    }

    #[test]
    fn what_hints_do_not_vouch_for_is_read() {
        let volume = Volume::new();
        for name in ["a", "b"] {
            std::fs::write(volume.dir.path().join(name), name).unwrap();
        }
        let tree = volume.look(&Known::default());
        let entries = all(&tree.entries);
        let ctime = entries[1].file().unwrap().hints.unwrap().ctime.secs;
        let at = |after: i64| Timestamp::from_second(ctime + after).unwrap();
        let read = |known: &Known| {
            let before = volume.hasher.bytes_read();
            volume.look(known);
            volume.hasher.bytes_read() - before
        };
        let (none, all) = (Rehash::of_all(at(0)), Rehash::new(at(0), SignedDuration::ZERO, at(0), true));
        assert_eq!(read(&Known::of_committed(&tree.entries, at(RACY), &none)), 2, "too young");
        assert_eq!(read(&Known::of_committed(&tree.entries, at(RACY + 2), &none)), 0);
        assert_eq!(read(&Known::of_committed(&tree.entries, at(RACY + 2), &all)), 2, "due");
        assert_eq!(read(&Known::of_sent(&tree.entries, at(RACY), 0, None)), 2, "sent, and too young");
        assert_eq!(read(&Known::of_sent(&tree.entries, at(RACY + 2), 0, None)), 0);
        assert_eq!(read(&Known::of_sent(&tree.entries, at(RACY), 1, None)), 0, "not sent");
        let listing = Listing::from([(Box::from(&b"a"[..]), 1)]);
        assert_eq!(read(&Known::of_sent(&tree.entries, at(RACY), 1, Some(&listing))), 1, "sent because it was lost");
        assert_eq!(read(&Known::but(&tree.entries, &HashSet::from([entries[1].path.clone()]))), 1);
    }

    #[test]
    fn a_volume_in_mid_pull_is_not_pushed() {
        let volume = Volume::new();
        std::fs::create_dir(volume.dir.path().join(".scribe-staging")).unwrap();
        let failure = volume.try_look(&Known::default()).unwrap_err();
        assert_eq!(failure.reason, Reason::SourceChanging);
    }
}
