//! Pulls of layout Packs: from what the writers of the format have written, into volumes of any content.

use std::fs::{self, File};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;

use assert_fs::TempDir;
use proptest::collection::vec;
use proptest::prelude::*;
use scribe_mover::guard::Guard;
use scribe_mover::pull::{PullOptions, Synced, pull};
use scribe_mover::report::Reason;

use crate::property::{Round, apply, round};
use crate::requests::counted;
use crate::support::packed::{BLOCK, Packs, send, write as put};
use crate::support::tree::{assert_same, assert_same_but_for_room, set, touch, varied, write};
use crate::support::{Local, Site, done};

pub(crate) fn options(volume: &Path, private: bool, applied: Option<String>) -> PullOptions {
    PullOptions { volume: volume.into(), applied, private, guard: Guard { percent: 100, floor: 1000, allowed: None } }
}

/// A remote that is a directory, and what a push has written there.
pub(crate) struct Packed {
    pub(crate) site: Local,
    pub(crate) packs: Packs,
}

impl Packed {
    pub(crate) fn new() -> Self {
        Self { site: Local::new(), packs: Packs::new() }
    }

    pub(crate) fn source(&self) -> &Path {
        self.site.source.path()
    }

    pub(crate) fn dest(&self) -> &Path {
        self.site.dest.path()
    }

    pub(crate) fn push(&mut self) -> String {
        let objects = self.packs.push(self.site.source.path());
        put(self.site.bucket.path(), &objects);
        self.packs.revision()
    }

    pub(crate) fn pull(&self, private: bool, applied: Option<&str>) -> Synced {
        done(pull(&self.site.remote(), &options(self.dest(), private, applied.map(str::to_owned))))
    }

    /// Every object of a kind.
    fn objects(&self, kind: &str) -> Vec<std::path::PathBuf> {
        let mut objects: Vec<_> =
            fs::read_dir(self.site.bucket.path().join(".scribe").join(kind)).unwrap().map(|entry| entry.unwrap().path()).collect();
        objects.sort();
        objects
    }
}

/// Content that does not become smaller.
pub(crate) fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut content = vec![0; length];
    fastrand::Rng::with_seed(seed).fill(&mut content);
    content
}

pub(crate) fn overwrite(path: &Path, at: usize, content: &[u8]) {
    File::options().write(true).open(path).unwrap().write_all_at(content, at as u64).unwrap();
}

#[test]
fn any_tree_becomes_the_committed_one() {
    for private in [true, false] {
        for pack in [1 << 20, 16 << 20] {
            let mut at = Packed::new();
            at.packs.pack = pack;
            varied(at.source());
            write(at.source(), "noise", noise(1, 3_000_000));
            write(at.source(), "holes", [vec![0; 5 * BLOCK], noise(2, 100), vec![0; 3 * BLOCK]].concat());
            for n in 0..200_usize {
                write(at.source(), format!("many/{n}"), format!("{n}").repeat(n + 1));
            }
            // Some of it is there, under the same and under other names.
            write(at.dest(), "noise", noise(1, 2_000_000));
            write(at.dest(), "holes", noise(3, 20 * BLOCK));
            write(at.dest(), "plain/was a folder", "x");
            write(at.dest(), "sub", "was a file");
            write(at.dest(), "goes", "x");
            at.push();
            let pulled = at.pull(private, None);
            assert_same_but_for_room(at.source(), at.dest());
            assert!(pulled.changed && pulled.skipped.is_empty() && pulled.files == 210, "{pulled:?}");
            assert!(!at.dest().join(".scribe-staging").exists());
            // Holes are where there were some, as finely as blocks are.
            assert!(fs::metadata(at.dest().join("holes")).unwrap().blocks() * 512 <= BLOCK as u64);
            let again = at.pull(private, None);
            assert!(!again.changed && again.transferred == 0 && again.hashed > 0, "{again:?}");
        }
    }
}

