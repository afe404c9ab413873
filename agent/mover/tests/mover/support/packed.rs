//! Writes revisions of layout Packs with the writers of the format: a push as simple as it can be, for pulls to have something to read.

use std::collections::{BTreeMap, HashMap};
use std::fs::{self, File};
use std::io::Cursor;
use std::path::Path;

use jiff::Timestamp;
use scribe_mover::digest::hex;
use scribe_mover::format::documents::{ManifestRef, seal};
use scribe_mover::format::revision::Revision;
use scribe_mover::packs::block::{Packer, is_zero};
use scribe_mover::packs::commit::{Commit, Statement};
use scribe_mover::packs::frame::Frame;
use scribe_mover::packs::id::ObjectId;
use scribe_mover::packs::levels::merge_from;
use scribe_mover::packs::manifest::{Document, Manifest, Meter, PushClock, Totals};
use scribe_mover::packs::map::merge;
use scribe_mover::packs::node::{FileNode, Kind, Node};
use scribe_mover::packs::pack::PackWriter;
use scribe_mover::packs::reference::{BlockRef, Form, PackRow, Place, RefKey};
use scribe_mover::packs::run::{Run, RunRef, RunWriter};
use scribe_mover::packs::salt::{ContentHash, Salt};
use scribe_mover::packs::size::BlockSize;
use scribe_mover::stop::Stop;
use scribe_mover::volume::beneath::Root;
use scribe_mover::volume::path::RelPath;
use scribe_mover::volume::walk::{FoundKind, Inode, walk};
use sha2::{Digest as _, Sha256};

use super::owner;

/// Objects by their names below the path, the commit last.
pub(crate) type Objects = Vec<(String, Vec<u8>)>;

const SALT: Salt = Salt([0x5a; 16]);
/// Bytes of a block.
pub(crate) const BLOCK: usize = 16 << 10;

/// The rows of the map, before they are written.
pub(crate) struct Rows<'a> {
    pub(crate) entries: &'a mut BTreeMap<RelPath, Node>,
    pub(crate) blocks: &'a mut BTreeMap<RefKey, BlockRef>,
    pub(crate) packs: &'a mut BTreeMap<ObjectId, PackRow>,
}

/// What a push has written so far.
#[allow(clippy::struct_field_names, reason = "those of the map")]
#[derive(Clone)]
pub(crate) struct Packs {
    /// Bytes of a pack before its trailer.
    pub(crate) pack: u64,
    /// Bytes up to which runs stand in the manifest.
    pub(crate) inline: u64,
    /// What becomes of the rows of a push.
    pub(crate) forge: fn(Rows),
    /// What becomes of the sums in the manifest.
    pub(crate) forge_totals: fn(&mut Totals),
    next_object: ObjectId,
    next_file: u64,
    ids: HashMap<Inode, u64>,
    entries: BTreeMap<RelPath, Node>,
    blocks: BTreeMap<RefKey, BlockRef>,
    packs: BTreeMap<ObjectId, PackRow>,
    runs: Vec<(RunRef, Vec<u8>)>,
    revision: Option<Revision>,
    ancestors: Vec<String>,
}

fn size() -> BlockSize {
    BlockSize::new(u32::try_from(BLOCK).unwrap()).unwrap()
}

fn writer() -> RunWriter<Vec<u8>, Cursor<Vec<u8>>> {
    RunWriter::new(Vec::new(), Cursor::new(Vec::new()), size())
}

/// The rows that differ, gone ones included.
fn changes<K: Ord + Clone, V: PartialEq + Clone>(old: &BTreeMap<K, V>, new: &BTreeMap<K, V>) -> Vec<(K, Option<V>)> {
    let gone = old.keys().filter(|key| !new.contains_key(key)).map(|key| (key.clone(), None));
    let there = new.iter().filter(|(key, value)| old.get(key) != Some(value)).map(|(key, value)| (key.clone(), Some(value.clone())));
    let mut rows: Vec<_> = gone.chain(there).collect();
    rows.sort_by(|a, b| a.0.cmp(&b.0));
    rows
}

