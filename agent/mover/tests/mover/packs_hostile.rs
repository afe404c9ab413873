//! Whole pulls of what somebody who may write to the bucket can put there of layout Packs: each ends in a failure that names it, within 128 MiB with
//! rclone, and leaves the volume as it was.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use scribe_mover::packs::id::ObjectId;
use scribe_mover::packs::manifest::Totals;
use scribe_mover::packs::node::{FileNode, Kind, Node};
use scribe_mover::packs::reference::BlockRef;
use scribe_mover::report::{Outcome, Reason};

use crate::packs_pull::noise;
use crate::support::Site;
use crate::support::cgroup::Cgroup;
use crate::support::packed::{BLOCK, Packs, Rows, send};
use crate::support::program::{mover, report};
use crate::support::server::Backend;
use crate::support::tree::{assert_same_but_for_room, write};

/// What is forged, how, and what the failure says.
type Forged<'a> = (&'a str, fn(Rows), &'a [&'a str]);
/// What is forged of the totals, and how.
type ForgedTotals<'a> = (&'a str, fn(&mut Totals));

/// A path with two files of eight blocks each, in packs of six, whose map was forged.
fn forged(rows: fn(Rows), totals: fn(&mut Totals)) -> Site {
    let (site, mut packs) = (Site::on(Backend::Local), Packs::new());
    (packs.pack, packs.inline, packs.forge, packs.forge_totals) = (6 * BLOCK as u64 + 4096, 0, rows, totals);
    for seed in 1..3 {
        write(site.source.path(), format!("f{seed}"), noise(seed, 8 * BLOCK));
    }
    send(&site.remote(), &packs.push(site.source.path()));
    site
}

fn objects(site: &Site, kind: &str) -> Vec<PathBuf> {
    let folder = site.object(&format!(".scribe/{kind}"));
    let mut objects: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    objects.sort();
    objects
}

/// Everything but the staging folder: files of the root alone.
fn live(volume: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let entries = fs::read_dir(volume).unwrap().map(|entry| entry.unwrap().path());
    entries.filter(|path| !path.ends_with(".scribe-staging")).map(|path| (path.clone(), fs::read(path).unwrap())).collect()
}

/// Pulls into a volume that holds other content, and expects one of these in the failure.
fn refused(what: &str, site: &Site, named: &[&str]) {
    let dest = site.dest.path();
    for private in [true, false] {
        write(dest, "f1", noise(9, 3 * BLOCK));
        write(dest, "stays", "stays");
        let before = live(dest);
        let group = Cgroup::new(128 << 20).unwrap();
        let more: &[&str] = if private { &["--private-volume"] } else { &[] };
        let output = group.enter(&mover(site, "pull", dest, more)).output().unwrap();
        assert_eq!(group.killed().unwrap(), 0, "{what}: {}", String::from_utf8_lossy(&output.stdout));
        let report = report(&output);
        assert_eq!((report.result, report.reason), (Outcome::Failed, Some(Reason::RemoteInconsistent)), "{what}: {}", report.message);
        assert!(named.iter().any(|named| report.message.contains(named)), "{what}: {}", report.message);
        assert_eq!(live(dest), before, "{what}");
    }
}

fn first(rows: &mut Rows) -> BlockRef {
    *rows.blocks.values().next().unwrap()
}

fn file(node: &mut Node) -> Option<&mut FileNode> {
    if let Kind::File(file) = &mut node.kind { Some(file) } else { None }
}

fn files(rows: &mut Rows, change: fn(&mut FileNode)) {
    rows.entries.values_mut().filter_map(file).for_each(change);
}

