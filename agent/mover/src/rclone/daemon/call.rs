//! A call, watched until it is over: it may be stopped, stand still, or outlive the daemon.

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::Daemon;
use super::error::{CallError, Kind, Sides};
use super::http::{self, Fault, Reply};
use crate::rclone::classify::recognize;
use crate::rclone::process::{CONTROL_IDLE, GRACE};
use crate::rclone::watchdog::{Verdict, Watchdog};
use crate::store::Class;
use crate::store::stats::Stats;

/// The longest answer in bytes: a listing of about 100,000 objects.
pub const MOST: usize = 16 << 20;

/// How often a running call looks whether a stop was requested.
const TICK: Duration = Duration::from_millis(100);
/// How often a running call reads its statistics.
const LOOK: Duration = Duration::from_secs(1);

/// How long a daemon may not even answer what it has done, whatever the call waits for: then it is stopped, or hangs.
const DEAF: Duration = Duration::from_secs(60);

/// By what a running call is seen to move on.
enum Life<'a> {
    /// By the statistics of this group of rclone's.
    Group(&'a str),
    /// By the bytes that have come.
    Bytes(&'a AtomicU64),
}

/// How the watch over a call ended.
enum Watched {
    Done(Result<Reply, Fault>),
    Stopped,
    GivenUp(Verdict),
    /// rclone does not answer.
    Deaf,
}

impl Daemon {
    /// Calls any method of rclone, see `rclone rc`, and waits for its answer; given up if nothing moves on for [`CONTROL_IDLE`].
    pub fn call(&self, method: &str, params: Value) -> Result<Value, CallError> {
        self.call_for(method, params, CONTROL_IDLE).map(|(answer, _)| answer)
    }

    /// As [`Self::call`], given up if nothing moves on for `idle`. Returns what was counted, too.
    pub fn call_for(&self, method: &str, mut params: Value, idle: Duration) -> Result<(Value, Stats), CallError> {
        let sides = Sides::of(&params);
        let number = self.calls.fetch_add(1, Ordering::Relaxed);
        let group = format!("mover/{number}");
        let Some(fields) = params.as_object_mut() else {
            return Err(CallError::refused(method, "parameters are an object"));
        };
        fields.insert("_group".to_owned(), group.clone().into());
        self.messages.begin();
        let work = http::post(&self.socket, method, params.to_string().into_bytes(), MOST);
        let watched = self.watch(work, &Life::Group(&group), number, idle);
        let mut stats = self.last_stats(&group);
        let answer = self.outcome(method, sides, idle, watched).and_then(|reply| match reply.status {
            200 => serde_json::from_slice(&reply.body).map_err(|error| {
                CallError::new(method, sides, Kind::Garbled, Class::Other, &format!("an answer that is no JSON: {error}"))
            }),
            status => {
                let logged = self.messages.explanation(&self.pipe);
                Err(CallError::answered(method, sides, status, &reply.body, logged, self.environment.redaction()))
            }
        });
        // That something does not exist is an answer for a caller that looks for it, or makes it, not an error of the sync.
        let is_answer = |error: &CallError| error.is_missing_object() || error.is_missing_folder() || error.class == Class::BucketMissing;
        if answer.as_ref().is_err_and(is_answer) {
            stats.errors = 0;
        }
        self.tally.finished(number, &stats);
        answer.map(|answer| (answer, stats))
    }

    /// Reads a range, `bytes=…`, of what is behind `target`.
    pub(super) fn get(&self, target: &str, range: &str, most: usize, sides: Sides) -> Result<Reply, CallError> {
        let method = "GET";
        let number = self.calls.fetch_add(1, Ordering::Relaxed);
        let seen = AtomicU64::new(0);
        let work = http::get(&self.socket, target, range, most, &seen);
        let watched = self.watch(work, &Life::Bytes(&seen), number, CONTROL_IDLE);
        let bytes = seen.load(Ordering::Relaxed);
        self.tally.finished(number, &Stats { bytes, ..Stats::default() });
        self.outcome(method, sides, CONTROL_IDLE, watched)
    }

    fn watch(&self, work: impl Future<Output = Result<Reply, Fault>>, life: &Life<'_>, number: u64, idle: Duration) -> Watched {
        if self.stop.check().is_err() {
            return Watched::Stopped;
        }
        self.runtime.block_on(async {
            let mut work = pin!(work);
            let mut watchdog = Watchdog::new(idle, Instant::now());
            let (mut looked, mut heard, mut troubles) = (Instant::now(), Instant::now(), self.messages.troubles());
            loop {
                if let Ok(done) = tokio::time::timeout(TICK.min(idle), &mut work).await {
                    return Watched::Done(done);
                }
                if self.stop.requested() {
                    self.abort(work, life).await;
                    return Watched::Stopped;
                }
                let now = Instant::now();
                if troubles != self.messages.troubles() {
                    troubles = self.messages.troubles();
                    watchdog.failed(now);
                }
                if now.duration_since(looked) >= LOOK.min(idle / 2) {
                    looked = now;
                    // A daemon that says nothing shows no sign of life.
                    if let Some(stats) = self.signs(life).await {
                        heard = Instant::now();
                        if watchdog.saw(&stats, 0, now) {
                            self.tally.show(number, &stats);
                        }
                    }
                }
                if heard.elapsed() >= DEAF {
                    tracing::warn!("giving up on an rclone that does not answer");
                    self.abort(work, life).await;
                    return Watched::Deaf;
                }
                if let Some(verdict) = watchdog.verdict(Instant::now()) {
                    tracing::warn!(?verdict, "giving up on this call of rclone");
                    self.abort(work, life).await;
                    return Watched::GivenUp(verdict);
                }
            }
        })
    }

    /// Asks rclone to end the work, and ends rclone if it does not.
    async fn abort(&self, mut work: Pin<&mut impl Future<Output = Result<Reply, Fault>>>, life: &Life<'_>) {
        let Life::Group(group) = life else {
            // What is read over a connection ends with it.
            return;
        };
        let ended = tokio::time::timeout(GRACE, async {
            self.ask("job/stopgroup", json!({ "group": group })).await?;
            work.as_mut().await.map(drop)
        });
        if !matches!(ended.await, Ok(Ok(()))) {
            tracing::warn!("rclone does not stop; ending it");
            self.child.kill();
        }
    }

    async fn signs(&self, life: &Life<'_>) -> Option<Stats> {
        match life {
            Life::Group(group) => self.stats(group).await,
            Life::Bytes(seen) => Some(Stats { bytes: seen.load(Ordering::Relaxed), ..Stats::default() }),
        }
    }

    async fn stats(&self, group: &str) -> Option<Stats> {
        let reply = tokio::time::timeout(GRACE, self.ask("core/stats", json!({ "group": group, "short": true }))).await;
        serde_json::from_slice(&reply.ok()?.ok()?.body).ok()
    }

    /// The statistics of a call that is over; nothing without them counts as moved. rclone forgets them.
    fn last_stats(&self, group: &str) -> Stats {
        if self.child.ended().is_some() {
            return Stats::default();
        }
        self.runtime.block_on(async {
            let stats = self.stats(group).await;
            let forgotten = tokio::time::timeout(GRACE, self.ask("core/stats-delete", json!({ "group": group }))).await;
            if stats.is_none() || !matches!(forgotten, Ok(Ok(_))) {
                tracing::warn!(group, "rclone does not say what a call has moved");
            }
            stats.unwrap_or_default()
        })
    }

    async fn ask(&self, method: &str, params: Value) -> Result<Reply, Fault> {
        let reply = http::post(&self.socket, method, params.to_string().into_bytes(), MOST).await?;
        if reply.status == 200 { Ok(reply) } else { Err(Fault::Broken(format!("{method}: HTTP status {}", reply.status))) }
    }

    fn outcome(&self, method: &str, sides: Sides, idle: Duration, watched: Watched) -> Result<Reply, CallError> {
        let error = |kind, class, what: &str| Err(CallError::new(method, sides, kind, class, what));
        let said = || {
            // All that it has said until now.
            self.messages.explanation(&self.pipe);
            self.messages.last()
        };
        match watched {
            Watched::Done(Ok(reply)) => Ok(reply),
            Watched::Done(Err(Fault::Broken(what))) => {
                // Its connections end a moment before it does.
                let (class, what) = match self.child.ends_within(GRACE) {
                    Some(ended) if ended.contains("signal") => {
                        (Class::Killed, format!("rclone was killed, perhaps for want of memory: it ended {ended}{}", said()))
                    }
                    Some(ended) => (Class::Other, format!("rclone ended {ended}{}", said())),
                    None => (Class::Other, format!("the connection to rclone broke ({what}){}", said())),
                };
                error(Kind::Gone, class, &what)
            }
            Watched::Done(Err(fault @ Fault::TooLong(_))) => error(Kind::TooLong, Class::Other, &fault.to_string()),
            Watched::Done(Err(fault @ Fault::Unspeakable(_))) => error(Kind::Refused, Class::Other, &fault.to_string()),
            Watched::Deaf => error(Kind::GivenUp, Class::Other, &format!("rclone has not answered for {} s{}", DEAF.as_secs(), said())),
            Watched::Stopped => error(Kind::Stopped, Class::Killed, "stopped"),
            Watched::GivenUp(verdict) => {
                let what = match verdict {
                    Verdict::StandsStill => format!("the remote gave no sign of life for {} s", idle.as_secs()),
                    Verdict::OnlyFails => "the remote fails one file after another".to_owned(),
                };
                // A server that says why it does not serve is no silent one.
                let class = match recognize(&self.messages.explanation(&self.pipe)) {
                    Some((class @ (Class::Throttled | Class::AccessDenied | Class::NoSpace), _)) => class,
                    _ => Class::Unreachable,
                };
                error(Kind::GivenUp, class, &format!("{what}{}", said()))
            }
        }
    }
}
