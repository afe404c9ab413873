//! Large files that get other names, or further ones: nothing of them is stored again.

use std::fs;
use std::path::Path;

use scribe_mover::volume::exclude::Exclude;

use crate::read::volume;
use crate::support::{committed, fresh, push};

fn content(seed: u64) -> Vec<u8> {
    let mut rng = fastrand::Rng::with_seed(seed);
    std::iter::repeat_with(|| rng.u8(..)).take(100_000).collect()
}

/// A change of a volume.
type Change = fn(&Path);

#[test]
fn a_large_file_under_another_name_is_not_stored_again() {
    let changes: [(&str, Change); 5] = [
        ("moved before", |dir| fs::rename(dir.join("log1"), dir.join("a")).unwrap()),
        ("moved behind", |dir| fs::rename(dir.join("log1"), dir.join("z")).unwrap()),
        ("rotated", |dir| {
            fs::rename(dir.join("log2"), dir.join("log3")).unwrap();
            fs::rename(dir.join("log1"), dir.join("log2")).unwrap();
        }),
        ("put over another", |dir| fs::rename(dir.join("log2"), dir.join("log1")).unwrap()),
        ("linked before", |dir| fs::hard_link(dir.join("log1"), dir.join("a")).unwrap()),
    ];
    for (what, change) in changes {
        let (objects, dir) = fresh();
        for number in 1..=2 {
            fs::write(dir.path().join(format!("log{number}")), content(number)).unwrap();
        }
        // So that no pack is rewritten for what is gone.
        for number in 3..=6 {
            fs::write(dir.path().join(format!("other{number}")), content(number)).unwrap();
        }
        push(&objects, dir.path(), 0).unwrap();
        change(dir.path());
        let pushed = push(&objects, dir.path(), 300).unwrap();
        assert_eq!((pushed.changed, pushed.transferred), (true, 0), "{what}");
        assert_eq!(committed(&objects).unwrap().unwrap().tree, volume(dir.path(), &Exclude::default()), "{what}");
    }
}
