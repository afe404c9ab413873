//! Revisions of layout Packs, each read as a whole: by its manifest, its map, and every block in its packs. What must hold of each by itself, of
//! one that follows another, and of what is deleted.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use scribe_mover::digest::Digest;
use scribe_mover::format::names::{CONTROL_DIR, Folder};
use scribe_mover::format::revision::Revision;
use scribe_mover::packs::block::Unpacker;
use scribe_mover::packs::check::check;
use scribe_mover::packs::commit::{AnyCommit, Commit, Committing};
use scribe_mover::packs::id::ObjectId;
use scribe_mover::packs::manifest::{Document, Manifest};
use scribe_mover::packs::map::Map;
use scribe_mover::packs::node::Kind;
use scribe_mover::packs::pack::verify;
use scribe_mover::packs::reference::{BlockRef, PackRow, RefKey};
use scribe_mover::packs::run::{Entries, Packs, References, Run};
use scribe_mover::packs::salt::Hash;
use scribe_mover::stop::Stop;

use crate::history::{History, Layout};
use crate::objects::{Name, Objects, sha256};
use crate::rules::parent;
use crate::volume::{Node, Tree};
use crate::world::control;

/// What is dead stays for four steps of its grace, so for as many pushes.
const PUSHES: u64 = 4;
/// And for as long, where clocks are right: the shorter grace.
const GRACE: SignedDuration = SignedDuration::from_hours(1);

/// A revision.
#[derive(Debug)]
pub struct Packed {
    pub tree: Tree,
    /// Its packs and runs, and their content.
    pub needed: BTreeMap<Name, Digest>,
    /// What its manifest has for deletion later.
    pub dead: BTreeSet<Name>,
    generation: u64,
    /// Of each block, its content and the generation that gave it that.
    blocks: BTreeMap<RefKey, (Hash, u64)>,
}

impl Packed {
    /// What is not there of it, as it was written.
    pub fn missing(&self, now: &Objects) -> BTreeSet<(Name, Digest)> {
        let is_there = |name: &Name, digest: &Digest| now.get(name).is_some_and(|object| object.sha256 == *digest);
        self.needed.iter().filter(|(name, digest)| !is_there(name, digest)).map(|(name, digest)| (name.clone(), *digest)).collect()
    }
}

/// All that was there once.
#[derive(Debug)]
pub struct Past {
    /// Nothing looks for what failed pushes have left.
    pub keeps_what_is_left: bool,
    /// Every clock is right.
    right: bool,
    /// No volume is edited during a push.
    still: bool,
    /// Packs and runs, whole or cut.
    objects: HashMap<Name, Vec<Arc<[u8]>>>,
    revisions: HashMap<String, Arc<Packed>>,
    /// The parent of each revision that was committed.
    parents: HashMap<String, Option<String>>,
    /// The committed revision, and when others were replaced.
    last: Option<String>,
    replaced: HashMap<String, Timestamp>,
    /// A revision whose commit was hidden from the push that took its place: what it named is in no manifest any more.
    pub hidden: Option<String>,
}

impl Past {
    pub fn new(history: &History) -> Self {
        let right = history.epochs.iter().flat_map(|epoch| &epoch.syncs).all(|sync| sync.skew == 0);
        let still = history.epochs.iter().flat_map(|epoch| &epoch.syncs).all(|sync| sync.edits.is_empty());
        Self {
            keeps_what_is_left: history.layout == Layout::Packs,
            right,
            still,
            objects: HashMap::new(),
            revisions: HashMap::new(),
            parents: HashMap::new(),
            last: None,
            replaced: HashMap::new(),
            hidden: None,
        }
    }

    /// This name was written to: a pack or a run has one content for ever, of which a push that is killed may leave a part.
    pub fn saw(&mut self, now: &Objects, name: &[u8]) -> Result<(), String> {
        if ![Folder::Packs, Folder::Runs].iter().any(|folder| name.starts_with(folder.below().as_bytes())) {
            return Ok(());
        }
        let Some(object) = now.get(name) else { return Ok(()) };
        let seen = self.objects.entry(name.to_vec()).or_default();
        if seen.iter().any(|seen| !seen.starts_with(&object.content) && !object.content.starts_with(seen)) {
            return Err(format!("{} was written again, with another content", name.escape_ascii()));
        }
        if !seen.contains(&object.content) {
            seen.push(Arc::clone(&object.content));
        }
        Ok(())
    }

