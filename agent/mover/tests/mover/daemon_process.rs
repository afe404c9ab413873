//! rclone's daemon as a process: how it starts, how it ends, and what happens to the calls that it has not answered.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::OwnedFd;
use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open};
use scribe_mover::error::Failure;
use scribe_mover::rclone::daemon::{CallError, Check, Daemon, Found, Kind};
use scribe_mover::rclone::{COPY_IDLE, Rclone};
use scribe_mover::report::Reason;
use scribe_mover::scratch::Scratch;
use scribe_mover::store::{Class, DOCUMENT, StoreError};
use serde_json::{Value, json};

use crate::support::program::{example, program};
use crate::support::proxy::Action;
use crate::support::server::SECRET;
use crate::support::{Site, rclone};

/// Far more than anything here takes.
const LONG: Duration = Duration::from_secs(30);

fn pid(pid: u32) -> Pid {
    Pid::from_raw(i32::try_from(pid).unwrap()).unwrap()
}

/// Waits until this process has ended.
fn wait_for_end(process: &OwnedFd) {
    let long = Timespec { tv_sec: 30, tv_nsec: 0 };
    assert_eq!(poll(&mut [PollFd::new(process, PollFlags::IN)], Some(&long)).unwrap(), 1, "it lives");
}

fn parts(pid: u32, file: &str) -> Vec<String> {
    let text = fs::read_to_string(format!("/proc/{pid}/{file}")).unwrap();
    text.split_terminator('\0').map(str::to_owned).collect()
}

/// Halts it, and waits until all of its threads have seen that.
fn halt(daemon: &Daemon) {
    kill_process(pid(daemon.pid()), Signal::STOP).unwrap();
    let halted = |task: &Path| fs::read_to_string(task.join("stat")).unwrap().rsplit_once(") ").unwrap().1.starts_with('T');
    let tasks = || fs::read_dir(format!("/proc/{}/task", daemon.pid())).unwrap().map(|task| task.unwrap().path());
    let began = Instant::now();
    while !tasks().all(|task| halted(&task)) {
        assert!(began.elapsed() < LONG);
        std::thread::yield_now();
    }
}

/// A call that the server never answers: returns once the server has it, with the call in another thread.
fn held<T>(site: &Site, daemon: &Daemon, idle: Duration, meanwhile: impl FnOnce() -> T) -> (CallError, T, Duration) {
    let reached = site.proxy.watch(|request| if request.is("GET", "/held") { Action::Hang } else { Action::Pass });
    let to = Scratch::new().unwrap();
    let params = json!({
        "srcFs": "s3,no_head_object=true:bucket/path/", "srcRemote": "held",
        "dstFs": format!("{}/", to.dir().display()), "dstRemote": "copy",
    });
    std::thread::scope(|scope| {
        let call = scope.spawn(|| daemon.call_for("operations/copyfile", params, idle));
        reached.recv_timeout(LONG).unwrap();
        let began = Instant::now();
        let done = meanwhile();
        (call.join().unwrap().unwrap_err(), done, began.elapsed())
    })
}

fn started(site: &Site) -> (Rclone, Daemon) {
    let rclone = site.rclone_of("s3");
    let daemon = Daemon::start(&rclone).unwrap();
    (rclone, daemon)
}

