//! Decides what a pull does to a volume, from what [`super::observe`] found. Pure.
//!
//! Two passes over the manifest, because what comes late may decide on what comes early: [`Differences`] are gathered entry by entry,
//! then [`plan`] makes the actions. Both keep next to nothing of an entry that stays as it is.

use std::collections::{HashMap, HashSet};

use rustix::process::Uid;

use super::guarded::{Compared, Guarded};
use crate::digest::Digest;
use crate::error::{Failure, Result};
use crate::guard::{Count, NamesSum};
use crate::volume::beneath::Root;
use crate::volume::entry::{Entry, FileEntry, Kind, Location, Meta};
use crate::volume::path::RelPath;
use crate::volume::walk::{Found, FoundKind, Inode};
use crate::volume::xattrs::CAPABILITY;

/// What the volume holds where an entry of the manifest belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum There {
    /// Nothing, or something else.
    Other,
    /// The same: a directory, a pipe, a link to the same target, a file with the same content.
    Same {
        /// Whether its metadata is the same, too.
        meta: bool,
    },
    /// A file with other content, which is changed in place.
    Patched,
    /// A file with the same content that is to run with another's rights: who has it open could change what does.
    Lent,
}

/// Who writes to a volume while a pull works on it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Writers {
    /// Nobody but this pull.
    #[default]
    None,
    /// Its users. Where the pull may make any file anybody's (`gives`), it can make files run with the rights of others: by capabilities only on
    /// a volume that `keeps` such.
    Others { gives: bool, keeps: bool },
}

impl Writers {
    /// Those of a volume that is `private` or not, for this process.
    pub(super) fn of(private: bool, root: &Root) -> Result<Self> {
        if private {
            return Ok(Self::None);
        }
        let top = RelPath::root();
        let held = root.hold(&top).map_err(|e| Failure::volume("read", &root.shown(&top), &e))?;
        Ok(Self::Others { gives: rustix::process::geteuid().is_root(), keeps: held.has_attributes_like(CAPABILITY) })
    }
}

/// How the volume differs from the manifest.
#[derive(Debug, Default)]
pub(super) struct Differences {
    /// By the entry's place in the manifest.
    there: Vec<There>,
    /// Inodes with several names, by the place of the entry that is found to be one of them.
    inodes: HashMap<usize, Inode>,
    /// Which name of the manifest each of these inodes goes by.
    groups: HashMap<Inode, RelPath>,
    /// Inodes that serve names which the manifest keeps apart.
    shared: HashSet<Inode>,
    /// What has to go before anything is made, and what goes last.
    early: Vec<RelPath>,
    late: Vec<RelPath>,
    /// The directory in the place of something else whose content is being met.
    emptied: Option<RelPath>,
    before: Count,
    lost: Count,
    lost_names: NamesSum,
    left_out: HashSet<RelPath>,
    /// What the file system lets nobody change.
    fixed: HashSet<RelPath>,
    writers: Writers,
    guarded: Guarded,
    /// Who changes files in place.
    patcher: Option<Uid>,
    unlisted: bool,
}

impl Differences {
    /// None yet, of a volume that these write to.
    pub(super) fn of(writers: Writers) -> Self {
        Self { writers, ..Self::default() }
    }

    /// The same, of a volume on which files are changed in place, by this process. Those of others it replaces, unless it may do everything.
    pub(super) fn patching(self) -> Self {
        Self { patcher: Some(rustix::process::geteuid()), ..self }
    }

    /// The same, of a tree in which only names of one file have the same content: who fetches it lists it, not the plan.
    pub(super) fn unlisted(self) -> Self {
        Self { unlisted: true, ..self }
    }

    /// Adds what stands at the next path: an entry of the manifest, something on the volume, or both. `right` says whether a
    /// file's content is the committed one.
    pub(super) fn add(&mut self, entry: Option<&Entry>, found: Option<&Found>, right: bool) {
        if let Some(found) = found {
            self.found(found, entry);
        }
        if let Some(entry) = entry {
            let there = match there(entry, found, right) {
                There::Same { meta: false } => self.watched(entry, found),
                There::Other if found.is_some_and(|found| is_file(entry, found) && self.patches(found)) => There::Patched,
                there => there,
            };
            self.there.push(there);
        }
    }

