mod forged;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io::Cursor;
use std::ops::Range;

use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use proptest::sample::select;

use super::index::{Index, Of};
use super::window::Window;
use super::*;
use crate::error::Result;
use crate::packs::limits::{ATTRIBUTES, INDEX, LARGEST_PACK_OBJECT, WINDOW, WINDOWS};
use crate::packs::node::{FileNode, Kind, Node};
use crate::packs::reference::{BlockRef, Form, Hashed, PackRow, Part, Place, RefKey};
use crate::packs::salt::Hash;
use crate::packs::size::BlockSize;
use crate::report::Reason;
use crate::volume::entry::{Hints, Meta, Time};
use crate::volume::path::RelPath;
use crate::volume::xattrs::{Attribute, Attributes};

/// What a run has, by key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::packs) struct Model {
    pub(in crate::packs) entries: BTreeMap<RelPath, Option<Node>>,
    pub(in crate::packs) blocks: BTreeMap<RefKey, Option<BlockRef>>,
    pub(in crate::packs) packs: BTreeMap<ObjectId, Option<PackRow>>,
}

pub(in crate::packs) const ID: ObjectId = ObjectId { push: 0xab, number: 1 };

pub(in crate::packs) fn block() -> BlockSize {
    BlockSize::of_volume(0)
}

pub(in crate::packs) fn writer() -> RunWriter<Vec<u8>, Cursor<Vec<u8>>> {
    RunWriter::new(Vec::new(), Cursor::default(), block())
}

pub(in crate::packs) fn write(model: &Model) -> (Vec<u8>, RunRef) {
    let mut to = writer();
    model.entries.iter().for_each(|(path, node)| to.entry(path, node.as_ref()).unwrap());
    model.blocks.iter().for_each(|(key, of)| to.block(*key, of.as_ref()).unwrap());
    model.packs.iter().for_each(|(id, row)| to.pack(*id, row.as_ref()).unwrap());
    let (bytes, written) = to.finish().unwrap();
    assert_eq!(bytes.len() as u64, written.size);
    (bytes, written.named(ID, 1, 1))
}

fn all<R: ReadAt, S: Section>(run: &Run<R>) -> Result<BTreeMap<S::Key, Option<S::Value>>> {
    run.rows::<S>().collect()
}

pub(in crate::packs) fn read(bytes: &Vec<u8>, of: &RunRef) -> Result<Model> {
    let run = Run::open(bytes, of, block())?;
    let model = Model { entries: all::<_, Entries>(&run)?, blocks: all::<_, References>(&run)?, packs: all::<_, Packs>(&run)? };
    let hashes = all::<_, Hashes>(&run)?;
    assert!(hashes.into_iter().eq(model.blocks.iter().map(|(key, of)| (*key, of.as_ref().map(Hashed::from)))), "both ways to read blocks");
    Ok(model)
}

pub(in crate::packs) fn path(text: &[u8]) -> RelPath {
    RelPath::new(text).unwrap()
}

prop_compose! {
    fn time()(secs in prop_oneof![Just(0), 1_700_000_000..1_700_000_100_i64, any::<i64>()], nanos in 0..1_000_000_000_u32) -> Time {
        Time { secs, nanos }
    }
}

prop_compose! {
    fn file()(
        id in prop_oneof![0..20_u64, 0..=1_u64 << 47], size in prop_oneof![0..100_000_u64, 0..=1_u64 << 60], content: [u8; 16],
        changed: u64, hints in prop::option::of((time(), any::<u64>())),
    ) -> Kind {
        let hints = hints.map(|(ctime, inode)| Hints { ctime, inode });
        Kind::File(FileNode { id, size, content: Hash(content), changed, hints })
    }
}

prop_compose! {
    fn node()(
        mode in select(vec![0o644, 0o4755, 0]), uid in select(vec![0, 1000, u32::MAX - 1]), gid in select(vec![0, 7]), mtime in time(),
        names in btree_map(select(vec![&b"user.a"[..], b"user.\xff", b"security.capability"]), vec(any::<u8>(), 0..20), 0..3),
        kind in prop_oneof![Just(Kind::Dir), Just(Kind::Fifo), file(), vec(any::<u8>(), 0..30).prop_map(|to| Kind::Symlink(to.into()))],
        same_ctime: bool,
    ) -> Node {
        let attributes = names.into_iter().map(|(name, value)| Attribute { name: name.into(), value: value.into() }).collect();
        let mut kind = kind;
        if let Kind::File(FileNode { hints: Some(hints), .. }) = &mut kind && same_ctime {
            hints.ctime = mtime;
        }
        Node { meta: Meta { mode, uid, gid, mtime, attributes: Attributes::new(attributes) }, kind }
    }
}

