//! What somebody may put into a bucket does not fill the memory of who reads it. Alone in its process, whose memory it measures.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test")]

use std::fs;
use std::io::Cursor;

use scribe_mover::digest::Digest;
use scribe_mover::packs::id::ObjectId;
use scribe_mover::packs::manifest::Manifest;
use scribe_mover::packs::map::Map;
use scribe_mover::packs::reference::{BlockRef, Form, Place, RefKey};
use scribe_mover::packs::run::{Counts, Entries, Hashes, Packs, References, Run, RunRef, RunWriter, Section};
use scribe_mover::packs::salt::Hash;
use scribe_mover::packs::size::BlockSize;
use scribe_mover::report::Reason;
use sha2::{Digest as _, Sha256};

/// The highest that the memory of this process was, in bytes; from now on if `again`.
fn peak(again: bool) -> u64 {
    if again {
        fs::write("/proc/self/clear_refs", "5").unwrap();
    }
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() << 10
}

fn varint(mut number: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while number > 0x7f {
        bytes.push(u8::try_from(number & 0x7f).unwrap() | 0x80);
        number >>= 7;
    }
    bytes.push(u8::try_from(number).unwrap());
    bytes
}

/// What the index says of a window.
fn window(rows: u64, stored: &[u8], plain: u64) -> Vec<u8> {
    [varint(rows), varint((stored.len() as u64) << 1 | 1), varint(plain), Sha256::digest(stored)[..16].to_vec()].concat()
}

/// A run of these windows and this index, every hash of it right.
fn run(windows: &[u8], index: &[u8], length: u64, counts: Counts) -> (Vec<u8>, RunRef) {
    let mut tail = index.to_vec();
    tail.extend(b"scribrun");
    for number in [2, 16384, u32::try_from(index.len()).unwrap(), u32::try_from(length).unwrap()] {
        tail.extend(number.to_le_bytes());
    }
    let sha256 = Digest(Sha256::digest(&tail).into());
    tail.extend(sha256.0);
    let (size, tail_length) = ((windows.len() + tail.len()) as u64, tail.len() as u64);
    let of = RunRef { id: ObjectId { push: 1, number: 1 }, size, tail: tail_length, sha256, first: 1, last: 1, counts, inline: false };
    ([windows, &tail].concat(), of)
}

fn read_all<S: Section>(run: &Run<Vec<u8>>) -> Result<(), Reason> {
    run.rows::<S>().try_for_each(|row| row.map(drop)).map_err(|failure| failure.reason)
}

/// Reads it as far as it can be read, and says how much memory that took.
fn read(bytes: &[u8], of: &RunRef) -> (Result<(), Reason>, u64) {
    let bytes = bytes.to_vec();
    let before = peak(true);
    let read = Run::open(bytes, of, BlockSize::new(16384).unwrap()).map_err(|failure| failure.reason).and_then(|run| {
        read_all::<Entries>(&run)?;
        read_all::<Hashes>(&run)?;
        read_all::<References>(&run)?;
        read_all::<Packs>(&run)
    });
    (read, peak(false) - before)
}

const MIB: u64 = 1 << 20;

fn refused(what: &str, most: u64, (bytes, of): &(Vec<u8>, RunRef)) {
    let (read, took) = read(bytes, of);
    assert_eq!(read, Err(Reason::RemoteInconsistent), "{what}");
    assert!(took <= most, "{what} took {} KiB", took >> 10);
}

/// A map of as many runs as there may be, each of many windows: it is read with one window of each in memory.
fn sixty_four_runs() {
    let block = BlockSize::new(16384).unwrap();
    let mut writer = RunWriter::new(Vec::new(), Cursor::new(Vec::new()), block);
    let mut random = fastrand::Rng::with_seed(1);
    for number in 0..20_000 {
        let place =
            Place { offset: random.u32(..1 << 25), stored: random.u32(1..16384), form: Form::Zstd, plain: 16384, part: None, born: 1 };
        let of = BlockRef { hash: Hash(random.u128(..).to_le_bytes()), pack: ObjectId { push: 1, number: 1 }, place };
        writer.block(RefKey { file: 1, block: number }, Some(&of)).unwrap();
    }
    let (bytes, written) = writer.finish().unwrap();
    assert!(bytes.len() > 400_000);
    let of = written.named(ObjectId { push: 1, number: 1 }, 1, 1);
    let before = peak(true);
    let map = Map::open((0..64).map(|_| Run::open(&bytes, &of, block))).unwrap();
    assert_eq!(map.rows::<Hashes>().map(Result::unwrap).count(), 20_000);
    let took = peak(false) - before;
    assert!(took <= 14 * MIB, "a map of 64 runs took {} KiB", took >> 10);
}

