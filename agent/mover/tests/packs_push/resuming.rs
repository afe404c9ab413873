//! A first push that dies with much sent: the next one goes on from its latest checkpoint, whatever has become of volume and remote meanwhile.

use std::fs::{self, File};
use std::os::unix::fs::{FileExt, symlink};
use std::path::Path;
use std::sync::{Arc, Mutex};

use scribe_mover::format::documents::Owner;
use scribe_mover::push::{self, PushOptions, Sizes, Synced, push_packs};
use scribe_mover::volume::exclude::Exclude;

use crate::keeping::noise;
use crate::leftovers::{named, names};
use crate::memory::Objects;
use crate::read::volume;
use crate::support::{committed, fresh, options, remote};

const KIB: u64 = 1 << 10;
const SIZES: Sizes = Sizes { pack: Some(256 * KIB), checkpoint: 1, blocks: u64::MAX, windows: 1 << 18 };
/// Packs go four at a time.
const SENT: u64 = 1 << 20;
const LARGE: u64 = 2400 * KIB;

fn push(objects: &Arc<Mutex<Objects>>, volume: &Path, seconds: i64) -> scribe_mover::error::Result<Synced> {
    push_packs(&remote(objects), &PushOptions { sizes: SIZES, ..options(volume, seconds) })
}

/// A volume that takes two sends and a half, most of it in one file.
fn large() -> (Arc<Mutex<Objects>>, assert_fs::TempDir) {
    let (objects, dir) = fresh();
    for number in 0..20 {
        fs::write(dir.path().join(format!("a{number}")), noise(number, 100 + 900 * usize::try_from(number).unwrap())).unwrap();
    }
    fs::write(dir.path().join("big"), noise(99, usize::try_from(LARGE).unwrap())).unwrap();
    fs::hard_link(dir.path().join("big"), dir.path().join("big too")).unwrap();
    symlink("big", dir.path().join("link")).unwrap();
    (objects, dir)
}

/// Kills a push after so many writes.
fn killed(objects: &Arc<Mutex<Objects>>, volume: &Path, writes: usize) {
    objects.lock().unwrap().left = Some(writes);
    push(objects, volume, 0).unwrap_err();
    objects.lock().unwrap().left = None;
}

fn put(objects: &Arc<Mutex<Objects>>, folder: &str) -> usize {
    names(objects).iter().filter(|name| name.starts_with(&format!(".scribe/{folder}/"))).count()
}

fn check(objects: &Arc<Mutex<Objects>>, volume_dir: &Path) {
    let read = committed(objects).unwrap().unwrap();
    assert_eq!(read.tree, volume(volume_dir, &Exclude::default()));
    assert_eq!(put(objects, "checkpoints"), 0);
    let objects = objects.lock().unwrap();
    assert!(!objects.all.contains_key(".scribe/claim.json"));
    let twice = objects
        .names
        .iter()
        .find(|(name, puts)| **puts > 1 && !["claim", "commit"].iter().any(|own| **name == format!(".scribe/{own}.json")));
    assert_eq!(twice, None, "a name is used once");
}

/// The claim, four packs, the run of a checkpoint, the checkpoint; then four more packs, the second one, and the first one's two objects go.
const FIRST: usize = 7;
const SECOND: usize = FIRST + 8;

#[test]
fn the_next_push_sends_what_no_checkpoint_has() {
    // Killed before the first one, in its middle, right after it, in the middle of the next packs, and with both there.
    for (writes, kept) in [(5, 0), (6, 0), (FIRST, 1), (FIRST + 3, 1), (FIRST + 5, 1), (FIRST + 6, 2), (SECOND, 2)] {
        let (objects, dir) = large();
        killed(&objects, dir.path(), writes);
        let synced = push(&objects, dir.path(), 10).unwrap();
        let sent = synced.packs.unwrap().sent;
        assert!(sent < LARGE + 200 * KIB - kept * (SENT - 64 * KIB), "killed after {writes} writes: {sent}");
        assert!(sent > LARGE - kept * SENT, "killed after {writes} writes: {sent}");
        check(&objects, dir.path());
        // What was sent after the checkpoint is in no list; a verification deletes it when it is old.
        let strange: Vec<String> = names(&objects).difference(&named(&objects)).cloned().collect();
        let expected = [(5, 4), (6, 5), (FIRST, 0), (FIRST + 3, 3), (FIRST + 5, 5), (FIRST + 6, 0), (SECOND, 0)];
        assert!(expected.contains(&(writes, strange.len())), "{writes}: {strange:?}");
        // And the path is as any other.
        File::options().write(true).open(dir.path().join("big")).unwrap().write_all_at(b"other", 1600 * KIB).unwrap();
        assert!(push(&objects, dir.path(), 400).unwrap().packs.unwrap().sent < 40 * KIB);
        check(&objects, dir.path());
    }
}

