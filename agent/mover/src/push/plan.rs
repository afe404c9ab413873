//! Decides what a push writes and deletes, from the committed tree, the volume's tree and a listing. Pure.
//!
//! The committed revision stays whole until the new one is committed: nothing it needs is overwritten or deleted
//! before. Imports [`crate::entry`], [`crate::names`], [`crate::path`] and [`crate::remote`]'s `Listing`.

use std::collections::{BTreeSet, HashSet};
use std::ops::Bound;

use crate::entry::{At, Digest, Entry, FileEntry, Kind};
use crate::names::{CONTROL_DIR, objects_dir, trusted};
use crate::path::RelPath;
use crate::remote::Listing;

/// One file to send.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Upload {
    /// Its name on the volume.
    pub(super) path: RelPath,
    /// What it must contain.
    pub(super) sha256: Digest,
    /// Its size.
    pub(super) size: u64,
}

/// What a push is to do, step by step.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Plan {
    /// The new manifest: the volume's tree with places and generations filled in.
    pub(super) entries: Vec<Entry>,
    /// Whether a pull of the new manifest would give anything else than one of the committed manifest.
    pub(super) differs: bool,
    /// Names the committed revision does not need: sent in place.
    pub(super) own: Vec<Upload>,
    /// Names it does need: sent to the staged folder, and promoted after the commit.
    pub(super) staged: Vec<Upload>,
    /// Names not to be trusted: sent under their hash.
    pub(super) objects: Vec<Upload>,
    /// Object names below the path to delete after the commit, before anything is promoted.
    pub(super) gone: BTreeSet<Box<[u8]>>,
    /// Files of the path before, and those of them that have no successor: for the guard.
    pub(super) files_before: u64,
    /// See `files_before`.
    pub(super) files_gone: u64,
}

impl Plan {
    /// Whether there is anything to send or delete.
    pub(super) fn is_empty(&self) -> bool {
        !self.differs && self.own.is_empty() && self.staged.is_empty() && self.objects.is_empty() && self.gone.is_empty()
    }
}

/// What is known of the remote path.
#[derive(Clone, Copy, Debug)]
pub(super) struct State<'a> {
    /// The entries of the committed manifest, promoted; none when nothing is committed.
    pub(super) committed: Option<&'a [Entry]>,
    /// What a listing found; without one, the committed manifest is believed.
    pub(super) listing: Option<&'a Listing>,
    /// What to do with objects that neither tree accounts for.
    pub(super) strays: Strays,
}

/// Objects below the path that no manifest accounts for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Strays {
    /// Nothing says that they are ours: left alone.
    Keep,
    /// A push of ours died here, or a person said to take the path over.
    Drop,
}

impl State<'_> {
    /// Whether the object of a committed file is there with its size.
    fn intact(&self, name: &[u8], size: u64) -> bool {
        self.listing.is_none_or(|listing| matches!(listing.get(name), Some(&there) if there == size || there == u64::MAX))
    }
}

/// The object name of a promoted file, below the path.
pub(super) fn object_name(path: &RelPath, file: &FileEntry) -> Box<[u8]> {
    match file.at {
        At::Object => object(&file.sha256),
        At::Own | At::Staged => path.as_bytes().into(),
    }
}

/// The object name of content kept under its hash, below the path.
pub(super) fn object(digest: &Digest) -> Box<[u8]> {
    format!("{}{}", objects_dir(), digest.hex()).into_bytes().into()
}

