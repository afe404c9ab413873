//! Decides what a push writes and deletes, from the committed tree, the volume's tree and a listing. No I/O but its own lists.
//!
//! The committed revision stays whole until the new one is committed: nothing it needs is overwritten or deleted
//! before. The two trees are read side by side, entry by entry.

use std::collections::{BTreeSet, HashSet};

use super::object_names::{Name, above, object, object_name};
use super::remote_state::{RemoteState, Strays};
use super::tampered::ALTERED;
use super::unread::Unread;
use super::uploads::Upload;
use crate::digest::Digest;
use crate::error::Result;
use crate::format::entries::{Entries, EntriesWriter};
use crate::format::names::{is_long, is_ours, is_unusual, trusted};
use crate::guard::{Count, NamesSum};
use crate::name_set::NameSet;
use crate::remote::Listing;
use crate::scratch::Scratch;
use crate::spill::{Spill, SpillWriter};
use crate::volume::entry::{Entry, FileEntry, Kind, Location};
use crate::volume::exclude::Exclude;
use crate::volume::merge_join::join;
use crate::volume::path::RelPath;

/// What a push is to do, step by step.
#[derive(Debug)]
pub(super) struct PushPlan {
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
    /// Those of them that the committed revision needs, too, and that a listing does not show as they should be: sent to the staged
    /// folder, and promoted.
    pub(super) lost_objects: Vec<Upload>,
    /// The size of all of them together.
    pub(super) bytes_to_send: u64,
    /// Object names below the path to delete after the commit, before anything is promoted.
    pub(super) gone: Spill<Name>,
    /// Content is to go under its hash, which is not known: the tree has to be read before it can be planned.
    pub(super) lacks_hashes: bool,
    /// An object of another owner under the name of a folder of the new tree: the push could not put everything in place.
    pub(super) obstacle: Option<Name>,
    /// How many entries this push deletes, for the report.
    pub(super) deleted: u64,
    /// Entries of the committed tree, or files of a path taken over: for the guard.
    pub(super) before: Count,
    /// Those of them without a successor of the same type.
    pub(super) lost: Count,
    /// Their names. Of a tree that cannot be read, those of its objects.
    pub(super) lost_names: NamesSum,
}

