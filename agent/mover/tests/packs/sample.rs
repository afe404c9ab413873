//! What the tests write, and rows as the mover reads them, as text.

use std::fmt::Write;
use std::io::Cursor;

use scribe_mover::format::documents::{ManifestRef, Owner};
use scribe_mover::packs::block::is_zero;
use scribe_mover::packs::commit::Statement;
use scribe_mover::packs::frame::Frame;
use scribe_mover::packs::id::ObjectId;
use scribe_mover::packs::manifest::{DeadManifest, DeadObject, Document, Manifest, Meter, PushClock, Reading, Retained, Totals};
use scribe_mover::packs::node::{FileNode, Kind, Node};
use scribe_mover::packs::pack::PackWriter;
use scribe_mover::packs::reference::{BlockRef, Form, PackRow, Part, Place, RefKey};
use scribe_mover::packs::run::{RunRef, RunWriter};
use scribe_mover::packs::salt::{ContentHash, Hash, Salt};
use scribe_mover::packs::size::BlockSize;
use scribe_mover::volume::entry::{Hints, Meta, Time};
use scribe_mover::volume::path::RelPath;
use scribe_mover::volume::xattrs::{Attribute, Attributes};

use crate::book::{hex, unhex};

const PUSH: u64 = 0x0123_4567_89ab_cdef;
const SALT: Salt = Salt([0x5a; 16]);
const REVISION: &str = "20261123T042858Z-1c9a77e0-130-5f2e";

fn block_size() -> BlockSize {
    BlockSize::new(16384).unwrap()
}

pub fn entry((path, node): &(RelPath, Option<Node>)) -> String {
    let mut text = format!("entry {} ", hex(path.as_bytes()));
    let Some(Node { meta, kind }) = node else { return text + "gone\n" };
    let number = match kind {
        Kind::Dir => 1,
        Kind::File(_) => 2,
        Kind::Symlink(_) => 3,
        Kind::Fifo => 4,
    };
    let _ = write!(
        text,
        "type {number} mode {:o} owner {}:{} mtime {}.{:09}",
        meta.mode, meta.uid, meta.gid, meta.mtime.secs, meta.mtime.nanos
    );
    for attribute in meta.attributes.iter() {
        let _ = write!(text, " with {}={}", hex(&attribute.name), hex(&attribute.value));
    }
    match kind {
        Kind::Symlink(target) => {
            let _ = write!(text, " to {}", hex(target));
        }
        Kind::File(file) => {
            let _ = write!(text, " id {} size {} changed {} content {:?}", file.id, file.size, file.changed, file.content);
            if let Some(hints) = file.hints {
                let nanos = if hints.ctime == meta.mtime { "as mtime".to_owned() } else { hints.ctime.nanos.to_string() };
                let _ = write!(text, " ctime {} {nanos} inode {}", hints.ctime.secs, hints.inode);
            }
        }
        _ => {}
    }
    text + "\n"
}

pub fn block((key, of): &(RefKey, Option<BlockRef>)) -> String {
    let text = format!("block {}.{} ", key.file, key.block);
    let Some(BlockRef { hash, pack, place }) = of else { return text + "gone\n" };
    let form = if place.form == Form::Zstd { "zstd" } else { "raw" };
    let (from, frame) = place.part.map_or((0, place.plain), |part| (part.offset, part.frame));
    let place_text = format!("{hash:?} pack {pack} at {}+{} {form} plain {} of {frame}", place.offset, place.stored, place.plain);
    format!("{text}{place_text} from {from} weight {} born {}\n", place.weight(), place.born)
}

pub fn pack((id, row): &(ObjectId, Option<PackRow>)) -> String {
    let Some(row) = row else { return format!("pack {id} gone\n") };
    format!("pack {id} size {} weight {} blocks {} born {} md5 {}\n", row.size, row.live, row.blocks, row.born, hex(&row.md5))
}

/// The contents of the golden files, by id: one of blocks with a hole, one of noise, and three small ones that share a frame.
pub fn contents() -> Vec<(u64, Vec<u8>)> {
    let mut random = fastrand::Rng::with_seed(1);
    let mut blocks = vec![b'a'; 16384];
    blocks.extend([0; 16384]);
    blocks.extend([b'c'; 100]);
    let noise = (0..300).map(|_| random.u8(..)).collect();
    let small = |n: u8| vec![b'0' + n; 700 + usize::from(n)];
    vec![(3, blocks), (4, noise), (7, small(1)), (8, small(2)), (129, small(3))]
}