    pub fn committed(&mut self, commit: &AnyCommit, time: Timestamp) {
        let revision = commit.revision().to_owned();
        self.parents.entry(revision.clone()).or_insert_with(|| parent(commit).cloned());
        if let Some(last) = self.last.replace(revision.clone()).filter(|last| *last != revision) {
            if parent(commit) != Some(&last) {
                self.hidden = Some(last.clone());
            }
            self.replaced.insert(last, time);
        }
        self.replaced.remove(&revision);
    }

    /// Whether a push that has committed may delete this: not as long as somebody may read it.
    pub fn may_go(&self, before: &Objects, now: &Objects, name: &[u8], commit: &AnyCommit, time: Timestamp) -> Result<(), String> {
        if before.get(name).is_none() || now.get(name).is_some() {
            return Ok(());
        }
        let manifest = |revision: &str| Revision::parse(revision).map(|of| control(&scribe_mover::format::names::manifest(&of)));
        let needs = |revision: &str, packed: &Packed| packed.needed.contains_key(name) || manifest(revision).is_some_and(|own| own == name);
        let Some(generation) = Revision::parse(commit.revision()).map(|revision| revision.generation()) else { return Ok(()) };
        for revision in self.lineage(commit.revision()) {
            let Some(packed) = self.revisions.get(revision).filter(|packed| needs(revision, packed)) else { continue };
            let name = name.escape_ascii();
            if generation <= packed.generation + PUSHES {
                return Err(format!("{name} was deleted by the push of generation {generation}, and {revision} needs it"));
            }
            let age = self.replaced.get(revision).map(|since| time.duration_since(*since));
            if self.right && age.is_some_and(|age| age < GRACE) {
                return Err(format!("{name} was deleted, and {revision}, which was replaced {age:?} ago, needs it"));
            }
        }
        Ok(())
    }

    /// A revision and those that it descends from.
    fn lineage<'a>(&'a self, revision: &'a str) -> impl Iterator<Item = &'a str> {
        std::iter::successors(Some(revision), |revision| self.parents.get(*revision)?.as_deref())
    }

    /// What is committed, if all of it was there once as its manifest and its map say, and nothing is wrong with it.
    pub fn read(&mut self, now: &Objects, commit: &Commit) -> Result<Arc<Packed>, String> {
        let revision = &commit.statement.revision;
        let parsed = Revision::parse(revision).ok_or("an impossible revision")?;
        let manifest = now.get(&control(&scribe_mover::format::names::manifest(&parsed)));
        let manifest = manifest.ok_or_else(|| format!("the manifest of {revision} is not there"))?;
        if manifest.sha256.hex() != commit.manifest.sha256 {
            return Err(format!("the manifest of {revision} is not the one committed"));
        }
        if let Some(read) = self.revisions.get(revision) {
            return Ok(Arc::clone(read));
        }
        let manifest = Manifest::read(&*manifest.content, revision).map_err(|failure| failure.message)?;
        let packed = Arc::new(self.unpacked(&manifest)?);
        self.holds_against_others(&manifest.document, &packed)?;
        self.revisions.insert(revision.clone(), Arc::clone(&packed));
        Ok(packed)
    }

    /// What it says of the revisions before it.
    fn holds_against_others(&self, document: &Document, packed: &Packed) -> Result<(), String> {
        let revision = &document.revision;
        let lineage: BTreeSet<&str> = self.lineage(revision).skip(1).collect();
        if let Some(other) = document.ancestors.iter().find(|ancestor| !lineage.contains(ancestor.as_str())) {
            return Err(format!("{revision} does not descend from {other}, which it names as an ancestor"));
        }
        let Some(parent) = document.statement.parent.as_ref().and_then(|parent| self.revisions.get(parent)) else { return Ok(()) };
        for (key, (hash, born)) in &packed.blocks {
            let before = parent.blocks.get(key).filter(|(before, _)| before == hash);
            let expected = before.map_or(packed.generation, |(_, born)| *born);
            // A block that is changed and put back while a push reads it is stored once more.
            if *born < expected || *born > expected && self.still {
                return Err(format!("{key:?} of {revision} is said to be of generation {born}, and is of {expected}"));
            }
        }
        Ok(())
    }