prop_compose! {
    fn some_path()(parts in vec(select(vec![&b"a"[..], b"b", b"a.b", b"a-", b"\xff\n", b"longer name", "\u{e9}".as_bytes()]), 0..4)) -> RelPath {
        path(&parts.join(&b'/'))
    }
}

fn id() -> impl Strategy<Value = ObjectId> {
    (select(vec![1, 2, u64::MAX]), prop_oneof![0..5_u32, any::<u32>()]).prop_map(|(push, number)| ObjectId { push, number })
}

prop_compose! {
    /// Places that often follow each other, or are parts of one frame.
    fn place()(
        offset in select(vec![0_u32, 100, 300, 1 << 20]), stored in select(vec![100_u32, 200, 16384]), zstd: bool,
        plain in prop_oneof![Just(16384_u32), 1..=16384_u32], part in prop::option::of((0..3_u32, select(vec![20_000_u32, 131_072]))),
        born in prop_oneof![0..3_u64, any::<u64>()],
    ) -> Place {
        let part = part.map(|(nth, frame)| Part { offset: (nth * 1000).min(frame - plain), frame });
        let whole = part.map_or(plain, |part| part.frame);
        let (form, stored) = if zstd && stored < whole { (Form::Zstd, stored) } else { (Form::Raw, whole) };
        Place { offset, stored, form, plain, part, born }
    }
}

prop_compose! {
    fn reference()(hash: [u8; 16], pack in id(), place in place()) -> BlockRef {
        BlockRef { hash: Hash(hash), pack, place }
    }
}

prop_compose! {
    fn pack_row()(size in 53..=LARGEST_PACK_OBJECT, md5: [u8; 16], live in 1..=2_u64, blocks in 1..100_u64, born: u64) -> PackRow {
        PackRow { size, md5, live, blocks, born }
    }
}

prop_compose! {
    pub(in crate::packs) fn model()(
        entries in btree_map(some_path(), prop::option::weighted(0.8, node()), 0..12),
        blocks in btree_map(
            (prop_oneof![0..4_u64, 0..1_u64 << 47], prop_oneof![0..30_u64, 0..1_u64 << 47]), prop::option::weighted(0.8, reference()), 0..40,
        ),
        packs in btree_map(id(), prop::option::weighted(0.8, pack_row()), 0..6),
    ) -> Model {
        let blocks = blocks.into_iter().map(|((file, block), of)| (RefKey { file, block }, of)).collect();
        Model { entries, blocks, packs }
    }
}

/// More of everything than fits into a window.
pub(in crate::packs) fn large() -> Model {
    let mut model = Model::default();
    let mut random = fastrand::Rng::with_seed(7);
    for n in 0..9000_u64 {
        let content = Hash(random.u128(..).to_le_bytes());
        let file = FileNode { id: n, size: n, content, changed: n % 7, hints: Some(Hints { ctime: Time::default(), inode: n * 3 }) };
        let node = Node { meta: Meta { mode: 0o644, ..Meta::default() }, kind: Kind::File(file) };
        model.entries.insert(path(format!("folder {}/file {n}", n % 11).as_bytes()), (n % 50 != 0).then_some(node));
    }
    for n in 0..40_000_u64 {
        let place = Place {
            offset: random.u32(..1 << 25),
            stored: random.u32(1..16384),
            form: Form::Zstd,
            plain: 16384,
            part: None,
            born: n / 9000,
        };
        let of = BlockRef { hash: Hash(random.u128(..).to_le_bytes()), pack: ObjectId { push: 1, number: random.u32(..300) }, place };
        model.blocks.insert(RefKey { file: n / 9000, block: n % 9000 * (1 + n / 9000) }, (n % 100 != 0).then_some(of));
    }
    for number in 0..9000 {
        let row = PackRow { size: 1 << 24, md5: random.u128(..).to_le_bytes(), live: 7, blocks: 1, born: 1 };
        model.packs.insert(ObjectId { push: u64::from(number / 100), number }, Some(row));
    }
    model
}