#[test]
fn the_volume_may_be_another_by_then() {
    let (objects, dir) = large();
    killed(&objects, dir.path(), SECOND);
    let big = File::options().write(true).open(dir.path().join("big")).unwrap();
    // Before and behind what was sent, the latter to a hole; and the end is gone.
    big.write_all_at(b"other", 48 * KIB).unwrap();
    big.write_all_at(&vec![0; 64 << 10], 480 * KIB).unwrap();
    big.set_len(1920 * KIB).unwrap();
    for number in 0..10 {
        fs::remove_file(dir.path().join(format!("a{number}"))).unwrap();
    }
    fs::rename(dir.path().join("a10"), dir.path().join("b10")).unwrap();
    fs::remove_file(dir.path().join("a11")).unwrap();
    fs::create_dir(dir.path().join("a11")).unwrap();
    fs::write(dir.path().join("c"), noise(7, 70_000)).unwrap();
    let sent = push(&objects, dir.path(), 10).unwrap().packs.unwrap().sent;
    assert!(sent < 300 * KIB, "{sent}");
    check(&objects, dir.path());
}

#[test]
fn a_file_that_is_gone_takes_its_blocks_with_it() {
    let (objects, dir) = large();
    killed(&objects, dir.path(), SECOND);
    for name in ["big", "big too"] {
        fs::remove_file(dir.path().join(name)).unwrap();
    }
    push(&objects, dir.path(), 10).unwrap();
    check(&objects, dir.path());
    assert!(put(&objects, "packs") <= 2, "what was sent of it is gone");
}

#[test]
fn a_pack_that_is_lost_or_altered_is_sent_again() {
    let damages: [fn(&mut Objects, &str); 2] = [
        |objects, name| drop(objects.all.remove(name)),
        |objects, name| {
            let mut bytes = objects.all[name].to_vec();
            bytes[12345] ^= 1;
            objects.all.insert(name.to_owned(), bytes.into());
        },
    ];
    for damage in damages {
        let (objects, dir) = large();
        killed(&objects, dir.path(), FIRST);
        let pack = names(&objects).into_iter().find(|name| name.starts_with(".scribe/packs/")).unwrap();
        damage(&mut objects.lock().unwrap(), &pack);
        let sent = push(&objects, dir.path(), 10).unwrap().packs.unwrap().sent;
        assert!((LARGE - 700 * KIB..LARGE - 500 * KIB).contains(&sent), "{sent}");
        check(&objects, dir.path());
        assert!(!names(&objects).contains(&pack));
    }
}

type Damage<'a> = &'a dyn Fn(&mut Objects);

#[test]
fn what_cannot_be_believed_is_sent_again() {
    let tail = |objects: &mut Objects, folder: &str| {
        let name = objects.all.keys().find(|name| name.starts_with(folder)).unwrap().clone();
        let mut bytes = objects.all[&name].to_vec();
        let at = bytes.len() - 70;
        bytes[at] ^= 1;
        objects.all.insert(name, bytes.into());
    };
    let begin = |objects: &mut Objects, folder: &str| {
        let name = objects.all.keys().find(|name| name.starts_with(folder)).unwrap().clone();
        let mut bytes = objects.all[&name].to_vec();
        bytes[40] ^= 1;
        objects.all.insert(name, bytes.into());
    };
    let cases: [(&str, Damage); 6] = [
        ("a damaged checkpoint", &|objects| tail(objects, ".scribe/checkpoints/")),
        ("a run with a damaged index", &|objects| tail(objects, ".scribe/runs/")),
        ("a run with a damaged window", &|objects| begin(objects, ".scribe/runs/")),
        ("a run that is lost", &|objects| objects.all.retain(|name, _| !name.starts_with(".scribe/runs/"))),
        ("a backend without sums", &|objects| objects.no_sums = true),
        ("packs without sums", &|objects| objects.sumless = Some(".scribe/packs/".into())),
    ];
    for (what, damage) in cases {
        let (objects, dir) = large();
        killed(&objects, dir.path(), FIRST);
        damage(&mut objects.lock().unwrap());
        let sent = push(&objects, dir.path(), 10).unwrap().packs.unwrap().sent;
        assert!(sent > LARGE, "{what}: {sent}");
        assert_eq!(committed(&objects).unwrap().unwrap().tree, volume(dir.path(), &Exclude::default()), "{what}");
    }
}

#[test]
fn what_another_object_has_sent_is_not_used() {
    let (objects, dir) = large();
    killed(&objects, dir.path(), FIRST);
    // Its claim has gone, and its checkpoint has not.
    objects.lock().unwrap().all.remove(".scribe/claim.json");
    let mut options = PushOptions { sizes: SIZES, ..options(dir.path(), 10) };
    options.pusher.owner = Owner { uid: "uid-2".into(), ..options.pusher.owner };
    let sent = push_packs(&remote(&objects), &options).unwrap().packs.unwrap().sent;
    assert!(sent > LARGE, "{sent}");
    assert_eq!(committed(&objects).unwrap().unwrap().tree, volume(dir.path(), &Exclude::default()));
}