/// Packs that are being filled.
struct Filling<'a> {
    packs: &'a mut Packs,
    generation: u64,
    out: Option<(ObjectId, PackWriter<Vec<u8>>, u64)>,
    done: Objects,
    rows: BTreeMap<ObjectId, PackRow>,
    packer: Packer,
    frame: Frame,
    /// What lies in the frame.
    shared: Vec<(RefKey, u32, Vec<u8>)>,
    blocks: BTreeMap<RefKey, BlockRef>,
}

impl Filling<'_> {
    fn store(&mut self, plain: &[u8], pieces: u64) -> (ObjectId, u32, u32, Form) {
        let (form, stored) = self.packer.pack(plain).unwrap();
        let stored = stored.to_vec();
        if self.out.as_ref().is_some_and(|(_, out, _)| !out.fits(stored.len())) {
            self.end();
        }
        let (next, most) = (&mut self.packs.next_object, self.packs.pack);
        let (id, out, blocks) = self.out.get_or_insert_with(|| {
            *next = next.next().unwrap();
            (*next, PackWriter::new(*next, Vec::new(), most), 0)
        });
        *blocks += pieces;
        (*id, out.add(&stored).unwrap(), u32::try_from(stored.len()).unwrap(), form)
    }

    fn end(&mut self) {
        if let Some((id, out, blocks)) = self.out.take() {
            let (bytes, packed) = out.finish().unwrap();
            self.done.push((format!(".scribe/{}", id.pack()), bytes));
            self.rows.insert(id, PackRow { size: packed.size, md5: packed.md5, live: 0, blocks, born: self.generation });
        }
    }

    fn add(&mut self, key: RefKey, plain: &[u8], shares: bool) {
        if shares {
            let offset = self.frame.add(plain).unwrap_or_else(|| {
                self.end_frame();
                self.frame.add(plain).unwrap()
            });
            self.shared.push((key, offset, plain.to_vec()));
            return;
        }
        let (pack, offset, stored, form) = self.store(plain, 1);
        let plain_length = u32::try_from(plain.len()).unwrap();
        let place = Place { offset, stored, form, plain: plain_length, part: None, born: self.generation };
        self.blocks.insert(key, BlockRef { hash: SALT.hash(plain), pack, place });
    }

    fn end_frame(&mut self) {
        if self.shared.is_empty() {
            return;
        }
        let frame = std::mem::take(&mut self.frame);
        let (pack, at, stored, form) = self.store(frame.plain(), self.shared.len() as u64);
        for (key, offset, plain) in std::mem::take(&mut self.shared) {
            let length = u32::try_from(plain.len()).unwrap();
            let place = Place { offset: at, stored, form, plain: length, part: Some(frame.part(offset)), born: self.generation };
            self.blocks.insert(key, BlockRef { hash: SALT.hash(&plain), pack, place });
        }
    }
}

impl Packs {
    pub(crate) fn new() -> Self {
        Self {
            pack: 16 << 20,
            inline: 200 << 10,
            forge: |_| {},
            forge_totals: |_| {},
            next_object: ObjectId { push: 7, number: 0 },
            next_file: 0,
            ids: HashMap::new(),
            entries: BTreeMap::new(),
            blocks: BTreeMap::new(),
            packs: BTreeMap::new(),
            runs: Vec::new(),
            revision: None,
            ancestors: Vec::new(),
        }
    }

    /// The revision that was pushed last.
    pub(crate) fn revision(&self) -> String {
        self.revision.as_ref().unwrap().as_str().to_owned()
    }

    /// First and last generation of each run.
    pub(crate) fn runs(&self) -> Vec<(u64, u64)> {
        self.runs.iter().map(|(of, _)| (of.first, of.last)).collect()
    }

