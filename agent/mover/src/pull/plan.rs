//! Decides what a pull does to a volume, from the committed tree and a walk of the volume. Pure.
//!
//! Two steps, because content that may or may not be the right one has to be hashed in between: [`compare`], then
//! [`plan`]. Imports [`crate::entry`], [`crate::walk`]'s types and [`crate::revision`].

use std::collections::{BTreeMap, HashMap, HashSet};

use crate::entry::{At, Digest, Entry, Kind};
use crate::path::RelPath;
use crate::revision::Revision;
use crate::walk::{Found, FoundKind};

/// What is known of a file's content on the volume.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Content {
    /// It is the committed one.
    Right,
    /// Only its hash can tell.
    Unsure,
    /// It is another one, or none.
    Wrong,
}

/// How the content of every entry of the manifest stands on the volume, in the manifest's order.
///
/// `applied` is a revision that the volume is known to hold: content that has not changed since needs no reading.
pub(super) fn compare(entries: &[Entry], found: &[Found], revision: &Revision, applied: Option<&Revision>) -> Vec<Content> {
    let mut found = found.iter().peekable();
    let mut compared = Vec::with_capacity(entries.len());
    for entry in entries {
        while found.next_if(|found| found.path < entry.path).is_some() {}
        let there = found.next_if(|found| found.path == entry.path);
        compared.push(match (entry.file(), there.map(|there| (&there.kind, &there.meta))) {
            (None, _) => Content::Right,
            (Some(file), Some((FoundKind::File(size), meta))) if *size == file.size => {
                let since = applied.map(|applied| applied.includes(revision, file.changed));
                match (since, meta.mtime == entry.meta.mtime) {
                    _ if file.size == 0 => Content::Right,
                    (Some(true), true) => Content::Right,
                    // Newer content nearly always has a newer time: fetch without reading.
                    (Some(false), false) => Content::Wrong,
                    _ => Content::Unsure,
                }
            }
            (Some(_), _) => Content::Wrong,
        });
    }
    compared
}

/// Content to fetch: one object serves every entry that has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fetch {
    /// The name it is fetched by.
    pub(super) path: RelPath,
    /// Where the manifest says it is.
    pub(super) at: At,
    /// Its size.
    pub(super) size: u64,
    /// How many files are made of it.
    pub(super) uses: usize,
}

/// One step of making the volume's tree the committed one. The number is the entry's place in the manifest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Removes a name; a directory is empty by then.
    Remove(RelPath),
    /// Makes a directory.
    MakeDir(usize),
    /// Puts new content in place.
    PutFile(usize),
    /// Gives the first name's inode this name too.
    Link(usize),
    /// Puts a symbolic link in place.
    PutSymlink(usize),
    /// Puts a named pipe in place.
    PutFifo(usize),
    /// Changes metadata alone; directories get theirs in a pass of its own.
    Meta(usize),
}

/// What a pull is to do.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Plan {
    /// Content to fetch, by digest.
    pub(super) fetch: BTreeMap<Digest, Fetch>,
    /// In this order.
    pub(super) steps: Vec<Step>,
    /// After the steps, children before their directory.
    pub(super) removals: Vec<RelPath>,
    /// Files on the volume before, and those of them without a successor: for the guard.
    pub(super) files_before: u64,
    /// See `files_before`.
    pub(super) files_gone: u64,
}

impl Plan {
    /// Whether nothing but metadata of entries that stay is to change.
    pub(super) fn is_metadata_alone(&self) -> bool {
        self.removals.is_empty() && self.steps.iter().all(|step| matches!(step, Step::Meta(_)))
    }
}

