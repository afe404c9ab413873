//! What a verification tells of retained revisions that need what is lost, and of runs of the map: damaged ones, and ones that listings leave out.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::os::unix::fs::{FileExt, symlink};
use std::sync::{Arc, Mutex};

use assert_fs::TempDir;
use rstest::rstest;
use scribe_mover::error::Result;
use scribe_mover::format::revision::Revision;
use scribe_mover::guard::Guard;
use scribe_mover::packs::limits::LAST;
use scribe_mover::packs::reference::RefKey;
use scribe_mover::packs::run::{References, Run, RunRef};
use scribe_mover::pull::{PullOptions, Wanted, pull_wanted};
use scribe_mover::push::{PushOptions, Synced, push_packs};
use scribe_mover::report::Reason;
use scribe_mover::retention::Retention;

use crate::keeping::noise;
use crate::memory::Objects;
use crate::support::{committed, fresh, options, push, remote};

const BLOCK: usize = 16384;

type Shared = Arc<Mutex<Objects>>;

pub fn retaining(objects: &Shared, volume: &TempDir, later: i64, verify_now: bool) -> Result<Synced> {
    push_packs(&remote(objects), &PushOptions { retention: Retention::last(12), verify_now, ..options(volume.path(), later) })
}

fn pulls(objects: &Shared, revision: &str) -> bool {
    let to = TempDir::new_in("/dev/shm").unwrap();
    let guard = Guard { percent: 100, floor: 1_000_000, allowed: None };
    let options = PullOptions { volume: to.path().into(), applied: None, private: true, guard };
    pull_wanted(&remote(objects), &options, None, &Wanted::Revision(Revision::parse(revision).unwrap())).is_ok()
}

pub fn in_folder(objects: &Shared, folder: &str) -> BTreeSet<String> {
    objects.lock().unwrap().all.keys().filter(|name| name.starts_with(folder)).cloned().collect()
}

/// A file of which one block of nine is another one in the second revision.
pub fn two_revisions() -> (Shared, TempDir, [String; 2]) {
    let (objects, dir) = fresh();
    let path = dir.path().join("large");
    fs::write(&path, noise(1, 9 * BLOCK)).unwrap();
    let first = retaining(&objects, &dir, 0, false).unwrap().revision;
    File::options().write(true).open(&path).unwrap().write_all_at(b"other", 3 * BLOCK as u64).unwrap();
    let second = retaining(&objects, &dir, 10, false).unwrap().revision;
    (objects, dir, [first, second])
}

/// The lost pack is sent again for the newest revision; those before it stay broken, and are named as long as they are.
#[rstest]
fn revisions_are_named_that_need_a_pack_of_the_newest_one(#[values(false, true)] no_sums: bool) {
    let (objects, dir, [first, second]) = two_revisions();
    objects.lock().unwrap().no_sums = no_sums;
    let packs = in_folder(&objects, ".scribe/packs/");
    assert_eq!(packs.len(), 2);
    // That of the first push is the larger one.
    let name = packs.iter().max_by_key(|name| objects.lock().unwrap().all[*name].len()).unwrap().clone();
    let bytes = objects.lock().unwrap().all.remove(&name).unwrap();
    let third = retaining(&objects, &dir, 20, true).unwrap();
    assert_eq!((third.changed, &third.broken), (true, &vec![second.clone(), first.clone()]));
    assert!(pulls(&objects, &third.revision) && !pulls(&objects, &second) && !pulls(&objects, &first));
    let kept = |objects: &Shared| objects.lock().unwrap().all.keys().filter(|name| name.contains("/manifests/")).count();
    assert_eq!(kept(&objects), 3, "none of them is dropped");
    let again = retaining(&objects, &dir, 30, true).unwrap();
    assert_eq!((again.changed, &again.broken), (false, &vec![second.clone(), first.clone()]));
    objects.lock().unwrap().all.insert(name, bytes);
    assert_eq!(retaining(&objects, &dir, 40, true).unwrap().broken, Vec::<String>::new());
    assert!(pulls(&objects, &second) && pulls(&objects, &first));
}

/// Nothing is changed, and what is lost is no part of the newest revision.
#[rstest]
fn revisions_are_named_that_alone_need_what_is_lost(
    #[values("packs", "runs", "manifests")] kind: &str,
    #[values(false, true)] no_sums: bool,
) {
    let (objects, dir) = fresh();
    // So many that runs are objects.
    let names: Vec<String> = (0..if kind == "runs" { 1_200_usize } else { 0 }).map(|number| format!("{number:0>240}")).collect();
    let mut revisions = Vec::new();
    for number in 0..9_u64 {
        fs::write(dir.path().join("large"), noise(number, 9 * BLOCK)).unwrap();
        for name in &names {
            let path = dir.path().join(name);
            let _ = fs::remove_file(&path);
            symlink(noise_name(number, name), path).unwrap();
        }
        revisions.push(retaining(&objects, &dir, 100 * i64::try_from(number).unwrap(), false).unwrap().revision);
    }
    objects.lock().unwrap().no_sums = no_sums;
    let document = committed(&objects).unwrap().unwrap().document;
    let (name, born, died) = match kind {
        "manifests" => (format!("manifests/{}.zst", revisions[0]), 1, 2),
        "packs" => document.dead_packs.iter().map(|dead| (dead.id.pack(), dead.born, dead.died)).next().unwrap(),
        _ => document.dead_runs.iter().map(|dead| (dead.id.run(), dead.born, dead.died)).next().unwrap(),
    };
    let name = format!(".scribe/{name}");
    let needing = |name: &&String| (born..died).contains(&Revision::parse(name).unwrap().generation());
    let expected: Vec<String> = revisions.iter().rev().filter(needing).cloned().collect();
    assert!(!expected.is_empty());
    // One listing proves nothing.
    objects.lock().unwrap().unlisted = Some((name.clone(), 1));
    assert_eq!(retaining(&objects, &dir, 1_000, true).unwrap().broken, Vec::<String>::new());
    objects.lock().unwrap().all.remove(&name).unwrap();
    let verified = retaining(&objects, &dir, 1_010, true).unwrap();
    assert_eq!((verified.changed, &verified.broken), (false, &expected));
    assert!(!pulls(&objects, &expected[0]) && pulls(&objects, &verified.revision));
}

