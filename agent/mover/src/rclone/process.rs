//! Runs rclone and reports how it ended.
//!
//! One child at a time: clean environment, JSON log read line by line, standard output to a file, a watchdog that ends a
//! child without progress, SIGTERM passed on at once.

use std::ffi::OsString;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

use super::watchdog::{Verdict, Watchdog};
use crate::error::Failure;
use crate::rclone::environment::Environment;
use crate::rclone::shim;
use crate::report::Reason;
use crate::store::stats::Stats;
use crate::store::{Class, Context, Result, StoreError};

/// After SIGTERM rclone ends within milliseconds; one that does not is killed.
pub(super) const GRACE: Duration = Duration::from_secs(1);
/// A control object is small: an endpoint that returns nothing for this long is considered dead.
pub const CONTROL_IDLE: Duration = Duration::from_secs(20);
/// Bulk work moves bytes or counts.
pub const BULK_IDLE: Duration = Duration::from_secs(180);
/// A server that copies one very large object reports nothing until it is done. Less than the agent's `stallTimeout` unless that is
/// set, so that the mover can report what it waited for. A server that is gone is noticed sooner, by what TCP sends on an idle connection.
pub const COPY_IDLE: Duration = Duration::from_secs(25 * 60);

/// What a listing of nothing has printed before it fails: the opening bracket and its line's end.
const EMPTY: u64 = 2;

/// Whether rclone says, by its exit code, that the object or folder it was asked for does not exist (3 and 4, of all backends and buckets
/// alike), before it has found any of it. Text proves nothing: a missing key file or any web server's 404 reads the same.
fn is_absence(code: Option<i32>, printed: u64) -> bool {
    matches!(code, Some(3 | 4)) && printed <= EMPTY
}

/// Given to every rclone. Without the first, names that differ only in Unicode normal form count as one, and one of them is left out.
pub(super) const ALWAYS: [&str; 4] = ["--no-unicode-normalization", "--use-json-log", "--log-level", "NOTICE"];

/// The rclone binary and everything it is run with.
#[derive(Debug)]
pub struct Rclone {
    /// Path of the binary.
    pub binary: PathBuf,
    /// What becomes it, see [`super::shim`]: [`super::OURSELVES`] but for tests.
    pub program: PathBuf,
    /// Its environment.
    pub environment: Environment,
    /// Ends it early, keeps its lists and outputs, and shows its statistics.
    pub context: Context,
}

/// A child that ended with exit code 0.
#[derive(Debug)]
pub struct Finished {
    /// What it wrote to standard output.
    pub stdout: PathBuf,
    /// Its last statistics.
    pub stats: Stats,
    /// See [`super::log::Log`]: a link of the remote that it left out.
    pub link: Option<String>,
}

enum Event {
    Line(Vec<u8>),
    Wake,
    End,
}

impl Rclone {
    /// Runs one command.
    pub fn run(&self, args: &[OsString], idle: Duration) -> Result<Finished> {
        let Context { stop, scratch, progress } = &self.context;
        stop.check()?;
        let stdout = scratch.fresh("out");
        let out = File::create(&stdout).map_err(|e| Failure::scratch(&e))?;
        // This thread waits for it, and so lives as long.
        let mut command = Command::new(&self.program);
        command
            .args(shim::args(&self.binary))
            .args(args)
            .args(ALWAYS)
            .args(["--stats", "1s", "--stats-log-level", "NOTICE"])
            .env_clear()
            .envs(&self.environment.vars)
            .env("RCLONE_CACHE_DIR", scratch.dir())
            .env("RCLONE_TEMP_DIR", scratch.dir())
            .envs(Self::haste(idle))
            .stdin(Stdio::null())
            .stdout(out)
            .stderr(Stdio::piped());
        let mut child = command
            .spawn()
            .map_err(|e| Failure::new(Reason::MoverFailed, format!("cannot start rclone ({}): {e}", self.binary.display())))?;
        let (events, ended) = self.supervise(&mut child, &stdout, idle)?;
        let status = child.wait().map_err(|e| Failure::new(Reason::MoverFailed, format!("lost track of rclone: {e}")))?;
        let printed = std::fs::metadata(&stdout).map_or(0, |meta| meta.len());
        let redaction = self.environment.redaction();
        let mut stats = events.stats.clone();
        let outcome = match ended {
            Ended::Stopped => Err(Failure::killed().into()),
            Ended::GivenUp(Verdict::StandsStill) => Err(StoreError::new(
                Class::Unreachable,
                format!("the remote gave no sign of life for {} s{}", idle.as_secs(), redaction.apply(&events.last_message())),
            )),
            Ended::GivenUp(Verdict::OnlyFails) => {
                let (class, message) = super::classify::classify(Some(1), &events.messages(), redaction);
                Err(StoreError::new(class, message))
            }
            Ended::ByItself if status.success() => Ok(Finished { stdout, stats: events.stats, link: events.link }),
            Ended::ByItself if status.code() == Some(shim::NOT_STARTED.into()) => {
                let said = redaction.apply(&events.last_message());
                Err(Failure::new(Reason::MoverFailed, format!("cannot start rclone ({}){said}", self.binary.display())).into())
            }
            Ended::ByItself => {
                // A signal from elsewhere, such as an out-of-memory kill, leaves no exit code.
                let (class, message) = super::classify::classify(status.code(), &events.messages(), redaction);
                tracing::warn!(code = ?status.code(), ?class, message, "rclone failed");
                let absence = matches!(class, Class::NotFound | Class::BucketMissing) && is_absence(status.code(), printed);
                // That something does not exist is an answer for a caller that checks or creates it, not an error of the sync.
                if absence || class == Class::BucketMissing {
                    stats.errors = 0;
                }
                Err(if absence { StoreError::absence(class, message) } else { StoreError::new(class, message) })
            }
        };
        progress.finished(&stats);
        outcome
    }

