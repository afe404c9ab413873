//! A mover whose clock is not the remote's.
//!
//! Of layout Files alone, which goes by the times of objects to know which to read again. A verification of the other one looks at all
//! packs, by their sums or by reading them: see `packs_push/checking`.

use std::fs;
use std::io::Write;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use jiff::{SignedDuration, Timestamp};
use rstest::rstest;
use scribe_mover::push::{PushOptions, push};

use crate::support::Site;
use crate::support::server::{Backend, Server};
use crate::support::tree::{assert_same, write};

/// What something else has written since the last verification is found, whatever the clock of the mover that verified.
#[rstest]
fn a_clock_that_is_wrong_hides_nothing(
    #[values(Backend::S3, Backend::Sftp)] backend: Backend,
    #[values(-30, 2, 30)] hours_ahead: i64,
    #[values(true, false)] pushed_since: bool,
) {
    let site = Site::on(backend);
    // The last one is stored by its hash.
    for name in ["a", "b", "\u{2400}"] {
        // Not at the time of what something else is going to write.
        let file = fs::File::create(site.source.path().join(name)).unwrap();
        (&file).write_all(if name == "\u{2400}" { b"by hash" } else { b"content" }).unwrap();
        file.set_modified(SystemTime::now() - Duration::from_secs(86_400)).unwrap();
    }
    let options = |seconds: i64| {
        let started = Timestamp::now() + SignedDuration::from_secs(hours_ahead * 3600 + 150 + seconds);
        PushOptions { started, data_time: started, ..site.push_options() }
    };
    push(&site.remote(), &options(0)).unwrap();
    push(&site.remote(), &PushOptions { verify_now: true, ..options(1) }).unwrap();
    let object = site.control_objects().into_iter().rfind(|name| name.starts_with("objects/")).unwrap();
    let by_hash = format!(".scribe/{object}");
    site.meddle("rcat", "a", b"CONTENT");
    site.meddle("rcat", &by_hash, b"BY HASH");
    if pushed_since {
        // The commit is younger than what was altered then.
        write(site.source.path(), "c", "content");
        push(&site.remote(), &options(2)).unwrap();
    }
    assert!(push(&site.remote(), &PushOptions { verify_now: true, ..options(3) }).unwrap().changed);
    assert_eq!(site.read("a").unwrap(), b"content");
    assert_eq!(site.read(&by_hash).unwrap(), b"by hash");
    site.pull();
    assert_same(site.source.path(), site.dest.path());
}

/// The clock of the verification was ahead, and has been put right since.
#[rstest]
fn a_clock_that_was_wrong_hides_nothing(#[values(2, 30)] hours_ahead: i64) {
    let site = Site::on(Backend::S3);
    write(site.source.path(), "a", "content");
    let options = |hours: i64| {
        let started = Timestamp::now() + SignedDuration::from_secs(hours * 3600 + 150);
        PushOptions { started, data_time: started, verify_now: true, ..site.push_options() }
    };
    push(&site.remote(), &options(0)).unwrap();
    push(&site.remote(), &options(hours_ahead)).unwrap();
    site.meddle("rcat", "a", b"CONTENT");
    assert!(push(&site.remote(), &options(hours_ahead + 1)).unwrap().changed);
    site.pull();
    assert_same(site.source.path(), site.dest.path());
}

/// What was written while the remote's clock was behind, or bears the time of what it replaced.
#[rstest]
#[case::put_back(Backend::S3, 3)]
#[case::of_the_file(Backend::Local, 0)]
fn a_verification_that_is_asked_for_trusts_no_time(#[case] backend: Backend, #[case] hours_behind: u64) {
    let site = Site::on(backend);
    write(site.source.path(), "a", "content");
    let options = |seconds: i64| {
        let started = Timestamp::now() + SignedDuration::from_secs(150 + seconds);
        PushOptions { started, data_time: started, verify_now: true, ..site.push_options() }
    };
    push(&site.remote(), &options(0)).unwrap();
    push(&site.remote(), &options(1)).unwrap();
    // Behind the back of the server, which remembers times.
    let buckets = assert_fs::TempDir::new().unwrap();
    let status = Command::new("cp").arg("-a").arg(site.server.buckets.path().join("bucket")).arg(buckets.path()).status().unwrap();
    assert!(status.success());
    let object = buckets.path().join("bucket/path/a");
    let written = fs::metadata(&object).unwrap().modified().unwrap();
    fs::write(&object, "CONTENT").unwrap();
    let time = written - Duration::from_secs(hours_behind * 3600);
    fs::File::options().write(true).open(&object).unwrap().set_modified(time).unwrap();
    let server = Server::on(backend, buckets);
    let name = format!("s3:{}", server.path("bucket/path"));
    let altered = Site::at(&Arc::new(server), &name);
    assert!(push(&altered.remote(), &options(2)).unwrap().changed);
    altered.pull();
    assert_same(site.source.path(), altered.dest.path());
}