    /// Pushes what this folder holds: the objects that are new.
    pub(crate) fn push(&mut self, source: &Path) -> Objects {
        let revision = Revision::next(self.revision.as_ref(), Timestamp::now()).unwrap();
        let generation = revision.generation();
        let root = Root::open(source).unwrap();
        let stop = Stop::default();
        let found: Vec<_> = walk(&root, &stop).unwrap().map(|found| found.unwrap()).collect();
        let mut ids = HashMap::new();
        let (old_blocks, old_entries) = (self.blocks.clone(), self.entries.clone());
        let old_files: HashMap<u64, FileNode> = old_entries.values().filter_map(|node| node.file()).map(|file| (file.id, *file)).collect();
        let old_ids = self.ids.clone();
        let mut next_file = self.next_file;
        let mut entries = BTreeMap::new();
        let mut filling = Filling {
            generation,
            out: None,
            done: Vec::new(),
            rows: self.packs.clone(),
            packer: Packer::new().unwrap(),
            frame: Frame::default(),
            shared: Vec::new(),
            blocks: BTreeMap::new(),
            packs: self,
        };
        let mut nodes: HashMap<u64, FileNode> = HashMap::new();
        for found in found {
            let kind = match found.kind.clone() {
                FoundKind::Dir => Kind::Dir,
                FoundKind::Fifo => Kind::Fifo,
                FoundKind::Symlink(target) => Kind::Symlink(target),
                FoundKind::File(_) => {
                    let id = *ids.entry(found.inode()).or_insert_with(|| {
                        old_ids.get(&found.inode()).copied().unwrap_or_else(|| {
                            next_file += 1;
                            next_file - 1
                        })
                    });
                    let node = *nodes.entry(id).or_insert_with(|| {
                        let content = fs::read(source.join(found.path.under(Path::new("")))).unwrap();
                        let mut identity = ContentHash::new(content.len() as u64, size());
                        for (number, plain) in (0..).zip(content.chunks(BLOCK)).filter(|(_, plain)| !is_zero(plain)) {
                            let key = RefKey { file: id, block: number };
                            identity.add(number, &SALT.hash(plain));
                            match old_blocks.get(&key).filter(|old| old.hash == SALT.hash(plain)) {
                                Some(old) => drop(filling.blocks.insert(key, *old)),
                                None => filling.add(key, plain, content.len() < BLOCK),
                            }
                        }
                        let content_hash = identity.end();
                        let changed = old_files.get(&id).filter(|old| old.content == content_hash).map_or(generation, |old| old.changed);
                        FileNode { id, size: content.len() as u64, content: content_hash, changed, hints: None }
                    });
                    Kind::File(node)
                }
            };
            entries.insert(found.path, Node { meta: found.meta, kind });
        }
        filling.end_frame();
        filling.end();
        let Filling { done: mut objects, rows: mut packs, mut blocks, .. } = filling;
        for row in packs.values_mut() {
            row.live = 0;
        }
        for of in blocks.values() {
            packs.get_mut(&of.pack).unwrap().live += u64::from(of.place.weight());
        }
        packs.retain(|_, row| row.live > 0);
        (self.forge)(Rows { entries: &mut entries, blocks: &mut blocks, packs: &mut packs });
        let mut run = writer();
        for (path, node) in changes(&old_entries, &entries) {
            run.entry(&path, node.as_ref()).unwrap();
        }
        for (key, of) in changes(&old_blocks, &blocks) {
            run.block(key, of.as_ref()).unwrap();
        }
        for (id, row) in changes(&self.packs, &packs) {
            run.pack(id, row.as_ref()).unwrap();
        }
        let (bytes, written) = run.finish().unwrap();
        self.next_object = self.next_object.next().unwrap();
        self.runs.push((written.named(self.next_object, generation, generation), bytes));
        let sizes: Vec<u64> = self.runs.iter().map(|(of, _)| of.size).collect();
        if let Some(from) = merge_from(&sizes) {
            self.merge(from);
        }
        (self.ids, self.next_file) = (ids, next_file);
        (self.entries, self.blocks, self.packs) = (entries, blocks, packs);
        objects.extend(self.commit(revision));
        objects
    }