/// What zstd made of the golden contents when they were first written. Another version may make other bytes of them.
const STORED: [(usize, &str); 3] = [
    (2106, "28b52ffd603a077d000020313132330314002dbb44d7c58505"),
    (16384, "28b52ffd60003f4d00001061610100fb9f0758"),
    (100, "28b52ffd206445000010636301003f012c"),
];

fn stored(plain: &[u8]) -> (Form, Vec<u8>) {
    match STORED.iter().find(|(length, _)| *length == plain.len()) {
        Some((_, text)) => (Form::Zstd, unhex(text)),
        None => (Form::Raw, plain.to_vec()),
    }
}

/// A manifest with one run, and the pack of it.
pub fn golden() -> (Manifest, Vec<u8>) {
    let id = ObjectId { push: PUSH, number: 2 };
    let (mut writer, mut frame) = (PackWriter::new(id, Vec::new(), 1 << 20), Frame::default());
    let mut blocks = Vec::new();
    let mut nodes = Vec::new();
    let small: Vec<u32> = contents()[2..].iter().map(|(_, content)| frame.add(content).unwrap()).collect();
    let (form, bytes) = stored(frame.plain());
    let (at, stored_bytes) = (writer.add(&bytes).unwrap(), u32::try_from(bytes.len()).unwrap());
    for (number, (file, content)) in contents().into_iter().enumerate() {
        let mut identity = ContentHash::new(content.len() as u64, block_size());
        for (block, plain) in (0..).zip(content.chunks(16384)).filter(|(_, plain)| !is_zero(plain)) {
            let length = u32::try_from(plain.len()).unwrap();
            let mut place = Place { offset: at, stored: stored_bytes, form, plain: length, part: None, born: 100 + block };
            if let Some(offset) = number.checked_sub(2).and_then(|number| small.get(number)) {
                place.part = Some(frame.part(*offset));
            } else {
                let (form, bytes) = stored(plain);
                let offset = writer.add(&bytes).unwrap();
                place = Place { offset, stored: bytes.len().try_into().unwrap(), form, ..place };
            }
            let of = BlockRef { hash: SALT.hash(plain), pack: id, place };
            identity.add(block, &of.hash);
            blocks.push((RefKey { file, block }, Some(of)));
        }
        let hints = (file != 4).then_some(Hints { ctime: Time { secs: 1_700_000_000, nanos: 5 }, inode: 1000 + file });
        nodes.push(FileNode { id: file, size: content.len() as u64, content: identity.end(), changed: 120 + file % 4, hints });
    }
    blocks.insert(1, (RefKey { file: 3, block: 1 }, None));
    blocks.push((RefKey { file: 1 << 40, block: 1 << 20 }, None));
    let (pack, packed) = writer.finish().unwrap();
    let live = blocks.iter().filter_map(|(_, of)| Some(u64::from(of.as_ref()?.place.weight()))).sum();
    let row = PackRow { size: packed.size, md5: packed.md5, live, blocks: 6, born: 130 };
    let packs = vec![(ObjectId { push: 1, number: 70_000 }, None), (ObjectId { push: PUSH, number: 1 }, None), (id, Some(row))];
    let (bytes, of) = run(&entries(&nodes), &blocks, &packs);
    let totals = Totals { blocks: 6, packs: 1, pack_bytes: packed.size, live };
    (Manifest { document: document(&of, totals), inline: vec![bytes] }, pack)
}