    fn patches(&self, found: &Found) -> bool {
        self.patcher.is_some_and(|uid| uid.is_root() || uid.as_raw() == found.meta.uid)
    }

    /// An entry whose metadata alone is another: where that gives power over a file, or the power of one, the file must be the one that was
    /// compared.
    fn watched(&mut self, entry: &Entry, found: Option<&Found>) -> There {
        let same = There::Same { meta: false };
        let (Writers::Others { gives, keeps }, Some(found), Kind::File(_)) = (self.writers, found, &entry.kind) else { return same };
        let power =
            |meta: &Meta| (meta.uid, meta.gid, meta.mode & 0o6000, meta.attributes.get(CAPABILITY).filter(|_| keeps).map(<[u8]>::to_vec));
        let (wanted, there) = (power(&entry.meta), power(&found.meta));
        let lends = wanted.2 != 0 || wanted.3.is_some();
        if lends && wanted != there && gives {
            return There::Lent;
        }
        if lends || (wanted.0, wanted.1) != (there.0, there.1) {
            self.guarded.add(&entry.path, found.hints);
        }
        same
    }

    /// Adds an entry of the manifest that this volume cannot have; the walk did not find what is in its place.
    pub(super) fn leave_out(&mut self, entry: &Entry) {
        self.there.push(There::Same { meta: true });
        self.left_out.insert(entry.path.clone());
    }

    /// How many entries were left out.
    pub(super) fn left_out(&self) -> usize {
        self.left_out.len()
    }

    fn found(&mut self, found: &Found, wanted: Option<&Entry>) {
        if found.fixed {
            self.fixed.insert(found.path.clone());
        }
        let is_file = matches!(found.kind, FoundKind::File(_));
        if !found.path.is_root() {
            self.before.add(is_file);
            if wanted.is_none_or(|wanted| !same_type(&wanted.kind, &found.kind)) {
                self.lost.add(is_file);
                self.lost_names.add(found.path.as_bytes());
            }
        }
        if self.emptied.as_ref().is_some_and(|dir| !found.path.is_below(dir)) {
            self.emptied = None;
        }
        // A directory in the place of something else has to be emptied before; all else is removed last.
        let blocks = |wanted: &Entry| (wanted.kind == Kind::Dir) != (found.kind == FoundKind::Dir);
        if wanted.is_some_and(blocks) {
            self.early.push(found.path.clone());
            if found.kind == FoundKind::Dir {
                self.emptied = Some(found.path.clone());
            }
        } else if self.emptied.is_some() {
            self.early.push(found.path.clone());
        } else if wanted.is_none() {
            self.late.push(found.path.clone());
        }
        if let Some(wanted) = wanted.filter(|_| is_file && found.links > 1) {
            let inode = found.inode();
            self.inodes.insert(self.there.len(), inode);
            let group = wanted.file().and_then(|file| file.link.as_ref()).unwrap_or(&wanted.path);
            if self.groups.entry(inode).or_insert_with(|| group.clone()) != group {
                self.shared.insert(inode);
            }
        }
    }
}

fn same_type(wanted: &Kind, found: &FoundKind) -> bool {
    matches!(
        (wanted, found),
        (Kind::Dir, FoundKind::Dir)
            | (Kind::File(_), FoundKind::File(_))
            | (Kind::Symlink(_), FoundKind::Symlink(_))
            | (Kind::Fifo, FoundKind::Fifo)
    )
}

fn is_file(entry: &Entry, found: &Found) -> bool {
    matches!((&entry.kind, &found.kind), (Kind::File(_), FoundKind::File(_)))
}

fn there(entry: &Entry, found: Option<&Found>, right: bool) -> There {
    let Some(found) = found else { return There::Other };
    let same = match (&entry.kind, &found.kind) {
        (Kind::Dir, FoundKind::Dir) | (Kind::Fifo, FoundKind::Fifo) => true,
        (Kind::File(_), FoundKind::File(_)) => right,
        (Kind::Symlink(wanted), FoundKind::Symlink(target)) => wanted == target,
        _ => false,
    };
    if same { There::Same { meta: found.meta == entry.meta } } else { There::Other }
}