    fn merge(&mut self, from: usize) {
        let merged: Vec<(RunRef, Vec<u8>)> = self.runs.drain(from..).collect();
        let (first, last) = (merged[0].0.first, merged.last().unwrap().0.last);
        let runs: Vec<_> =
            merged.into_iter().map(|(of, bytes)| Run::open(bytes, &RunRef { inline: false, ..of }, size()).unwrap()).collect();
        let (bytes, written) = merge(&runs, from == 0, writer(), &Stop::default()).unwrap();
        self.next_object = self.next_object.next().unwrap();
        self.runs.push((written.named(self.next_object, first, last), bytes));
    }

    fn commit(&mut self, revision: Revision) -> Objects {
        let now = Timestamp::now();
        let files = || self.entries.values().filter_map(|node| node.file());
        let statement = Statement {
            revision: revision.as_str().into(),
            parent: self.revision.as_ref().map(|parent| parent.as_str().to_owned()),
            epoch: 0,
            data_time: now,
            checked_time: now,
            hints_time: now,
            rehashed_time: now,
            verified_time: now,
            latest_listed: None,
            owner: owner("db", "uid-1"),
            exclude: None,
            files: files().count() as u64,
            entries: self.entries.len() as u64 - 1,
            bytes: files().map(|file| file.size).sum(),
            former: None,
        };
        let mut room = self.inline;
        let mut objects = Vec::new();
        let (mut runs, mut inline) = (Vec::new(), Vec::new());
        for (of, bytes) in &mut self.runs {
            of.inline = of.size <= room;
            if of.inline {
                room -= of.size;
                inline.push(bytes.clone());
            } else {
                objects.push((format!(".scribe/{}", of.id.run()), bytes.clone()));
            }
            runs.push(of.clone());
        }
        let live = self.packs.values().map(|row| row.live).sum();
        let pack_bytes = self.packs.values().map(|row| row.size).sum();
        let mut totals = Totals { blocks: self.blocks.len() as u64, packs: self.packs.len() as u64, pack_bytes, live };
        (self.forge_totals)(&mut totals);
        let meter = Meter { counted: 0, owed: 0 };
        let document = Document {
            format: 2,
            revision: revision.as_str().into(),
            needs: Vec::new(),
            statement: statement.clone(),
            signature: None,
            salt: SALT,
            block_size: size().bytes(),
            next_file: self.next_file,
            ancestors: self.ancestors.clone(),
            runs,
            totals,
            clock: PushClock { at: now, full: meter, brief: meter, age: meter },
            retained: Vec::new(),
            dead_packs: Vec::new(),
            dead_runs: Vec::new(),
            dead_manifests: Vec::new(),
            due: Vec::new(),
        };
        self.ancestors = document.ancestors_of_next();
        let manifest = Manifest { document, inline }.write().unwrap();
        let pinned = ManifestRef { size: manifest.len() as u64, sha256: hex(&Sha256::digest(&manifest)) };
        objects.push((format!(".scribe/manifests/{}.zst", revision.as_str()), manifest));
        objects.push((".scribe/commit.json".into(), seal(&Commit::new(statement, pinned)).unwrap()));
        self.revision = Some(revision);
        objects
    }
}

/// Writes objects into a folder.
pub(crate) fn write(folder: &Path, objects: &Objects) {
    for (name, content) in objects {
        let path = folder.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
}

/// Sends objects to a remote path.
pub(crate) fn send(remote: &scribe_mover::remote::Remote, objects: &Objects) {
    let folder = assert_fs::TempDir::new().unwrap();
    write(folder.path(), objects);
    let upload = |(name, _): &(String, Vec<u8>)| File::open(folder.path().join(name)).unwrap();
    let files = objects.iter().map(|object| scribe_mover::store::Upload { name: object.0.as_bytes(), file: upload(object) }).collect();
    remote.send(files, scribe_mover::format::names::Folder::Live).unwrap();
}
