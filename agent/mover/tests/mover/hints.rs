//! Content that changed under the same size, times and inode: no change is skipped for good.
//!
//! What a verification reads and sends again file by file is of layout Files alone: that of the other one goes by packs, see `packs_push/checking`.

use std::fs;
use std::path::Path;
use std::sync::Mutex;

use assert_fs::TempDir;
use jiff::{SignedDuration, Timestamp};
use rstest::rstest;
use scribe_mover::format::documents::{Commit, Control, unseal};
use scribe_mover::push::{PushOptions, Synced, push};

use crate::support::proxy::Action;
use crate::support::server::Backend;
use crate::support::silent::Silent;
use crate::support::tree::{touch, write};
use crate::support::{Layout, Site};

const OLD: &[u8] = b"content that was there first";
const NEW: &[u8] = b"CONTENT THAT CAME IN SILENCE";

/// A source in memory with one file, a program that writes to it, and the moment at which it was opened.
struct Ground {
    site: Site,
    source: TempDir,
    writer: Silent,
    opened: Timestamp,
}

impl Ground {
    fn on(backend: Backend) -> Self {
        Self::of(backend, Layout::Files)
    }

    fn of(backend: Backend, layout: Layout) -> Self {
        let (site, source) = (Site::on(backend).of(layout), TempDir::new_in("/dev/shm").unwrap());
        write(source.path(), "a", OLD);
        write(source.path(), "b", "another one");
        let writer = Silent::open(&source.path().join("a"));
        Self { site, source, writer, opened: Timestamp::now() }
    }

    /// Options of a push of the live volume so many seconds later.
    fn options(&self, after: i64) -> PushOptions {
        let started = self.opened + SignedDuration::from_secs(after);
        PushOptions { volume: self.source.path().into(), data_time: started, started, ..self.site.push_options() }
    }

    fn push(&self, after: i64) -> Synced {
        self.site.push_by(&self.options(after)).unwrap()
    }

    fn verify(&self, after: i64) -> Synced {
        push(&self.site.remote(), &PushOptions { verify_interval: SignedDuration::ZERO, ..self.options(after) }).unwrap()
    }

    fn pulled(&self) -> Vec<u8> {
        self.site.pull();
        fs::read(self.site.dest.path().join("a")).unwrap()
    }
}

#[rstest]
fn a_file_that_changed_shortly_before_its_capture_is_read_again(#[values(Layout::Files, Layout::Packs)] layout: Layout) {
    for (first, second) in [(5, 20), (60, 600), (119, 200)] {
        let mut ground = Ground::of(Backend::Local, layout);
        ground.push(first);
        ground.writer.write(NEW);
        assert!(ground.push(second).changed, "{first} s after the change");
        assert_eq!(ground.pulled(), NEW);
    }
}

#[rstest]
fn every_file_is_read_again_within_the_interval(#[values(Layout::Files, Layout::Packs)] layout: Layout) {
    let mut ground = Ground::of(Backend::Local, layout);
    ground.push(150);
    ground.writer.write(NEW);
    let hour = 3600;
    let found = (1..=14).find(|slice| {
        let pushed =
            push(&ground.site.remote(), &PushOptions { verify_interval: SignedDuration::MAX, ..ground.options(150 + slice * 12 * hour) });
        pushed.unwrap().changed
    });
    assert!(found.is_some());
    assert_eq!(ground.pulled(), NEW);
}

/// A push of an older program, or one whose second look saw nothing, has sent other bytes than it hashed.
#[rstest]
fn a_verification_notices_that_other_bytes_were_sent_than_hashed(#[values(Backend::S3, Backend::WebDav)] backend: Backend) {
    let mut ground = Ground::on(backend);
    // An object that is written in the second of its file's own time is taken for that file.
    touch(&ground.source.path().join("a"), 1_000_000_000, 0);
    let first = ground.push(150);
    ground.writer.write(NEW);
    ground.site.meddle("rcat", "a", NEW);
    assert!(ground.site.try_pull().is_err());
    let healed = ground.verify(300);
    assert!(healed.changed && healed.revision != first.revision, "{healed:?}");
    assert_eq!(ground.pulled(), NEW);
    assert!(!ground.verify(600).changed);
}