#[test]
fn of_a_file_that_changes_in_place_its_new_blocks_are_fetched_and_written() {
    for (private, known) in [(true, true), (true, false), (false, false)] {
        let mut at = Packed::new();
        let file = at.source().join("db");
        fs::write(&file, noise(1, 300 * BLOCK)).unwrap();
        let first = at.push();
        at.pull(private, None);
        let inode = fs::metadata(at.dest().join("db")).unwrap().ino();
        overwrite(&file, 7 * BLOCK, &noise(2, BLOCK));
        overwrite(&file, 100 * BLOCK, &vec![0; 2 * BLOCK]);
        File::options().write(true).open(&file).unwrap().set_len(299 * BLOCK as u64 - 5).unwrap();
        touch(&file, 1_700_000_000, 5);
        at.push();
        let pulled = at.pull(private, Some(&first).filter(|_| known).map(String::as_str));
        assert_same_but_for_room(at.source(), at.dest());
        // By generations, nothing is looked at but what became zero.
        assert_eq!(pulled.hashed == 2 * BLOCK as u64, known, "{pulled:?}");
        assert!((2 * BLOCK as u64..3 * BLOCK as u64 + 1000).contains(&pulled.transferred), "{pulled:?}");
        let kept = fs::metadata(at.dest().join("db")).unwrap().ino() == inode;
        assert_eq!(kept, private, "a private volume's file is changed in place, a user's is replaced");
    }
}

#[test]
fn hard_links_stay_one_file_when_it_changes_in_place() {
    let mut at = Packed::new();
    for name in ["a", "z"] {
        write(at.source(), name, noise(1, 3 * BLOCK));
    }
    fs::hard_link(at.source().join("a"), at.source().join("b")).unwrap();
    at.push();
    at.pull(true, None);
    overwrite(&at.source().join("b"), BLOCK, b"new");
    at.push();
    at.pull(true, None);
    assert_same_but_for_room(at.source(), at.dest());
    // Two files at the source that are one on the volume.
    fs::remove_file(at.dest().join("z")).unwrap();
    fs::hard_link(at.dest().join("a"), at.dest().join("z")).unwrap();
    at.pull(true, None);
    assert_same_but_for_room(at.source(), at.dest());
    fs::remove_file(at.dest().join("z")).unwrap();
    fs::hard_link(at.dest().join("a"), at.dest().join("z")).unwrap();
    overwrite(&at.source().join("a"), 0, b"of a");
    overwrite(&at.source().join("z"), 0, b"of z");
    at.push();
    at.pull(true, None);
    assert_same_but_for_room(at.source(), at.dest());
}

#[test]
fn each_kind_of_pull_costs_what_it_should() {
    let site = Site::with_bucket();
    let (mut packs, source) = (Packs::new(), site.source.path());
    for n in 0..500 {
        write(source, format!("d{}/f{n}", n % 7), format!("{n}"));
    }
    fs::write(source.join("db"), noise(1, 2_000_000)).unwrap();
    let push = |packs: &mut Packs| {
        send(&site.remote(), &packs.push(source));
        site.proxy.take();
        packs.revision()
    };
    let total = || counted(&site).values().sum::<usize>();
    let first = push(&mut packs);
    done(pull(&site.remote(), &options(site.dest.path(), true, None)));
    assert_eq!(total(), 3, "commit, manifest and pack");
    assert_same(source, site.dest.path());
    let applied = |revision: &str| pull(&site.remote(), &options(site.dest.path(), true, Some(revision.into())));
    let same = done(applied(&first));
    assert_eq!((same.changed, same.hashed, total()), (false, 0, 1));

    overwrite(&source.join("db"), 5 * BLOCK, b"changed");
    write(source, "d1/new", "new");
    let second = push(&mut packs);
    let pulled = done(applied(&first));
    assert_eq!((pulled.changed, total()), (true, 3));
    assert_same(source, site.dest.path());
    assert!(pulled.transferred < 3 * BLOCK as u64 && pulled.hashed == 0, "{pulled:?}");

    // Of an old pack, one range is needed, which takes two requests.
    overwrite(&site.dest.path().join("db"), 9 * BLOCK, b"damaged");
    let pulled = done(pull(&site.remote(), &options(site.dest.path(), true, None)));
    assert_eq!((pulled.transferred, total()), (BLOCK as u64, 4), "{pulled:?}");
    assert_same(source, site.dest.path());
    assert_eq!(second, packs.revision());
}

