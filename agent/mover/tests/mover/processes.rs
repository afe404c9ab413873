//! The processes of rclone that a sync starts.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::{Child, Stdio};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::OwnedFd;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use scribe_mover::error::Failure;
use scribe_mover::rclone::CONTROL_IDLE;
use scribe_mover::report::{Outcome, Reason};

use crate::support::program::{mover, mover_by, report};
use crate::support::proxy::{Action, Request};
use crate::support::tree::write;
use crate::support::{Site, rclone};

/// The commands of rclone that the mover runs, in order.
fn commands(site: &Site, verb: &str) -> Vec<String> {
    let (log, wrapper) = (site.scratch.path().join("commands"), site.scratch.path().join("rclone"));
    fs::write(&log, "").unwrap();
    fs::write(&wrapper, format!("#!/bin/sh\necho \"$1\" >> {}\nexec {} \"$@\"\n", log.display(), rclone().display())).unwrap();
    fs::set_permissions(&wrapper, fs::Permissions::from_mode(0o755)).unwrap();
    let volume = if verb == "push" { site.source.path() } else { site.dest.path() };
    let report = report(&mover_by(&wrapper, site, verb, volume, &[]).output().unwrap());
    assert_eq!(report.result, Outcome::Successful, "{}", report.message);
    fs::read_to_string(log).unwrap().lines().map(str::to_owned).collect()
}

#[test]
fn a_sync_starts_one_rclone_and_another_for_a_listing_of_everything() {
    let site = Site::with_bucket();
    for n in 0..30 {
        write(site.source.path(), format!("f{n}"), "first");
    }
    write(site.source.path(), "odd\nname", "odd");
    assert_eq!(commands(&site, "push"), ["rcd", "lsjson"]);
    assert_eq!(commands(&site, "pull"), ["rcd"]);
    assert_eq!(commands(&site, "push"), ["rcd"], "nothing has changed");
    for n in 0..10 {
        write(site.source.path(), format!("f{n}"), "changed");
    }
    write(site.source.path(), "odd\nname", "changed");
    fs::remove_file(site.source.path().join("f20")).unwrap();
    assert_eq!(commands(&site, "push"), ["rcd"]);
    assert_eq!(commands(&site, "pull"), ["rcd"]);
}

/// The children of a process, of those that still run.
fn children(of: u32) -> Vec<Pid> {
    let parent = format!(" {of} ");
    let all = fs::read_dir("/proc").unwrap().filter_map(|entry| entry.unwrap().file_name().to_str()?.parse::<i32>().ok());
    let is_child = |pid: &i32| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        // After the name in brackets: state, parent, …
        stat.rsplit_once(')').is_some_and(|(_, rest)| rest.get(2..).is_some_and(|rest| rest.starts_with(&parent)))
    };
    all.filter(is_child).filter_map(Pid::from_raw).collect()
}

/// A push that the server keeps waiting for the listing of everything.
fn listing(site: &Site) -> Child {
    write(site.source.path(), "a", "a");
    let is_listing = |request: &Request| request.is("GET", "list-type=2") && !request.target.contains("delimiter=%2F");
    let reached = site.proxy.watch(move |request| if is_listing(request) { Action::Hang } else { Action::Pass });
    let child = mover(site, "push", site.source.path(), &[]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    reached.recv_timeout(Duration::from_secs(60)).unwrap();
    child
}

#[test]
fn every_rclone_ends_with_a_mover_that_is_killed() {
    let site = Site::with_bucket();
    let mut mover = listing(&site);
    let children = children(mover.id());
    assert_eq!(children.len(), 2, "the daemon, and the one that lists");
    let ends: Vec<OwnedFd> = children.into_iter().map(|pid| pidfd_open(pid, PidfdFlags::empty()).unwrap()).collect();
    // Else they would find by themselves that nothing reads their messages any more.
    for process in &ends {
        pidfd_send_signal(process, Signal::STOP).unwrap();
    }
    mover.kill().unwrap();
    mover.wait().unwrap();
    let long = Timespec { tv_sec: 10, tv_nsec: 0 };
    let ended = ends.iter().map(|process| poll(&mut [PollFd::new(process, PollFlags::IN)], Some(&long)).unwrap());
    let ended: Vec<usize> = ended.collect();
    for process in &ends {
        let _ = pidfd_send_signal(process, Signal::KILL);
    }
    assert_eq!(ended, [1, 1], "one lives");
}

#[test]
fn what_a_killed_mover_leaves_is_removed_by_the_next_one_and_by_no_other() {
    let site = Site::with_bucket();
    let folders = || fs::read_dir(site.scratch.path()).unwrap().count();
    let mut killed = listing(&site);
    assert_eq!(folders(), 2, "the mover's and its daemon's");
    let mut alive = listing(&site);
    assert_eq!(folders(), 4, "both live");
    killed.kill().unwrap();
    killed.wait().unwrap();
    assert_eq!(folders(), 4);
    site.proxy.behave();
    assert_eq!(report(&mover(&site, "pull", site.dest.path(), &[]).output().unwrap()).result, Outcome::WaitingForFirstPush);
    assert_eq!(folders(), 2, "of the one that lives");
    alive.kill().unwrap();
    alive.wait().unwrap();
}

/// It may be replaced while the mover runs.
#[test]
fn a_command_that_does_not_start_is_no_failure_of_the_volume() {
    let site = Site::with_bucket();
    let mut rclone = site.rclone_of("s3");
    rclone.binary = site.scratch.path().join("none");
    let failure = Failure::from(rclone.run(&["version".into()], CONTROL_IDLE).unwrap_err());
    assert_eq!(failure.reason, Reason::MoverFailed, "{failure}");
    assert!(failure.message.contains("cannot start rclone") && failure.message.contains("No such file"), "{failure}");
}
