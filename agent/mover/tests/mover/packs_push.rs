//! Pushes of layout Packs through rclone: what they send and ask for, counted, and what is there afterwards.

use std::fs;
use std::os::unix::fs::FileExt;

use scribe_mover::error::Result;
use scribe_mover::push::{PushOptions, Synced, push_packs};
use scribe_mover::remote::{Read, Remote};
use scribe_mover::volume::exclude::Exclude;

use crate::packs_read::{committed_at, volume};
use crate::requests::counted;
use crate::support::tree::write;
use crate::support::{Local, Site};

fn push(site: &Site, before: Option<&Synced>) -> Result<Synced> {
    let mut options = site.push_options();
    // Of a copy that does not change: a live volume's youngest files are read once more.
    options.data_time = options.started - jiff::SignedDuration::from_secs(1);
    options.pusher.pushed = before.map(|before| before.revision.clone());
    push_packs(&site.remote(), &options)
}

/// That the path has committed what the volume holds.
fn assert_pushed(remote: &Remote, source: &std::path::Path, exclude: &Exclude) {
    let object = |name: &str| match remote.read_object(name.strip_prefix(".scribe/").unwrap(), 1 << 30).unwrap() {
        Read::Content(path) => Some(fs::read(path).unwrap().into()),
        Read::Damaged(what) => panic!("{name}: {what}"),
        Read::Absent => None,
    };
    let read = committed_at(remote, &object).unwrap().unwrap();
    assert_eq!(read.document.statement, read.commit.statement);
    assert!(read.born.values().flatten().all(|born| *born <= read.document.generation().unwrap()));
    assert_eq!(read.tree, volume(source, exclude));
}

fn requests(site: &Site) -> usize {
    counted(site).values().sum()
}

#[test]
fn many_small_files_cost_few_requests_and_are_read_once() {
    let site = Site::with_bucket();
    for number in 0..20_000 {
        write(site.source.path(), format!("d{}/f{number}", number % 100), format!("{number} ").repeat(number % 200 + 1));
    }
    site.proxy.take();
    let first = push(&site, None).unwrap();
    let first_push = requests(&site);
    assert!(first_push <= 30, "{first_push}");
    assert_eq!((first.files, first.hashed, first.transferred), (20_000, first.bytes, first.bytes));
    assert_pushed(&site.remote(), site.source.path(), &Exclude::default());

    site.proxy.take();
    let same = push(&site, Some(&first)).unwrap();
    let nothing = requests(&site);
    assert_eq!((same.changed, same.hashed, same.revision == first.revision), (false, 0, true));
    assert!(nothing <= 3, "{nothing}");

    for number in 0..200 {
        write(site.source.path(), format!("d{}/f{number}", number % 100), format!("new {number}"));
    }
    site.proxy.take();
    let second = push(&site, Some(&first)).unwrap();
    let replaced = requests(&site);
    assert!(second.changed && second.hashed == second.transferred && second.hashed < 4_000, "{second:?}");
    assert!(replaced <= 12, "{replaced}");
    assert_pushed(&site.remote(), site.source.path(), &Exclude::default());
}

#[test]
fn only_blocks_that_changed_are_sent() {
    let site = Site::with_bucket();
    let path = site.source.path().join("database");
    let content: Vec<u8> = std::iter::repeat_with(|| fastrand::u8(..)).take(40 << 20).collect();
    fs::write(&path, &content).unwrap();
    let file = fs::File::options().read(true).write(true).open(&path).unwrap();
    let first = push(&site, None).unwrap();
    assert_eq!((first.hashed, first.transferred), (40 << 20, 40 << 20));
    file.write_all_at(b"changed", 5 << 20).unwrap();
    file.write_all_at(b"changed", 20 << 20).unwrap();
    file.set_len((40 << 20) + 1).unwrap();
    let second = push(&site, Some(&first)).unwrap();
    // The last byte is a hole.
    assert_eq!((second.hashed, second.transferred), (40 << 20, 2 * 16384));
    assert_pushed(&site.remote(), site.source.path(), &Exclude::default());
}

#[test]
fn a_folder_is_pushed_to_and_exclusions_hold() {
    let site = Local::new();
    write(site.source.path(), "kept", "kept");
    write(site.source.path(), "cache/left", "left out");
    let exclude = Exclude::new(&["cache/"]).unwrap();
    let options = || PushOptions { exclude: exclude.clone(), ..site.push_options() };
    let first = push_packs(&site.remote(), &options()).unwrap();
    assert_eq!((first.files, first.bytes), (1, 4));
    write(site.source.path(), "cache/more", "left out, too");
    let same = push_packs(&site.remote(), &options()).unwrap();
    assert!(!same.changed);
    assert_pushed(&site.remote(), site.source.path(), &exclude);
}
