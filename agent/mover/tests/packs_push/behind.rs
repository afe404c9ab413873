//! Sites that are behind: after any series of changes to files in place, a volume that holds any of the revisions becomes the newest one, whatever
//! became of the runs between the two, by which alone it is known what changed.

use std::fs::{self, File, FileTimes};
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use assert_fs::TempDir;
use proptest::prelude::*;
use scribe_mover::guard::Guard;
use scribe_mover::pull::{PullOptions, PullOutcome, Synced, pull};
use scribe_mover::volume::exclude::Exclude;

use crate::edits::Edit;
use crate::read::volume;
use crate::support::{fresh, push, remote};

/// Bytes of a block.
const BLOCK: u32 = 16 << 10;
/// Names of 250 bytes that make the first run so large that small ones after it stay apart from it.
const NAMES: usize = 800;

pub fn options(volume: &Path, applied: Option<String>) -> PullOptions {
    PullOptions { volume: volume.into(), applied, private: true, guard: Guard { percent: 100, floor: 1_000_000, allowed: None } }
}

pub fn pulled(outcome: scribe_mover::error::Result<PullOutcome>) -> Synced {
    match outcome.unwrap() {
        PullOutcome::Done(pulled) => pulled,
        PullOutcome::WaitingForFirstPush => panic!("something was pushed"),
    }
}

/// A volume as it is now.
pub fn copy(volume: &Path) -> TempDir {
    let copy = TempDir::new_in("/dev/shm").unwrap();
    assert!(Command::new("cp").args(["-a", "--sparse=always"]).arg(volume.join(".")).arg(copy.path()).status().unwrap().success());
    copy
}

pub fn many_names(volume: &Path, many: usize) {
    let mut rng = fastrand::Rng::with_seed(1);
    for _ in 0..many {
        let name: String = std::iter::repeat_with(|| rng.alphanumeric()).take(250).collect();
        fs::write(volume.join(name), "").unwrap();
    }
}

/// Gives files one time, as writing through a mapping may leave it.
fn still(volume: &Path) {
    for name in ["f0", "f1", "f2"] {
        if let Ok(file) = File::options().write(true).open(volume.join(name)) {
            file.set_times(FileTimes::new().set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(1_000))).unwrap();
        }
    }
}

/// Pushes after each part of a series, and then pulls into the volume of each revision. How many of the pulls changed something without reading.
fn play(large: bool, timeless: bool, parts: &[Vec<Edit>]) -> usize {
    let (objects, dir) = fresh();
    if large {
        many_names(dir.path(), NAMES);
    }
    let mut sites = Vec::new();
    for (number, edits) in parts.iter().enumerate() {
        for edit in edits {
            edit.apply(dir.path());
        }
        if timeless {
            still(dir.path());
        }
        let pushed = push(&objects, dir.path(), 200 * i64::try_from(number).unwrap()).unwrap();
        if pushed.changed {
            sites.push((pushed.revision, copy(dir.path())));
        }
    }
    let expected = volume(dir.path(), &Exclude::default());
    let mut known = 0;
    for (revision, site) in sites {
        let synced = pulled(pull(&remote(&objects), &options(site.path(), Some(revision.clone()))));
        assert!(volume(site.path(), &Exclude::default()) == expected, "from {revision}: {synced:?}");
        known += usize::from(synced.changed && synced.hashed == 0);
    }
    known
}

/// What databases do to a few files: blocks are written, become zero, and files are cut and grow again.
fn in_place() -> impl Strategy<Value = Edit> {
    let name = || 0..3_u8;
    let at = || prop_oneof![(0..20_u32).prop_map(|block| block * BLOCK), 0..20 * BLOCK];
    let length = || prop_oneof![Just(BLOCK), Just(3 * BLOCK), 1..4 * BLOCK];
    prop_oneof![
        4 => (name(), at(), 1..40_000_u16, any::<u8>()).prop_map(|(name, at, length, seed)| Edit::Patch { name, at, length, seed }),
        4 => (name(), at(), length()).prop_map(|(name, at, length)| Edit::Zero { name, at, length }),
        4 => (name(), at()).prop_map(|(name, size)| Edit::Resize { name, size }),
        1 => (name(), at(), any::<u8>()).prop_map(|(name, size, seed)| Edit::Write { name, size, seed }),
        1 => (name(), at(), any::<u8>()).prop_map(|(name, size, seed)| Edit::Replace { name, size, seed }),
        1 => (name(), name()).prop_map(|(from, to)| Edit::Rename { from, to }),
        1 => (name(), name()).prop_map(|(from, to)| Edit::Link { from, to }),
    ]
}

static KNOWN: AtomicUsize = AtomicUsize::new(0);

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, failure_persistence: None, ..ProptestConfig::default() })]

    fn a_site_becomes_the_newest(
        large in any::<bool>(), timeless in any::<bool>(), parts in prop::collection::vec(prop::collection::vec(in_place(), 1..5), 2..14),
    ) {
        let first = (0..3).map(|name| Edit::Write { name, size: 20 * BLOCK, seed: name }).collect();
        let parts: Vec<Vec<Edit>> = [first].into_iter().chain(parts).collect();
        KNOWN.fetch_add(play(large, timeless, &parts), Ordering::Relaxed);
    }
}

#[test]
fn a_site_at_any_older_revision_becomes_the_newest() {
    a_site_becomes_the_newest();
    let known = KNOWN.load(Ordering::Relaxed);
    assert!(known > 3, "too few pulls went by generations alone: {known}");
}
