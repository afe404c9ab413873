//! Runs rclone: with a clean environment, under a watchdog, and never beyond a signal to stop.
//!
//! Imports `config`, `failure`, `report`.

use crate::config::Config;
use crate::failure::{self, Failure};
use crate::report::Reason;
use rustix::process::{Pid, Signal, kill_process};
use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Read};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

/// How often the watchdog looks, and so how late a signal to stop may reach rclone.
const LOOK: Duration = Duration::from_millis(200);
/// A small request is answered by then, or the remote does not answer.
const SMALL_LIMIT: Duration = Duration::from_secs(25);
/// A transfer that moves nothing for so long is stuck.
const STUCK_LIMIT: Duration = Duration::from_secs(120);

/// A way to run rclone.
#[derive(Debug)]
pub(crate) struct Rclone {
    program: PathBuf,
    config: Config,
    stop: Arc<AtomicBool>,
}

/// An rclone that has ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: String,
}

impl Ended {
    pub(crate) fn good(&self) -> bool {
        self.code == Some(0)
    }
}

enum Line {
    Stderr(String),
    Stdout(Vec<u8>),
}

impl Rclone {
    pub(crate) fn new(program: PathBuf, config: Config, stop: Arc<AtomicBool>) -> Self {
        Rclone { program, config, stop }
    }

    /// Runs a request that moves next to nothing.
    pub(crate) fn small<S: AsRef<OsStr>>(&self, what: &str, args: &[S]) -> Result<Ended, Failure> {
        self.watch(what, args, Some(SMALL_LIMIT))
    }

    /// Runs a transfer, and fails where rclone does.
    pub(crate) fn transfer<S: AsRef<OsStr>>(&self, what: &str, args: &[S]) -> Result<(), Failure> {
        let ended = self.watch(what, args, None)?;
        if ended.good() { Ok(()) } else { Err(failure::of_rclone(what, ended.code, &ended.stderr)) }
    }

    fn watch<S: AsRef<OsStr>>(&self, what: &str, args: &[S], limit: Option<Duration>) -> Result<Ended, Failure> {
        let mut child = self.spawn(args).map_err(|e| Failure::internal(&format!("starting {}", self.program.display()), e))?;
        let lines = read(&mut child);
        let (mut stdout, mut stderr) = (Vec::new(), String::new());
        let (started, mut moved, mut position) = (Instant::now(), Instant::now(), String::new());
        loop {
            match lines.recv_timeout(LOOK) {
                Ok(Line::Stdout(bytes)) => stdout.extend(bytes),
                Ok(Line::Stderr(line)) => match progress(&line) {
                    Some(now) => {
                        if now != position {
                            (position, moved) = (now, Instant::now());
                            println!("{{\"progress\":{position}}}");
                        }
                    }
                    None => stderr.push_str(&message(line)),
                },
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => {}
            }
            let verdict = if self.stop.load(Ordering::Relaxed) {
                Some(Failure::new(Reason::MoverKilled, format!("{what}: told to stop")))
            } else if limit.is_some_and(|limit| started.elapsed() > limit) {
                Some(Failure::new(Reason::Unreachable, format!("{what}: the remote did not answer within {} s", SMALL_LIMIT.as_secs())))
            } else if limit.is_none() && moved.elapsed() > STUCK_LIMIT {
                Some(Failure::new(Reason::Unreachable, format!("{what}: nothing moved for {} s", STUCK_LIMIT.as_secs())))
            } else {
                None
            };
            if let Some(verdict) = verdict {
                end(&mut child);
                return Err(verdict);
            }
        }
        let status = child.wait().map_err(|e| Failure::internal("waiting for rclone", e))?;
        if self.stop.load(Ordering::Relaxed) {
            return Err(Failure::new(Reason::MoverKilled, format!("{what}: told to stop")));
        }
        Ok(Ended { code: status.code(), stdout, stderr })
    }

    fn spawn<S: AsRef<OsStr>>(&self, args: &[S]) -> std::io::Result<Child> {
        let mut command = Command::new(&self.program);
        command.env_clear().envs(&self.config.environment);
        for key in ["PATH", "TMPDIR", "SSL_CERT_FILE", "SSL_CERT_DIR"] {
            command.envs(std::env::var_os(key).map(|value| (key, value)));
        }
        if let Some(file) = &self.config.file {
            command.env("RCLONE_CONFIG", file);
        }
        command.args(["--use-json-log", "--stats=5s", "--stats-log-level=NOTICE", "--log-level=NOTICE"]);
        command.args(args).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()
    }
}

/// Both streams as they come; the channel closes when rclone has closed them.
fn read(child: &mut Child) -> Receiver<Line> {
    let (sender, receiver) = channel();
    if let Some(stderr) = child.stderr.take() {
        let sender = sender.clone();
        std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                if sender.send(Line::Stderr(line)).is_err() {
                    break;
                }
            }
        });
    }
    if let Some(mut stdout) = child.stdout.take() {
        std::thread::spawn(move || {
            let mut buffer = vec![0; 64 * 1024];
            while let Ok(count @ 1..) = stdout.read(&mut buffer) {
                if sender.send(Line::Stdout(buffer[..count].to_vec())).is_err() {
                    break;
                }
            }
        });
    }
    receiver
}

/// The figures of a line of statistics.
fn progress(line: &str) -> Option<String> {
    let log: serde_json::Value = serde_json::from_str(line).ok()?;
    let stats = log.get("stats")?;
    let figure = |name: &str| stats.get(name).and_then(serde_json::Value::as_u64).unwrap_or_default();
    let (bytes, total, files, checks) = (figure("bytes"), figure("totalBytes"), figure("transfers"), figure("checks"));
    Some(format!("{{\"bytes\":{bytes},\"totalBytes\":{total},\"transfers\":{files},\"checks\":{checks}}}"))
}

/// The words of a log line, with the name that they are about.
fn message(line: String) -> String {
    let Ok(log) = serde_json::from_str::<serde_json::Value>(&line) else { return line + "\n" };
    let word = |name: &str| log.get(name).and_then(serde_json::Value::as_str).unwrap_or_default();
    match word("object") {
        "" => format!("{}\n", word("msg")),
        object => format!("{object}: {}\n", word("msg")),
    }
}

/// Asks rclone to end, so that it removes its partial files, and makes sure that it does.
fn end(child: &mut Child) {
    if let Some(pid) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) {
        let asked = Instant::now();
        if kill_process(pid, Signal::TERM).is_ok() {
            while asked.elapsed() < Duration::from_millis(500) {
                if matches!(child.try_wait(), Ok(Some(_))) {
                    return;
                }
                std::thread::sleep(Duration::from_millis(10));
            }
        }
    }
    if let Err(error) = child.kill().and_then(|()| child.wait().map(|_| ())) {
        tracing::warn!(%error, "rclone does not end");
    }
}
