//! Volumes that are written to while they are pushed, and what costs nothing.

use std::fs;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use jiff::{SignedDuration, Timestamp};
use scribe_mover::push::{PushOptions, push_packs};
use scribe_mover::report::Reason;
use scribe_mover::volume::exclude::Exclude;

use crate::memory::Objects;
use crate::read::volume;
use crate::support::{committed, fresh, options, push, remote};

/// Writes to the volume whenever a pack is sent, so many times.
fn write_meanwhile(times: u32) -> (Result<scribe_mover::push::Synced, scribe_mover::error::Failure>, bool) {
    let (objects, dir) = fresh();
    fs::write(dir.path().join("f"), "first").unwrap();
    let (path, left) = (dir.path().join("f"), AtomicU32::new(times));
    objects.lock().unwrap().before = Some(Arc::new(move |name, _| {
        if name.starts_with(".scribe/packs/") && left.load(Ordering::Relaxed) > 0 {
            let left = left.fetch_sub(1, Ordering::Relaxed);
            fs::write(&path, format!("written {left}")).unwrap();
        }
    }));
    let started = Timestamp::now();
    let pushed = push_packs(&remote(&objects), &PushOptions { data_time: started, started, ..options(dir.path(), 0) });
    let same = committed(&objects).unwrap().is_some_and(|read| read.tree == volume(dir.path(), &Exclude::default()));
    (pushed, same)
}

#[test]
fn what_changes_while_it_is_read_is_read_again() {
    for times in 0..=2 {
        let (pushed, same) = write_meanwhile(times);
        assert!(pushed.unwrap().changed && same, "{times}");
    }
}

#[test]
fn a_volume_that_is_never_still_is_not_pushed() {
    let (pushed, same) = write_meanwhile(100);
    let failure = pushed.unwrap_err();
    assert_eq!(failure.reason, Reason::SourceChanging);
    assert!(failure.message.contains("1 entries kept changing") && failure.message.contains(" f "), "{failure}");
    assert!(!same);
}

/// Young files are read once more, and then their age is written down, under the same revision.
#[test]
fn hints_come_of_age() {
    let (objects, dir) = fresh();
    let at = |seconds: i64| {
        let started = Timestamp::now() + SignedDuration::from_secs(seconds);
        let mut options = PushOptions { data_time: started, started, ..options(dir.path(), 0) };
        options.pusher.pushed = committed(&objects).unwrap().map(|read| read.commit.statement.revision).or(options.pusher.pushed);
        push_packs(&remote(&objects), &options).unwrap()
    };
    let first = at(0);
    let read: Vec<(bool, u64)> = [150, 160].map(at).iter().map(|pushed| (pushed.changed, pushed.hashed)).collect();
    assert_eq!(read, [(false, first.bytes), (false, 0)]);
    assert_eq!(committed(&objects).unwrap().unwrap().commit.statement.revision, first.revision);
}

#[test]
fn a_beat_is_written_under_the_same_revision() {
    let (objects, dir) = fresh();
    let first = push(&objects, dir.path(), 0).unwrap();
    let options = PushOptions { heartbeat_interval: SignedDuration::from_hours(1), ..options(dir.path(), 4000) };
    let beat = push_packs(&remote(&objects), &options).unwrap();
    assert_eq!((beat.changed, &beat.revision), (false, &first.revision));
    let read = committed(&objects).unwrap().unwrap();
    assert_eq!(read.commit.statement.checked_time, options.data_time);
    assert_eq!(read.commit.statement.data_time, first.data_time);
}

/// Another push has come and gone while this one looked at a volume that has not changed.
#[test]
fn a_beat_does_not_put_an_older_commit_over_a_newer_one() {
    let (objects, dir) = fresh();
    push(&objects, dir.path(), 0).unwrap();
    let rival_dir = fresh().1;
    std::fs::write(rival_dir.path().join("more"), "more").unwrap();
    let path = rival_dir.path().to_owned();
    objects.lock().unwrap().before_list = Some(Arc::new(move |_: &str, objects: &mut Objects| {
        let apart = Arc::new(Mutex::new(objects.clone()));
        push(&apart, &path, 3000).unwrap();
        objects.all = apart.lock().unwrap().all.clone();
    }));
    let options = PushOptions { heartbeat_interval: SignedDuration::from_hours(1), ..options(dir.path(), 4000) };
    let failure = push_packs(&remote(&objects), &options).unwrap_err();
    assert_eq!(failure.reason, Reason::RemoteInconsistent, "{failure}");
    assert_eq!(committed(&objects).unwrap().unwrap().tree, volume(rival_dir.path(), &Exclude::default()), "the newer one stays");
}

/// What the remote has acknowledged, and does not have, or has otherwise, is not committed.
#[test]
fn what_was_sent_and_is_not_there_is_not_committed() {
    for damage in [Some(&b"other"[..]), None] {
        let (objects, dir) = fresh();
        objects.lock().unwrap().before = Some(Arc::new(move |name, objects| {
            let pack = objects.all.keys().find(|name| name.starts_with(".scribe/packs/")).cloned();
            if let Some(pack) = pack.filter(|_| name.starts_with(".scribe/manifests/")) {
                objects.all.remove(&pack);
                objects.all.extend(damage.map(|bytes| (pack, bytes.into())));
            }
        }));
        let failure = push(&objects, dir.path(), 0).unwrap_err();
        assert!(failure.reason == Reason::RemoteInconsistent && failure.message.contains("is not listed as it was sent"), "{failure}");
        assert!(committed(&objects).unwrap().is_none());
        objects.lock().unwrap().before = None;
        push(&objects, dir.path(), 10).unwrap();
        assert_eq!(committed(&objects).unwrap().unwrap().tree, volume(dir.path(), &Exclude::default()));
    }
}