fn entries(files: &[FileNode]) -> Vec<(RelPath, Option<Node>)> {
    let attribute = |name: &[u8], value: &[u8]| Attribute { name: name.into(), value: value.into() };
    let attributes = Attributes::new(vec![attribute(b"user.a", b"1"), attribute(b"system.posix_acl_access", b"\0\xff")]);
    let plain =
        Meta { mode: 0o644, uid: 1000, gid: 1000, mtime: Time { secs: 1_700_000_000, nanos: 5 }, attributes: Attributes::default() };
    let old = Meta { mode: 0o4755, uid: 7, mtime: Time { secs: -2, nanos: 999_999_999 }, attributes, ..plain.clone() };
    let dir = Meta { mode: 0o755, ..plain.clone() };
    let path = |name: &[u8]| RelPath::new(name).unwrap();
    let mut rows = vec![
        (path(b""), dir.clone(), Kind::Dir),
        (path(b"db"), dir.clone(), Kind::Dir),
        (path(b"db/gone"), dir, Kind::Fifo),
        (path(b"db-pipe"), plain.clone(), Kind::Fifo),
        (path(b"link \xff"), Meta { mode: 0, ..old.clone() }, Kind::Symlink((*b"../db").into())),
    ];
    let names: [&[u8]; 6] = [b"db/ibdata1", b"db/noise", b"db/small-1", b"db/small-2", b"db/small-3", b"hard link of small-3"];
    for (name, number) in names.into_iter().zip([0, 1, 2, 3, 4, 4]) {
        rows.push((path(name), if number == 1 { old.clone() } else { plain.clone() }, Kind::File(files[number])));
    }
    let mut rows: Vec<_> = rows.into_iter().map(|(path, meta, kind)| (path, Some(Node { meta, kind }))).collect();
    rows.sort_by(|a, b| a.0.cmp(&b.0));
    rows.iter_mut().filter(|(name, _)| *name == path(b"db/gone")).for_each(|row| row.1 = None);
    rows
}

fn document(of: &RunRef, totals: Totals) -> Document {
    let time = |text: &str| text.parse().unwrap();
    let older = |generation: u64| format!("20261123T032858Z-1c9a77e0-{generation}-0a91");
    let statement = Statement {
        revision: REVISION.into(),
        parent: Some(older(129)),
        epoch: 0,
        data_time: time("2026-11-23T04:28:51Z"),
        checked_time: time("2026-11-23T04:28:51Z"),
        hints_time: time("2026-11-23T04:28:51Z"),
        rehashed_time: time("2026-11-22T22:28:51Z"),
        verified_time: time("2026-11-23T00:00:03Z"),
        latest_listed: Some(time("2026-11-22T23:29:40Z")),
        owner: Owner { namespace: "shop".into(), name: "database-source".into(), uid: "2f7c".into() },
        exclude: None,
        files: 6,
        entries: 9,
        bytes: contents().iter().map(|(_, content)| content.len() as u64).sum::<u64>() + 703,
        former: None,
    };
    let meter = |counted| Meter { counted, owed: 0 };
    let read = Reading { full: 86_400_000, brief: 3_600_000, age: 86_400_000 };
    let manifest = ManifestRef { size: 900, sha256: "ab".repeat(32) };
    Document {
        format: 2,
        revision: REVISION.into(),
        needs: Vec::new(),
        statement,
        signature: None,
        salt: SALT,
        block_size: 16384,
        next_file: 130,
        ancestors: vec![older(129), older(128), older(64)],
        runs: vec![RunRef { id: ObjectId { push: PUSH, number: 0 }, first: 1, last: 130, inline: true, ..of.clone() }],
        totals,
        clock: PushClock { at: time("2026-11-23T04:28:59Z"), full: meter(172_800_000), brief: meter(90_000_000), age: meter(604_800_000) },
        retained: vec![Retained {
            revision: older(120),
            data_time: time("2026-11-22T04:28:51Z"),
            committed: read,
            manifest,
            entries: None,
            bytes: None,
        }],
        dead_packs: vec![DeadObject { id: ObjectId { push: 1, number: 70_000 }, size: 16_777_216, born: 3, died: 130, since: None }],
        dead_runs: vec![DeadObject { id: ObjectId { push: 1, number: 1 }, size: 300, born: 3, died: 129, since: Some(read) }],
        dead_manifests: vec![DeadManifest { revision: older(119), size: 910, since: read }],
        due: Vec::new(),
    }
}