#[test]
fn a_map_that_was_forged_is_named_and_changes_nothing() {
    let cases: &[Forged] = &[
        (
            "a pack that there is not",
            |rows| rows.blocks.values_mut().for_each(|block| block.pack = ObjectId { push: 99, number: 9 }),
            &["pack"],
        ),
        ("a block behind the end of its pack", |rows| rows.blocks.values_mut().next().unwrap().place.offset = 1 << 25, &["pack", "block"]),
        (
            "two blocks at one place",
            |mut rows| {
                let place = first(&mut rows).place;
                rows.blocks.values_mut().nth(1).unwrap().place.offset = place.offset + 7;
            },
            &["pack", "block"],
        ),
        (
            "two blocks that were exchanged",
            |rows| {
                let mut blocks = rows.blocks.values_mut();
                let (a, b) = (blocks.next().unwrap(), blocks.next().unwrap());
                std::mem::swap(&mut a.place, &mut b.place);
            },
            &["pack"],
        ),
        (
            "blocks of the wrong pack",
            |rows| {
                let mut packs = rows.packs.keys();
                let (a, b) = (*packs.next().unwrap(), *packs.next().unwrap());
                for block in rows.blocks.values_mut() {
                    block.pack = if block.pack == a { b } else { a };
                }
            },
            &["pack"],
        ),
        ("a block of another content", |rows| rows.blocks.values_mut().next().unwrap().hash.0[0] ^= 1, &["content", "block"]),
        ("a block that is missing", |rows| assert!(rows.blocks.pop_first().is_some()), &["content", "block"]),
        (
            "a block of another length",
            |rows| {
                let place = &mut rows.blocks.values_mut().next().unwrap().place;
                (place.plain, place.stored) = (place.plain - 1, place.stored - 1);
            },
            &["length", "block"],
        ),
        (
            "a block billions behind the end of its file",
            |mut rows| {
                let block = first(&mut rows);
                let mut key = *rows.blocks.keys().last().unwrap();
                key.block = 1 << 40;
                rows.blocks.insert(key, block);
            },
            &["file", "block"],
        ),
        ("files of absurd size", |mut rows| files(&mut rows, |file| file.size = 1 << 40), &["size", "content", "bytes", "block"]),
        ("one file of two contents", |mut rows| files(&mut rows, |file| file.id = 0), &["names of file", "file"]),
        (
            "a file without its folder",
            |rows| {
                let node = rows.entries.values().last().unwrap().clone();
                rows.entries.insert(scribe_mover::volume::path::RelPath::new(b"no/such/folder").unwrap(), node);
            },
            &["no/such"],
        ),
    ];
    for (what, rows, named) in cases {
        println!("{what}");
        refused(what, &forged(*rows, |_| {}), named);
    }
}

/// Sums are no part of what a pull puts in place: whatever they say costs nothing, and what is in place is right.
#[test]
fn sums_that_were_forged_cost_nothing() {
    let cases: &[ForgedTotals] = &[
        ("as much as there may be", |totals| *totals = Totals { blocks: 1 << 29, packs: 1 << 21, pack_bytes: 1 << 46, live: 1 << 45 }),
        ("a block more", |totals| totals.blocks += 1),
        ("fewer bytes", |totals| totals.live -= 1),
    ];
    for (what, totals) in cases {
        let site = forged(|_| {}, *totals);
        let group = Cgroup::new(128 << 20).unwrap();
        let output = group.enter(&mover(&site, "pull", site.dest.path(), &["--private-volume"])).output().unwrap();
        assert_eq!((group.killed().unwrap(), report(&output).result), (0, Outcome::Successful), "{what}: {}", report(&output).message);
        assert_same_but_for_room(site.source.path(), site.dest.path());
    }
}

#[test]
fn objects_that_are_others_or_of_absurd_size_are_named() {
    let exchange = |objects: &[PathBuf]| {
        let content: Vec<_> = objects.iter().take(2).map(|object| fs::read(object).unwrap()).collect();
        fs::write(&objects[0], &content[1]).unwrap();
        fs::write(&objects[1], &content[0]).unwrap();
    };
    let site = forged(|_| {}, |_| {});
    exchange(&objects(&site, "packs"));
    refused("packs that were exchanged", &site, &["packs/", "pack"]);

    let site = forged(|_| {}, |_| {});
    let run = objects(&site, "runs").remove(0);
    fs::copy(&objects(&site, "packs")[0], &run).unwrap();
    refused("a pack in the place of a run", &site, &["run"]);

    for (kind, named) in [("packs", &["packs/", "pack"][..]), ("runs", &["run"]), ("manifests", &["manifest"])] {
        let site = forged(|_| {}, |_| {});
        for object in objects(&site, kind) {
            File::options().write(true).open(object).unwrap().set_len(200 << 20).unwrap();
        }
        refused(&format!("{kind} of absurd size"), &site, named);
    }
}
