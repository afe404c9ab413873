//! Decides what a push writes and deletes, from the committed tree, the volume's tree and a listing. No I/O but its own lists.
//!
//! The committed revision stays whole until the new one is committed: nothing it needs is overwritten or deleted
//! before. The two trees are read side by side, entry by entry. Imports [`crate::entry`], [`crate::tree`], [`crate::join`],
//! [`crate::spill`], [`crate::names`], [`crate::path`] and [`crate::remote`]'s `Listing`.

use std::collections::{BTreeSet, HashSet};

use super::alike::Alike;
use crate::entry::{At, Digest, Entry, FileEntry, Kind};
use crate::failure::Result;
use crate::join::{Placed, join};
use crate::names::{CONTROL_DIR, objects_dir, trusted};
use crate::path::RelPath;
use crate::remote::Listing;
use crate::scratch::Scratch;
use crate::spill::{Record, Spill, SpillWriter};
use crate::tree::{Entries, EntriesWriter};

/// The name of an object below the remote path.
pub(super) type Name = Box<[u8]>;

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

impl Placed for Upload {
    fn path(&self) -> &RelPath {
        &self.path
    }
}

impl Record for Upload {
    fn encode(&self, bytes: &mut Vec<u8>) {
        bytes.extend_from_slice(&self.sha256.0);
        bytes.extend_from_slice(&self.size.to_le_bytes());
        bytes.extend_from_slice(self.path.as_bytes());
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let (sha256, bytes) = bytes.split_first_chunk()?;
        let (size, path) = bytes.split_first_chunk()?;
        Some(Self { path: RelPath::new(path)?, sha256: Digest(*sha256), size: u64::from_le_bytes(*size) })
    }
}

/// What a push is to do, step by step.
#[derive(Debug)]
pub(super) struct Plan {
    /// The new manifest: the volume's tree with places and generations filled in.
    pub(super) entries: Entries,
    /// Whether a pull of the new manifest would give anything else than one of the committed manifest.
    pub(super) differs: bool,
    /// Names the committed revision does not need: sent in place. In path order.
    pub(super) own: Spill<Upload>,
    /// Names it does need: sent to the staged folder, and promoted after the commit. In path order.
    pub(super) staged: Spill<Upload>,
    /// Names not to be trusted: sent under their hash.
    pub(super) objects: Vec<Upload>,
    /// The size of all of them together.
    pub(super) bytes_to_send: u64,
    /// Object names below the path to delete after the commit, before anything is promoted.
    pub(super) gone: Spill<Name>,
    /// Files of the path before, and those of them that have no successor: for the guard.
    pub(super) files_before: u64,
    /// See `files_before`.
    pub(super) files_gone: u64,
}

/// What is known of the remote path.
#[derive(Clone, Copy, Debug)]
pub(super) struct State<'a> {
    /// The entries of the committed manifest, promoted; none when nothing is committed.
    pub(super) committed: Option<&'a Entries>,
    /// What a listing found; without one, the committed manifest is believed.
    pub(super) listing: Option<&'a Listing>,
    /// What to do with objects that neither tree accounts for.
    pub(super) strays: Strays,
    /// Names that the remote takes for one, if it is of that kind.
    pub(super) alike: Option<&'a Alike>,
}

/// Objects below the path that no manifest accounts for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Strays {
    /// Nothing says that they are ours: left alone.
    Keep,
    /// A push of ours died here, or a person said to take the path over.
    Drop,
}

impl<'a> State<'a> {
    /// Whether the object of a committed file is there with its size.
    fn intact(&self, name: &[u8], size: u64) -> bool {
        intact(self.listing, name, size)
    }

    /// What the listing has that is ours to delete unless it is needed.
    fn strays(&self) -> HashSet<&'a [u8]> {
        let (control, objects) = (format!("{CONTROL_DIR}/"), objects_dir());
        let stray =
            |name: &&[u8]| name.starts_with(objects.as_bytes()) || self.strays == Strays::Drop && !name.starts_with(control.as_bytes());
        self.listing.into_iter().flat_map(Listing::keys).map(|name| &**name).filter(stray).collect()
    }
}