/// Content to fetch: one object serves every entry that has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fetch {
    /// The name it is fetched by.
    pub(super) path: RelPath,
    /// Where the manifest says it is.
    pub(super) at: Location,
    /// Its size.
    pub(super) size: u64,
}

/// One action of making the volume's tree the committed one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    /// It stays as it is.
    Keep,
    /// Makes a directory.
    MakeDir,
    /// Puts new content in place.
    PutFile,
    /// Changes the content of the file that is there.
    Patch,
    /// Gives the first name's inode this name too.
    Link,
    /// Puts a symbolic link in place.
    PutSymlink,
    /// Puts a named pipe in place.
    PutFifo,
    /// Changes metadata alone; directories get theirs in a pass of its own.
    Meta,
}

/// An action and the entry it makes.
pub(super) type Step = (Action, Entry);

/// What a pull is to do: the removals that have to come first, then the actions, then the other removals.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct PullPlan {
    /// In this order: a directory is empty by then.
    pub(super) early: Vec<RelPath>,
    /// One for each entry of the manifest, in its order.
    pub(super) actions: Vec<Action>,
    /// After the actions, children before their directory.
    pub(super) late: Vec<RelPath>,
    /// What the files to put consist of, and the places of their entries, sorted. Empty files are made, not fetched. If the content is listed elsewhere,
    /// only names of files are here whose first name the volume cannot have: these may be several of one content.
    wanted: Vec<(Digest, usize)>,
    /// First names that others are made of.
    pub(super) linked: HashSet<RelPath>,
    /// Content that lies on the volume, in files that get a new inode: where, and its size.
    pub(super) copies: Vec<(Digest, RelPath, u64)>,
    /// What the file system lets nobody change.
    fixed: HashSet<RelPath>,
    /// Files whose metadata is not for another content than was compared.
    guarded: Guarded,
    /// Entries on the volume before: for the guard.
    pub(super) before: Count,
    /// Those of them without a successor of the same type.
    pub(super) lost: Count,
    /// Their names.
    pub(super) lost_names: NamesSum,
}

impl PullPlan {
    /// Whether nothing but metadata of entries that stay is to change.
    pub(super) fn is_metadata_alone(&self) -> bool {
        let meta = |action: &Action| matches!(action, Action::Keep | Action::Meta);
        self.early.is_empty() && self.late.is_empty() && self.actions.iter().all(meta)
    }

    /// The entries to be changed, with what is to be done to them.
    pub(super) fn steps(&self, entries: impl Iterator<Item = Result<Entry>>) -> impl Iterator<Item = Result<Step>> {
        entries.zip(&self.actions).filter(|(_, action)| **action != Action::Keep).map(|(entry, action)| Ok((*action, entry?)))
    }

    /// What the plan would have to change, or to change in, although the file system lets nobody.
    pub(super) fn blocked_by(&self, entries: impl Iterator<Item = Result<Entry>>) -> Result<Option<RelPath>> {
        if self.fixed.is_empty() {
            return Ok(None);
        }
        let blocked = |path: &RelPath| {
            let parent = || path.parent().and_then(RelPath::new);
            if self.fixed.contains(path) { Some(path.clone()) } else { parent().filter(|dir| self.fixed.contains(dir)) }
        };
        for step in self.steps(entries) {
            let (action, entry) = step?;
            // Metadata that cannot be changed is counted.
            if let Some(fixed) = Some(&entry.path).filter(|_| action != Action::Meta).and_then(blocked) {
                return Ok(Some(fixed));
            }
        }
        Ok(self.gone().find_map(blocked))
    }

    /// As what a file was compared that must not have changed before it gets its metadata; `None` where that does not matter.
    pub(super) fn guard(&self, path: &RelPath) -> Option<Compared> {
        self.guarded.get(path)
    }