#[test]
fn what_anybody_wrote_takes_little_memory() {
    sixty_four_runs();
    let bomb = zstd::encode_all(&*vec![0; 1 << 30], 1).unwrap();
    let huge = u64::from(u32::MAX);
    let entries = |rows, plain| {
        let index = [varint(1), window(rows, &bomb, plain), varint(1), b"a".to_vec(), varint(0), varint(0)].concat();
        let length = index.len() as u64;
        run(&bomb, &index, length, Counts { entries: rows, ..Counts::default() })
    };
    for plain in [huge, 1 << 30, 2 << 20] {
        refused("a window that says that it is large", MIB, &entries(1, plain));
    }
    refused("a window that is larger than it says", 2 * MIB, &entries(2, 128 << 10));
    refused("a row that is larger than it says", 4 * MIB, &entries(1, 1 << 20));

    for length in [huge, 1 << 30] {
        refused("an index that says that it is large", MIB, &run(b"", &bomb, length, Counts::default()));
    }
    refused("an index that is larger than it says", 20 * MIB, &run(b"", &bomb, 16 << 20, Counts::default()));
    // An index of nothing but windows: each takes some 18 bytes of it.
    let one = [varint(1), varint(1 << 1), vec![7; 16]].concat();
    let many: Vec<u8> = (0..800_000_u32).flat_map(|number| [&one[..], &varint(6), format!("{number:06}").as_bytes()].concat()).collect();
    let index = [varint(800_000), many[..16 << 20].to_vec()].concat();
    let packed = zstd::encode_all(&index[..16 << 20], 1).unwrap();
    refused("an index of too many windows", 70 * MIB, &run(b"", &packed, 16 << 20, Counts::default()));

    // A billion blocks that are gone, and a window that has 65,536 rows at most.
    let spans = [varint(0), varint(0), varint(1 << 31 | 1)].concat();
    let hashes = [varint(spans.len() as u64), varint(0), varint(0), varint(0), spans].concat();
    let raw = |rows: u64, bytes: &[u8]| [varint(rows), varint((bytes.len() as u64) << 1), Sha256::digest(bytes)[..16].to_vec()].concat();
    let places = [0];
    for rows in [1 << 30, 1 << 16] {
        let places_window = raw(rows, &places)[varint(rows).len()..].to_vec();
        let index = [varint(0), varint(1), raw(rows, &hashes), varint(0), varint(0), places_window, varint(0)].concat();
        let windows = [&hashes[..], &places].concat();
        let length = index.len() as u64;
        refused("more blocks than rows", MIB, &run(&windows, &index, length, Counts { blocks: rows, ..Counts::default() }));
    }

    // Manifests: a document without end, and one of billions of blocks, which is refused before a run is read.
    let before = peak(true);
    let revision = "20261123T042858Z-1c9a77e0-17-5f2e";
    let failure = Manifest::read(&*bomb, revision).unwrap_err();
    assert_eq!(failure.reason, Reason::RemoteInconsistent);
    let took = peak(false) - before;
    assert!(took <= 24 * MIB, "a document without end took {} KiB", took >> 10);
    let before = peak(true);
    for member in ["\"needs\":[", "\"ancestors\":[", "\"runs\":[", "\"new\":["] {
        let list = "\"\",".repeat(2_400_000);
        let line = format!("{{\"format\":2,{member}{list}\"\"]}}\n");
        let sealed = format!("{line}{{\"sha256\":\"{}\"}}\n", Digest(Sha256::digest(&line).into()).hex());
        let bytes = zstd::encode_all(sealed.as_bytes(), 1).unwrap();
        assert_eq!(Manifest::read(&*bytes, revision).unwrap_err().reason, Reason::RemoteInconsistent, "{member}");
    }
    let took = peak(false) - before;
    assert!(took <= 64 * MIB, "lists without end took {} KiB", took >> 10);
}
