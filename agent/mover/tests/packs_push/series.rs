//! Any series of trees: after each push, what is committed is the tree that the volume was.

use proptest::prelude::*;
use scribe_mover::volume::exclude::Exclude;

use crate::edits::{Edit, edit};

use crate::read::volume;
use crate::support::{committed, fresh, push};

/// Pushes after each part of a series, and reads back what was pushed.
fn play(parts: &[Vec<Edit>]) {
    let (objects, dir) = fresh();
    let (dest, mut applied) = (assert_fs::TempDir::new_in("/dev/shm").unwrap(), None);
    for (number, edits) in parts.iter().enumerate() {
        for edit in edits {
            edit.apply(dir.path());
        }
        let pushed = push(&objects, dir.path(), 200 * i64::try_from(number).unwrap()).unwrap();
        let tree = volume(dir.path(), &Exclude::default());
        let read = committed(&objects).unwrap().unwrap();
        assert_eq!(read.tree, tree);
        let options = scribe_mover::pull::PullOptions {
            volume: dest.path().into(),
            applied: applied.clone(),
            private: true,
            guard: scribe_mover::guard::Guard { percent: 100, floor: 1_000_000, allowed: None },
        };
        let scribe_mover::pull::PullOutcome::Done(pulled) = scribe_mover::pull::pull(&crate::support::remote(&objects), &options).unwrap()
        else {
            panic!()
        };
        applied = Some(pulled.revision);
        assert_eq!(volume(dest.path(), &Exclude::default()), tree);
        assert_eq!(read.document.statement, read.commit.statement);
        assert_eq!((read.commit.statement.revision.as_str(), read.commit.statement.files), (pushed.revision.as_str(), pushed.files));
        let objects = objects.lock().unwrap();
        assert!(!objects.all.contains_key(".scribe/claim.json"));
        for (name, puts) in &objects.names {
            assert!(
                *puts == 1 || [".scribe/commit.json", ".scribe/claim.json"].contains(&name.as_str()),
                "{name} was written {puts} times"
            );
        }
    }
    // Nothing changed: nothing is written, nothing is read of the volume, and little of the remote.
    objects.lock().unwrap().writes = 0;
    let again = push(&objects, dir.path(), 200 * i64::try_from(parts.len()).unwrap()).unwrap();
    assert_eq!((again.changed, again.hashed, objects.lock().unwrap().writes), (false, 0, 0));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_tree_that_was_pushed_is_read_back(parts in prop::collection::vec(prop::collection::vec(edit(), 0..8), 1..12)) {
        play(&parts);
    }
}

#[test]
fn an_empty_volume_is_pushed() {
    let (objects, dir) = fresh();
    std::fs::remove_file(dir.path().join("stays")).unwrap();
    let pushed = push(&objects, dir.path(), 0).unwrap();
    let read = committed(&objects).unwrap().unwrap();
    assert_eq!((pushed.files, read.tree.len()), (0, 1));
    std::fs::write(dir.path().join("first"), "").unwrap();
    assert!(push(&objects, dir.path(), 200).unwrap().changed);
    assert_eq!(committed(&objects).unwrap().unwrap().tree, volume(dir.path(), &Exclude::default()));
}