/// Decides the steps. `contents` is [`compare`]'s answer with every `Unsure` resolved; one left counts as wrong.
pub(super) fn plan(entries: &[Entry], found: &[Found], contents: &[Content]) -> Plan {
    let mut plan = Plan::default();
    let at: HashMap<&RelPath, usize> = entries.iter().enumerate().map(|(at, entry)| (&entry.path, at)).collect();
    let there: HashMap<&RelPath, &Found> = found.iter().map(|found| (&found.path, found)).collect();
    let shared = wrongly_shared(entries, found, &at);

    // A directory in the place of something else has to be emptied before; all else is removed last.
    let mut early = None;
    let mut early_removals = Vec::new();
    for found in found {
        let wanted = at.get(&found.path).and_then(|&at| entries.get(at));
        let is_file = matches!(found.kind, FoundKind::File(_));
        plan.files_before += u64::from(is_file);
        plan.files_gone += u64::from(is_file && wanted.is_none_or(|wanted| wanted.file().is_none()));
        if early.is_some_and(|dir: &RelPath| !found.path.is_below(dir)) {
            early = None;
        }
        let blocks = |wanted: &Entry| (wanted.kind == Kind::Dir) != (found.kind == FoundKind::Dir);
        if wanted.is_some_and(blocks) {
            early_removals.push(found.path.clone());
            if found.kind == FoundKind::Dir {
                early = Some(&found.path);
            }
        } else if early.is_some() {
            early_removals.push(found.path.clone());
        } else if wanted.is_none() {
            plan.removals.push(found.path.clone());
        }
    }
    plan.steps.extend(early_removals.into_iter().rev().map(Step::Remove));
    plan.removals.reverse();

    // First names whose inode stays.
    let mut kept: HashMap<&RelPath, u64> = HashMap::new();
    for (number, (entry, content)) in entries.iter().zip(contents).enumerate() {
        let there = there.get(&entry.path);
        let step = match (&entry.kind, there.map(|there| &there.kind)) {
            (Kind::Dir, Some(FoundKind::Dir)) => continue,
            (Kind::Dir, _) => Step::MakeDir(number),
            (Kind::File(file), kind) => match (&file.link, kind, there) {
                (Some(first), Some(FoundKind::File(_)), Some(there)) if kept.get(first) == Some(&there.hints.inode) => {
                    continue;
                }
                (Some(_), _, _) => Step::Link(number),
                (None, Some(FoundKind::File(_)), Some(there)) if *content == Content::Right && !shared.contains(&there.hints.inode) => {
                    kept.insert(&entry.path, there.hints.inode);
                    if there.meta == entry.meta {
                        continue;
                    }
                    Step::Meta(number)
                }
                (None, _, _) => {
                    if file.size > 0 {
                        let fetch = Fetch { path: entry.path.clone(), at: file.at, size: file.size, uses: 0 };
                        plan.fetch.entry(file.sha256).or_insert(fetch).uses += 1;
                    }
                    Step::PutFile(number)
                }
            },
            (Kind::Symlink(target), Some(FoundKind::Symlink(found))) if target == found => {
                if there.is_some_and(|there| there.meta == entry.meta) {
                    continue;
                }
                Step::Meta(number)
            }
            (Kind::Symlink(_), _) => Step::PutSymlink(number),
            (Kind::Fifo, Some(FoundKind::Fifo)) => {
                if there.is_some_and(|there| there.meta == entry.meta) {
                    continue;
                }
                Step::Meta(number)
            }
            (Kind::Fifo, _) => Step::PutFifo(number),
        };
        plan.steps.push(step);
    }
    plan
}

