//! What a path of layout Packs does not take: refused in words that name it, and nothing of what was committed is touched.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::sync::{Arc, Mutex};

use rstest::rstest;
use scribe_mover::error::Failure;
use scribe_mover::push::{PushOptions, Sizes, push_packs};
use scribe_mover::report::Reason;
use scribe_mover::volume::exclude::Exclude;

use crate::keeping::noise;
use crate::leftovers::names;
use crate::memory::Objects;
use crate::read::volume;
use crate::support::{committed, fresh, options, push, remote};

/// All that is there but a claim, which the next push finds.
fn but_claim(objects: &Arc<Mutex<Objects>>) -> BTreeSet<String> {
    let mut names = names(objects);
    names.remove(".scribe/claim.json");
    names
}

/// Of so many blocks that no test has as many, fewer are the most here.
#[test]
fn a_volume_of_more_blocks_than_a_path_takes_is_refused() {
    let (objects, dir) = fresh();
    let push = |seconds| {
        let sizes = Sizes { blocks: 4, ..Sizes::default() };
        push_packs(&remote(&objects), &PushOptions { sizes, ..options(dir.path(), seconds) })
    };
    // Three, and that of the other file. Zeros are none.
    let db = dir.path().join("db");
    fs::write(&db, noise(1, 3 * 16384)).unwrap();
    File::options().write(true).open(&db).unwrap().set_len(1 << 20).unwrap();
    push(0).unwrap();
    let (before, tree) = (but_claim(&objects), volume(dir.path(), &Exclude::default()));
    assert_eq!(committed(&objects).unwrap().unwrap().document.totals.blocks, 4);
    File::options().write(true).open(&db).unwrap().write_all_at(b"one more", 1 << 19).unwrap();
    let Failure { reason, message, .. } = push(200).unwrap_err();
    assert_eq!(reason, Reason::MoverFailed, "{message}");
    assert!(message.contains("5 blocks of 16 KiB, and a path takes 4 ") && message.contains("use another path"), "{message}");
    assert_eq!(but_claim(&objects), before, "what it had sent is taken back");
    assert_eq!(committed(&objects).unwrap().unwrap().tree, tree);
    // One goes, another one comes.
    File::options().write(true).open(&db).unwrap().write_all_at(&[0; 16384], 0).unwrap();
    push(400).unwrap();
    assert_eq!(committed(&objects).unwrap().unwrap().tree, volume(dir.path(), &Exclude::default()));
}

/// No reader would take a file of more blocks than there are numbers for. A file system in memory makes one of nothing.
#[rstest]
fn a_file_of_more_blocks_than_have_numbers_is_named(#[values(false, true)] data: bool) {
    let (objects, dir) = fresh();
    push(&objects, dir.path(), 0).unwrap();
    let before = but_claim(&objects);
    let file = File::create(dir.path().join("endless")).unwrap();
    file.set_len(1 << 62).unwrap();
    if data {
        file.write_all_at(b"the end", (1 << 62) - 7).unwrap();
    }
    let Failure { reason, message, .. } = push(&objects, dir.path(), 200).unwrap_err();
    assert_eq!(reason, Reason::VolumeUnreadable, "{message}");
    assert!(message.contains("endless has more blocks than") && message.contains("spec.rclone.exclude"), "{message}");
    assert_eq!(but_claim(&objects), before);
    let exclude = Exclude::new(&["endless"]).unwrap();
    let left_out = push_packs(&remote(&objects), &PushOptions { exclude, ..options(dir.path(), 400) }).unwrap();
    assert_eq!((left_out.changed, left_out.files), (false, 1));
}

/// A reader opens all runs together, and no push leaves more windows than it takes. Of so many that no test has as many, fewer are the most here:
/// each of these runs has four.
#[test]
fn runs_of_more_windows_than_a_reader_takes_become_one() {
    let (objects, dir) = fresh();
    let push = |seconds, windows| {
        let sizes = Sizes { windows, ..Sizes::default() };
        push_packs(&remote(&objects), &PushOptions { sizes, ..options(dir.path(), seconds) })
    };
    let mut runs = Vec::new();
    for number in 0..5_u8 {
        fs::write(dir.path().join("db"), noise(number.into(), 16384)).unwrap();
        push(100 * i64::from(number), 8).unwrap();
        let read = committed(&objects).unwrap().unwrap();
        assert_eq!(read.tree, volume(dir.path(), &Exclude::default()));
        runs.push(read.document.runs.len());
    }
    assert_eq!(runs, [1, 2, 1, 2, 1]);
    let before = but_claim(&objects);
    fs::write(dir.path().join("db"), noise(9, 16384)).unwrap();
    let Failure { reason, message, .. } = push(900, 3).unwrap_err();
    assert_eq!((reason, but_claim(&objects)), (Reason::MoverFailed, before), "{message}");
    assert!(message.contains("4 windows, and a path takes 3: exclude"), "{message}");
}
