//! One look at the whole volume, held against the map: what is new, what is gone, and the content of every file that hints do not vouch for.

use std::collections::{BTreeMap, HashMap, HashSet};

use jiff::Timestamp;

use super::content::{Open, Reader};
use super::former::Former;
use super::ids::Ids;
use super::ledger::Ledger;
use super::renames::Renames;
use crate::error::{Failure, Result};
use crate::guard::{Count, NamesSum};
use crate::packs::limits::LAST;
use crate::packs::map::Map;
use crate::packs::node::{FileNode, Kind, Node};
use crate::packs::run::Entries;
use crate::packs::salt::Hash;
use crate::push::hints::is_young;
use crate::push::observe::refuse_unfinished_pull;
use crate::push::rehash::Rehash;
use crate::remote::packed::Source;
use crate::report::Reason;
use crate::volume::beneath::Root;
use crate::volume::entry::{Hints, Meta, Time};
use crate::volume::exclude::Exclude;
use crate::volume::merge_join::{Placed, join};
use crate::volume::path::RelPath;
use crate::volume::vanished::{EYES, settle};
use crate::volume::walk::{Found, FoundKind, Inode, walk};

/// Names that a message may name.
const NAMED: usize = 3;

/// What a look needs.
#[derive(Clone, Copy)]
pub(super) struct Look<'a> {
    pub(super) root: &'a Root,
    pub(super) exclude: &'a Exclude,
    pub(super) reader: Reader<'a>,
}

/// Whose hints vouch for their content.
#[derive(Clone, Copy)]
pub(super) enum Trust<'a> {
    /// None: they are another volume's, or have no known age.
    None,
    /// Those that were old enough at the time of a capture, and are not due to be read again.
    Committed { hints_time: Timestamp, captured: Timestamp, rehash: &'a Rehash },
    /// All, of an earlier look of this push; but where the volume may be written to, not those that were too young at that look, of files
    /// that it has read, and not those of these names.
    Looked { at: Timestamp, generation: u64, live: bool, but: &'a HashSet<RelPath> },
}

impl Trust<'_> {
    fn vouches(&self, path: &RelPath, mtime: Time, file: &FileNode) -> bool {
        match self {
            Self::None => false,
            // Hints that were held against a capture in the future have no known age.
            Self::Committed { hints_time, captured, rehash } => {
                hints_time <= captured && !is_young(mtime, file.hints, *hints_time) && !rehash.is_due(path)
            }
            Self::Looked { at, generation, live, but } => {
                !but.contains(path) && (!live || file.changed != *generation || !is_young(mtime, file.hints, *at))
            }
        }
    }
}

/// What a look found.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// Whether a pull of what was found gives something else than one of the map.
    pub(super) differs: bool,
    /// How many entries are others than the map has them.
    pub(super) moved: u64,
    /// The first of those.
    pub(super) named: Vec<String>,
    /// What there is.
    pub(super) count: Count,
    /// Bytes of all files.
    pub(super) bytes: u64,
    /// What is gone, also by something of another type in its place.
    pub(super) gone: Count,
    /// The names of these.
    pub(super) gone_names: NamesSum,
    /// What exists although this look could not read it.
    pub(super) unsettled: Vec<RelPath>,
    /// What was left out, by kind.
    pub(super) skipped: BTreeMap<String, u64>,
    /// Hints that were too young when the commit was written vouch now, and none is going to soon.
    pub(super) came_of_age: bool,
}

/// An entry of the map.
pub(super) struct Known(pub(super) RelPath, pub(super) Node);

/// A row of the map as such.
pub(super) fn known(row: Result<(RelPath, Node)>) -> Result<Known> {
    row.map(|(path, node)| Known(path, node))
}

impl Placed for Known {
    fn path(&self) -> &RelPath {
        &self.0
    }
}

/// Looks at the volume, and notes in `ledger` what differs from `map`. `next_file` is the id of the next new file.
pub(super) fn look(look: Look, map: &Map<Source>, trust: Trust, ledger: &mut Ledger, next_file: &mut u64) -> Result<Seen> {
    let mut walk = walk(look.root, look.reader.stop)?.without(look.exclude);
    let known = map.rows::<Entries>().map(known);
    let mut round = Round {
        look,
        trust,
        ledger,
        next_file,
        former: Former::new(map),
        taken: Ids::default(),
        freed: Vec::new(),
        firsts: HashMap::new(),
        buffer: Vec::new(),
        unopened: Vec::new(),
        renames: Renames::default(),
        aged: false,
        ages: false,
        seen: Seen::default(),
    };
    for pair in join(walk.by_ref(), known) {
        match pair? {
            (Some(found), known) => round.found(found, known.map(|known| known.1))?,
            (None, Some(Known(path, node))) => round.gone(&path, &node)?,
            (None, None) => {}
        }
    }
    round.found_late()?;
    refuse_unfinished_pull(look.root, &walk)?;
    round.free()?;
    round.ledger.flush()?;
    let Round { mut seen, unopened, aged, ages, .. } = round;
    seen.came_of_age = aged && !ages;
    seen.unsettled = walk.unsettled;
    seen.unsettled.extend(settle(look.root, unopened, EYES)?);
    seen.skipped = walk.skipped;
    Ok(seen)
}