/// Remembers what was read.
struct Watched(Vec<u8>, RefCell<Vec<Range<u64>>>);

impl ReadAt for &Watched {
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<()> {
        self.1.borrow_mut().push(offset..offset + buffer.len() as u64);
        self.0.read_at(offset, buffer)
    }
}

proptest! {
    #[test]
    fn everything_comes_back_and_is_written_one_way(model in model()) {
        let (bytes, of) = write(&model);
        prop_assert_eq!(read(&bytes, &of).unwrap(), model.clone());
        prop_assert_eq!(write(&model), (bytes, of));
    }

    /// Whatever happens to a byte, or to all of them from one on: never other rows, and never none.
    #[test]
    fn an_altered_run_is_refused(model in model(), at: prop::sample::Index, other: prop::sample::Index, byte in 1..=255_u8) {
        let (bytes, of) = write(&model);
        let (at, other) = (at.index(bytes.len()), other.index(bytes.len()));
        let mut flipped = bytes.clone();
        flipped[at] ^= byte;
        let spliced = [&bytes[..at], &bytes[other..]].concat();
        for altered in [flipped, spliced, bytes[..at].to_vec(), vec![byte; bytes.len()]] {
            if altered != bytes {
                prop_assert_eq!(read(&altered, &of).map_err(|failure| failure.reason), Err(Reason::RemoteInconsistent));
            }
        }
        let named = [
            RunRef { tail: of.tail ^ u64::from(byte), ..of.clone() },
            RunRef { size: of.size ^ u64::from(byte), ..of.clone() },
            RunRef { size: u64::MAX, ..of.clone() },
            RunRef { size: u64::MAX, tail: u64::MAX, ..of.clone() },
            RunRef { counts: Counts { blocks: of.counts.blocks + 1, ..of.counts }, ..of },
        ];
        for of in named {
            prop_assert_eq!(read(&bytes, &of).map_err(|failure| failure.reason), Err(Reason::RemoteInconsistent));
        }
    }
}

#[test]
fn rows_of_many_windows_are_found_by_their_keys() {
    let model = large();
    let (bytes, of) = write(&model);
    assert_eq!(read(&bytes, &of).unwrap(), model);
    let source = Watched(bytes, RefCell::default());
    let run = Run::open(&source, &of, block()).unwrap();
    assert!(run.index.entries.len() > 1 && run.index.hashes.len() > 3 && run.index.packs.len() > 1);
    for (key, _) in model.blocks.iter().step_by(997) {
        let rows: Vec<_> = run.rows_from::<References>(key).take(3).map(Result::unwrap).collect();
        assert!(rows.iter().eq(model.blocks.range(key..).take(3).map(|(key, of)| (*key, *of)).collect::<Vec<_>>().iter()));
        let between = RefKey { block: key.block + 1, ..*key };
        let next = run.rows_from::<Hashes>(&between).next().map(|row| row.unwrap().0);
        assert_eq!(next, model.blocks.range(between..).next().map(|(key, _)| *key));
    }
    for (key, _) in model.entries.iter().step_by(997) {
        assert_eq!(run.rows_from::<Entries>(key).next().unwrap().unwrap(), (key.clone(), model.entries[key].clone()));
    }
    assert_eq!(run.rows_from::<Packs>(&ObjectId { push: u64::MAX, number: 0 }).count(), 0);
    assert_eq!(run.rows_from::<Packs>(&ObjectId { push: 0, number: 0 }).count(), 9000);
}

/// A push reads the hashes of a changed file and nothing else.
#[test]
fn what_has_to_be_fetched_is_known_before() {
    let (bytes, of) = write(&large());
    let source = Watched(bytes, RefCell::default());
    let run = Run::open(&source, &of, block()).unwrap();
    let (from, to) = (RefKey { file: 2, block: 0 }, RefKey { file: 2, block: u64::MAX });
    source.1.borrow_mut().clear();
    let rows = run.rows_from::<Hashes>(&from).map(Result::unwrap).take_while(|(key, _)| *key <= to).count();
    assert_eq!(rows, 9000);
    assert_eq!(*source.1.borrow(), run.ranges::<Hashes>(&from, &to));
    let of_hashes: u64 = source.1.borrow().iter().map(|range| range.end - range.start).sum();
    assert!(of_hashes < 9000 * 24 + 2 * (WINDOW as u64), "{of_hashes}");
    source.1.borrow_mut().clear();
    assert_eq!(run.rows_from::<References>(&from).map(Result::unwrap).take_while(|(key, _)| *key <= to).count(), 9000);
    let mut fetched = source.1.borrow().clone();
    fetched.sort_by_key(|range| range.start);
    assert_eq!(fetched, run.ranges::<References>(&from, &to));
}

