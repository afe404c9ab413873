//! A damaged commit: the next push follows the newest whole revision of which there is a manifest, where it is known which one that is.

use std::fs;
use std::sync::{Arc, Mutex};

use scribe_mover::format::documents::{Claim, Owner, seal};
use scribe_mover::format::revision::Revision;
use scribe_mover::guard::Guard;
use scribe_mover::inspect::{Checked, check};
use scribe_mover::pull::{PullOptions, pull};
use scribe_mover::push::{PushOptions, push as push_files, push_packs};
use scribe_mover::report::Reason;

use crate::keeping::noise;
use crate::memory::{Heeds, Objects};
use crate::support::{committed, fresh, options, push, remote};
use crate::switching::{Shared, assert_only_files, files, is_packs, tree};

const CLAIM: &str = ".scribe/claim.json";
const COMMIT: &str = ".scribe/commit.json";

fn put(objects: &Shared, name: &str, bytes: &[u8]) {
    objects.lock().unwrap().all.insert(name.into(), Arc::from(bytes));
}

fn damage(objects: &Shared) {
    let bytes = objects.lock().unwrap().all[COMMIT].clone();
    put(objects, COMMIT, &bytes[..bytes.len() / 2]);
}

/// A path with some revisions, and a volume that has not changed since the last one, whose name it gives.
fn path(revisions: u64) -> (Shared, assert_fs::TempDir, String) {
    let (objects, dir) = fresh();
    let mut revision = String::new();
    for number in 0..revisions {
        fs::write(dir.path().join("large"), noise(number, 40_000)).unwrap();
        revision = push(&objects, dir.path(), 100 * i64::try_from(number).unwrap()).unwrap().revision;
    }
    (objects, dir, revision)
}

fn generation(revision: &str) -> u64 {
    Revision::parse(revision).unwrap().generation()
}

/// What a push says that knows this last revision; nothing is written.
fn refused(objects: &Shared, options: &PushOptions) -> String {
    let before = objects.lock().unwrap().all.clone();
    let failure = push_packs(&remote(objects), options).unwrap_err();
    assert_eq!((failure.reason, &objects.lock().unwrap().all), (Reason::RemoteInconsistent, &before), "{failure}");
    failure.message
}

fn reporting(options: PushOptions, revision: &str) -> PushOptions {
    let mut options = options;
    options.pusher.pushed = Some(revision.into());
    options
}

#[test]
fn a_push_commits_over_a_commit_that_is_damaged() {
    type Damage = fn(&[u8]) -> Vec<u8>;
    let damages: [Damage; 5] = [
        |_| Vec::new(),
        |bytes| bytes[..bytes.len() - 9].to_vec(),
        |bytes| bytes.iter().map(|byte| if *byte == b'7' { b'8' } else { *byte }).collect(),
        |_| b"{\"format\": 2}".to_vec(),
        |_| vec![0; 2000],
    ];
    for (number, damage) in damages.into_iter().enumerate() {
        for heeds in [None, Some(Heeds::Truly), Some(Heeds::OtherSums)] {
            for (changed, reported) in [(false, true), (true, true), (true, false)] {
                let (objects, dir, last) = path(3);
                let bytes = objects.lock().unwrap().all[COMMIT].clone();
                put(&objects, COMMIT, &damage(&bytes));
                objects.lock().unwrap().conditions = heeds;
                if changed {
                    fs::write(dir.path().join("more"), "more").unwrap();
                }
                let options = options(dir.path(), 1000);
                let options = if reported { reporting(options, &last) } else { options };
                let pushed = push_packs(&remote(&objects), &options).unwrap();
                assert!(pushed.changed, "damage {number}: a new revision");
                let read = committed(&objects).unwrap().unwrap();
                assert_eq!((read.tree, read.commit.statement.parent.as_ref()), (tree(dir.path()), Some(&last)), "damage {number}");
                assert_eq!((pushed.revision.as_str(), generation(&pushed.revision)), (read.commit.statement.revision.as_str(), 4));
                assert!(!objects.lock().unwrap().all.contains_key(CLAIM));
            }
        }
    }
}