fn run(
    entries: &[(RelPath, Option<Node>)],
    blocks: &[(RefKey, Option<BlockRef>)],
    packs: &[(ObjectId, Option<PackRow>)],
) -> (Vec<u8>, RunRef) {
    let mut writer = RunWriter::new(Vec::new(), Cursor::new(Vec::new()), block_size());
    for (path, node) in entries {
        writer.entry(path, node.as_ref()).unwrap();
    }
    for (key, of) in blocks {
        writer.block(*key, of.as_ref()).unwrap();
    }
    for (id, row) in packs {
        writer.pack(*id, row.as_ref()).unwrap();
    }
    let (bytes, written) = writer.finish().unwrap();
    (bytes, written.named(ObjectId { push: PUSH, number: 0 }, 1, 1))
}

/// A run of many windows, with everything in it that a row may say.
pub fn large() -> (Vec<u8>, RunRef) {
    let mut random = fastrand::Rng::with_seed(5);
    let hash = |random: &mut fastrand::Rng| Hash(random.u128(..).to_le_bytes());
    let time = |random: &mut fastrand::Rng| Time { secs: random.i64(-5..2_000_000_000), nanos: random.u32(..1_000_000_000) };
    let mut entries = Vec::new();
    for n in 0..9000_u64 {
        let mtime = time(&mut random);
        let hints = Hints { ctime: if n % 3 == 0 { mtime } else { time(&mut random) }, inode: random.u64(..) };
        let file = FileNode {
            id: random.u64(..1 << 47),
            size: random.u64(..1 << 50),
            content: hash(&mut random),
            changed: random.u64(..),
            hints: (n % 4 > 0).then_some(hints),
        };
        let kind = match n % 9 {
            0 => Kind::Dir,
            1 => Kind::Fifo,
            2 => Kind::Symlink(format!("../{n}").into_bytes().into()),
            _ => Kind::File(file),
        };
        let value = Attribute { name: (*b"user.x").into(), value: n.to_le_bytes().into() };
        let attributes = Attributes::new(if n % 10 == 0 { vec![value] } else { Vec::new() });
        let meta = Meta { mode: random.u32(..0o7777), uid: random.u32(..9), gid: random.u32(..9), mtime, attributes };
        entries.push((RelPath::new(format!("{}/{n}", n / 1000).as_bytes()).unwrap(), (n % 50 > 0).then_some(Node { meta, kind })));
    }
    entries.sort_by(|a, b| a.0.cmp(&b.0));
    let mut blocks = Vec::new();
    let mut next = 0;
    for n in 0..45_000_u64 {
        let key = RefKey { file: n / 4000 * 7, block: n % 4000 * (1 + n / 40_000) };
        let (plain, stored) = (if n % 5 == 0 { random.u32(1..16384) } else { 16384 }, random.u32(1..20_000));
        let part = (n % 13 < 6).then(|| Part { offset: u32::try_from(n % 13).unwrap() * 16384, frame: 131_072 });
        // Parts of one frame have its place.
        let (at, stored) = if part.is_some() && n % 13 > 0 {
            (next, 20_000)
        } else {
            (random.u32(..1 << 25), if part.is_some() { 20_000 } else { stored })
        };
        let (form, stored) = if stored < part.map_or(plain, |part| part.frame) { (Form::Zstd, stored) } else { (Form::Raw, plain) };
        let offset = if n % 7 == 0 && part.is_none() { next } else { at };
        let place = Place { offset, stored, form, plain, part, born: n / 1000 };
        next = if part.is_some() { offset } else { offset + stored };
        let pack = ObjectId { push: random.u64(..3), number: u32::try_from(n / 50).unwrap() };
        let of = BlockRef { hash: hash(&mut random), pack: if n % 13 > 0 { ObjectId { push: 1, number: 4 } } else { pack }, place };
        blocks.push((key, (n % 100 < 97).then_some(of)));
    }
    let mut packs = Vec::new();
    for number in 0..6000 {
        let row = PackRow { size: random.u64(100..1 << 24), md5: random.u128(..).to_le_bytes(), live: 40, blocks: 3, born: number };
        packs.push((ObjectId { push: number / 10, number: random.u32(..1 << 20) }, (number % 40 > 0).then_some(row)));
    }
    packs.sort_by_key(|(id, _)| *id);
    packs.dedup_by_key(|(id, _)| *id);
    run(&entries, &blocks, &packs)
}