    /// A command on a control object is over before its garbage matters: collecting it nearly doubles the time that rclone takes to
    /// start. Measured with rclone 1.75.2: 79 ms of CPU, 46 ms with these. GOMEMLIMIT still bounds it.
    fn haste(idle: Duration) -> impl Iterator<Item = (&'static str, &'static str)> {
        [("GOGC", "off"), ("GOMAXPROCS", "1")].into_iter().filter(move |_| idle == CONTROL_IDLE)
    }

    fn supervise(&self, child: &mut Child, stdout: &Path, idle: Duration) -> Result<(super::log::Log, Ended)> {
        let (sender, events) = mpsc::channel();
        let (wake, woken) = mpsc::channel();
        if let Some(stderr) = child.stderr.take() {
            let sender = sender.clone();
            spawn("rclone-log", move || read_log(stderr, &sender))?;
        }
        self.context.stop.wake(Some(wake));
        // Ends when `wake` is dropped below.
        let bell = spawn("rclone-stop", move || {
            for () in woken {
                if sender.send(Event::Wake).is_err() {
                    return;
                }
            }
        })?;
        let mut log = super::log::Log::default();
        let mut ended = Ended::ByItself;
        let mut watchdog = Watchdog::new(idle, Instant::now());
        // Since when it is asked to end.
        let mut asked = Instant::now();
        loop {
            let patience = match ended {
                Ended::ByItself => watchdog.patience(Instant::now()),
                _ => GRACE.saturating_sub(asked.elapsed()),
            };
            match events.recv_timeout(patience) {
                Ok(Event::Line(line)) => {
                    if log.line(&line, self.environment.redaction()).is_some_and(|error| super::classify::is_trouble(&error)) {
                        watchdog.failed(Instant::now());
                    }
                    let written = std::fs::metadata(stdout).map_or(0, |meta| meta.len());
                    if watchdog.saw(&log.stats, written, Instant::now()) && matches!(ended, Ended::ByItself) {
                        self.context.progress.show(&log.stats);
                    }
                }
                Ok(Event::Wake) => {
                    terminate(child);
                    (ended, asked) = (Ended::Stopped, Instant::now());
                }
                Ok(Event::End) | Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => {
                    if !matches!(ended, Ended::ByItself) {
                        if let Err(error) = child.kill() {
                            tracing::warn!(%error, "cannot kill rclone");
                        }
                        // Its end of the log need not come: something that it has started may hold the pipe open.
                        break;
                    } else if let Some(verdict) = watchdog.verdict(Instant::now()) {
                        tracing::warn!(?verdict, "giving up on this rclone");
                        terminate(child);
                        (ended, asked) = (Ended::GivenUp(verdict), Instant::now());
                    }
                }
            }
        }
        self.context.stop.wake(None);
        if bell.join().is_err() {
            tracing::warn!("the stop thread died");
        }
        Ok((log, ended))
    }
}

#[derive(Clone, Copy)]
enum Ended {
    ByItself,
    Stopped,
    GivenUp(Verdict),
}

fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> crate::error::Result<std::thread::JoinHandle<()>> {
    std::thread::Builder::new()
        .name(name.to_owned())
        .spawn(work)
        .map_err(|e| Failure::new(Reason::MoverFailed, format!("cannot start a thread: {e}")))
}

fn read_log(stderr: ChildStderr, events: &mpsc::Sender<Event>) {
    for line in BufReader::new(stderr).split(b'\n') {
        let Ok(line) = line else { break };
        if events.send(Event::Line(line)).is_err() {
            return;
        }
    }
    // The supervisor may have given up and dropped the receiver.
    let _ = events.send(Event::End);
}

fn terminate(child: &Child) {
    let Some(pid) = i32::try_from(child.id()).ok().and_then(rustix::process::Pid::from_raw) else {
        return;
    };
    // Not yet waited for, so the id is still this child's.
    if let Err(error) = rustix::process::kill_process(pid, rustix::process::Signal::TERM) {
        tracing::warn!(%error, "cannot stop rclone");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A missing key file behind an alias, or a page of some web server, reads as "not found" and ends with another code. A folder that goes
    /// away in mid-listing ends it in the same way as one that is not there.
    #[test]
    fn absence_is_an_exit_code_and_nothing_found() {
        for (code, absent) in [(None, false), (Some(1), false), (Some(3), true), (Some(4), true), (Some(7), false)] {
            assert_eq!(is_absence(code, 2), absent, "{code:?}");
            assert!(!is_absence(code, 3), "{code:?}");
        }
    }
}