struct Round<'r, 'l, 'm> {
    look: Look<'r>,
    trust: Trust<'r>,
    ledger: &'r mut Ledger<'l>,
    next_file: &'r mut u64,
    former: Former<'m>,
    /// Ids of files that there are.
    taken: Ids,
    /// Ids that a name had and has no more.
    freed: Vec<u64>,
    /// Of inodes with several names, what the first one is; nothing if that could not be opened.
    firsts: HashMap<Inode, Option<FileNode>>,
    buffer: Vec<u8>,
    unopened: Vec<RelPath>,
    renames: Renames,
    /// Whether hints have come of age, and whether some are going to.
    aged: bool,
    ages: bool,
    seen: Seen,
}

impl Round<'_, '_, '_> {
    fn found(&mut self, found: Found, known: Option<Node>) -> Result<()> {
        match self.renames.put_off(found, known) {
            Some((found, known)) => self.enter(found, known, None),
            None => Ok(()),
        }
    }

    /// What may have had another name, now that all names are known: first what surely had, so that nothing else takes its id.
    fn found_late(&mut self) -> Result<()> {
        let mut left = Vec::new();
        for (found, known) in self.renames.take() {
            match self.renames.former(&found, known.as_ref()) {
                Some(former) => self.enter(found, known, Some(&former))?,
                None => left.push((found, known)),
            }
        }
        left.into_iter().try_for_each(|(found, known)| self.enter(found, known, None))
    }

    /// An entry of the volume, what the map has under its name, and what it has under the name that this one had before.
    fn enter(&mut self, found: Found, known: Option<Node>, former: Option<&Node>) -> Result<()> {
        let kind = match &found.kind {
            FoundKind::Dir => Kind::Dir,
            FoundKind::Fifo => Kind::Fifo,
            FoundKind::Symlink(target) => Kind::Symlink(target.clone()),
            FoundKind::File(size) => match self.file(&found, *size, former.or(known.as_ref()), former.is_none())? {
                Some(file) => Kind::File(file),
                None => {
                    // Gone since the walk, or so it seems.
                    self.unopened.push(found.path.clone());
                    return known.map_or(Ok(()), |known| self.gone(&found.path, &known));
                }
            },
        };
        let node = Node { meta: found.meta, kind };
        if !found.path.is_root() {
            self.seen.count.add(node.file().is_some());
        }
        self.seen.bytes = self.seen.bytes.saturating_add(node.file().map_or(0, |file| file.size));
        let was = known.as_ref().and_then(Node::file).map(|file| file.id);
        self.freed.extend(was.filter(|was| node.file().is_none_or(|file| file.id != *was)));
        if let Some(known) = &known {
            if *known == node {
                return Ok(());
            }
            if std::mem::discriminant(&known.kind) != std::mem::discriminant(&node.kind) {
                self.lost(&found.path, known);
            }
        }
        let differs = known.as_ref().is_none_or(|known| !same_result(self.look.exclude, known, &node));
        self.seen.differs |= differs;
        // Some file systems have other inode numbers each time.
        let ctime = |node: Option<&Node>| node.and_then(|node| Some(node.file()?.hints?.ctime));
        if differs || ctime(known.as_ref()) != ctime(Some(&node)) {
            self.moved(&found.path);
        }
        self.ledger.changes.entry(&found.path, Some(node))
    }

    /// What a regular file is; `None` if it cannot be opened.
    fn file(&mut self, found: &Found, size: u64, known: Option<&Node>, same_name: bool) -> Result<Option<FileNode>> {
        if found.links > 1
            && let Some(first) = self.firsts.get(&found.inode())
        {
            return Ok(*first);
        }
        let file = self.first(found, size, known, same_name)?;
        if found.links > 1 {
            self.firsts.insert(found.inode(), file);
        }
        Ok(file)
    }

    /// Hints vouch for their own name alone: where inode numbers are not stable, another file of one size and time may have them.
    fn first(&mut self, found: &Found, size: u64, known: Option<&Node>, same_name: bool) -> Result<Option<FileNode>> {
        let before = known.and_then(|known| Some((known.meta.mtime, known.file()?)));
        // One name of several that an inode had may be another file by now: it gets an id of its own.
        let before = before.filter(|(_, file)| self.taken.insert(file.id));
        if let Some((mtime, file)) = before {
            let same = file.size == size && mtime == found.meta.mtime && file.hints == Some(found.hints);
            if same {
                self.age(mtime, file.hints);
            }
            if same && same_name && self.trust.vouches(&found.path, mtime, file) {
                return Ok(Some(*file));
            }
        }
        let id = before.map_or_else(|| self.fresh(), |(_, file)| Ok(file.id))?;
        let Some(file) = self.look.root.file(&found.path)? else {
            self.taken.remove(id);
            return Ok(None);
        };
        if before.is_none() || !same_name {
            let reading = FileNode { id, size, content: Hash::default(), changed: self.ledger.generation, hints: Some(found.hints) };
            self.ledger.begin_file(&found.path, || Node { meta: found.meta.clone(), kind: Kind::File(reading) })?;
        }
        let former = before.is_some().then_some(&mut self.former);
        let open = Open { file: &file, id, size, sparse: found.sparse };
        let read = self.look.reader.read(&open, former, &mut self.buffer, self.ledger)?;
        let content = read.map_err(|e| Failure::volume("read", &self.look.root.shown(&found.path), &e))?;
        if content.cut {
            self.moved(&found.path);
        }
        let unchanged = before.filter(|(_, file)| file.content == content.hash && file.size == size);
        let changed = unchanged.map_or(self.ledger.generation, |(_, file)| file.changed);
        Ok(Some(FileNode { id, size, content: content.hash, changed, hints: Some(found.hints) }))
    }

    /// See [`crate::push::hints::came_of_age`]: hints that were too young at the last commit's time, and are the same now.
    fn age(&mut self, mtime: Time, hints: Option<Hints>) {
        let Trust::Committed { hints_time, captured, .. } = self.trust else { return };
        if !is_young(mtime, hints, hints_time) && hints_time <= captured {
            return;
        }
        if !is_young(mtime, hints, captured) {
            self.aged = true;
        } else if hints.is_some_and(|hints| hints.ctime.secs <= captured.as_second()) {
            self.ages = true;
        }
    }

    fn fresh(&mut self) -> Result<u64> {
        let id = *self.next_file;
        *self.next_file = id.checked_add(1).filter(|next| *next <= LAST).ok_or_else(|| {
            Failure::new(Reason::MoverFailed, "the remote path has had more files than this program handles: use another path")
        })?;
        self.taken.insert(id);
        Ok(id)
    }

    fn gone(&mut self, path: &RelPath, known: &Node) -> Result<()> {
        self.renames.offer(known);
        self.freed.extend(known.file().map(|file| file.id));
        self.lost(path, known);
        self.seen.differs = true;
        self.moved(path);
        self.ledger.changes.entry(path, None)
    }

    fn lost(&mut self, path: &RelPath, known: &Node) {
        self.seen.gone.add(known.file().is_some());
        self.seen.gone_names.add(path.as_bytes());
    }

    fn moved(&mut self, path: &RelPath) {
        self.seen.moved += 1;
        if self.seen.named.len() < NAMED {
            self.seen.named.push(path.to_string());
        }
    }

    /// The blocks of files that have no name any more are none.
    fn free(&mut self) -> Result<()> {
        let mut freed = std::mem::take(&mut self.freed);
        freed.sort_unstable();
        freed.dedup();
        for id in freed {
            self.look.reader.stop.check()?;
            if self.taken.contains(id) {
                continue;
            }
            self.former.seek(id)?;
            while let Some((key, former)) = self.former.next_before(u64::MAX)? {
                self.ledger.drop(key, former)?;
            }
        }
        Ok(())
    }
}

/// Whether a pull of either gives the same, see [`Exclude::same_result`]: how the source recognises a file is no part of it. What differs all the
/// same is recorded with the next change.
fn same_result(exclude: &Exclude, known: &Node, found: &Node) -> bool {
    let kinds = match (&known.kind, &found.kind) {
        (Kind::File(a), Kind::File(b)) => (a.id, a.size, a.content) == (b.id, b.size, b.content),
        (a, b) => a == b,
    };
    let timed = || Meta { mtime: known.meta.mtime, ..found.meta.clone() };
    kinds && (known.meta == found.meta || !exclude.is_empty() && found.kind == Kind::Dir && known.meta == timed())
}
