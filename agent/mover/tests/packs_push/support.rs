//! A path in memory, and pushes to it.

use std::path::Path;
use std::sync::{Arc, Mutex, OnceLock};

use assert_fs::TempDir;
use jiff::{SignedDuration, Timestamp};
use scribe_mover::error::Result;
use scribe_mover::format::documents::Owner;
use scribe_mover::guard::Guard;
use scribe_mover::packs::manifest::Document;
use scribe_mover::push::{PushOptions, Pusher, Sizes, Synced, push_packs};
use scribe_mover::remote::Remote;
use scribe_mover::retention::Retention;
use scribe_mover::stop::Stop;
use scribe_mover::store::Context;
use scribe_mover::store::progress::Progress;
use scribe_mover::volume::exclude::Exclude;

use crate::memory::{Memory, Objects};
use crate::read::{Committed, committed_at};

pub fn remote(objects: &Arc<Mutex<Objects>>) -> Remote {
    let context = Context::new(Stop::default(), Progress::default()).unwrap();
    let store = Memory { objects: Arc::clone(objects), scratch: Arc::clone(&context.scratch) };
    Remote::new(context, Box::new(store), "memory:bucket/path")
}

/// Options of a push some time after the last change of the volume, so that hints count.
pub fn options(volume: &Path, seconds: i64) -> PushOptions {
    let started = Timestamp::now() + SignedDuration::from_secs(150 + seconds);
    PushOptions {
        volume: volume.into(),
        exclude: Exclude::default(),
        pusher: Pusher {
            owner: Owner { namespace: "shop".into(), name: "db".into(), uid: "uid-1".into() },
            pushed: None,
            adopt: false,
            adopt_state: None,
            adopted_state: OnceLock::default(),
        },
        data_time: started,
        started,
        verify_interval: SignedDuration::MAX,
        verify_now: false,
        rehash_interval: SignedDuration::from_hours(168),
        heartbeat_interval: SignedDuration::MAX,
        guard: Guard { percent: 100, floor: 1_000_000, allowed: None },
        retention: Retention::last(1),
        sizes: Sizes::default(),
    }
}

pub fn push(objects: &Arc<Mutex<Objects>>, volume: &Path, seconds: i64) -> Result<Synced> {
    push_packs(&remote(objects), &options(volume, seconds))
}

/// The same, in many packs, and a first push writes a checkpoint after each time that it sends some.
pub fn push_small(objects: &Arc<Mutex<Objects>>, volume: &Path, seconds: i64) -> Result<Synced> {
    let sizes = Sizes { pack: Some(64 << 10), checkpoint: 1, blocks: u64::MAX, windows: 1 << 18 };
    push_packs(&remote(objects), &PushOptions { sizes, ..options(volume, seconds) })
}

/// Nothing on the path, and a volume whose one file stays: a push that leaves nothing is refused.
pub fn fresh() -> (Arc<Mutex<Objects>>, TempDir) {
    let dir = TempDir::new_in("/dev/shm").unwrap();
    std::fs::write(dir.path().join("stays"), "always").unwrap();
    (Arc::new(Mutex::new(Objects::default())), dir)
}

/// Reads and checks all that is committed; `None` if nothing is.
pub fn committed(objects: &Arc<Mutex<Objects>>) -> Result<Option<Committed>> {
    let object = |name: &str| objects.lock().unwrap().all.get(name).cloned();
    let read = committed_at(&remote(objects), &object)?;
    for Document { dead_packs, dead_runs, dead_manifests, .. } in read.iter().map(|read| &read.document) {
        let packs = dead_packs.iter().map(|dead| dead.id.pack());
        let runs = dead_runs.iter().map(|dead| dead.id.run());
        for dead in packs.chain(runs).chain(dead_manifests.iter().map(|dead| format!("manifests/{}.zst", dead.revision))) {
            assert!(object(&format!(".scribe/{dead}")).is_some(), "{dead} is said to be kept and is not there");
        }
    }
    Ok(read)
}
