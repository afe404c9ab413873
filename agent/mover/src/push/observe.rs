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
use crate::format::names::{is_long, trusted};
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
    /// Others whose hints do not vouch.
    also: Option<&'a HashSet<RelPath>>,
    /// Files from this size on need not be read where their size says that they are others than before.
    later: Option<u64>,
}

/// Whose hints do not vouch.
#[derive(Clone, Copy, Debug, Default)]
enum Doubts<'a> {
    /// None.
    #[default]
    No,
    /// All: they are another volume's, or have no known age.
    All,
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
        Self::with(entries, Doubts::No)
    }

    /// As [`Known::of`], but for these names.
    pub(super) fn but(entries: &'a Entries, doubtful: &'a HashSet<RelPath>) -> Self {
        Self::with(entries, Doubts::These(doubtful))
    }

    /// From the plan of a push whose files have been sent, and which was made of a pass that began at `looked`, of a volume that may be
    /// written to meanwhile: where a file had changed shortly before it was read, other content may have been sent under the same hints.
    pub(super) fn of_sent(entries: &'a Entries, looked: Timestamp, generation: u64, listing: Option<&'a Listing>) -> Self {
        Self::with(entries, Doubts::Uploaded { looked, generation, listing })
    }

    /// From an earlier manifest of this very volume, whose hints were last held against the capture at `hints_time`.
    pub(super) fn of_committed(entries: &'a Entries, hints_time: Timestamp, rehash: &'a Rehash) -> Self {
        Self::with(entries, Doubts::Committed { captured: hints_time, rehash })
    }

    /// From an earlier manifest whose hints say nothing.
    pub(super) fn of_sizes(entries: &'a Entries) -> Self {
        Self::with(entries, Doubts::All)
    }

    /// The same, but that these files are read.
    pub(super) fn doubting(self, names: &'a HashSet<RelPath>) -> Self {
        Self { also: Some(names), ..self }
    }

    /// The same, but that files from this size on are read while they are sent, if their size alone says that they have to be.
    pub(super) fn reading_later(self, from: Option<u64>) -> Self {
        Self { later: from, ..self }
    }

    fn with(entries: &'a Entries, doubts: Doubts<'a>) -> Self {
        Self { entries: Some(entries), doubts, also: None, later: None }
    }

    fn digest(&self, before: &Entry, found: &Found) -> Option<Digest> {
        let file = before.file()?;
        let hints =
            file.hints.filter(|_| !self.doubts.apply_to(before, file) && !self.also.is_some_and(|names| names.contains(&before.path)))?;
        let same = found.kind == FoundKind::File(file.size) && found.meta.mtime == before.meta.mtime && found.hints == hints;
        same.then_some(file.sha256).filter(|digest| *digest != Digest::UNREAD)
    }

    /// Whether the content can be left to be read while it is sent. Content that goes under its hash is sent once that is known, and names of one
    /// inode share what is read.
    fn reads_later(&self, before: Option<&Entry>, found: &Found) -> bool {
        let FoundKind::File(size) = found.kind else { return false };
        let same_size = before.and_then(Entry::file).is_some_and(|file| file.size == size);
        self.later.is_some_and(|from| size >= from.max(1))
            && !same_size
            && found.links == 1
            && trusted(&found.path)
            && !is_long(&found.path)
    }
}

impl Doubts<'_> {
    fn apply_to(&self, entry: &Entry, file: &FileEntry) -> bool {
        match self {
            Self::No => false,
            Self::All => true,
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
        let digest = before.as_ref().and_then(|before| known.digest(before, &found));
        // One that cannot be opened is seen to as any other.
        let later = digest.is_none() && known.reads_later(before.as_ref(), &found) && look.root.file(&found.path)?.is_some();
        work.add(found, digest.or(later.then_some(Digest::UNREAD)))?;
    }
    refuse_unfinished_pull(look.root, &walk)?;
    work.finish_batch()?;
    let mut unsettled = walk.unsettled;
    unsettled.extend(settle(look.root, work.unopened, EYES)?);
    Ok(Tree { entries: work.out.finish()?, began, unsettled, skipped: walk.skipped })
}

pub(super) fn refuse_unfinished_pull(root: &Root, walk: &Walk) -> Result<()> {
    if walk.staging { Err(unfinished_pull(root)) } else { Ok(()) }
}

/// The failure of a volume into which a pull is unfinished.
pub(super) fn unfinished_pull(root: &Root) -> Failure {
    Failure::new(
        Reason::SourceChanging,
        format!(
            "{}/{} is there: a pull into this volume is unfinished, so it holds parts of two states. Let the pull finish, or remove that folder if no pull uses this volume",
            root.shown(&RelPath::root()).display(),
            crate::volume::STAGING_DIR
        ),
    )
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
        let (before, mut after) = pair?;
        // What was not read was not another one.
        if let (Some(FileEntry { sha256: Digest::UNREAD, .. }), Some(Entry { kind: Kind::File(after), .. })) =
            (before.as_ref().and_then(Entry::file), &mut after)
        {
            after.sha256 = Digest::UNREAD;
        }
        let same = matches!((&before, &after), (Some(a), Some(b)) if exclude.same_result(a, b) && hints(a) == hints(b));
        if !same {
            let was = before.as_ref().and_then(|entry| Some(entry.file()?.sha256));
            moved.extend(before.or(after).map(|entry| Moved { path: entry.path, was }));
        }
    }
    Ok(moved)
}

#[cfg(test)]
mod tests;