#[test]
fn a_push_that_fails_keeps_what_its_checkpoint_names_alone() {
    let (objects, dir) = large();
    objects.lock().unwrap().fails = Some(FIRST + 2);
    push(&objects, dir.path(), 0).unwrap_err();
    assert_eq!((put(&objects, "packs"), put(&objects, "runs"), put(&objects, "checkpoints")), (4, 1, 1));
    // Twice.
    objects.lock().unwrap().fails = Some(3);
    push(&objects, dir.path(), 5).unwrap_err();
    assert_eq!((put(&objects, "packs"), put(&objects, "runs"), put(&objects, "checkpoints")), (4, 1, 1));
    let sent = push(&objects, dir.path(), 10).unwrap().packs.unwrap().sent;
    assert!(sent < LARGE - SENT + 300 * KIB, "{sent}");
    check(&objects, dir.path());
    assert_eq!(names(&objects), named(&objects));
}

/// A checkpoint that a commit should have taken with it is of no use, and goes with the next push.
#[test]
fn a_push_that_is_killed_after_its_commit_leaves_nothing_for_long() {
    let (objects, dir) = large();
    killed(&objects, dir.path(), SECOND);
    let start = objects.lock().unwrap().clone();
    for left in 1.. {
        *objects.lock().unwrap() = Objects { left: Some(left), ..start.clone() };
        push(&objects, dir.path(), 10).unwrap_err();
        if objects.lock().unwrap().all.contains_key(".scribe/commit.json") {
            break;
        }
    }
    objects.lock().unwrap().left = None;
    assert!(put(&objects, "checkpoints") > 0);
    fs::write(dir.path().join("c"), "new").unwrap();
    push(&objects, dir.path(), 20).unwrap();
    check(&objects, dir.path());
}

/// Removes a file, renames a large one and changes a small one, kills the push that goes on, and gives what the third one sends.
fn third(change: impl FnOnce(&Path)) -> (Arc<Mutex<Objects>>, assert_fs::TempDir, u64) {
    let (objects, dir) = large();
    killed(&objects, dir.path(), FIRST);
    change(dir.path());
    // Claim, four packs, run and checkpoint: of `big`, all but the last few blocks have been sent.
    killed(&objects, dir.path(), FIRST);
    assert_eq!(put(&objects, "checkpoints"), 2, "the older one was going to go");
    let sent = push(&objects, dir.path(), 20).unwrap().packs.unwrap().sent;
    (objects, dir, sent)
}

type Change<'a> = &'a dyn Fn(&Path);

#[test]
fn the_third_push_goes_on_where_the_second_was_killed() {
    let changes: [(&str, Change); 4] = [
        ("nothing", &|_| ()),
        ("a file is gone", &|dir| fs::remove_file(dir.join("a19")).unwrap()),
        ("a file has another name", &|dir| fs::rename(dir.join("a19"), dir.join("a19 by now")).unwrap()),
        ("a small file has changed", &|dir| fs::write(dir.join("a3"), "other").unwrap()),
    ];
    for (what, change) in changes {
        let (objects, dir, sent) = third(change);
        assert!(sent < LARGE + 200 * KIB - 2 * (SENT - 64 * KIB), "{what}: {sent}");
        check(&objects, dir.path());
        assert_eq!(names(&objects), named(&objects), "{what}");
    }
}

/// The blocks of a large file that has another name by now have no entry between its old name and its new one.
#[test]
fn a_large_file_may_have_another_name_by_then() {
    let (objects, dir, sent) = third(|dir| {
        fs::remove_file(dir.join("big too")).unwrap();
        fs::rename(dir.join("big"), dir.join("0")).unwrap();
    });
    assert!(sent < LARGE + 200 * KIB - 2 * (SENT - 64 * KIB), "{sent}");
    check(&objects, dir.path());
}

/// A push of layout Files that follows a killed one of layout Packs is going to delete all that this one has sent.
#[test]
fn what_a_push_of_layout_files_was_killed_over_is_not_gone_on_with() {
    let (objects, dir) = large();
    let files = || push::push(&remote(&objects), &options(dir.path(), 5));
    fs::write(dir.path().join("first"), "of layout Files").unwrap();
    files().unwrap();
    killed(&objects, dir.path(), FIRST);
    assert_eq!(put(&objects, "checkpoints"), 1);
    // Its claim, and no more.
    fs::write(dir.path().join("second"), "of layout Files").unwrap();
    objects.lock().unwrap().left = Some(1);
    files().unwrap_err();
    objects.lock().unwrap().left = None;
    push(&objects, dir.path(), 10).unwrap();
    check(&objects, dir.path());
    assert_eq!(names(&objects), named(&objects));
}

#[test]
fn packs_that_no_checkpoint_needs_any_more_go() {
    let (objects, dir, _) = third(|dir| {
        fs::remove_file(dir.join("big")).unwrap();
        fs::remove_file(dir.join("big too")).unwrap();
        fs::write(dir.join("huge"), noise(5, usize::try_from(LARGE).unwrap())).unwrap();
    });
    check(&objects, dir.path());
    assert_eq!(names(&objects), named(&objects));
}