/// Decides everything a push of `tree`, as generation `generation`, is to do.
pub(super) fn plan(state: State, mut tree: Vec<Entry>, generation: u64) -> Plan {
    let committed = state.committed.unwrap_or_default();
    let mut plan = Plan { differs: state.committed.is_none(), ..Plan::default() };
    let mut needed: HashSet<Box<[u8]>> = committed.iter().filter_map(|e| Some(object_name(&e.path, e.file()?))).collect();
    let mut sent_objects = HashSet::new();
    let mut blocked: Option<RelPath> = None;
    let mut old = committed.iter().peekable();
    for entry in &mut tree {
        // Entries of the committed tree that the volume no longer has.
        while old.next_if(|old| old.path < entry.path).is_some() {
            plan.differs = true;
        }
        let before = old.next_if(|old| old.path == entry.path);
        plan.differs |= before.is_none_or(|before| !before.same_result(entry));
        if blocked.as_ref().is_some_and(|dir| !entry.path.is_below(dir)) {
            blocked = None;
        }
        let old_file = before.and_then(|before| before.file().filter(|file| file.at != At::Object));
        let Kind::File(file) = &mut entry.kind else {
            // Where objects are files of a file system, nothing can be put below a file.
            if old_file.is_some() && blocked.is_none() {
                blocked = Some(entry.path.clone());
            }
            continue;
        };
        let upload = Upload { path: entry.path.clone(), sha256: file.sha256, size: file.size };
        let same = before.and_then(Entry::file).filter(|before| before.sha256 == file.sha256 && before.size == file.size);
        file.changed = same.map_or(generation, |same| same.changed);
        if let Some(same) = same {
            file.at = if same.at == At::Object { At::Object } else { At::Own };
            let name = object_name(&entry.path, file);
            if state.intact(&name, file.size) {
                continue;
            }
            // Lost or damaged behind our back: the same content again, so overwriting harms nobody.
            match file.at {
                At::Object if sent_objects.insert(file.sha256) => plan.objects.push(upload),
                At::Object => {}
                _ => plan.own.push(upload),
            }
            continue;
        }
        let was_dir = before.is_some_and(|before| before.kind == Kind::Dir);
        if !trusted(&entry.path) {
            file.at = At::Object;
            let name = object(&file.sha256);
            let there = needed.contains(&name) && state.intact(&name, file.size);
            if !there && sent_objects.insert(file.sha256) {
                plan.objects.push(upload);
            }
        } else if was_dir || blocked.is_some() || needed.contains(entry.path.as_bytes()) {
            file.at = At::Staged;
            plan.staged.push(upload);
        } else {
            file.at = At::Own;
            plan.own.push(upload);
        }
    }
    plan.differs |= old.next().is_some();
    finish(&mut plan, state, &mut needed, &tree);
    plan.entries = tree;
    plan
}

/// What is to go: everything of the old state that the new tree does not need.
fn finish(plan: &mut Plan, state: State, needed: &mut HashSet<Box<[u8]>>, tree: &[Entry]) {
    let kept: HashSet<Box<[u8]>> = tree.iter().filter_map(|e| Some(object_name(&e.path, e.file()?))).collect();
    if let Some(listing) = state.listing {
        let (control, objects) = (format!("{CONTROL_DIR}/"), objects_dir());
        let stray =
            |name: &[u8]| name.starts_with(objects.as_bytes()) || state.strays == Strays::Drop && !name.starts_with(control.as_bytes());
        needed.extend(listing.keys().filter(|name| stray(name)).cloned());
    }
    let files: HashSet<&[u8]> = tree.iter().filter(|e| e.file().is_some()).map(|e| e.path.as_bytes()).collect();
    let before: BTreeSet<&[u8]> = match state.committed {
        Some(committed) => committed.iter().filter(|e| e.file().is_some()).map(|e| e.path.as_bytes()).collect(),
        // A path taken over without a manifest: what is listed is what there is.
        None => needed.iter().map(|name| &**name).collect(),
    };
    plan.files_before = before.len() as u64;
    plan.files_gone = before.iter().filter(|name| !files.contains(*name)).count() as u64;
    plan.gone = needed.drain().filter(|name| !kept.contains(name)).collect();
}