    fn unpacked(&self, manifest: &Manifest) -> Result<Packed, String> {
        let failed = |failure: scribe_mover::error::Failure| failure.message;
        let document = &manifest.document;
        let block = document.block()?;
        let mut needed = BTreeMap::new();
        let opened = manifest.runs().map(|(of, inline)| {
            let bytes = match inline {
                Some(bytes) => bytes.clone(),
                None => {
                    let name = control(&of.id.run());
                    let object = self.object(&name, |bytes| bytes.len() as u64 == of.size);
                    let object = object.ok_or_else(|| failure(&format!("run {} was never written", of.id)))?;
                    needed.insert(name, sha256(&object));
                    object.to_vec()
                }
            };
            Run::open(bytes, of, block)
        });
        let map = Map::open(opened).map_err(failed)?;
        check(&map, document, &Stop::default()).map_err(failed)?;
        let rows: BTreeMap<ObjectId, PackRow> = map.rows::<Packs>().collect::<Result<_, _>>().map_err(failed)?;
        let mut packs = BTreeMap::new();
        for (id, row) in &rows {
            let name = control(&id.pack());
            let is_it = |bytes: &[u8]| verify(*id, bytes).is_ok_and(|packed| (packed.size, packed.md5) == (row.size, row.md5));
            let object = self.object(&name, is_it).ok_or_else(|| format!("pack {id} was never written as the map has it"))?;
            needed.insert(name, sha256(&object));
            packs.insert(*id, object);
        }
        let blocks: BTreeMap<RefKey, BlockRef> = map.rows::<References>().collect::<Result<_, _>>().map_err(failed)?;
        let mut unpacker = Unpacker::new().map_err(failed)?;
        let mut tree = Tree::new();
        for row in map.rows::<Entries>() {
            let (path, node) = row.map_err(failed)?;
            let node = match &node.kind {
                Kind::Dir => Node::Dir,
                Kind::File(file) => {
                    let mut content = vec![0; usize::try_from(file.size).unwrap()];
                    let key = |block| RefKey { file: file.id, block };
                    for (key, of) in blocks.range(key(0)..=key(u64::MAX)) {
                        let from = of.place.offset as usize;
                        let stored = packs[&of.pack].get(from..from + of.place.stored as usize).ok_or("a block outside of its pack")?;
                        let plain = unpacker.unpack(stored, of, &document.salt).map_err(failed)?;
                        let at = usize::try_from(key.block * u64::from(block.bytes())).unwrap();
                        content.get_mut(at..at + plain.len()).ok_or("a block behind the end of its file")?.copy_from_slice(plain);
                    }
                    Node::File(sha256(&content))
                }
                _ => Node::Other,
            };
            if !path.is_root() {
                tree.insert(path.as_bytes().to_vec(), node);
            }
        }
        let dead = document.dead_packs.iter().map(|dead| control(&dead.id.pack()));
        let dead = dead.chain(document.dead_runs.iter().map(|dead| control(&dead.id.run())));
        let dead =
            dead.chain(document.dead_manifests.iter().map(|dead| format!("{CONTROL_DIR}/manifests/{}.zst", dead.revision).into_bytes()));
        let generation = document.generation().ok_or("an impossible revision")?;
        is_dense(&rows, generation)?;
        let blocks = blocks.into_iter().map(|(key, of)| (key, (of.hash, of.place.born))).collect();
        Ok(Packed { tree, needed, dead: dead.collect(), generation, blocks })
    }

    fn object(&self, name: &Name, is_it: impl Fn(&[u8]) -> bool) -> Option<Arc<[u8]>> {
        self.objects.get(name)?.iter().find(|bytes| is_it(bytes)).cloned()
    }
}

fn failure(what: &str) -> scribe_mover::error::Failure {
    scribe_mover::error::Failure::new(scribe_mover::report::Reason::RemoteInconsistent, what)
}

/// Packs of other pushes are rewritten with each push until two thirds of all bytes are needed, as none here is too large for that.
fn is_dense(rows: &BTreeMap<ObjectId, PackRow>, generation: u64) -> Result<(), String> {
    let (live, all) = rows.values().fold((0, 0), |(live, all), row| (live + row.live, all + row.weight()));
    let is_sparse = |row: &PackRow| row.born < generation && row.live < row.weight();
    if live * 3 >= all * 2 || !rows.values().any(is_sparse) { Ok(()) } else { Err(format!("of {all} bytes in packs, {live} are needed")) }
}
