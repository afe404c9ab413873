//! The mover as a process: command line, exit codes, report, signals.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use rstest::rstest;
use scribe_mover::report::{MAX_REPORT_BYTES, Outcome, Reason, Report};

use crate::support::program::{mover, program, report};
use crate::support::proxy::{Action, Request};
use crate::support::tree::{assert_same, varied, write};
use crate::support::{Layout, Site};

#[rstest]
fn a_push_and_a_pull_by_hand(#[values(Layout::Files, Layout::Packs)] layout: Layout) {
    let site = Site::new().of(layout);
    varied(site.source.path());
    let pushed = mover(&site, "push", site.source.path(), &["--data-time", "2026-11-23T04:00:00Z"]).output().unwrap();
    let pushed_report = report(&pushed);
    assert!(pushed.status.success() && pushed_report.result == Outcome::Successful && pushed_report.changed);
    assert!(pushed_report.logs.contains("Errors:        0\n"), "what is not there yet is no error: {}", pushed_report.logs);
    assert!(pushed_report.logs.ends_with('s') && pushed_report.logs.contains("Rclone completed in "));
    let pulled = report(&mover(&site, "pull", site.dest.path(), &[]).output().unwrap());
    assert_same(site.source.path(), site.dest.path());
    assert_eq!((pulled.revision, pulled.data_time), (pushed_report.revision, Some("2026-11-23T04:00:00Z".parse().unwrap())));
}

/// A file that replaces another one is copied on the remote once it is committed: it was sent once.
#[test]
fn content_counts_once() {
    let site = Site::new();
    for round in 1..3 {
        write(site.source.path(), "a", vec![round; 3 << 20]);
        let pushed = report(&mover(&site, "push", site.source.path(), &[]).output().unwrap());
        assert!(pushed.logs.contains("3.000 MiB / 3.000 MiB") && pushed.logs.contains("Errors:        0\n"), "{}", pushed.logs);
        let pulled = report(&mover(&site, "pull", site.dest.path(), &[]).output().unwrap());
        assert!(pulled.logs.contains("3.000 MiB / 3.000 MiB"), "{}", pulled.logs);
    }
}

#[test]
fn relative_paths_are_those_of_the_caller() {
    let site = Site::new();
    let name = |dir: &Path| PathBuf::from(dir.file_name().unwrap());
    let above = site.secret.path().parent().unwrap();
    let mut command = mover(&site, "pull", &name(site.dest.path()), &[]);
    command.arg("--report").arg(name(site.secret.path()).join("report"));
    let mut args: Vec<std::ffi::OsString> = command.get_args().map(Into::into).collect();
    for arg in &mut args {
        if arg == site.secret.path() {
            *arg = name(site.secret.path()).into();
        }
    }
    let output = Command::new(program()).current_dir(above).args(args).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    assert!(site.secret.path().join("report").exists());
}

#[test]
fn waiting_is_no_failure_and_goes_to_the_report_file() {
    let site = Site::new();
    let file = site.secret.path().join("report");
    std::fs::write(&file, "x".repeat(9000)).unwrap();
    let output = mover(&site, "pull", site.dest.path(), &["--report", file.to_str().unwrap()]).output().unwrap();
    assert!(output.status.success());
    let report: Report = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    assert_eq!((report.result, report.reason), (Outcome::WaitingForFirstPush, None));
}

#[test]
fn a_useless_secret_is_reported_precisely() {
    let site = Site::new();
    std::fs::remove_file(site.secret.path().join("rclone.conf")).unwrap();
    let run = || {
        let output = mover(&site, "push", site.source.path(), &[]).output().unwrap();
        assert_eq!(output.status.code(), Some(1));
        assert!(output.stdout.len() < MAX_REPORT_BYTES + 1000);
        report(&output)
    };
    let missing = run();
    assert_eq!(missing.reason, Some(Reason::SecretMissing));
    assert!(missing.message.contains("creds"));
    std::fs::write(site.secret.path().join("conf"), "x").unwrap();
    assert!(run().message.contains("its keys are: conf"));
    std::fs::write(site.secret.path().join("rclone.conf"), "[aws]\ntype = s3\n").unwrap();
    let section = run();
    assert_eq!(section.reason, Some(Reason::SecretInvalid));
    assert!(section.message.contains("[s3]") && section.message.contains("it has [aws]"), "{}", section.message);
}

/// Starts a mover, waits until a request is held, asks it to stop, and returns its output with the time that took.
fn stopped_in_mid_transfer(site: &Site, mut command: Command, held: impl Fn(&Request) -> bool + Send + 'static) -> (Output, Duration) {
    let (sender, reached) = mpsc::channel();
    site.proxy.rule(move |request| {
        if held(request) {
            let _ = sender.send(());
            Action::Hang
        } else {
            Action::Pass
        }
    });
    let child: Child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    reached.recv_timeout(Duration::from_secs(30)).unwrap();
    let began = Instant::now();
    let pid = rustix::process::Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    let output = child.wait_with_output().unwrap();
    (output, began.elapsed())
}

#[rstest]
fn a_stop_ends_a_push_at_once_and_the_next_one_goes_on(#[values(Layout::Files, Layout::Packs)] layout: Layout) {
    let site = Site::with_bucket().of(layout);
    write(site.source.path(), "a", "a");
    let command = mover(&site, "push", site.source.path(), &[]);
    let (output, took) = stopped_in_mid_transfer(&site, command, move |request| layout.sends(request, "a"));
    assert_eq!((output.status.code(), report(&output).reason), (Some(1), Some(Reason::MoverKilled)));
    assert!(took < Duration::from_secs(2), "{took:?}");
    site.proxy.rule(|_| Action::Pass);
    site.push();
    site.pull();
    assert_same(site.source.path(), site.dest.path());
}

#[rstest]
fn a_stop_ends_a_pull_and_leaves_the_live_tree_alone(#[values(Layout::Files, Layout::Packs)] layout: Layout) {
    let site = Site::with_bucket().of(layout);
    write(site.source.path(), "a", "new");
    write(site.source.path(), "b", "b");
    site.push();
    write(site.dest.path(), "a", "live");
    let command = mover(&site, "pull", site.dest.path(), &[]);
    let (output, _) = stopped_in_mid_transfer(&site, command, move |request| layout.fetches(request, "b"));
    assert_eq!(report(&output).reason, Some(Reason::MoverKilled));
    assert_eq!(std::fs::read(site.dest.path().join("a")).unwrap(), b"live");
    assert!(site.dest.path().join(".scribe-staging").exists(), "says that the volume is not a whole revision");
    site.proxy.rule(|_| Action::Pass);
    site.pull();
    assert_same(site.source.path(), site.dest.path());
}

/// Files are opened a part at a time where no more may be open.
#[rstest]
fn a_push_with_few_open_files(#[values(Layout::Files, Layout::Packs)] layout: Layout) {
    let site = Site::with_bucket().of(layout);
    for n in 0..150 {
        write(site.source.path(), format!("f{n}"), "content");
    }
    let push = mover(&site, "push", site.source.path(), &[]);
    let mut limited = Command::new("sh");
    limited.args(["-c", "ulimit -S -n 64 && exec \"$@\"", "sh"]).arg(push.get_program()).args(push.get_args());
    let pushed = report(&limited.env("TMPDIR", site.scratch.path()).output().unwrap());
    assert_eq!((pushed.result, pushed.files), (Outcome::Successful, 150), "{}", pushed.message);
}
