use super::*;
use crate::packs::commit::tests::statement;
use crate::packs::limits::FORMAT;
use crate::packs::manifest::{Meter, PushClock};
use crate::packs::node::{Kind, Node};
use crate::packs::reference::{Form, PackRow, Part, Place};
use crate::packs::run::Run;
use crate::packs::run::tests::{ID, Model, block, path, write};
use crate::packs::salt::Salt;
use crate::volume::entry::Meta;

const BLOCK: u32 = 16384;

fn put(model: &mut Model, name: &str, kind: Kind) {
    model.entries.insert(path(name.as_bytes()), Some(Node { meta: Meta::default(), kind }));
}

fn hash(number: u64) -> Hash {
    Hash(u128::from(number).to_le_bytes())
}

/// A volume of files that have blocks by themselves, and of small files that share a frame. Every third file has two names.
fn volume(files: u64) -> (Model, Document) {
    let mut model = Model::default();
    put(&mut model, "", Kind::Dir);
    put(&mut model, "dir", Kind::Dir);
    put(&mut model, "dir/link", Kind::Symlink((*b"../x").into()));
    let (mut at, mut live, mut blocks) = (0, 0, 0);
    for id in 0..files {
        let size = if id % 2 == 0 { u64::from(BLOCK) * (id % 4) + 7 } else { 100 };
        let mut content = ContentHash::new(size, block());
        // Block 1 of each larger file is zero.
        for number in (0..block().count(size)).filter(|number| *number != 1) {
            let plain = block().length(size, number);
            let mut place = Place { offset: at, stored: 5, form: Form::Zstd, plain, part: None, born: id % 3 };
            if size == 100 {
                place = Place { stored: 500, part: Some(Part { offset: u32::try_from(id / 2).unwrap() * 100, frame: 100_000 }), ..place };
                place.offset = 0;
            } else {
                place.offset += 500;
                at += 5;
            }
            let of = BlockRef { hash: hash(id << 20 | number), pack: ID, place };
            content.add(number, &of.hash);
            model.blocks.insert(RefKey { file: id, block: number }, Some(of));
            (live, blocks) = (live + u64::from(place.weight()), blocks + 1);
        }
        let file = FileNode { id, size, content: content.end(), changed: id % 3, hints: None };
        // Not in the order of their ids.
        let names = [format!("dir/{}", files - id), format!("{id} again")];
        for name in names.iter().take(if id % 3 == 0 { 2 } else { 1 }) {
            put(&mut model, name, Kind::File(file));
        }
    }
    let row = PackRow { size: 500 + u64::from(at) + TRAILER as u64, md5: [1; 16], live, blocks, born: 1 };
    model.packs.insert(ID, Some(row));
    let sizes = model.entries.values().filter_map(|node| node.as_ref()?.file()).map(|file| file.size);
    let revision = "20261123T042858Z-1c9a77e0-17-5f2e";
    let says = crate::packs::commit::Statement {
        entries: model.entries.len() as u64 - 1,
        files: sizes.clone().count() as u64,
        bytes: sizes.sum(),
        ..statement(revision)
    };
    let document = Document {
        format: FORMAT,
        revision: revision.into(),
        needs: Vec::new(),
        statement: says,
        signature: None,
        salt: Salt([1; 16]),
        block_size: BLOCK,
        next_file: files,
        ancestors: Vec::new(),
        runs: Vec::new(),
        clock: PushClock { at: jiff::Timestamp::UNIX_EPOCH, full: Meter::default(), brief: Meter::default(), age: Meter::default() },
        totals: Totals { blocks, packs: 1, pack_bytes: row.size, live },
        retained: Vec::new(),
        dead_packs: Vec::new(),
        dead_runs: Vec::new(),
        dead_manifests: Vec::new(),
        due: Vec::new(),
    };
    (model, document)
}

fn checked(model: &Model, document: &Document, at_a_time: usize) -> std::result::Result<(), String> {
    let (bytes, of) = write(model);
    let map = Map::open([Run::open(bytes, &of, block())]).unwrap();
    let stop = Stop::default();
    Checking::new(&map, document, &stop, at_a_time).and_then(Checking::all).map_err(|failure| failure.message)
}

/// Whatever fits into memory at a time.
const ALL: [usize; 5] = [1, 2, 7, 40, 1000];

#[test]
fn a_map_that_adds_up_is_one() {
    for files in [0, 1, 2, 40] {
        let (mut model, mut document) = volume(files);
        if files == 0 {
            model.packs.clear();
            document.totals = Totals::default();
        }
        for at_a_time in ALL {
            assert_eq!(checked(&model, &document, at_a_time), Ok(()), "{files} {at_a_time}");
        }
        let (bytes, of) = write(&model);
        let map = Map::open([Run::open(bytes, &of, block())]).unwrap();
        check(&map, &document, &Stop::default()).unwrap();
    }
}

fn block_of(model: &mut Model, file: u64, number: u64) -> &mut BlockRef {
    model.blocks.get_mut(&RefKey { file, block: number }).unwrap().as_mut().unwrap()
}