/// Whether a pull of either tree gives the same result.
pub(super) fn unchanged(committed: &Entries, tree: &Entries, exclude: &Exclude) -> Result<bool> {
    for pair in join(committed.read()?, tree.read()?) {
        if !matches!(pair?, (Some(before), Some(entry)) if exclude.same_result(&before, &entry)) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Decides everything a push of `tree`, as generation `generation` with this name, is to do.
pub(super) fn plan(state: RemoteState, tree: &Entries, generation: u64, revision: &str, scratch: &Scratch) -> Result<PushPlan> {
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
    state: RemoteState<'a>,
    generation: u64,
    entries: EntriesWriter,
    differs: bool,
    own: SpillWriter<Upload>,
    staged: SpillWriter<Upload>,
    objects: Vec<Upload>,
    lost_objects: Vec<Upload>,
    bytes_to_send: u64,
    gone: SpillWriter<Name>,
    before: Count,
    lost: Count,
    lost_names: NamesSum,
    /// Content under its hash that the committed tree needs.
    committed_objects: HashSet<Digest>,
    sent_objects: HashSet<Digest>,
    lacks_hashes: bool,
    /// A file of the committed tree that becomes something else.
    blocked: Option<RelPath>,
    /// What is listed and was not met yet.
    strays: HashSet<&'a [u8]>,
    /// Those of them that lie under a name of their own and have no successor yet: counted as deletions like any other.
    dropped: HashSet<&'a [u8]>,
    /// The committed tree, if it cannot be read.
    unread: Option<Unread<'a>>,
    /// The folders of what is listed.
    folders: NameSet,
    /// What is listed under the name of a folder that the new tree has.
    obstacles: BTreeSet<&'a [u8]>,
    /// Files of the new tree under the name of a folder that is listed.
    over_folders: NameSet,
}

impl<'a> Planner<'a> {
    fn new(state: RemoteState<'a>, generation: u64, entries: EntriesWriter, scratch: &Scratch) -> Result<Self> {
        let strays = state.strays();
        // What a dead first push was going to send, and is listed nowhere, was never there for all that is known.
        let is_there = |name: &[u8]| state.committed.is_some() || state.listing.is_none_or(|listing| listing.get(name) != Some(&ALTERED));
        let dropped: HashSet<&[u8]> = strays.iter().filter(|name| !is_ours(name) && is_there(name)).copied().collect();
        let mut folders = NameSet::default();
        for name in state.listing.into_iter().flat_map(Listing::keys) {
            above(name).for_each(|folder| folders.insert(folder.as_bytes()));
        }
        Ok(Self {
            state,
            generation,
            entries,
            differs: state.committed.is_none(),
            own: SpillWriter::new(scratch)?,
            staged: SpillWriter::new(scratch)?,
            objects: Vec::new(),
            lost_objects: Vec::new(),
            bytes_to_send: 0,
            gone: SpillWriter::new(scratch)?,
            before: if matches!(state.strays, Strays::All) { Count::of_files(dropped.len() as u64) } else { Count::default() },
            lost: Count::default(),
            lost_names: NamesSum::default(),
            committed_objects: state.committed.map(|committed| committed.totals().objects.clone()).unwrap_or_default(),
            sent_objects: HashSet::new(),
            lacks_hashes: false,
            blocked: None,
            strays,
            dropped,
            unread: state.unreadable.zip(state.listing).map(|(commit, listing)| Unread::of(commit, listing)),
            folders,
            obstacles: BTreeSet::new(),
            over_folders: NameSet::default(),
        })
    }

    /// An entry of the committed tree that the volume no longer has.
    fn gone(&mut self, entry: &Entry) -> Result<()> {
        self.differs = true;
        self.count(entry, None);
        if let Some(file) = entry.file() {
            self.drop_own_name(&entry.path, file)?;
        }
        Ok(())
    }

    fn count(&mut self, before: &Entry, successor: Option<&Entry>) {
        if before.path.is_root() {
            return;
        }
        let is_file = before.file().is_some();
        self.before.add(is_file);
        if successor.is_none_or(|successor| !successor.same_type(before)) {
            self.lost.add(is_file);
            self.lost_names.add(before.path.as_bytes());
        }
    }

    /// Content under its hash may serve other names: that is seen to in the end.
    fn drop_own_name(&mut self, path: &RelPath, file: &FileEntry) -> Result<()> {
        if file.at == Location::Object {
            return Ok(());
        }
        self.strays.remove(path.as_bytes());
        self.dropped.remove(path.as_bytes());
        self.obstacles.remove(path.as_bytes());
        // What lies there may be another file's.
        if self.state.altered.contains(path.as_bytes()) {
            return Ok(());
        }
        self.gone.push(&path.as_bytes().into())
    }

    /// An entry of the volume, and what was committed in its place.
    fn entry(&mut self, before: Option<&Entry>, mut entry: Entry) -> Result<()> {
        self.differs |= before.is_none_or(|before| !self.state.exclude.same_result(before, &entry));
        if self.blocked.as_ref().is_some_and(|dir| !entry.path.is_below(dir)) {
            self.blocked = None;
        }
        if let Some(before) = before {
            self.count(before, Some(&entry));
        }
        let old = before.and_then(Entry::file);
        let path = entry.path.clone();
        if let Kind::File(file) = &mut entry.kind {
            self.file(before, &path, file)?;
            let name = object_name(&path, file);
            self.strays.remove(&*name);
            self.dropped.remove(&*name);
            if let Some(unread) = &mut self.unread {
                unread.has(&name);
            }
            if let Some(old) = old.filter(|_| file.at == Location::Object) {
                self.drop_own_name(&path, old)?;
            }
        } else if let Some(old) = old {
            self.drop_own_name(&path, old)?;
            // Where objects are files of a file system, nothing can be put below a file.
            if old.at != Location::Object && self.blocked.is_none() {
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
        let altered = self.state.altered.contains(path.as_bytes());
        if let Some(same) = same.filter(|same| same.at == Location::Object || !altered) {
            file.at = if same.at == Location::Object { Location::Object } else { Location::Own };
            if self.state.intact(&object_name(path, file), file.size) {
                return Ok(());
            }
            // Lost or damaged behind our back, by what a listing says. The volume may change before it is sent, and the listing may be
            // wrong: so it is not written in place before it is known to be the committed content.
            if file.at != Location::Object {
                self.note_obstacles(path);
                // If the remote has another name for it, only a new revision can say where it is.
                self.differs |= is_unusual(path.as_bytes());
                return self.stage(file, &upload);
            }
            self.send_object(upload);
            return Ok(());
        }
        if self.folders.contains(path.as_bytes()) {
            self.over_folders.insert(path.as_bytes());
        }
        let was_dir = before.is_some_and(|before| before.kind == Kind::Dir);
        // It was refused, or stored under another name, before, or may be now.
        let was_object = old.is_some_and(|old| old.at == Location::Object);
        let refused = is_long(path) && (self.state.refuses_long_names || was_object) || was_object && is_unusual(path.as_bytes());
        if refused || !trusted(path) || altered || self.state.collisions.is_some_and(|collisions| collisions.contains(path)) {
            file.at = Location::Object;
            self.differs |= old.is_some() && !was_object;
            self.lacks_hashes |= file.sha256 == Digest::UNREAD;
            let name = object(&file.sha256);
            let there = self.committed_objects.contains(&file.sha256) && self.state.intact(&name, file.size);
            if !there && !self.state.there.holds(&name, &file.sha256) {
                self.send_object(upload);
            }
            return Ok(());
        }
        if was_dir || self.blocked.is_some() {
            return self.stage(file, &upload);
        }
        if old.is_some_and(|old| old.at != Location::Object) {
            self.note_obstacles(path);
            return self.stage(file, &upload);
        }
        if self.state.there.holds(path.as_bytes(), &file.sha256) {
            file.at = Location::Own;
            return Ok(());
        }
        // Under a name that the remote takes for another one, it would replace what is committed.
        let may_replace = self.state.committed.is_some() && is_unusual(path.as_bytes());
        if self.is_taken(path) || may_replace {
            return self.stage(file, &upload);
        }
        file.at = Location::Own;
        self.send_own(&upload)
    }

    /// What others have put where a file of the committed tree lay, so that it cannot be put in place again.
    fn note_obstacles(&mut self, path: &RelPath) {
        if self.folders.contains(path.as_bytes()) {
            self.over_folders.insert(path.as_bytes());
        }
        // Only what it finds above is of interest.
        let _ = self.is_taken(path);
    }

    /// Whether something is listed under this name, or in its way, that the committed manifest does not account for: then nothing is
    /// written there before the commit. What is in the way of a file has to go before the file is put in place.
    fn is_taken(&mut self, path: &RelPath) -> bool {
        let Some(listing) = self.state.listing else { return false };
        let mut in_the_way = self.folders.contains(path.as_bytes());
        for folder in above(path.as_bytes()) {
            if let Some((name, _)) = listing.get_key_value(folder.as_bytes()) {
                self.obstacles.insert(name);
                in_the_way = true;
            }
        }
        in_the_way || self.state.committed.is_none() && listing.contains_key(path.as_bytes())
    }

    /// What is listed below the name of a file of the new tree, and is neither of the committed tree, all of which goes there, nor to be
    /// dropped.
    fn find_obstacles_below(&mut self) -> Result<()> {
        if self.over_folders.is_empty() {
            return Ok(());
        }
        let below = |name: &[u8]| above(name).any(|folder| self.over_folders.contains(folder.as_bytes()));
        let listed = self.state.listing.into_iter().flat_map(Listing::keys).map(|name| &**name);
        let mut found: BTreeSet<&[u8]> = listed.filter(|name| below(name) && !self.strays.contains(name)).collect();
        if let Some(committed) = self.state.committed {
            for entry in committed.read()? {
                found.remove(entry?.path.as_bytes());
            }
        }
        self.obstacles.extend(found);
        Ok(())
    }

    fn stage(&mut self, file: &mut FileEntry, upload: &Upload) -> Result<()> {
        file.at = Location::Staged;
        self.bytes_to_send += upload.size;
        self.staged.push(upload)
    }

    fn send_own(&mut self, upload: &Upload) -> Result<()> {
        self.bytes_to_send += upload.size;
        self.own.push(upload)
    }

    fn send_object(&mut self, upload: Upload) {
        if self.sent_objects.insert(upload.sha256) {
            self.bytes_to_send += upload.size;
            let lost = self.committed_objects.contains(&upload.sha256);
            if lost { &mut self.lost_objects } else { &mut self.objects }.push(upload);
        }
    }

    /// What is to go: everything of the old state that the new tree does not need.
    fn finish(mut self) -> Result<PushPlan> {
        self.find_obstacles_below()?;
        let entries = self.entries.finish()?;
        let unused = self.committed_objects.difference(&entries.totals().objects);
        for name in unused.map(object) {
            self.strays.remove(&*name);
            self.gone.push(&name)?;
        }
        for stray in self.strays {
            self.obstacles.remove(stray);
            self.gone.push(&stray.into())?;
        }
        let dropped = Count::of_files(self.dropped.len() as u64);
        self.dropped.iter().for_each(|name| self.lost_names.add(name));
        if let Strays::Named(_) = self.state.strays {
            self.before = self.before + dropped;
        }
        self.lost = self.lost + dropped;
        let deleted = self.lost.all;
        if let Some(unread) = self.unread {
            // Its names are what was dropped, and more.
            let (had, lost, names) = unread.losses(entries.totals().count());
            (self.before, self.lost, self.lost_names) = (self.before.max(had), self.lost.max(lost), names);
        }
        Ok(PushPlan {
            entries,
            differs: self.differs,
            own: self.own.finish()?,
            staged: self.staged.finish()?,
            objects: self.objects,
            lost_objects: self.lost_objects,
            bytes_to_send: self.bytes_to_send,
            gone: self.gone.finish()?,
            lacks_hashes: self.lacks_hashes,
            obstacle: self.obstacles.first().filter(|_| self.state.folders).map(|name| (*name).into()),
            deleted,
            before: self.before,
            lost: self.lost,
            lost_names: self.lost_names,
        })
    }
}

#[cfg(test)]
mod tests;
