//! The tree that a map says, in the form that all pulls compare a volume with.
//!
//! What stands there as the sha256 of a content is its identity and the id of its file: as good a name for it, and by it the blocks are
//! found. Nothing has such a sha256, so whatever compares by that finds another content.

use std::collections::HashMap;

use crate::digest::Digest;
use crate::error::Result;
use crate::format::entries::{Entries, EntriesWriter};
use crate::packs::check::Tree;
use crate::packs::damaged;
use crate::packs::manifest::Document;
use crate::packs::map::Map;
use crate::packs::node::{FileNode, Kind as NodeKind, Node};
use crate::packs::run::{Entries as Rows, ReadAt};
use crate::pull::identity;
use crate::pull::only::Only;
use crate::store::Context;
use crate::volume::entry::{Entry, FileEntry, Kind, Location, Time};
use crate::volume::hash::empty;
use crate::volume::path::RelPath;

/// Says of an entry that it may have changed in any generation.
const ANY: u64 = u64::MAX;

/// What of the map a volume holds.
#[derive(Debug, Default)]
pub(super) struct Held {
    /// The generation.
    generation: Option<u64>,
    /// Runs of the map that say no more than that, the oldest.
    runs: usize,
    /// Whether they say all of it: of runs that became one since, some may be missing.
    whole: bool,
    /// Files that have other content since, and what the volume is to show of each if it has what that generation had.
    files: HashMap<RelPath, (u64, Time)>,
}

impl Held {
    /// That of a volume which holds this generation, if it is known to hold any.
    pub(super) fn of(generation: Option<u64>, document: &Document) -> Self {
        if generation.is_none() {
            return Self { runs: document.runs.len(), ..Self::default() };
        }
        let runs = document.runs.iter().take_while(|run| generation.is_some_and(|held| run.last <= held)).count();
        let whole = runs > 0 && document.runs.get(runs).is_none_or(|run| generation.is_some_and(|held| run.first > held));
        Self { generation, runs, whole, files: HashMap::new() }
    }

    /// The generation.
    pub(super) fn generation(&self) -> Option<u64> {
        self.generation
    }

    /// How many runs say nothing newer.
    pub(super) fn runs(&self) -> usize {
        self.runs
    }

    /// Size and time that the volume shows of this file if it holds the blocks which the generation had of it; `None` where that is not known.
    pub(super) fn file(&self, path: &RelPath) -> Option<(u64, Time)> {
        self.files.get(path).copied()
    }

    /// Notes a file whose content is another one since, if its name was that of the same file then.
    fn note(&mut self, path: &RelPath, file: &FileNode, before: Option<&Node>) {
        let same = |before: &&FileNode| before.id == file.id && (before.size, before.content) != (file.size, file.content);
        if let Some((before, meta)) = before.and_then(|node| Some((node.file().filter(same)?, &node.meta))) {
            self.files.insert(path.clone(), (before.size, meta.mtime));
        }
    }
}

/// Reads the entries of `map`. A volume that holds an older generation has those whose content is not said to have changed since: of the others
/// the map may say an older generation, because a content that goes by another name now is no new one.
pub(super) fn read<R: ReadAt>(
    map: &Map<R>,
    document: &Document,
    held: &mut Held,
    only: Option<&Only>,
    context: &Context,
) -> Result<Entries> {
    let several = of_several_names(map, only, context)?;
    let mut firsts: HashMap<u64, (RelPath, FileNode)> = HashMap::new();
    let mut tree = Tree::of(document)?;
    let mut out = EntriesWriter::new(&context.scratch, &document.revision)?;
    let mut newer = map.changes::<Rows>(held.runs).peekable();
    let mut older = map.rows_of_oldest::<Rows>(if held.whole { held.runs } else { 0 }).peekable();
    for row in map.rows::<Rows>() {
        context.stop.check()?;
        let (path, node) = row?;
        tree.add(&path, &node)?;
        let mut since = false;
        while let Some(change) = newer.next_if(|row| row.as_ref().map_or(true, |(changed, _)| *changed <= path)) {
            since |= change?.0 == path;
        }
        let mut before = None;
        while let Some(row) = older.next_if(|row| row.as_ref().map_or(true, |(old, _)| *old <= path)) {
            before = Some(row?).filter(|(old, _)| *old == path).map(|(_, node)| node);
        }
        let node = match only {
            Some(only) => only.adapted(&path, node),
            None => Some(node),
        };
        let Some(node) = node else { continue };
        let kind = match node.kind {
            NodeKind::Dir => Kind::Dir,
            NodeKind::Symlink(target) => Kind::Symlink(target),
            NodeKind::Fifo => Kind::Fifo,
            NodeKind::File(file) => {
                let mut link = None;
                if several.binary_search(&file.id).is_ok() {
                    match firsts.get(&file.id) {
                        Some((first, same)) if same_content(same, &file) => link = Some(first.clone()),
                        Some(_) => return Err(damaged("the map", &format!("the names of file {} say different things of it", file.id))),
                        None => drop(firsts.insert(file.id, (path.clone(), file))),
                    }
                }
                if since && link.is_none() {
                    held.note(&path, &file, before.as_ref());
                }
                let changed = if since { ANY } else { file.changed };
                let (size, sha256, at) = (file.size, digest(&file), Location::Own);
                Kind::File(FileEntry { size, sha256, at, changed, link, holes: Box::default(), hints: None })
            }
        };
        out.push(&Entry { path, meta: node.meta, kind })?;
    }
    tree.end()?;
    out.finish()
}

fn same_content(a: &FileNode, b: &FileNode) -> bool {
    (a.size, a.changed, a.content) == (b.size, b.changed, b.content)
}

/// The ids of files that have more than one name, in order.
fn of_several_names<R: ReadAt>(map: &Map<R>, only: Option<&Only>, context: &Context) -> Result<Vec<u64>> {
    let mut ids = Vec::new();
    for row in map.rows::<Rows>() {
        context.stop.check()?;
        let (path, node) = row?;
        ids.extend(node.file().filter(|_| only.is_none_or(|only| only.has(&path))).map(|file| file.id));
    }
    ids.sort_unstable();
    let mut several: Vec<u64> =
        ids.chunk_by(|a, b| a == b).filter(|same| same.len() > 1).filter_map(|same| same.first().copied()).collect();
    several.shrink_to_fit();
    Ok(several)
}

/// What names a content in the tree.
fn digest(file: &FileNode) -> Digest {
    if file.size == 0 { empty() } else { identity::of(&file.content, file.id) }
}