/// The remote has what was committed, and the volume something else.
#[test]
fn a_verification_that_reads_a_file_makes_use_of_it() {
    let mut ground = Ground::on(Backend::S3);
    ground.push(150);
    ground.writer.write(NEW);
    assert!(ground.verify(300).changed);
    assert_eq!(ground.pulled(), NEW);
}

/// Lost objects are sent again as they are committed, or not under that revision.
#[test]
fn what_is_sent_again_is_read_again() {
    let mut ground = Ground::on(Backend::S3);
    let first = ground.push(150);
    ground.writer.write(NEW);
    ground.site.meddle("deletefile", "a", b"");
    let healed = ground.verify(300);
    assert!(healed.changed && healed.revision != first.revision, "{healed:?}");
    assert_eq!(ground.pulled(), NEW);
}

#[rstest]
fn a_write_between_hash_and_upload_is_sent(#[values(Layout::Files, Layout::Packs)] layout: Layout) {
    let ground = Ground::of(Backend::S3, layout);
    let options = ground.options(0);
    let Ground { site, source, writer, .. } = ground;
    let writer = Mutex::new(writer);
    let mut done = false;
    site.proxy.rule(move |request| {
        if !done && request.is("PUT", "claim.json") {
            done = true;
            writer.lock().unwrap().write(NEW);
        }
        Action::Pass
    });
    site.push_by(&options).unwrap();
    site.pull();
    assert_eq!(fs::read(site.dest.path().join("a")).unwrap(), NEW);
    drop(source);
}

/// What was sent is read once more only where other bytes may have been sent than hashed.
#[test]
fn a_copy_that_does_not_change_is_read_once() {
    let ground = Ground::on(Backend::S3);
    let live = ground.push(0);
    assert_eq!(live.hashed, 2 * live.bytes);
    fs::write(ground.source.path().join("b"), "more of it").unwrap();
    let copy = PushOptions { data_time: ground.opened, ..ground.options(150) };
    let pushed = push(&ground.site.remote(), &copy).unwrap();
    assert!(pushed.changed);
    assert_eq!(pushed.hashed, pushed.bytes, "both are too young, and each is read once");
}

fn commit(site: &Site) -> Commit {
    match unseal(&fs::read(site.object(".scribe/commit.json")).unwrap()).unwrap() {
        Control::Present(commit) => commit,
        broken => panic!("{broken:?}"),
    }
}

/// A clock that was wrong once ends neither verification nor the reading of young files, and its times go.
#[test]
fn times_in_the_future_count_as_due() {
    let mut ground = Ground::on(Backend::S3);
    let years = 40 * 365 * 24 * 3600;
    let first = ground.push(years);
    assert_eq!(commit(&ground.site).verified_time, ground.options(years).started);
    ground.site.meddle("deletefile", "b", b"");
    ground.writer.write(NEW);
    let now = ground.options(150);
    let healed = push(&ground.site.remote(), &now).unwrap();
    assert!(healed.changed && healed.hashed >= first.bytes, "{healed:?}");
    assert_eq!(ground.pulled(), NEW);
    assert!(Path::new(&ground.site.dest.path().join("b")).exists());
    let commit = commit(&ground.site);
    let times = [commit.data_time, commit.hints_time, commit.verified_time, commit.rehashed_time.unwrap()];
    assert!(times.iter().all(|time| *time <= now.started), "{commit:?}");
    // A capture cannot be later than its push, whatever the storage's clock says.
    fs::write(ground.source.path().join("b"), "third").unwrap();
    let ahead = PushOptions { data_time: ground.options(years).started, ..ground.options(300) };
    assert_eq!(push(&ground.site.remote(), &ahead).unwrap().data_time, ahead.started);
    let idle = ground.push(600);
    assert_eq!((idle.changed, idle.hashed), (false, 0));
}