/// Inodes of the volume that serve names which the manifest keeps apart.
fn wrongly_shared(entries: &[Entry], found: &[Found], at: &HashMap<&RelPath, usize>) -> HashSet<u64> {
    let mut group_of: HashMap<u64, &RelPath> = HashMap::new();
    let mut shared = HashSet::new();
    for found in found.iter().filter(|found| found.links > 1 && matches!(found.kind, FoundKind::File(_))) {
        let Some(entry) = at.get(&found.path).and_then(|&at| entries.get(at)) else {
            continue;
        };
        let group = entry.file().and_then(|file| file.link.as_ref()).unwrap_or(&entry.path);
        if *group_of.entry(found.hints.inode).or_insert(group) != group {
            shared.insert(found.hints.inode);
        }
    }
    shared
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entry::{FileEntry, Hints, Meta, Time};

    const TIME: Time = Time { secs: 7, nanos: 7 };

    fn path(text: &str) -> RelPath {
        RelPath::new(text.as_bytes()).unwrap()
    }

    fn meta() -> Meta {
        Meta { mode: 0o644, mtime: TIME, ..Meta::default() }
    }

    fn entry(name: &str, kind: Kind) -> Entry {
        Entry { path: path(name), meta: meta(), kind }
    }

    fn file(name: &str, changed: u64, link: Option<&str>) -> Entry {
        let file =
            FileEntry { size: 3, sha256: Digest([1; 32]), at: At::Own, changed, link: link.map(path), holes: Box::default(), hints: None };
        entry(name, Kind::File(file))
    }

    fn found(name: &str, kind: FoundKind, inode: u64, links: u64) -> Found {
        Found { path: path(name), kind, meta: meta(), hints: Hints { ctime: TIME, inode }, links, sparse: false }
    }

    fn root() -> Found {
        found("", FoundKind::Dir, 1, 2)
    }

    fn revision(generation: u64) -> Revision {
        Revision::parse(&format!("20261123T042858Z-00000001-{generation}-0000")).unwrap()
    }

    fn all_right(entries: &[Entry]) -> Vec<Content> {
        vec![Content::Right; entries.len()]
    }

    #[test]
    fn content_is_believed_only_when_nothing_changed_since_the_applied_revision() {
        let entries = [entry("", Kind::Dir), file("a", 3, None)];
        let there = [root(), found("a", FoundKind::File(3), 2, 1)];
        let touched = [root(), Found { meta: Meta { mtime: Time::default(), ..meta() }, ..there[1].clone() }];
        let of = |there: &[Found], applied: Option<u64>| compare(&entries, there, &revision(5), applied.map(revision).as_ref())[1];
        assert_eq!(of(&there, Some(3)), Content::Right);
        assert_eq!(of(&there, Some(2)), Content::Unsure, "the same times prove nothing across an edit");
        assert_eq!(of(&there, None), Content::Unsure);
        assert_eq!(of(&touched, Some(2)), Content::Wrong);
        assert_eq!(of(&touched, Some(3)), Content::Unsure);
        assert_eq!(of(&[root()], Some(3)), Content::Wrong);
    }

    #[test]
    fn a_tree_in_place_needs_nothing() {
        let entries = [entry("", Kind::Dir), file("a", 1, None), file("b", 1, Some("a"))];
        let there = [root(), found("a", FoundKind::File(3), 2, 2), found("b", FoundKind::File(3), 2, 2)];
        assert_eq!(plan(&entries, &there, &all_right(&entries)), Plan { files_before: 2, ..Plan::default() });
    }

    #[test]
    fn names_that_share_an_inode_wrongly_are_put_apart() {
        let entries = [entry("", Kind::Dir), file("a", 1, None), file("b", 1, None)];
        let there = [root(), found("a", FoundKind::File(3), 2, 2), found("b", FoundKind::File(3), 2, 2)];
        let plan = plan(&entries, &there, &all_right(&entries));
        assert_eq!(plan.steps, [Step::PutFile(1), Step::PutFile(2)]);
        assert_eq!(plan.fetch.values().map(|f| f.uses).collect::<Vec<_>>(), [2]);
    }

    #[test]
    fn names_that_should_share_an_inode_are_linked() {
        let entries = [entry("", Kind::Dir), file("a", 1, None), file("b", 1, Some("a"))];
        let there = [root(), found("a", FoundKind::File(3), 2, 1), found("b", FoundKind::File(3), 3, 1)];
        assert_eq!(plan(&entries, &there, &all_right(&entries)).steps, [Step::Link(2)]);
        let contents = [Content::Right, Content::Wrong, Content::Right];
        assert_eq!(plan(&entries, &there, &contents).steps, [Step::PutFile(1), Step::Link(2)]);
    }

    #[test]
    fn what_stands_in_the_way_goes_first_and_the_rest_last() {
        let entries = [entry("", Kind::Dir), file("d", 1, None), entry("f", Kind::Dir)];
        let there = [
            root(),
            found("d", FoundKind::Dir, 2, 2),
            found("d/x", FoundKind::File(3), 3, 1),
            found("f", FoundKind::File(3), 4, 1),
            found("z", FoundKind::Dir, 5, 2),
            found("z/y", FoundKind::File(3), 6, 1),
        ];
        let plan = plan(&entries, &there, &[Content::Right, Content::Wrong, Content::Right]);
        let remove = |name| Step::Remove(path(name));
        assert_eq!(plan.steps, [remove("f"), remove("d/x"), remove("d"), Step::PutFile(1), Step::MakeDir(2)]);
        assert_eq!(plan.removals, [path("z/y"), path("z")]);
        assert_eq!((plan.files_before, plan.files_gone), (3, 3));
    }
}
