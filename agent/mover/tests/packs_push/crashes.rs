//! A push that is killed between any two writes: the revision that was committed stays whole, and the next push finishes.

use std::path::Path;
use std::sync::{Arc, Mutex};

use proptest::prelude::*;
use scribe_mover::error::Result;
use scribe_mover::push::Synced;
use scribe_mover::volume::exclude::Exclude;

use crate::edits::{Edit, edit};
use crate::memory::Objects;
use crate::read::{Tree, volume};
use crate::support::{committed, fresh, push, push_small};

type Push = fn(&Arc<Mutex<Objects>>, &Path, i64) -> Result<Synced>;

/// Pushes part after part, each killed after any number of writes before it succeeds.
fn play(parts: &[Vec<Edit>], push: Push) {
    let (objects, dir) = fresh();
    let mut before: Option<Tree> = None;
    for (number, edits) in parts.iter().enumerate() {
        for edit in edits {
            edit.apply(dir.path());
        }
        let tree = volume(dir.path(), &Exclude::default());
        let seconds = 1000 * i64::try_from(number).unwrap();
        let start = objects.lock().unwrap().clone();
        for left in 0.. {
            *objects.lock().unwrap() = Objects { left: Some(left), ..start.clone() };
            let killed = push(&objects, dir.path(), seconds).is_err();
            objects.lock().unwrap().left = None;
            let read = committed(&objects).unwrap().map(|read| read.tree);
            if !killed {
                assert_eq!(read.as_ref(), Some(&tree));
                break;
            }
            assert!(read == before || read.as_ref() == Some(&tree), "after {left} writes, the committed revision is neither");
            // And the next attempt.
            push(&objects, dir.path(), seconds + 1).unwrap();
            assert_eq!(committed(&objects).unwrap().unwrap().tree, tree);
            assert!(!objects.lock().unwrap().all.contains_key(".scribe/claim.json"));
        }
        before = Some(tree);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_push_that_is_killed_leaves_the_committed_revision_whole(parts in prop::collection::vec(prop::collection::vec(edit(), 1..8), 1..5)) {
        play(&parts, push);
        play(&parts, push_small);
    }
}