/// Whether an object is there with this size; without a listing, it is believed to be.
pub(super) fn intact(listing: Option<&Listing>, name: &[u8], size: u64) -> bool {
    listing.is_none_or(|listing| matches!(listing.get(name), Some(&there) if there == size || there == u64::MAX))
}

/// The object name of a promoted file, below the path.
pub(super) fn object_name(path: &RelPath, file: &FileEntry) -> Name {
    match file.at {
        At::Object => object(&file.sha256),
        At::Own | At::Staged => path.as_bytes().into(),
    }
}

/// The object name of content kept under its hash, below the path.
pub(super) fn object(digest: &Digest) -> Name {
    format!("{}{}", objects_dir(), digest.hex()).into_bytes().into()
}

/// Whether a pull of either tree gives the same result.
pub(super) fn unchanged(committed: &Entries, tree: &Entries) -> Result<bool> {
    for pair in join(committed.read()?, tree.read()?) {
        if !matches!(pair?, (Some(before), Some(entry)) if before.same_result(&entry)) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Decides everything a push of `tree`, as generation `generation` with this name, is to do.
pub(super) fn plan(state: State, tree: &Entries, generation: u64, revision: &str, scratch: &Scratch) -> Result<Plan> {
    let mut planner = Planner::new(state, generation, EntriesWriter::following(scratch, revision, state.committed)?, scratch)?;
    let committed = state.committed.map(Entries::read).transpose()?.into_iter().flatten();
    for pair in join(committed, tree.read()?) {
        match pair? {
            (before, Some(entry)) => planner.entry(before.as_ref(), entry)?,
            (Some(gone), None) => planner.gone(&gone)?,
            (None, None) => {}
        }
    }
    planner.finish()
}

struct Planner<'a> {
    state: State<'a>,
    generation: u64,
    entries: EntriesWriter,
    differs: bool,
    own: SpillWriter<Upload>,
    staged: SpillWriter<Upload>,
    objects: Vec<Upload>,
    bytes_to_send: u64,
    gone: SpillWriter<Name>,
    files_before: u64,
    files_gone: u64,
    /// Content under its hash that the committed tree needs.
    committed_objects: HashSet<Digest>,
    sent_objects: HashSet<Digest>,
    /// A file of the committed tree that becomes something else.
    blocked: Option<RelPath>,
    /// What is listed and was not met yet.
    strays: HashSet<&'a [u8]>,
    /// Of a path taken over without a manifest: what is listed and has no successor yet. What is listed is all there is to count.
    foreign: HashSet<&'a [u8]>,
}

impl<'a> Planner<'a> {
    fn new(state: State<'a>, generation: u64, entries: EntriesWriter, scratch: &Scratch) -> Result<Self> {
        let strays = state.strays();
        let foreign = if state.committed.is_none() { strays.clone() } else { HashSet::new() };
        Ok(Self {
            state,
            generation,
            entries,
            differs: state.committed.is_none(),
            own: SpillWriter::new(scratch)?,
            staged: SpillWriter::new(scratch)?,
            objects: Vec::new(),
            bytes_to_send: 0,
            gone: SpillWriter::new(scratch)?,
            files_before: foreign.len() as u64,
            files_gone: 0,
            committed_objects: state.committed.map(|committed| committed.facts().objects.clone()).unwrap_or_default(),
            sent_objects: HashSet::new(),
            blocked: None,
            strays,
            foreign,
        })
    }

    /// An entry of the committed tree that the volume no longer has.
    fn gone(&mut self, entry: &Entry) -> Result<()> {
        self.differs = true;
        if let Some(file) = entry.file() {
            self.files_before += 1;
            self.files_gone += 1;
            self.drop_own_name(&entry.path, file)?;
        }
        Ok(())
    }

    /// Content under its hash may serve other names: that is seen to in the end.
    fn drop_own_name(&mut self, path: &RelPath, file: &FileEntry) -> Result<()> {
        if file.at == At::Object {
            return Ok(());
        }
        self.strays.remove(path.as_bytes());
        self.gone.push(&path.as_bytes().into())
    }

    /// An entry of the volume, and what was committed in its place.
    fn entry(&mut self, before: Option<&Entry>, mut entry: Entry) -> Result<()> {
        self.differs |= before.is_none_or(|before| !before.same_result(&entry));
        if self.blocked.as_ref().is_some_and(|dir| !entry.path.is_below(dir)) {
            self.blocked = None;
        }
        let old = before.and_then(Entry::file);
        self.files_before += u64::from(old.is_some());
        let path = entry.path.clone();
        if let Kind::File(file) = &mut entry.kind {
            self.foreign.remove(path.as_bytes());
            self.file(before, &path, file)?;
            let name = object_name(&path, file);
            self.strays.remove(&*name);
            if let Some(old) = old.filter(|_| file.at == At::Object) {
                self.drop_own_name(&path, old)?;
            }
        } else if let Some(old) = old {
            self.files_gone += 1;
            self.drop_own_name(&path, old)?;
            // Where objects are files of a file system, nothing can be put below a file.
            if old.at != At::Object && self.blocked.is_none() {
                self.blocked = Some(path);
            }
        }
        self.entries.push(&entry)
    }

    /// Decides where the content of a file goes, and whether it has to be sent.
    fn file(&mut self, before: Option<&Entry>, path: &RelPath, file: &mut FileEntry) -> Result<()> {
        let upload = Upload { path: path.clone(), sha256: file.sha256, size: file.size };
        let old = before.and_then(Entry::file);
        let same = old.filter(|old| old.sha256 == file.sha256 && old.size == file.size);
        file.changed = same.map_or(self.generation, |same| same.changed);
        if let Some(same) = same {
            file.at = if same.at == At::Object { At::Object } else { At::Own };
            if self.state.intact(&object_name(path, file), file.size) {
                return Ok(());
            }
            // Lost or damaged behind our back: the same content again, so overwriting harms nobody.
            if file.at != At::Object {
                return self.send_own(&upload);
            }
            self.send_object(upload);
            return Ok(());
        }
        let was_dir = before.is_some_and(|before| before.kind == Kind::Dir);
        if !trusted(path) || self.state.alike.is_some_and(|alike| alike.contains(path)) {
            file.at = At::Object;
            let there = self.committed_objects.contains(&file.sha256) && self.state.intact(&object(&file.sha256), file.size);
            if !there {
                self.send_object(upload);
            }
            return Ok(());
        }
        if was_dir || self.blocked.is_some() || old.is_some_and(|old| old.at != At::Object) {
            file.at = At::Staged;
            self.bytes_to_send += upload.size;
            return self.staged.push(&upload);
        }
        file.at = At::Own;
        self.send_own(&upload)
    }

    fn send_own(&mut self, upload: &Upload) -> Result<()> {
        self.bytes_to_send += upload.size;
        self.own.push(upload)
    }

    fn send_object(&mut self, upload: Upload) {
        if self.sent_objects.insert(upload.sha256) {
            self.bytes_to_send += upload.size;
            self.objects.push(upload);
        }
    }

    /// What is to go: everything of the old state that the new tree does not need.
    fn finish(mut self) -> Result<Plan> {
        let entries = self.entries.finish()?;
        let unused = self.committed_objects.difference(&entries.facts().objects);
        for name in unused.map(object) {
            self.strays.remove(&*name);
            self.gone.push(&name)?;
        }
        for stray in self.strays {
            self.gone.push(&stray.into())?;
        }
        Ok(Plan {
            entries,
            differs: self.differs,
            own: self.own.finish()?,
            staged: self.staged.finish()?,
            objects: self.objects,
            bytes_to_send: self.bytes_to_send,
            gone: self.gone.finish()?,
            files_before: self.files_before,
            files_gone: self.files_gone + self.foreign.len() as u64,
        })
    }
}

/// The object names of a tree's files, promoted.
pub(super) fn names(tree: &Entries) -> Result<impl Iterator<Item = Result<Name>> + use<>> {
    Ok(tree.read()?.filter_map(|entry| match entry {
        Ok(entry) => Some(Ok(object_name(&entry.path, entry.file()?))),
        Err(failure) => Some(Err(failure)),
    }))
}

/// The topmost folders that hold nothing any more once `gone` is deleted and only `kept` is left.
pub(super) fn emptied(gone: impl Iterator<Item = Result<Name>>, kept: impl Iterator<Item = Result<Name>>) -> Result<BTreeSet<String>> {
    let mut folders = BTreeSet::new();
    for name in gone {
        folders.extend(above(&name?).map(str::to_owned));
    }
    if folders.is_empty() {
        return Ok(folders);
    }
    for name in kept {
        for dir in above(&name?) {
            folders.remove(dir);
        }
    }
    let topmost = |name: &&String| !above(name.as_bytes()).any(|dir| folders.contains(dir));
    Ok(folders.iter().filter(topmost).cloned().collect())
}

/// The folders above an object, from the top.
fn above(name: &[u8]) -> impl Iterator<Item = &str> {
    let name = std::str::from_utf8(name).unwrap_or_default();
    name.match_indices('/').filter_map(|(at, _)| name.get(..at))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entry::Meta;
    use crate::tree::tests::{all, tree as stored};

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

    /// A plan, with its lists read.
    struct Read {
        entries: Vec<Entry>,
        differs: bool,
        own: Vec<String>,
        staged: Vec<String>,
        objects: usize,
        gone: Vec<String>,
        files: (u64, u64),
    }

    fn read(plan: &Plan) -> Read {
        let paths = |uploads: &Spill<Upload>| uploads.read().unwrap().map(|upload| upload.unwrap().path.to_string()).collect();
        let mut gone: Vec<String> = plan.gone.read().unwrap().map(|name| String::from_utf8(name.unwrap().to_vec()).unwrap()).collect();
        gone.sort();
        Read {
            entries: all(&plan.entries),
            differs: plan.differs,
            own: paths(&plan.own),
            staged: paths(&plan.staged),
            objects: plan.objects.len(),
            gone,
            files: (plan.files_before, plan.files_gone),
        }
    }

    fn with(old: &[Entry], listing: Option<&Listing>, strays: Strays, new: &[Entry]) -> Read {
        let scratch = Scratch::new().unwrap();
        let (old, new) = (stored(&scratch, old), stored(&scratch, new));
        read(&plan(State { committed: Some(&old), listing, strays, alike: None }, &new, 2, "r", &scratch).unwrap())
    }

    fn against(old: &[Entry], new: &[Entry]) -> Read {
        with(old, None, Strays::Keep, new)
    }

    fn same(old: &[Entry], new: &[Entry]) -> bool {
        let scratch = Scratch::new().unwrap();
        unchanged(&stored(&scratch, old), &stored(&scratch, new)).unwrap()
    }

    #[test]
    fn an_unchanged_tree_needs_nothing() {
        let old = tree([file("a", 1), file("b", 2)]);
        assert!(same(&old, &old));
        assert!(!same(&old, &tree([file("a", 1), file("b", 3)])) && !same(&old, &old[..2]) && !same(&old[..2], &old));
        let plan = against(&old, &old);
        assert!(!plan.differs && plan.own.is_empty() && plan.staged.is_empty() && plan.objects == 0 && plan.gone.is_empty());
        assert_eq!((plan.entries, plan.files), (old, (2, 0)));
    }

    #[test]
    fn new_names_go_in_place_and_replaced_ones_are_staged() {
        let plan = against(&tree([file("a", 1), file("b", 1), file("c", 1)]), &tree([file("a", 1), file("b", 2), file("d", 2)]));
        assert_eq!((plan.own, plan.staged, plan.gone), (vec!["d".into()], vec!["b".into()], vec!["c".to_owned()]));
        let generations: Vec<_> = plan.entries.iter().filter_map(Entry::file).map(|f| f.changed).collect();
        assert_eq!(generations, [1, 2, 2]);
        assert_eq!(plan.files, (3, 1));
    }

    #[test]
    fn a_change_of_metadata_alone_sends_no_content() {
        let mut new = tree([file("a", 1)]);
        new[1].meta.mode = 0o600;
        let plan = against(&tree([file("a", 1)]), &new);
        assert!(plan.differs && plan.own.is_empty() && plan.staged.is_empty() && plan.gone.is_empty());
    }

    #[test]
    fn what_stands_in_the_way_of_the_old_tree_is_staged() {
        let file_to_dir = against(&tree([file("a", 1)]), &tree([entry("a", Kind::Dir), file("a/b", 2), file("ab", 2)]));
        assert_eq!((file_to_dir.staged, file_to_dir.own), (vec!["a/b".into()], vec!["ab".to_owned()]));
        assert_eq!((file_to_dir.gone, file_to_dir.files), (vec!["a".to_owned()], (1, 1)));
        let dir_to_file = against(&tree([entry("a", Kind::Dir), file("a/b", 2)]), &tree([file("a", 1)]));
        assert_eq!((dir_to_file.staged, dir_to_file.gone), (vec!["a".into()], vec!["a/b".to_owned()]));
    }

    #[test]
    fn untrusted_names_share_objects_and_drop_them_when_unused() {
        let old = against(&tree([]), &tree([file("a\n", 1), file("b\n", 1)]));
        assert_eq!((old.objects, old.own.len()), (1, 0));
        let one_left = against(&old.entries, &tree([file("b\n", 1)]));
        assert!(one_left.differs && one_left.objects == 0 && one_left.gone.is_empty());
        let none_left = against(&old.entries, &tree([file("b", 1)]));
        assert_eq!((none_left.own, none_left.gone), (vec!["b".into()], vec![format!(".scribe/objects/{}", "01".repeat(32))]));
    }

    #[test]
    fn folders_that_nothing_is_left_in_are_told() {
        let names = |names: &[&str]| names.iter().map(|name| Ok(name.as_bytes().into())).collect::<Vec<_>>().into_iter();
        let gone = names(&["a/b/c/x", "a/b/y", "d/e/f/x", "top", "g/x", ".scribe/objects/1"]);
        let kept = names(&["a-", "a/bc", "d/e-", "d/z/x", "g"]);
        assert_eq!(emptied(gone, kept).unwrap().into_iter().collect::<Vec<_>>(), [".scribe", "a/b", "d/e", "g"]);
    }

    #[test]
    fn a_listing_repairs_what_is_lost_and_drops_what_is_foreign() {
        let old = tree([file("a", 1), file("b", 1), file("c", 1)]);
        let listing = [("a", 1), ("b", 7), ("x", 1), (".scribe/commit.json", 9), (".scribe/objects/ff", 1)];
        let listing: Listing = listing.iter().map(|(name, size)| (name.as_bytes().into(), *size)).collect();
        assert_eq!(with(&old, Some(&listing), Strays::Keep, &old).gone, [".scribe/objects/ff"]);
        let plan = with(&old, Some(&listing), Strays::Drop, &old);
        assert!(!plan.differs);
        assert_eq!((plan.own, plan.gone), (vec!["b".into(), "c".into()], vec![".scribe/objects/ff".to_owned(), "x".into()]));
        assert_eq!(plan.files.1, 0);
    }

    #[test]
    fn what_a_path_without_a_manifest_holds_counts_as_files() {
        let scratch = Scratch::new().unwrap();
        let listing: Listing = ["a", "x", ".scribe/claim.json"].iter().map(|name| (name.as_bytes().into(), 1)).collect();
        let state = State { committed: None, listing: Some(&listing), strays: Strays::Drop, alike: None };
        let plan = plan(state, &stored(&scratch, &tree([file("a", 1)])), 1, "r", &scratch).unwrap();
        let plan = read(&plan);
        assert_eq!((plan.own, plan.gone, plan.files, plan.differs), (vec!["a".into()], vec!["x".to_owned()], (2, 1), true));
    }
}