/// The topmost folders that hold nothing any more once `gone` is deleted and only `kept` is left.
pub(super) fn emptied<'a>(gone: &'a BTreeSet<Box<[u8]>>, kept: &BTreeSet<Box<[u8]>>) -> BTreeSet<&'a str> {
    let holds_something = |dir: &str| {
        let dir = format!("{dir}/").into_bytes();
        kept.range::<[u8], _>((Bound::Included(&*dir), Bound::Unbounded)).next().is_some_and(|name| name.starts_with(&dir))
    };
    let names = gone.iter().filter_map(|name| std::str::from_utf8(name).ok());
    names.filter_map(|name| name.match_indices('/').filter_map(|(at, _)| name.get(..at)).find(|dir| !holds_something(dir))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entry::Meta;

    fn entry(path: &str, kind: Kind) -> Entry {
        let meta = Meta { mode: 0o644, ..Meta::default() };
        Entry { path: RelPath::new(path.as_bytes()).unwrap(), meta, kind }
    }

    fn file(path: &str, content: u8) -> Entry {
        let file =
            FileEntry { size: 1, sha256: Digest([content; 32]), at: At::Own, changed: 1, link: None, holes: Box::default(), hints: None };
        entry(path, Kind::File(file))
    }

    fn tree(entries: impl IntoIterator<Item = Entry>) -> Vec<Entry> {
        let mut tree = vec![entry("", Kind::Dir)];
        tree.extend(entries);
        tree
    }

    fn names(uploads: &[Upload]) -> Vec<String> {
        uploads.iter().map(|u| u.path.to_string()).collect()
    }

    fn against(old: &[Entry], new: Vec<Entry>) -> Plan {
        plan(State { committed: Some(old), listing: None, strays: Strays::Keep }, new, 2)
    }

    fn gone(plan: &Plan) -> Vec<String> {
        plan.gone.iter().map(|name| String::from_utf8(name.to_vec()).unwrap()).collect()
    }

    #[test]
    fn an_unchanged_tree_needs_nothing() {
        let old = tree([file("a", 1), file("b", 2)]);
        assert!(against(&old, old.clone()).is_empty());
    }

    #[test]
    fn new_names_go_in_place_and_replaced_ones_are_staged() {
        let plan = against(&tree([file("a", 1), file("b", 1), file("c", 1)]), tree([file("a", 1), file("b", 2), file("d", 2)]));
        assert_eq!((names(&plan.own), names(&plan.staged), gone(&plan)), (vec!["d".into()], vec!["b".into()], vec!["c".to_owned()]));
        let generations: Vec<_> = plan.entries.iter().filter_map(Entry::file).map(|f| f.changed).collect();
        assert_eq!(generations, [1, 2, 2]);
        assert_eq!((plan.files_before, plan.files_gone), (3, 1));
    }

    #[test]
    fn a_change_of_metadata_alone_sends_no_content() {
        let mut new = tree([file("a", 1)]);
        new[1].meta.mode = 0o600;
        let plan = against(&tree([file("a", 1)]), new);
        assert!(plan.differs && plan.own.is_empty() && plan.staged.is_empty() && plan.gone.is_empty());
    }

    #[test]
    fn what_stands_in_the_way_of_the_old_tree_is_staged() {
        let file_to_dir = against(&tree([file("a", 1)]), tree([entry("a", Kind::Dir), file("a/b", 2), file("ab", 2)]));
        assert_eq!((names(&file_to_dir.staged), names(&file_to_dir.own)), (vec!["a/b".into()], vec!["ab".to_owned()]));
        assert_eq!(gone(&file_to_dir), ["a"]);
        let dir_to_file = against(&tree([entry("a", Kind::Dir), file("a/b", 2)]), tree([file("a", 1)]));
        assert_eq!((names(&dir_to_file.staged), gone(&dir_to_file)), (vec!["a".into()], vec!["a/b".to_owned()]));
    }

    #[test]
    fn untrusted_names_share_objects_and_drop_them_when_unused() {
        let old = against(&tree([]), tree([file("a\n", 1), file("b\n", 1)]));
        assert_eq!((names(&old.objects).len(), old.own.len()), (1, 0));
        let one_left = against(&old.entries, tree([file("b\n", 1)]));
        assert!(one_left.differs && one_left.objects.is_empty() && one_left.gone.is_empty());
        let none_left = against(&old.entries, tree([file("b", 1)]));
        assert_eq!((names(&none_left.own), gone(&none_left)), (vec!["b".into()], vec![format!(".scribe/objects/{}", "01".repeat(32))]));
    }

    #[test]
    fn folders_that_nothing_is_left_in_are_told() {
        let names = |names: &[&str]| -> BTreeSet<Box<[u8]>> { names.iter().map(|name| name.as_bytes().into()).collect() };
        let gone = names(&["a/b/c/x", "a/b/y", "d/e/f/x", "top", "g/x", ".scribe/objects/1"]);
        let kept = names(&["a-", "a/bc", "d/e-", "d/z/x", "g"]);
        assert_eq!(emptied(&gone, &kept).into_iter().collect::<Vec<_>>(), [".scribe", "a/b", "d/e", "g"]);
    }

    #[test]
    fn a_listing_repairs_what_is_lost_and_drops_what_is_foreign() {
        let old = tree([file("a", 1), file("b", 1), file("c", 1)]);
        let listing = [("a", 1), ("b", 7), ("x", 1), (".scribe/commit.json", 9), (".scribe/objects/ff", 1)];
        let listing: Listing = listing.iter().map(|(name, size)| (name.as_bytes().into(), *size)).collect();
        let state = |strays| State { committed: Some(&old[..]), listing: Some(&listing), strays };
        let kept = plan(state(Strays::Keep), old.clone(), 2);
        assert_eq!(gone(&kept), [".scribe/objects/ff"]);
        let plan = plan(state(Strays::Drop), old.clone(), 2);
        assert!(!plan.differs);
        assert_eq!((names(&plan.own), gone(&plan)), (vec!["b".into(), "c".into()], vec![".scribe/objects/ff".to_owned(), "x".into()]));
        assert_eq!(plan.files_gone, 0);
    }
}