/// What no compression makes small, so that runs are objects.
fn noise_name(number: u64, name: &str) -> String {
    let seed = name.bytes().fold(number, |sum, byte| sum.wrapping_mul(31).wrapping_add(byte.into()));
    let mut rng = fastrand::Rng::with_seed(seed);
    std::iter::repeat_with(|| rng.alphanumeric()).take(250).collect()
}

/// A map of one run, which is an object, and what its manifest says of it.
fn one_run() -> (Shared, TempDir, RunRef) {
    let (objects, dir) = fresh();
    for number in 0..1_600 {
        symlink(noise_name(0, &number.to_string()), dir.path().join(noise_name(1, &number.to_string()))).unwrap();
    }
    fs::write(dir.path().join("large"), noise(1, 9 * BLOCK)).unwrap();
    push(&objects, dir.path(), 0).unwrap();
    let document = committed(&objects).unwrap().unwrap().document;
    let [of] = &document.runs[..] else { panic!("one run") };
    assert!(!of.inline);
    (objects, dir, of.clone())
}

fn verify(objects: &Shared, volume: &TempDir, later: i64) -> Result<Synced> {
    push_packs(&remote(objects), &PushOptions { verify_now: true, ..options(volume.path(), later) })
}

/// A push that only looks at hashes does not see it, and every fresh pull fails.
#[test]
fn a_requested_verification_reads_the_places_of_blocks() {
    let (objects, dir, of) = one_run();
    let name = format!(".scribe/{}", of.id.run());
    let whole = objects.lock().unwrap().all[&name].clone();
    let block = committed(&objects).unwrap().unwrap().document.block().unwrap();
    let run = Run::open(whole.to_vec(), &of, block).unwrap();
    let places = run.ranges::<References>(&RefKey { file: 0, block: 0 }, &RefKey { file: LAST, block: LAST }).pop().unwrap();
    let mut bytes = whole.to_vec();
    bytes[usize::try_from(places.start).unwrap()] ^= 1;
    objects.lock().unwrap().all.insert(name.clone(), bytes.into());
    assert!(!push(&objects, dir.path(), 10).unwrap().changed);
    let before = objects.lock().unwrap().all.clone();
    let failure = verify(&objects, &dir, 20).unwrap_err();
    assert_eq!(failure.reason, Reason::RemoteInconsistent);
    assert!(failure.message.contains(&of.id.to_string()) && failure.message.contains("Restore that object"), "{failure}");
    assert_eq!(objects.lock().unwrap().all, before);
    // What the advice says can be done.
    objects.lock().unwrap().all.insert(name.clone(), whole.clone());
    assert!(!verify(&objects, &dir, 30).unwrap().changed);
}

/// This push has just read it: nobody is told to delete the path.
#[test]
fn a_run_that_listings_leave_out_and_a_read_gives_is_not_lost() {
    let (objects, dir, of) = one_run();
    let name = format!(".scribe/{}", of.id.run());
    for (listings, refused) in [(0, false), (1, false), (2, true)] {
        objects.lock().unwrap().unlisted = (listings > 0).then(|| (name.clone(), listings));
        match verify(&objects, &dir, 10 + i64::try_from(listings).unwrap()) {
            Ok(_) => assert!(!refused, "{listings}"),
            Err(failure) => {
                assert!(refused && failure.reason == Reason::RemoteInconsistent, "{listings} {failure}");
                assert!(failure.message.contains(&of.id.to_string()) && failure.message.contains("does not list"), "{failure}");
                assert!(!failure.message.contains("elete"), "{failure}");
            }
        }
    }
    // It goes after this push has opened the map.
    let gone = name.clone();
    objects.lock().unwrap().before_list = Some(Arc::new(move |_, objects| drop(objects.all.remove(&gone))));
    let failure = verify(&objects, &dir, 20).unwrap_err();
    assert!(failure.message.contains(&of.id.to_string()) && failure.message.contains("Restore that object"), "{failure}");
}

/// The newest revision is followed, whose run two listings leave out, and not the one before.
#[test]
fn a_damaged_commit_is_mended_by_a_revision_whose_run_listings_leave_out() {
    let (objects, dir, _) = one_run();
    for number in 0..1_600 {
        let path = dir.path().join(noise_name(1, &number.to_string()));
        fs::remove_file(&path).unwrap();
        symlink(noise_name(2, &number.to_string()), path).unwrap();
    }
    let second = push(&objects, dir.path(), 10).unwrap().revision;
    let document = committed(&objects).unwrap().unwrap().document;
    let of = document.runs.last().unwrap();
    assert!(!of.inline && of.last == 2);
    // That of the manifests, and two looks.
    objects.lock().unwrap().unlisted = Some((format!(".scribe/{}", of.id.run()), 3));
    objects.lock().unwrap().all.insert(".scribe/commit.json".into(), Arc::from(&b"{"[..]));
    push(&objects, dir.path(), 20).unwrap();
    assert_eq!(committed(&objects).unwrap().unwrap().commit.statement.parent, Some(second));
}
