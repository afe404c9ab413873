//! A child that stands still, one that does not listen, and one that somebody else kills.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;
use std::time::{Duration, Instant};

use assert_fs::TempDir;
use rstest::rstest;
use rustix::process::{Pid, Signal, kill_process};
use scribe_mover::error::Failure;
use scribe_mover::rclone::{Rclone, environment};
use scribe_mover::report::{Outcome, Reason};
use scribe_mover::stop::Stop;
use scribe_mover::store::progress::Progress;
use scribe_mover::store::{Class, Context};

use crate::support::Site;
use crate::support::program::{mover, program, report};
use crate::support::proxy::Action;
use crate::support::tree::write;

/// In rclone's place: `text` run by a shell. What it starts and leaves behind has to end by itself.
fn child(dir: &TempDir, text: &str) -> Rclone {
    let binary = dir.path().join("rclone");
    fs::write(&binary, format!("#!/bin/sh\n{text}\n")).unwrap();
    fs::set_permissions(&binary, fs::Permissions::from_mode(0o755)).unwrap();
    fs::write(dir.path().join("rclone.conf"), "[s3]\ntype = s3\n").unwrap();
    let environment = environment::from_mount(dir.path(), None, &[]).unwrap();
    Rclone { binary, program: program(), environment, context: Context::new(Stop::default(), Progress::default()).unwrap() }
}

#[rstest]
#[case::silent("exec tail -f /dev/null")]
#[case::deaf("trap '' TERM\ntimeout -s KILL 30 tail -f /dev/null")]
#[case::talking_without_progress(
    "while :; do echo '{\"level\":\"error\",\"msg\":\"low level retry\"}' >&2; timeout -s KILL 30 tail -f /dev/null & wait; done"
)]
fn a_child_that_stands_still_is_ended_and_named(#[case] text: &str) {
    let dir = TempDir::new().unwrap();
    let began = Instant::now();
    let error = child(&dir, text).run(&["cat".into()], Duration::from_millis(300)).unwrap_err();
    assert_eq!(error.class, Class::Unreachable);
    assert!(error.message.contains("no sign of life"), "{}", error.message);
    assert!(began.elapsed() < Duration::from_secs(15), "{:?}", began.elapsed());
}

#[test]
fn a_stop_ends_even_a_deaf_child() {
    let dir = TempDir::new().unwrap();
    let rclone = child(&dir, "trap '' TERM\necho ready >&2\ntimeout -s KILL 30 tail -f /dev/null");
    let stop = rclone.context.stop.clone();
    let began = Instant::now();
    std::thread::scope(|scope| {
        scope.spawn(move || stop.request());
        let failure = Failure::from(rclone.run(&["cat".into()], Duration::from_secs(600)).unwrap_err());
        assert_eq!(failure.reason, Reason::MoverKilled);
    });
    assert!(began.elapsed() < Duration::from_secs(15), "{:?}", began.elapsed());
}

/// As the kernel does when memory runs out.
#[test]
fn an_rclone_that_is_killed_has_not_failed() {
    let site = Site::with_bucket();
    write(site.source.path(), "a", "a");
    let reached = site.proxy.watch(|request| if request.is("PUT", "path/a") { Action::Hang } else { Action::Pass });
    let child = mover(&site, "push", site.source.path(), &[]).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    reached.recv_timeout(Duration::from_secs(60)).unwrap();
    let parent = format!(" {} ", child.id());
    let rclone = fs::read_dir("/proc")
        .unwrap()
        .filter_map(|entry| entry.unwrap().file_name().to_str()?.parse::<i32>().ok())
        .find(|pid| {
            let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            // After the name in brackets: state, parent, …
            stat.rsplit_once(')').is_some_and(|(_, rest)| rest[2..].starts_with(&parent))
        })
        .unwrap();
    kill_process(Pid::from_raw(rclone).unwrap(), Signal::KILL).unwrap();
    let report = report(&child.wait_with_output().unwrap());
    assert_eq!((report.result, report.reason), (Outcome::Failed, Some(Reason::MoverFailed)));
    assert!(report.message.contains("rclone was killed"), "{}", report.message);
    site.proxy.behave();
    site.push();
}