/// Of the newest revision a pack or a run is lost, or its manifest is cut.
#[test]
fn a_revision_that_is_not_whole_is_passed_over() {
    for lost in ["pack", "manifest"] {
        let (objects, dir, _) = path(2);
        let before = objects.lock().unwrap().all.clone();
        let second = committed(&objects).unwrap().unwrap().commit.statement.revision;
        fs::write(dir.path().join("large"), noise(77, 40_000)).unwrap();
        let third = push(&objects, dir.path(), 500).unwrap().revision;
        let name = if lost == "manifest" {
            format!(".scribe/manifests/{third}.zst")
        } else {
            let all = objects.lock().unwrap().all.clone();
            all.keys().find(|name| name.starts_with(".scribe/packs/") && !before.contains_key(*name)).unwrap().clone()
        };
        let cut = objects.lock().unwrap().all[&name][..20].to_vec();
        put(&objects, &name, &cut);
        damage(&objects);
        push_packs(&remote(&objects), &reporting(options(dir.path(), 1000), &third)).unwrap();
        let read = committed(&objects).unwrap().unwrap();
        assert_eq!((read.tree, read.commit.statement.parent), (tree(dir.path()), Some(second)), "{lost}");
    }
    let (objects, dir, last) = path(1);
    objects.lock().unwrap().all.retain(|name, _| !name.starts_with(".scribe/packs/"));
    damage(&objects);
    let message = refused(&objects, &reporting(options(dir.path(), 1000), &last));
    assert!(message.contains("whole") && message.contains("delete everything at this path"), "{message}");
}

#[test]
fn nothing_is_mended_while_another_may_push() {
    let other = Owner { namespace: "shop".into(), name: "other".into(), uid: "uid-2".into() };
    let claim = |owner| Claim { format: 2, ..Claim::new("20261123T042858Z-1c9a77e0-17-5f2e", owner, jiff::Timestamp::UNIX_EPOCH) };
    let (objects, dir, last) = path(2);
    damage(&objects);
    for (bytes, says) in [(seal(&claim(other)).unwrap(), "shop/other"), (b"cut".to_vec(), "claim.json")] {
        put(&objects, CLAIM, &bytes);
        let message = refused(&objects, &reporting(options(dir.path(), 1000), &last));
        assert!(message.contains(says) && message.contains("delete .scribe/claim.json"), "{message}");
    }
    let ours = options(dir.path(), 1000);
    put(&objects, CLAIM, &seal(&claim(ours.pusher.owner.clone())).unwrap());
    push_packs(&remote(&objects), &ours).unwrap();
    assert_eq!(committed(&objects).unwrap().unwrap().tree, tree(dir.path()));
}

/// Another object's revision is another object's, damaged or not.
#[test]
fn the_owner_of_a_mended_commit_is_asked_for() {
    let (objects, dir, _) = path(2);
    damage(&objects);
    let mut other = options(dir.path(), 1000);
    other.pusher.owner.name = "other".into();
    let failure = push_packs(&remote(&objects), &other).unwrap_err();
    assert!(failure.reason == Reason::PathNotOurs && failure.message.contains("shop/db"), "{failure}");
}

/// A push that was killed right before its commit has left a manifest of the generation that the next one has committed.
#[test]
fn of_two_revisions_of_a_generation_the_one_is_taken_that_is_reported() {
    let (objects, dir, _) = path(2);
    fs::write(dir.path().join("large"), noise(50, 40_000)).unwrap();
    let dead = (0..)
        .find_map(|left| {
            let copy = Arc::new(Mutex::new(Objects { left: Some(left), ..objects.lock().unwrap().clone() }));
            push(&copy, dir.path(), 300).unwrap_err();
            let then = copy.lock().unwrap().clone();
            let is_new = |name: &String| name.contains("/manifests/") && !objects.lock().unwrap().all.contains_key(name);
            then.all.keys().any(is_new).then_some(then)
        })
        .unwrap();
    let manifest = dead.all.keys().find(|name| name.contains("/manifests/") && !objects.lock().unwrap().all.contains_key(*name)).unwrap();
    *objects.lock().unwrap() = Objects { left: None, ..dead.clone() };
    let right = push(&objects, dir.path(), 310).unwrap().revision;
    damage(&objects);
    let message = refused(&objects, &options(dir.path(), 1000));
    let named = manifest.strip_prefix(".scribe/manifests/").unwrap().strip_suffix(".zst").unwrap();
    assert!(message.contains(named) && message.contains(&right) && message.contains("delete the other one"), "{message}");
    let then = objects.lock().unwrap().clone();
    // What the agent knows decides, and so does the user.
    push_packs(&remote(&objects), &reporting(options(dir.path(), 1000), &right)).unwrap();
    assert_eq!(committed(&objects).unwrap().unwrap().commit.statement.parent.as_ref(), Some(&right));
    *objects.lock().unwrap() = then;
    objects.lock().unwrap().all.remove(manifest);
    push(&objects, dir.path(), 1000).unwrap();
    assert_eq!(committed(&objects).unwrap().unwrap().commit.statement.parent, Some(right));
}