#[test]
fn rows_out_of_order_are_not_written() {
    let dir = Node { meta: Meta::default(), kind: Kind::Dir };
    let (a, b) = (path(b"a"), path(b"b"));
    let mut to = writer();
    to.entry(&b, Some(&dir)).unwrap();
    assert!(to.entry(&a, None).is_err() && to.entry(&b, None).is_err());
    let key = |block| RefKey { file: 1, block };
    to.block(key(2), None).unwrap();
    assert!(to.block(key(2), None).is_err() && to.block(key(1), None).is_err() && to.entry(&path(b"c"), None).is_err());
    to.pack(ID, None).unwrap();
    assert!(to.pack(ID, None).is_err() && to.block(key(3), None).is_err() && to.entry(&path(b"c"), None).is_err());
}

/// What a push of a hundred pages of a database writes: 16 kB at most.
#[test]
fn a_run_of_a_hundred_blocks_is_small() {
    let mut random = fastrand::Rng::with_seed(3);
    let mut model = Model::default();
    for n in 0..100 {
        let place = Place { offset: n * 5000, stored: random.u32(4000..6000), form: Form::Zstd, plain: 16384, part: None, born: 9001 };
        let of = BlockRef { hash: Hash(random.u128(..).to_le_bytes()), pack: ID, place };
        model.blocks.insert(RefKey { file: 11, block: random.u64(..61_000) }, Some(of));
        let row = PackRow {
            size: 16 << 20,
            md5: random.u128(..).to_le_bytes(),
            live: random.u64(..16 << 20),
            blocks: 4000,
            born: random.u64(..9000),
        };
        model.packs.insert(ObjectId { push: random.u64(..), number: 0 }, Some(row));
    }
    let size = write(&model).1.size;
    assert!(size < 9 * 1024, "{size}");
}

#[test]
fn an_entry_may_have_a_megabyte_of_attributes_and_no_more() {
    let with = |bytes: usize| {
        let values = (0..16_u8).map(|n| Attribute { name: [b"user.", &[b'a' + n][..]].concat().into(), value: vec![n; bytes / 16].into() });
        let meta = Meta { attributes: Attributes::new(values.collect()), ..Meta::default() };
        Node { meta, kind: Kind::Dir }
    };
    let small = Node { meta: Meta::default(), kind: Kind::Dir };
    let fits = with(ATTRIBUTES - 16 * 14);
    let entries = [(path(b"a"), small.clone()), (path(b"b"), fits), (path(b"c"), small)];
    let model = Model { entries: entries.into_iter().map(|(path, node)| (path, Some(node))).collect(), ..Model::default() };
    let (bytes, of) = write(&model);
    assert_eq!(read(&bytes, &of).unwrap(), model);
    let failure = writer().entry(&path(b"a"), Some(&with(ATTRIBUTES - 16 * 13))).unwrap_err();
    assert_eq!(failure.reason, Reason::VolumeUnreadable);
    assert!(failure.message.contains("a has more extended attributes than can be replicated"), "{failure}");
}

/// Of windows, and of bytes of the index, where the names in it are long.
#[test]
fn a_map_that_no_reader_takes_is_refused_with_what_to_do() {
    let window = Window { offset: 0, stored: 1, plain: 1, zstd: false, hash: Hash::default() };
    for (windows, name, what) in [(WINDOWS + 1, 1, "windows"), (usize::try_from(INDEX).unwrap() / 4_000, 4_000, "bytes of index")] {
        let of = Of { window, rows: 1, first: path(&vec![b'x'; name]) };
        let failure = Index { entries: vec![of; windows], ..Index::new(block()) }.tail(0).unwrap_err();
        assert_eq!(failure.reason, Reason::MoverFailed);
        assert!(
            failure.message.contains(&format!("{what}, and a path takes ")) && failure.message.contains("exclude some of it"),
            "{failure}"
        );
    }
}