fn file_of<'a>(model: &'a mut Model, name: &str) -> &'a mut FileNode {
    match &mut model.entries.get_mut(&path(name.as_bytes())).unwrap().as_mut().unwrap().kind {
        Kind::File(file) => file,
        _ => panic!(),
    }
}

/// Lets the sums fit again.
fn weigh(model: &mut Model, document: &mut Document) {
    let live = model.blocks.values().flatten().map(|of| u64::from(of.place.weight())).sum();
    model.packs.get_mut(&ID).unwrap().as_mut().unwrap().live = live;
    document.totals.live = live;
}

/// A way to damage a volume of 40 files.
type Damage = fn(&mut Model, &mut Document);

#[test]
fn whatever_does_not_add_up_is_named() {
    let cases: &[(&str, Damage)] = &[
        ("directory of dir/1 is missing", |model, _| put(model, "dir", Kind::Fifo)),
        ("directory of 0 again is missing", |model, _| drop(model.entries.remove(&path(b"")))),
        ("other entries", |model, _| drop(model.entries.remove(&path(b"dir/link")))),
        ("other entries", |_, document| document.statement.bytes += 1),
        ("other entries", |_, document| document.statement.files -= 1),
        ("an id, or is of a generation", |_, document| document.next_file = 39),
        ("an id, or is of a generation", |model, _| file_of(model, "dir/39").changed = 18),
        ("say different things", |model, _| file_of(model, "3 again").content = hash(u64::MAX)),
        ("say different things", |model, _| file_of(model, "dir/37").changed = 2),
        ("blocks of file 40, which no entry", |model, _| {
            let of = *block_of(model, 2, 0);
            model.blocks.insert(RefKey { file: 40, block: 0 }, Some(of));
        }),
        ("blocks of file 4, which no entry", |model, document| {
            let file = *file_of(model, "dir/36");
            put(model, "dir/36", Kind::Fifo);
            (document.statement.files, document.statement.bytes) = (document.statement.files - 1, document.statement.bytes - file.size);
        }),
        ("blocks of file 2 are not its content", |model, _| model.blocks.retain(|key, _| *key != RefKey { file: 2, block: 2 })),
        ("blocks of file 2 are not its content", |model, _| block_of(model, 2, 0).hash = hash(1)),
        ("blocks of file 39 are not its content", |model, _| model.blocks.retain(|key, _| key.file != 39)),
        ("block 3 of file 2 is none", |model, _| {
            let of = *block_of(model, 2, 0);
            model.blocks.insert(RefKey { file: 2, block: 3 }, Some(of));
        }),
        ("block 2 of file 2 is none", |model, _| block_of(model, 2, 2).place.plain = 8),
        ("block 0 of file 2 is none", |model, _| block_of(model, 2, 0).place.born = 3),
        ("is not in it, but blocks", |model, _| block_of(model, 2, 0).pack.number += 1),
        ("behind the end", |model, _| {
            let row = model.packs.get_mut(&ID).unwrap().as_mut().unwrap();
            row.size -= 1;
        }),
        ("other blocks are needed", |model, _| model.packs.get_mut(&ID).unwrap().as_mut().unwrap().live -= 1),
        ("other blocks are needed", |model, _| model.packs.get_mut(&ID).unwrap().as_mut().unwrap().blocks -= 1),
        ("of no generation so far", |model, _| model.packs.get_mut(&ID).unwrap().as_mut().unwrap().born = 18),
        ("its totals", |_, document| document.totals.blocks += 1),
        ("its totals", |_, document| document.totals.pack_bytes += 1),
        ("takes the place", |model, _| block_of(model, 2, 2).place.offset -= 1),
        ("takes the place", |model, _| {
            let first = block_of(model, 2, 0).place.offset;
            block_of(model, 2, 2).place.offset = first;
        }),
        ("takes the place", |model, document| {
            block_of(model, 3, 0).place.part = Some(Part { offset: 50, frame: 100_000 });
            weigh(model, document);
        }),
        ("takes the place", |model, document| {
            block_of(model, 3, 0).place.part = Some(Part { offset: 0, frame: 100_000 });
            weigh(model, document);
        }),
        // Two frames that begin at the same byte.
        ("takes the place", |model, document| {
            block_of(model, 3, 0).place.stored = 501;
            weigh(model, document);
        }),
    ];
    let (model, document) = volume(40);
    for (what, damage) in cases {
        let (mut model, mut document) = (model.clone(), document.clone());
        damage(&mut model, &mut document);
        for at_a_time in ALL {
            let message = checked(&model, &document, at_a_time).unwrap_err();
            assert!(message.contains(what), "{what}: {message}");
        }
    }
}

#[test]
fn a_stop_is_heeded() {
    let (model, document) = volume(40);
    let (bytes, of) = write(&model);
    let map = Map::open([Run::open(bytes, &of, block())]).unwrap();
    let stop = Stop::default();
    stop.request();
    assert_eq!(check(&map, &document, &stop).unwrap_err().reason, crate::report::Reason::MoverKilled);
}