/// Large runs are read in parts by who needs a part of them, and whole by who needs all.
#[test]
fn runs_may_be_objects_of_any_size() {
    let site = Site::with_bucket();
    let (mut packs, source) = (Packs::new(), site.source.path());
    packs.inline = 0;
    // Rows that are long, so that the first run is large.
    for n in 0..380_u64 {
        write(source, format!("{}/{n}", n % 3), b"");
        set(&source.join(format!("{}/{n}", n % 3)), b"user.x", &noise(n, 3_000));
    }
    fs::write(source.join("db"), noise(1, 3 * BLOCK)).unwrap();
    send(&site.remote(), &packs.push(source));
    site.proxy.take();
    done(pull(&site.remote(), &options(site.dest.path(), true, None)));
    let whole = counted(&site);
    assert_eq!(whole.values().sum::<usize>(), 4, "{whole:?}");
    let first = packs.revision();
    overwrite(&source.join("db"), 0, b"changed");
    send(&site.remote(), &packs.push(source));
    site.proxy.take();
    done(pull(&site.remote(), &options(site.dest.path(), true, Some(first))));
    assert_same(source, site.dest.path());
    let parts = counted(&site);
    // A range takes two requests.
    assert!(parts["HEAD"] >= 2 && parts["HEAD"] <= 5, "{parts:?}");
}

#[test]
fn what_is_damaged_or_missing_is_named_and_the_volume_is_left_as_it_was() {
    for kind in ["packs", "runs", "manifests"] {
        for damage in ["altered", "cut", "missing"] {
            let mut at = Packed::new();
            at.packs.inline = 0;
            write(at.source(), "a", noise(1, 5 * BLOCK));
            write(at.dest(), "a", noise(2, 5 * BLOCK));
            write(at.dest(), "b", "stays");
            at.push();
            let object = at.objects(kind).remove(0);
            let content = fs::read(&object).unwrap();
            match damage {
                "altered" => overwrite(&object, content.len() / 3, &[content[content.len() / 3] ^ 1]),
                "cut" => fs::write(&object, &content[..content.len() - 1]).unwrap(),
                _ => fs::remove_file(&object).unwrap(),
            }
            let failure = pull(&at.site.remote(), &options(at.dest(), true, None)).unwrap_err();
            assert_eq!(failure.reason, Reason::RemoteInconsistent, "{kind} {damage}: {failure}");
            let id = object.file_stem().unwrap().to_str().unwrap();
            assert!(failure.message.contains(id), "{kind} {damage}: {failure}");
            assert_eq!(
                (fs::read(at.dest().join("a")).unwrap(), fs::read(at.dest().join("b")).unwrap()),
                (noise(2, 5 * BLOCK), b"stays".into())
            );
        }
    }
}

fn play(rounds: &[Round]) {
    let mut at = Packed::new();
    at.packs.pack = 200 << 10;
    fs::write(at.source().join("kept"), "kept").unwrap();
    fs::write(at.source().join("db"), noise(1, 20 * BLOCK)).unwrap();
    let mut applied = None;
    for (number, round) in rounds.iter().enumerate() {
        for edit in &round.source {
            apply(at.source(), edit);
        }
        overwrite(&at.source().join("db"), number * 3 * BLOCK, &noise(number as u64, BLOCK / 2));
        let pushed = at.push();
        for edit in round.meddling.iter().flatten() {
            apply(at.dest(), edit);
        }
        let private = round.meddling.is_none();
        let pulled = at.pull(private, applied.take().filter(|_| round.listed).as_deref());
        assert_same_but_for_room(at.source(), at.dest());
        assert_eq!((pulled.skipped.len(), &pulled.revision), (0, &pushed));
        let fresh = TempDir::new_in("/dev/shm").unwrap();
        done(pull(&at.site.remote(), &options(fresh.path(), number % 2 == 0, None)));
        assert_same_but_for_room(at.source(), fresh.path());
        applied = Some(pushed);
    }
}

proptest! {
    #![proptest_config(crate::property::config())]

    #[test]
    fn whatever_happens_to_a_source_its_replicas_are_identical(first in round(10..60), then in vec(round(1..15), 1..12)) {
        play(&[&[first][..], &then].concat());
    }
}
