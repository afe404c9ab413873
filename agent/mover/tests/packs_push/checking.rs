//! A check of what is committed, and a verification where no listing has sums.

use std::fs;
use std::sync::{Arc, Mutex};

use assert_fs::TempDir;
use rstest::rstest;
use scribe_mover::inspect::{Checked, Kind, Looked, check};
use scribe_mover::push::{PushOptions, push_packs};

use crate::memory::Objects;
use crate::support::{committed, fresh, options, push, remote};

const BLOCK: usize = 16384;

/// A path with two packs: of the second push, one file of three.
pub fn two_packs() -> (Arc<Mutex<Objects>>, TempDir, [String; 2]) {
    let (objects, dir) = fresh();
    let noise = |seed: u64| -> Vec<u8> {
        let mut rng = fastrand::Rng::with_seed(seed);
        std::iter::repeat_with(|| rng.u8(..)).take(3 * BLOCK).collect()
    };
    fs::write(dir.path().join("first"), noise(1)).unwrap();
    push(&objects, dir.path(), 0).unwrap();
    let packs =
        || -> Vec<String> { objects.lock().unwrap().all.keys().filter(|name| name.starts_with(".scribe/packs/")).cloned().collect() };
    let first = packs().remove(0);
    fs::write(dir.path().join("second"), noise(2)).unwrap();
    push(&objects, dir.path(), 10).unwrap();
    let second = packs().into_iter().find(|name| *name != first).unwrap();
    (objects, dir, [first, second])
}

pub fn looked(objects: &Arc<Mutex<Objects>>, read: bool) -> Looked {
    match check(&remote(objects), read).unwrap() {
        Checked::Looked(looked) => *looked,
        other => panic!("{other:?}"),
    }
}

pub fn alter(objects: &Arc<Mutex<Objects>>, name: &str) {
    alter_in(&mut objects.lock().unwrap(), name);
}

/// Makes one byte of an object another one.
pub fn alter_in(objects: &mut Objects, name: &str) {
    let mut bytes = objects.all[name].to_vec();
    bytes[7] ^= 1;
    objects.all.insert(name.to_owned(), bytes.into());
}

pub fn faults(looked: &Looked) -> Vec<(String, Kind)> {
    looked.faults.iter().map(|fault| (String::from_utf8_lossy(&fault.name).into_owned(), fault.kind)).collect()
}

fn files(looked: &Looked) -> Vec<String> {
    looked.files.iter().map(ToString::to_string).collect()
}

#[rstest]
fn a_check_reads_every_pack_of_a_whole_revision(#[values(false, true)] no_sums: bool) {
    let (objects, _dir, _) = two_packs();
    objects.lock().unwrap().no_sums = no_sums;
    for (read, count) in [(false, 0), (true, 2)] {
        let looked = looked(&objects, read);
        assert_eq!((faults(&looked), looked.objects, looked.read), (vec![], 2, count));
        assert!(Checked::Looked(Box::new(looked)).is_whole());
    }
}

#[test]
fn a_check_names_what_is_lost_and_the_files_that_need_it() {
    let (objects, _dir, [_, second]) = two_packs();
    objects.lock().unwrap().all.remove(&second);
    for read in [false, true] {
        let looked = looked(&objects, read);
        assert_eq!((faults(&looked), files(&looked)), (vec![(second.clone(), Kind::Missing)], vec!["second".to_owned()]));
    }
}

#[test]
fn a_check_finds_damage_of_the_same_size_by_sums_or_by_reading() {
    let (objects, _dir, [first, _]) = two_packs();
    alter(&objects, &first);
    for read in [false, true] {
        let looked = looked(&objects, read);
        assert_eq!(faults(&looked), [(first.clone(), Kind::Altered)]);
        assert_eq!(files(&looked), ["first", "stays"]);
    }
    objects.lock().unwrap().no_sums = true;
    assert_eq!(faults(&looked(&objects, false)), []);
    assert_eq!(faults(&looked(&objects, true)), [(first, Kind::Altered)]);
}

/// A listing that leaves a pack out proves nothing by itself.
#[test]
fn a_pack_that_is_not_listed_and_can_be_read_is_no_fault() {
    let (objects, _dir, [first, _]) = two_packs();
    objects.lock().unwrap().unlisted = Some((first, 1));
    check(&remote(&objects), false).unwrap_err();
    assert_eq!(faults(&looked(&objects, false)), []);
}

#[test]
fn where_listings_have_no_sums_a_requested_verification_reads_the_packs() {
    let (objects, dir, [first, _]) = two_packs();
    objects.lock().unwrap().no_sums = true;
    alter(&objects, &first);
    let verify = |later| push_packs(&remote(&objects), &PushOptions { verify_now: true, ..options(dir.path(), later) }).unwrap();
    assert!(verify(20).changed);
    assert_eq!(faults(&looked(&objects, true)), []);
    assert!(committed(&objects).unwrap().is_some());
    assert!(!verify(30).changed);
}
