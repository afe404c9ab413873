//! Pulls of layout Packs: from what the writers of the format have written, into volumes of any content.

use std::fs::{self, File};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;

use assert_fs::TempDir;
use proptest::collection::vec;
use proptest::prelude::*;
use scribe_mover::guard::Guard;
use scribe_mover::pull::{PullOptions, Synced, pull, pull_path};
use scribe_mover::report::Reason;
use scribe_mover::volume::path::RelPath;

use crate::property::{Round, apply, round};
use crate::requests::counted;
use crate::support::packed::{BLOCK, Packs, send, write as put};
use crate::support::program::{mover, report};
use crate::support::tree::{assert_same, assert_same_but_for_room, set, touch, varied, write};
use crate::support::{Local, Site, done};

fn options(volume: &Path, private: bool, applied: Option<String>) -> PullOptions {
    PullOptions { volume: volume.into(), applied, private, guard: Guard { percent: 100, floor: 1000, allowed: None } }
}

/// A remote that is a directory, and what a push has written there.
struct Packed {
    site: Local,
    packs: Packs,
}

impl Packed {
    fn new() -> Self {
        Self { site: Local::new(), packs: Packs::new() }
    }

    fn source(&self) -> &Path {
        self.site.source.path()
    }

    fn dest(&self) -> &Path {
        self.site.dest.path()
    }

    fn push(&mut self) -> String {
        let objects = self.packs.push(self.site.source.path());
        put(self.site.bucket.path(), &objects);
        self.packs.revision()
    }

