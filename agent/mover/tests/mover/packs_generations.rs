//! Pulls of layout Packs into volumes that hold an older revision, and what that proves.

use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use scribe_mover::digest::hex;
use scribe_mover::pull::pull;
use scribe_mover::report::Reason;

use crate::packs_pull::{Packed, noise, options, overwrite};
use crate::packs_room::staged;
use crate::support::packed::BLOCK;
use crate::support::tree::{assert_same, assert_same_but_for_room, touch, write};

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

/// Blocks by generations: what a volume that holds an older revision lacks is known without reading it, whatever became of the file since. Those that
/// became zero are read: what the volume never had stays a hole.
#[test]
fn a_site_that_is_behind_reads_of_its_volume_what_became_zero() {
    let mut at = Packed::new();
    let db = at.source().join("db");
    fs::write(&db, noise(1, 50 * BLOCK)).unwrap();
    write(at.source(), "same", noise(2, 9 * BLOCK));
    // Those that become empty have no blocks, and no file id: they must not be taken for the one whose id is 0.
    for name in ["e", "f", "g"] {
        write(at.source(), name, "empty soon");
    }
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
    for name in ["e", "f", "g"] {
        write(at.source(), name, "");
    }
    touch(&db, 1_700_000_000, 0);
    at.push();
    let inode = fs::metadata(&before).unwrap().ino();
    let pulled = at.pull(true, Some(&held));
    assert_same_but_for_room(at.source(), at.dest());
    // One, and the five of the end that grew again.
    assert_eq!((pulled.hashed, fs::metadata(&before).unwrap().ino()), (6 * BLOCK as u64, inode), "{pulled:?}");
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

/// What an interrupted pull has fetched for a file in place is neither fetched again nor is that file read.
#[test]
fn what_was_fetched_before_is_known_where_generations_tell_the_rest() {
    let mut at = Packed::new();
    let db = at.source().join("db");
    fs::write(&db, noise(1, 50 * BLOCK)).unwrap();
    let held = at.push();
    at.pull(true, None);
    (0..20).for_each(|number| overwrite(&db, 2 * number * BLOCK, &noise(9 + number as u64, BLOCK)));
    touch(&db, 1_700_000_000, 0);
    at.push();
    let volume = at.dest().to_owned();
    let staged = || staged(&volume);
    for steps in (60..).step_by(2) {
        let remote = at.site.remote();
        remote.context.stop.request_after(steps);
        let outcome = pull(&remote, &options(&volume, true, Some(held.clone())));
        assert_eq!(outcome.unwrap_err().reason, Reason::MoverKilled, "{} are staged", staged());
        if staged() >= 20 {
            break;
        }
    }
    let pulled = at.pull(true, Some(&held));
    assert_same_but_for_room(at.source(), at.dest());
    assert_eq!(pulled.hashed, 0, "{pulled:?}");
    assert!(pulled.transferred < BLOCK as u64, "{pulled:?}");
}

/// Which file a name was is not known of generations whose runs became one since.
#[test]
fn a_generation_that_is_within_a_merged_run_is_compared_by_reading() {
    let mut at = Packed::new();
    // The first run is so large that the small ones after it are not merged with it.
    for n in 0..3_000_u64 {
        write(at.source(), hex(&noise(n, 60)), b"");
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