#[test]
fn it_listens_in_a_private_folder_alone_and_leaves_nothing_behind() {
    let site = Site::with_bucket();
    let (rclone, daemon) = started(&site);
    let command = parts(daemon.pid(), "cmdline");
    assert_eq!(command[0], rclone.binary.to_str().unwrap(), "it has become rclone");
    let socket = command.iter().find_map(|arg| arg.strip_prefix("unix://")).map(PathBuf::from).unwrap();
    let folder = socket.parent().unwrap();
    assert_eq!(fs::metadata(folder).unwrap().permissions().mode() & 0o777, 0o700);
    assert!(!command.iter().any(|arg| arg.contains(SECRET)), "{command:?}");
    let known =
        ["AWS_EC2_METADATA_DISABLED=", "RCLONE_", "GOMEMLIMIT=", "PATH=", "TMPDIR=", "SSL_CERT_", "HTTP", "NO_PROXY", "http", "no_proxy"];
    let environment = parts(daemon.pid(), "environ");
    assert!(environment.iter().all(|variable| known.iter().any(|name| variable.starts_with(name))), "{environment:?}");

    let sockets: Vec<String> = fs::read_dir(format!("/proc/{}/fd", daemon.pid()))
        .unwrap()
        .filter_map(|fd| Some(fs::read_link(fd.unwrap().path()).ok()?.to_str()?.strip_prefix("socket:[")?.trim_end_matches(']').to_owned()))
        .collect();
    assert!(!sockets.is_empty());
    for table in ["tcp", "tcp6", "udp", "udp6"] {
        let table = fs::read_to_string(format!("/proc/{}/net/{table}", daemon.pid())).unwrap_or_default();
        let of_it = table.lines().filter(|line| line.split_whitespace().nth(9).is_some_and(|inode| sockets.iter().any(|own| own == inode)));
        assert_eq!(of_it.count(), 0);
    }

    let number = daemon.pid();
    drop(daemon);
    assert!(!Path::new(&format!("/proc/{number}")).exists(), "not even a zombie");
    assert!(!folder.parent().unwrap().exists());
}