    fn pull(&self, private: bool, applied: Option<&str>) -> Synced {
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
fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut content = vec![0; length];
    fastrand::Rng::with_seed(seed).fill(&mut content);
    content
}

fn overwrite(path: &Path, at: usize, content: &[u8]) {
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
        assert_eq!(pulled.hashed == 0, known, "{pulled:?}");
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

/// Two files of one size and time change their names: the map says of neither that its content is new.
#[test]
fn a_content_under_another_name_is_not_taken_for_known() {
    let mut at = Packed::new();
    let path = |name: &str| at.site.source.path().join(name);
    for (name, seed) in [("a", 1), ("b", 2), ("c", 3)] {
        fs::write(path(name), noise(seed, 100)).unwrap();
        touch(&path(name), 1_000, 0);
    }
    let [a, b, c] = ["a", "b", "c"].map(path);
    let first = at.push();
    at.pull(true, None);
    fs::rename(&a, &c).unwrap();
    fs::rename(&b, &a).unwrap();
    at.push();
    let pulled = at.pull(true, Some(&first));
    assert_same(at.source(), at.dest());
    assert!(pulled.changed);
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

/// One file or folder, and nothing else of the volume.
#[test]
fn one_path_is_pulled_and_all_else_stays() {
    let mut at = Packed::new();
    write(at.source(), "a/b/one", noise(1, 3 * BLOCK));
    fs::hard_link(at.source().join("a/b/one"), at.source().join("a/b/two")).unwrap();
    fs::hard_link(at.source().join("a/b/one"), at.source().join("0")).unwrap();
    write(at.source(), "a/other", "of the source");
    write(at.dest(), "a/other", "own");
    write(at.dest(), "own", "own");
    write(at.dest(), "a/b/goes", "own");
    fs::create_dir(at.dest().join("empty")).unwrap();
    touch(&at.dest().join("a"), 5, 5);
    touch(at.dest(), 6, 6);
    at.push();
    let pulled = |path: &str| {
        let path = RelPath::new(path.as_bytes()).unwrap();
        pull_path(&at.site.remote(), &options(at.dest(), false, None), &path)
    };
    let synced = done(pulled("a/b"));
    assert_eq!((synced.changed, synced.files, synced.deleted), (true, 2, 1));
    assert_same(&at.source().join("a/b"), &at.dest().join("a/b"));
    for name in ["a/other", "own"] {
        assert_eq!(fs::read(at.dest().join(name)).unwrap(), b"own");
    }
    let times = |name: &str| fs::metadata(at.dest().join(name)).unwrap().mtime();
    assert!(at.dest().join("empty").is_dir() && !at.dest().join("0").exists() && (times("a"), times("")) == (5, 6));
    assert!(!done(pulled("a/b")).changed);
    assert_eq!(done(pulled("a/b/two")).files, 1);
    assert_eq!(fs::read(at.dest().join("a/b/one")).unwrap(), noise(1, 3 * BLOCK));

    // Into a volume without the folders above it.
    fs::remove_dir_all(at.dest().join("a")).unwrap();
    done(pulled("a/b/one"));
    assert_eq!(fs::read_dir(at.dest().join("a/b")).unwrap().count(), 1);

    let failure = pulled("a/none").unwrap_err();
    assert!(failure.message.contains("has no a/none"), "{failure}");
    fs::remove_dir_all(at.dest().join("a")).unwrap();
    fs::write(at.dest().join("a"), "a file of its own").unwrap();
    let failure = pulled("a/b").unwrap_err();
    assert!(failure.message.contains("is no folder on this volume"), "{failure}");
    assert_eq!(fs::read(at.dest().join("a")).unwrap(), b"a file of its own");
    fs::create_dir(at.dest().join(".scribe-staging")).unwrap();
    let failure = pulled("a/b").unwrap_err();
    assert!(failure.message.contains("has not finished") && at.dest().join(".scribe-staging").exists(), "{failure}");
}

#[test]
fn a_path_is_asked_for_by_hand() {
    let site = Site::with_bucket();
    write(site.source.path(), "a/b", "content");
    send(&site.remote(), &Packs::new().push(site.source.path()));
    let run = |path: &str, more: &[&str]| {
        let output = mover(&site, "pull", site.dest.path(), &[&["--path", path], more].concat()).output().unwrap();
        (output.status.code(), if more.is_empty() { report(&output).message } else { String::from_utf8(output.stderr).unwrap() })
    };
    assert_eq!(run("a/b", &[]), (Some(0), format!("Synced 1 files from {}.", site.name)));
    assert_eq!(fs::read(site.dest.path().join("a/b")).unwrap(), b"content");
    for (path, said) in [("/a", "is no path within a volume"), ("a/../b", "is no path within a volume"), ("", "not the volume itself")] {
        let (code, message) = run(path, &[]);
        assert!(code == Some(1) && message.contains(said), "{path} {message}");
    }
    assert!(run("a", &["--private-volume"]).1.contains("cannot be used with"));
    let files = Site::at(&site.server, &format!("{}-files", site.name));
    write(files.source.path(), "a", "x");
    files.push();
    let output = mover(&files, "pull", site.dest.path(), &["--path", "a"]).output().unwrap();
    assert!(report(&output).message.contains("of layout Files"), "{output:?}");
}

/// Blocks by generations: what a volume that holds an older revision lacks is known without reading it, whatever became of the file since.
#[test]
fn a_site_that_is_behind_reads_nothing_of_its_volume() {
    let mut at = Packed::new();
    let db = at.source().join("db");
    fs::write(&db, noise(1, 50 * BLOCK)).unwrap();
    write(at.source(), "same", noise(2, 9 * BLOCK));
    at.push();
    fs::write(at.source().join("first"), "first").unwrap();
    let held = at.push();
    at.pull(true, None);
    let before = at.dest().join("db");
    let length = |blocks: usize| File::options().write(true).open(&db).unwrap().set_len((blocks * BLOCK) as u64).unwrap();
    // In these generations: a block changes twice, one becomes zero, the end is cut and grows again, another one becomes zero and comes back.
    overwrite(&db, 3 * BLOCK, &noise(3, BLOCK));
    overwrite(&db, 10 * BLOCK, &vec![0; 2 * BLOCK]);
    at.push();
    length(40);
    overwrite(&db, 3 * BLOCK, &noise(4, BLOCK));
    overwrite(&db, 10 * BLOCK, &noise(5, BLOCK));
    at.push();
    length(45);
    touch(&db, 1_700_000_000, 0);
    at.push();
    let inode = fs::metadata(&before).unwrap().ino();
    let pulled = at.pull(true, Some(&held));
    assert_same_but_for_room(at.source(), at.dest());
    assert_eq!((pulled.hashed, fs::metadata(&before).unwrap().ino()), (0, inode), "{pulled:?}");
    assert!(pulled.transferred < 3 * BLOCK as u64, "{pulled:?}");

    // A file that is another one than that generation had is read.
    overwrite(&db, 0, b"changed");
    touch(&db, 1_700_000_001, 0);
    let held = at.packs.revision();
    at.push();
    touch(&before, 1, 1);
    overwrite(&before, 20 * BLOCK, b"damaged");
    let pulled = at.pull(true, Some(&held));
    assert_same_but_for_room(at.source(), at.dest());
    assert!(pulled.hashed >= 38 * BLOCK as u64, "{pulled:?}");
}

/// Which file a name was is not known of generations whose runs became one since.
#[test]
fn a_generation_that_is_within_a_merged_run_is_compared_by_reading() {
    let mut at = Packed::new();
    // The first run is so large that the small ones after it are not merged with it.
    for n in 0..3_000_u64 {
        write(at.source(), noise(n, 60).iter().map(|byte| format!("{byte:02x}")).collect::<String>(), b"");
    }
    let path = |name: &str| at.site.source.path().join(name);
    let [a, b, x, counter] = ["a", "b", "x", "counter"].map(path);
    let old = |path: &Path| touch(path, 1_000, 0);
    for (path, seed) in [(&a, 1), (&b, 2)] {
        fs::write(path, noise(seed, 2 * BLOCK)).unwrap();
        old(path);
    }
    let mut held = String::new();
    for generation in 1..=9 {
        match generation {
            3 => {
                fs::rename(&a, &x).unwrap();
                fs::rename(&b, &a).unwrap();
            }
            7 => {
                fs::rename(&a, &b).unwrap();
                fs::rename(&x, &a).unwrap();
                overwrite(&a, BLOCK, b"changed");
                old(&a);
            }
            _ => fs::write(&counter, generation.to_string()).unwrap(),
        }
        let pushed = at.push();
        if generation == 5 {
            at.pull(true, None);
            held = pushed;
        }
    }
    assert_eq!(at.packs.runs(), [(1, 1), (2, 9)]);
    at.pull(true, Some(&held));
    assert_same(at.source(), at.dest());
}

/// A path that was put back to an older state, and pushed to since, has another revision of the same generation.
#[test]
fn a_revision_of_another_course_proves_nothing() {
    let mut at = Packed::new();
    let db = at.source().join("db");
    let write = |seed: u64| {
        fs::write(&db, [noise(seed, BLOCK), noise(9, BLOCK)].concat()).unwrap();
        touch(&db, 1_000, 0);
    };
    write(1);
    at.push();
    let before = at.packs.clone();
    write(2);
    let held = at.push();
    at.pull(true, None);
    at.packs = before;
    write(3);
    at.push();
    fs::write(at.source().join("other"), "other").unwrap();
    at.push();
    at.pull(true, Some(&held));
    assert_same(at.source(), at.dest());
}