    /// What is on the volume and goes.
    pub(super) fn gone(&self) -> impl Iterator<Item = &RelPath> {
        self.early.iter().chain(&self.late)
    }

    /// Whether a file to put consists of this.
    pub(super) fn wants(&self, digest: &Digest) -> bool {
        self.wanted.binary_search_by_key(digest, |(wanted, _)| *wanted).is_ok()
    }

    /// Content that more than one file is made of, and how many.
    pub(super) fn shared_content(&self) -> HashMap<Digest, usize> {
        let same = self.wanted.chunk_by(|(a, _), (b, _)| a == b).filter(|same| same.len() > 1);
        same.filter_map(|same| Some((same.first()?.0, same.len()))).collect()
    }

    /// What is to be fetched, each content once, from the entries that the plan was made of.
    pub(super) fn fetches(&self, entries: impl Iterator<Item = Result<Entry>>) -> impl Iterator<Item = Result<(Digest, Fetch)>> {
        entries.enumerate().zip(&self.actions).filter_map(|((number, entry), action)| match entry {
            Err(failure) => Some(Err(failure)),
            Ok(_) if *action != Action::PutFile => None,
            Ok(entry) => {
                let file = entry.file()?;
                let first = self.wanted.partition_point(|(digest, _)| *digest < file.sha256);
                // The first of its content stands for all.
                self.wanted.get(first).filter(|wanted| **wanted == (file.sha256, number))?;
                Some(Ok((file.sha256, Fetch { at: file.at, size: file.size, path: entry.path })))
            }
        })
    }
}

/// Decides the actions.
pub(super) fn plan(entries: impl Iterator<Item = Result<Entry>>, facts: Differences) -> Result<PullPlan> {
    let Differences { there, inodes, shared, mut early, mut late, before, lost, lost_names, left_out, fixed, guarded, unlisted, .. } =
        facts;
    early.reverse();
    late.reverse();
    let mut plan = PullPlan { early, late, fixed, guarded: guarded.sorted(), before, lost, lost_names, ..PullPlan::default() };
    let listed = |file: &FileEntry| file.size > 0 && (!unlisted || file.link.is_some());
    // First names whose inode stays.
    let mut kept: HashMap<RelPath, Inode> = HashMap::new();
    for ((number, entry), there) in entries.enumerate().zip(there) {
        let entry = entry?;
        if left_out.contains(&entry.path) {
            plan.actions.push(Action::Keep);
            continue;
        }
        let inode = inodes.get(&number);
        let stays = |meta| if meta { Action::Keep } else { Action::Meta };
        let action = match (&entry.kind, there) {
            (Kind::Dir, There::Same { .. }) => Action::Keep,
            (Kind::Dir, _) => Action::MakeDir,
            (Kind::File(file), there) => match (file.link.as_ref().filter(|first| !left_out.contains(first)), there) {
                (Some(first), _) if inode.is_some() && kept.get(first) == inode => Action::Keep,
                (Some(first), _) => {
                    plan.linked.insert(first.clone());
                    Action::Link
                }
                (None, There::Same { meta }) if inode.is_none_or(|inode| !shared.contains(inode)) => {
                    kept.extend(inode.map(|inode| (entry.path.clone(), *inode)));
                    stays(meta)
                }
                (None, There::Patched) if inode.is_none_or(|inode| !shared.contains(inode)) => {
                    kept.extend(inode.map(|inode| (entry.path.clone(), *inode)));
                    Action::Patch
                }
                (None, there) => {
                    if file.size > 0 {
                        plan.wanted.extend(listed(file).then_some((file.sha256, number)));
                        if there == There::Lent {
                            plan.copies.push((file.sha256, entry.path.clone(), file.size));
                        }
                    }
                    Action::PutFile
                }
            },
            (Kind::Symlink(_) | Kind::Fifo, There::Same { meta }) => stays(meta),
            (Kind::Symlink(_), _) => Action::PutSymlink,
            (Kind::Fifo, _) => Action::PutFifo,
        };
        plan.actions.push(action);
    }
    plan.wanted.sort_unstable();
    Ok(plan)
}

#[cfg(test)]
mod tests;