#[test]
fn it_dies_with_the_mover() {
    let site = Site::with_bucket();
    let mut mover = Command::new(example("daemon"));
    mover.arg(rclone()).arg(site.secret.path()).arg("s3").env("TMPDIR", site.scratch.path());
    let mut mover = mover.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(mover.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let daemon = pidfd_open(pid(line.trim().parse().unwrap()), PidfdFlags::empty()).unwrap();
    mover.kill().unwrap();
    mover.wait().unwrap();
    wait_for_end(&daemon);
}

#[test]
fn it_outlives_the_thread_that_asked_for_it() {
    let site = Site::with_bucket();
    let daemon = std::thread::scope(|scope| scope.spawn(|| started(&site).1).join().unwrap());
    let process = pidfd_open(pid(daemon.pid()), PidfdFlags::empty()).unwrap();
    let soon = Timespec { tv_sec: 0, tv_nsec: 200_000_000 };
    assert_eq!(poll(&mut [PollFd::new(&process, PollFlags::IN)], Some(&soon)).unwrap(), 0, "it ended with that thread");
    daemon.call("rc/noop", json!({})).unwrap();
}

/// The mover may die before its child asks for the signal.
#[test]
fn who_has_another_parent_does_not_become_rclone() {
    let run = |parent: &str| {
        let output = Command::new(program()).args(["become-rclone", parent]).arg(rclone()).arg("version").output().unwrap();
        (output.status.success(), String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap())
    };
    let (success, _, error) = run("1");
    assert!(!success && error.contains("the mover has ended"), "{error}");
    let (success, output, _) = run(&std::process::id().to_string());
    assert!(success && output.starts_with("rclone v"), "{output}");
    assert!(!run("x").0);
}

#[test]
fn a_stop_ends_a_call_and_no_other_begins() {
    let site = Site::with_bucket();
    let (rclone, daemon) = started(&site);
    let (error, (), took) = held(&site, &daemon, LONG, || rclone.context.stop.request());
    assert_eq!(error.kind, Kind::Stopped);
    assert!(took < Duration::from_secs(1), "{took:?}");
    assert_eq!(Failure::from(StoreError::from(error)).reason, Reason::MoverKilled);
    assert_eq!(daemon.call("rc/noop", json!({})).unwrap_err().kind, Kind::Stopped);
    assert!(Path::new(&format!("/proc/{}", daemon.pid())).exists(), "rclone has stopped the call by itself");
    assert_eq!(Daemon::start(&rclone).unwrap_err().reason, Reason::MoverKilled);
}

#[test]
fn one_that_accepts_and_never_answers_holds_up_no_stop() {
    let site = Site::with_bucket();
    let mut rclone = site.rclone_of("s3");
    let accepted = site.scratch.path().join("accepted");
    rclone.binary = example("deaf");
    rclone.environment.vars.insert("ACCEPTED".into(), accepted.clone().into());
    std::thread::scope(|scope| {
        let starting = scope.spawn(|| Daemon::start(&rclone).map(drop).unwrap_err().reason);
        let began = Instant::now();
        while !accepted.exists() {
            assert!(began.elapsed() < LONG);
            std::thread::yield_now();
        }
        rclone.context.stop.request();
        assert_eq!(starting.join().unwrap(), Reason::MoverKilled);
        assert!(began.elapsed() < LONG, "{:?}", began.elapsed());
    });
}

#[test]
fn one_that_does_not_listen_is_killed() {
    let site = Site::with_bucket();
    let (rclone, daemon) = started(&site);
    let process = pidfd_open(pid(daemon.pid()), PidfdFlags::empty()).unwrap();
    let (error, (), took) = held(&site, &daemon, LONG, || {
        halt(&daemon);
        rclone.context.stop.request();
    });
    assert_eq!(error.kind, Kind::Stopped);
    assert!(took < Duration::from_secs(4), "{took:?}");
    wait_for_end(&process);
}

#[test]
fn a_call_whose_daemon_is_killed_is_an_error_and_so_is_the_next() {
    let site = Site::with_bucket();
    let (_rclone, daemon) = started(&site);
    let (error, (), took) = held(&site, &daemon, LONG, || kill_process(pid(daemon.pid()), Signal::KILL).unwrap());
    assert_eq!((&error.kind, error.class), (&Kind::Gone, Class::Killed));
    assert!(error.message.contains("rclone was killed") && error.message.contains("SIGKILL"), "{error}");
    assert!(took < Duration::from_secs(2), "{took:?}");
    assert_eq!(daemon.call("rc/noop", json!({})).unwrap_err().kind, Kind::Gone);
}

#[test]
fn a_call_that_stands_still_is_given_up_and_the_next_one_works() {
    let site = Site::with_bucket();
    let (_rclone, daemon) = started(&site);
    let (error, (), took) = held(&site, &daemon, Duration::from_secs(1), || ());
    assert_eq!((&error.kind, error.class), (&Kind::GivenUp, Class::Unreachable));
    assert!(error.message.contains("no sign of life") && took < Duration::from_secs(5), "{error}, {took:?}");
    assert_eq!(daemon.call("rc/noop", json!({ "a": 1 })).unwrap()["a"], 1);
}

#[test]
fn one_that_hangs_is_given_up_and_killed() {
    let site = Site::with_bucket();
    let (_rclone, daemon) = started(&site);
    halt(&daemon);
    let began = Instant::now();
    let error = daemon.call_for("rc/noop", json!({}), Duration::from_secs(1)).unwrap_err();
    assert!(error.kind == Kind::GivenUp && began.elapsed() < Duration::from_secs(8), "{error:?}, {:?}", began.elapsed());
    assert_eq!(daemon.call("rc/noop", json!({})).unwrap_err().kind, Kind::Gone);
}

/// However long what was asked for may take.
#[test]
fn one_that_hangs_is_not_waited_for_as_long_as_a_server() {
    let site = Site::with_bucket();
    let (_rclone, daemon) = started(&site);
    halt(&daemon);
    let began = Instant::now();
    let error = daemon.call_for("rc/noop", json!({}), COPY_IDLE).unwrap_err();
    assert_eq!((&error.kind, error.class), (&Kind::GivenUp, Class::Other), "{error}");
    assert!(error.message.contains("rclone has not answered for 60 s"), "{error}");
    assert!(began.elapsed() < Duration::from_secs(90), "{:?}", began.elapsed());
}

#[test]
fn a_binary_that_is_none_is_named() {
    let site = Site::with_bucket();
    let mut rclone = site.rclone_of("s3");
    rclone.binary = site.scratch.path().join("none");
    let error = Daemon::start(&rclone).unwrap_err();
    assert!(error.reason == Reason::MoverFailed && error.message.contains("/none: No such file"), "{error}");
    rclone.program = "/nowhere/mover".into();
    let error = Daemon::start(&rclone).unwrap_err();
    rclone.program = program();
    assert!(error.message.contains("cannot start rclone"), "{error}");

    fs::write(&rclone.binary, "#!/bin/sh\necho '{\"level\":\"critical\",\"msg\":\"no way\"}' >&2\nexit 3\n").unwrap();
    fs::set_permissions(&rclone.binary, fs::Permissions::from_mode(0o755)).unwrap();
    let error = Daemon::start(&rclone).unwrap_err();
    assert!(error.message.contains("exit status: 3") && error.message.contains("no way"), "{error}");
}

#[test]
fn a_temporary_directory_that_is_too_deep_is_named() {
    let site = Site::with_bucket();
    let deep = site.scratch.path().join("x".repeat(80));
    fs::create_dir(&deep).unwrap();
    let mut mover = Command::new(example("daemon"));
    mover.arg(rclone()).arg(site.secret.path()).arg("s3").env("TMPDIR", &deep).stdin(Stdio::null());
    let error = String::from_utf8(mover.output().unwrap().stderr).unwrap();
    assert!(error.contains("set a shorter TMPDIR"), "{error}");
}

#[test]
fn the_configuration_is_read_and_not_shown() {
    let site = Site::with_bucket();
    let (_rclone, daemon) = started(&site);
    let dump = daemon.config_dump().unwrap();
    assert_eq!(dump.0["s3"]["secret_access_key"], SECRET);
    assert!(!format!("{dump:?}{daemon:?}").contains(SECRET));
    let odd = json!({ "srcFs": format!("{SECRET}:x"), "srcRemote": "a", "dstFs": "/", "dstRemote": "b" });
    let error = daemon.call("operations/copyfile", odd).unwrap_err();
    assert!(!format!("{error:?}").contains(SECRET), "{error:?}");
}

/// Prints what docs in `rclone/daemon/mod.rs` say of time and memory.
#[test]
fn starting_and_small_calls_are_quick() {
    let site = Site::with_bucket();
    let began = Instant::now();
    let (_rclone, daemon) = started(&site);
    println!("start: {:?}", began.elapsed());
    let memory = || {
        let status = fs::read_to_string(format!("/proc/{}/status", daemon.pid())).unwrap();
        let lines: Vec<&str> = status.lines().filter(|line| line.starts_with("VmRSS") || line.starts_with("RssAnon")).collect();
        lines.join(" ")
    };
    println!("idle: {}", memory());
    let each = |what: &str, call: &dyn Fn()| {
        let began = Instant::now();
        (0..50).for_each(|_| call());
        println!("{what}: {:?}", began.elapsed() / 50);
        began.elapsed() / 50
    };
    let noop = each("noop", &|| assert_eq!(daemon.call("rc/noop", json!({})).unwrap().get("x"), None::<&Value>));
    let files = Scratch::new().unwrap();
    let (from, at) = (files.fresh("from"), daemon.fs(&site.name));
    fs::write(&from, "12345").unwrap();
    let write = each("write", &|| daemon.write(&from, &at, "a", Check::Ours).unwrap());
    let read = each("read", &|| assert_eq!(daemon.read(&at, "a", &files.fresh("got"), DOCUMENT).unwrap(), Found::Content));
    each("range", &|| drop(daemon.range(&at, "a", 1..3).unwrap()));
    println!("after: {}", memory());
    assert!(noop < Duration::from_millis(100) && write.max(read) < Duration::from_millis(500), "{noop:?} {write:?} {read:?}");
}
