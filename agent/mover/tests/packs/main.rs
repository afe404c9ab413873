//! Format 2 as the documentation has it: `book` reads it by `docs/remote-format.md` alone, without any code of the mover, and must read what the
//! mover writes. What was written once, in `golden`, is read for ever.

#![allow(clippy::unwrap_used, clippy::panic, missing_docs, reason = "a test")]

mod book;
mod sample;

use std::fs;
use std::path::PathBuf;

use scribe_mover::packs::manifest::Manifest;
use scribe_mover::packs::pack::verify;
use scribe_mover::packs::run::{Entries, Packs, References, Run};
use scribe_mover::packs::size::BlockSize;

fn golden(name: &str) -> Vec<u8> {
    fs::read(PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/packs/golden").join(name)).unwrap()
}

fn text(name: &str) -> String {
    String::from_utf8(golden(name)).unwrap()
}

/// The rows of a run as the mover reads them, written down as `book` does.
fn read_by_the_mover(bytes: Vec<u8>, of: &scribe_mover::packs::run::RunRef, block: BlockSize) -> String {
    let run = Run::open(bytes, of, block).unwrap();
    let entries = run.rows::<Entries>().map(|row| sample::entry(&row.unwrap()));
    let blocks = run.rows::<References>().map(|row| sample::block(&row.unwrap()));
    let packs = run.rows::<Packs>().map(|row| sample::pack(&row.unwrap()));
    entries.chain(blocks).chain(packs).collect()
}

/// Run with `UPDATE_GOLDEN=1` to write it anew, which is another format: what was pushed before cannot be read any more.
#[test]
fn what_was_written_once_is_read_for_ever() {
    let (manifest, pack) = sample::golden();
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        let dir = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/packs/golden");
        fs::write(dir.join("manifest.zst"), manifest.write().unwrap()).unwrap();
        fs::write(dir.join("pack"), &pack).unwrap();
        let book = book::Book::manifest(&manifest.write().unwrap());
        fs::write(dir.join("map.txt"), book.run(&manifest.inline[0])).unwrap();
        fs::write(dir.join("manifest.json"), serde_json::to_string_pretty(&book.document).unwrap() + "\n").unwrap();
    }
    let read = Manifest::read(&*golden("manifest.zst"), &manifest.document.revision).unwrap();
    let (of, bytes) = read.runs().next().unwrap();
    let block = read.document.block().unwrap();
    assert_eq!(read_by_the_mover(bytes.unwrap().clone(), of, block), text("map.txt"));
    let book = book::Book::manifest(&golden("manifest.zst"));
    let document: serde_json::Value = serde_json::from_slice(&golden("manifest.json")).unwrap();
    assert_eq!((book.run(bytes.unwrap()), &book.document), (text("map.txt"), &document));

    // The same today: what is compressed may become other bytes with another zstd.
    let today = book::Book::manifest(&manifest.write().unwrap());
    assert_eq!(today.document, document);
    assert_eq!(today.run(&manifest.inline[0]), text("map.txt"));
    assert_eq!(pack, golden("pack"));
    let named = text("map.txt").lines().find(|line| line.starts_with("pack ") && line.contains("size")).unwrap()[5..29].to_owned();
    verify(scribe_mover::packs::id::ObjectId::parse(&named).unwrap(), &*golden("pack")).unwrap();
    assert_eq!(book::pack(&golden("pack")), named);
}

/// Windows of all sections, compressed and not, more than one of each.
#[test]
fn a_large_run_is_read_by_the_book() {
    let (bytes, of) = sample::large();
    let manifest = book::Book::of(16384, [1; 16]);
    let by_the_book = manifest.run(&bytes);
    assert!(by_the_book.lines().count() > 50_000);
    assert!(by_the_book == read_by_the_mover(bytes, &of, BlockSize::new(16384).unwrap()), "the two read different rows");
}

/// From the commit to the content of a file, by the book.
#[test]
fn the_content_of_files_is_found_by_the_book() {
    let book = book::Book::manifest(&golden("manifest.zst"));
    let text = book.run(&book.inline[0]);
    let pack = golden("pack");
    let mut found = 0;
    for (id, content) in sample::contents() {
        found += book
            .blocks_of(&text, id, &pack)
            .iter()
            .map(|(number, plain)| {
                let from = usize::try_from(*number).unwrap() * 16384;
                assert_eq!(plain, &content[from..content.len().min(from + 16384)], "block {number} of file {id}");
                1
            })
            .sum::<u32>();
        assert_eq!(book.identity(&text, id, content.len() as u64), book::identity_of(&text, id), "of file {id}");
    }
    assert_eq!(found, 6);
}