/// An older commit was put back, and pushed to; then it is damaged. What the path has lost is of higher generations.
#[test]
fn a_future_that_a_path_has_lost_is_not_taken() {
    let (objects, dir, _) = path(3);
    let old = objects.lock().unwrap().all[COMMIT].clone();
    for number in 0..4 {
        fs::write(dir.path().join("large"), noise(100 + number, 40_000)).unwrap();
        push(&objects, dir.path(), 1000 + 100 * i64::try_from(number).unwrap()).unwrap();
    }
    put(&objects, COMMIT, &old);
    fs::write(dir.path().join("large"), noise(200, 40_000)).unwrap();
    let right = push(&objects, dir.path(), 2000).unwrap().revision;
    damage(&objects);
    let message = refused(&objects, &options(dir.path(), 3000));
    assert!(message.contains("two histories") && message.contains(&right), "{message}");
    push_packs(&remote(&objects), &reporting(options(dir.path(), 3000), &right)).unwrap();
    let read = committed(&objects).unwrap().unwrap();
    assert_eq!((read.tree, read.commit.statement.parent), (tree(dir.path()), Some(right)));
}

#[test]
fn a_push_of_layout_files_takes_the_place_of_a_damaged_commit_of_packs() {
    for adopt in [false, true] {
        let (objects, dir, _) = path(2);
        damage(&objects);
        let mut options = options(dir.path(), 1000);
        options.pusher.adopt = adopt;
        push_files(&remote(&objects), &options).unwrap();
        assert_only_files(&objects, dir.path(), "mended");
    }
}

/// Its commit says whose the path is, and nothing else does: a push of layout Packs says what to do, and that can be done.
#[test]
fn a_damaged_commit_of_layout_files_is_mended_by_that_layout() {
    let (objects, dir) = fresh();
    files(&objects, dir.path(), 0).unwrap();
    damage(&objects);
    let mut options = options(dir.path(), 100);
    assert!(refused(&objects, &options).contains("adopt-path"));
    options.pusher.adopt = true;
    let failure = push_packs(&remote(&objects), &options).unwrap_err();
    assert!(failure.message.contains("Push with layout Files once"), "{failure}");
    push_files(&remote(&objects), &options).unwrap();
    push(&objects, dir.path(), 200).unwrap();
    assert!(is_packs(&objects));
    assert_eq!(committed(&objects).unwrap().unwrap().tree, tree(dir.path()));
}

/// What the advice says can be done, also where the push that damaged the commit has left its claim.
#[test]
fn a_damaged_commit_without_any_manifest_is_replaced_by_layout_files() {
    let (objects, dir, _) = path(1);
    let dead = objects.lock().unwrap().clone();
    objects.lock().unwrap().left = Some(2);
    fs::write(dir.path().join("large"), noise(9, 50_000)).unwrap();
    push(&objects, dir.path(), 900).unwrap_err();
    let claim = objects.lock().unwrap().all[CLAIM].clone();
    *objects.lock().unwrap() = dead;
    put(&objects, CLAIM, &claim);
    damage(&objects);
    objects.lock().unwrap().all.retain(|name, _| !name.contains("/manifests/"));
    let mut options = options(dir.path(), 1000);
    options.pusher.adopt = true;
    let failure = push_packs(&remote(&objects), &options).unwrap_err();
    assert!(failure.message.contains("Push with layout Files once"), "{failure}");
    push_files(&remote(&objects), &options).unwrap();
    assert_only_files(&objects, dir.path(), "mended");
}

/// Manifests without a commit, after which no first push may begin.
#[test]
fn a_commit_that_is_lost_is_no_first_push() {
    for revisions in [1, 2] {
        let (objects, dir, _) = path(revisions);
        objects.lock().unwrap().all.remove(COMMIT);
        let message = refused(&objects, &options(dir.path(), 1000));
        assert!(message.contains("Restore that object") && !message.contains("adopt-path"), "{message}");
    }
}

#[test]
fn pulls_and_checks_name_a_damaged_commit_and_what_mends_it() {
    let (objects, dir, _) = path(2);
    damage(&objects);
    let to = assert_fs::TempDir::new_in("/dev/shm").unwrap();
    let guard = Guard { percent: 100, floor: 1_000_000, allowed: None };
    let pulled = || pull(&remote(&objects), &PullOptions { volume: to.path().into(), applied: None, private: true, guard: guard.clone() });
    let failure = pulled().unwrap_err();
    let Checked::Damaged(said) = check(&remote(&objects), false).unwrap() else { panic!("it is damaged") };
    for said in [failure.message, said] {
        assert!(said.contains("commit.json is damaged") && said.contains("The next push of its source mends it"), "{said}");
    }
    push(&objects, dir.path(), 1000).unwrap();
    pulled().unwrap();
    assert_eq!(tree(to.path()), tree(dir.path()));
}
