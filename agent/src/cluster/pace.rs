//! How long to wait before a request that failed is made again, and which failures are worth a line in the log.
//!
//! kube's own backoff is of no use for lists: a watcher announces every list (`Event::Init`) before it is asked for, which resets the
//! delay, so a kind that is not served would be listed once a second for ever.

use crate::core::schedule::backoff;
use jiff::SignedDuration;
use kube::runtime::watcher::{Error as WatchError, Event};
use std::error::Error;
use std::hash::{BuildHasher, RandomState};
use std::time::{Duration, Instant};

/// Delays between tries. Each is less by up to a quarter, so that agents that failed together do not come back together.
#[derive(Clone, Copy, Debug)]
pub struct Pacing {
    /// After the first failure; doubled after each one that follows.
    pub first: SignedDuration,
    /// Longest delay while the API server is unreachable or fails.
    pub away: SignedDuration,
    /// Longest delay where it answers that a kind is not served (404), or not for this agent (403). Once a CRD is installed or a verb is
    /// granted, the agent notices within this time.
    pub absent: SignedDuration,
    /// A watch that holds for so long works, also if it brings nothing.
    pub settled: Duration,
}

impl Default for Pacing {
    fn default() -> Self {
        Pacing {
            first: SignedDuration::from_secs(1),
            away: SignedDuration::from_mins(1),
            absent: SignedDuration::from_mins(2),
            settled: Duration::from_secs(10),
        }
    }
}

/// So many failures in a row, a minute of them, are no moment's trouble.
const LASTS: i64 = 7;

/// What went wrong, as far as it matters whether it is still the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// The API server answered with this code.
    Answer(u16),
    /// There was no answer.
    Unreachable,
    /// What a watch knows is too old to go on from, so a list follows. That is part of every watch's life, and worth no line in the log. A list
    /// that expires before its last page is another matter.
    Expired,
}

impl From<&kube::Error> for Trouble {
    fn from(error: &kube::Error) -> Self {
        match error {
            kube::Error::Api(status) => Trouble::Answer(status.code),
            _ => Trouble::Unreachable,
        }
    }
}

impl From<&WatchError> for Trouble {
    fn from(error: &WatchError) -> Self {
        match error {
            WatchError::InitialListFailed(error) => error.into(),
            WatchError::WatchStartFailed(error) | WatchError::WatchFailed(error) => of_a_watch(error.into()),
            WatchError::WatchError(status) => of_a_watch(Trouble::Answer(status.code)),
            WatchError::NoResourceVersion => Trouble::Unreachable,
        }
    }
}

fn of_a_watch(trouble: Trouble) -> Trouble {
    if trouble == Trouble::Answer(410) { Trouble::Expired } else { trouble }
}

/// What is to be done after a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Setback {
    /// So long nothing is asked.
    pub delay: Duration,
    /// It is another trouble than before, and a line in the log is due.
    pub news: bool,
    /// It has been so for so long, or is of such a kind, that users have to know. What is not served is no trouble to those who do not need it.
    pub lasts: bool,
}

/// The pace of one kind of request.
#[derive(Debug)]
pub struct Pace {
    pacing: Pacing,
    seed: String,
    failures: i64,
    trouble: Option<Trouble>,
    /// When the pending request was sent, or the last sign that it works was seen.
    since: Instant,
}

impl Pace {
    /// A pace without failures.
    pub fn new(pacing: Pacing, now: Instant) -> Self {
        let seed = format!("{:x}", RandomState::new().hash_one("pace"));
        Pace { pacing, seed, failures: 0, trouble: None, since: now }
    }

    /// Whether the last thing that is known is a failure.
    pub fn troubled(&self) -> bool {
        self.trouble.is_some()
    }

    /// A request failed.
    pub fn failed(&mut self, trouble: Trouble, now: Instant) -> Setback {
        self.failures = self.failures.saturating_add(1);
        let cap = match trouble {
            Trouble::Answer(403 | 404) => self.pacing.absent,
            _ => self.pacing.away,
        };
        let delay = backoff::delay(self.pacing.first, cap, self.failures, &self.seed).unsigned_abs();
        self.since = now + delay;
        if trouble == Trouble::Expired {
            return Setback { delay, news: false, lasts: false };
        }
        let news = self.trouble.replace(trouble) != Some(trouble);
        let lasts = match trouble {
            Trouble::Answer(403) => true,
            Trouble::Answer(404) | Trouble::Expired => false,
            Trouble::Answer(_) | Trouble::Unreachable => self.failures >= LASTS,
        };
        Setback { delay, news, lasts }
    }

    /// A watch ended, or its list failed. One that had held for a while begins with the shortest delay.
    pub fn ended(&mut self, error: &WatchError, now: Instant) -> Setback {
        let list = matches!(error, WatchError::InitialListFailed(_));
        if !list && now.saturating_duration_since(self.since) >= self.pacing.settled {
            self.holds(now);
        }
        self.failed(error.into(), now)
    }

    /// A watch delivered an event; returns whether that ends a trouble. Only a complete list or an event of an established watch do: a watcher
    /// announces a list before it has asked for it. A list alone does not shorten the next delay, its watch has to hold as well.
    pub fn brought<K>(&mut self, event: &Event<K>, now: Instant) -> bool {
        match event {
            Event::Init | Event::InitApply(_) => false,
            Event::InitDone => {
                self.since = now;
                self.trouble.take().is_some()
            }
            Event::Apply(_) | Event::Delete(_) => self.holds(now),
        }
    }

    /// It works; returns whether that ends a trouble.
    pub fn holds(&mut self, now: Instant) -> bool {
        (self.failures, self.since) = (0, now);
        self.trouble.take().is_some()
    }
}

/// An error as text: the API server's message, or else the error with its causes, which HTTP clients do not print.
pub fn causes(error: &(dyn Error + 'static)) -> String {
    if let Some(kube::Error::Api(status)) = error.downcast_ref() {
        return format!("{} (HTTP {})", status.message.trim(), status.code);
    }
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        next = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use kube::core::Status;

    fn answer(code: u16) -> kube::Error {
        kube::Error::Api(Box::new(Status { code, ..Status::default() }))
    }

    fn list(code: u16) -> WatchError {
        WatchError::InitialListFailed(answer(code))
    }

    /// What a watcher makes of a server that answers every list so, for ten minutes: requests, and lines in the log.
    fn ten_minutes(mut error: impl FnMut(usize) -> WatchError) -> (usize, usize) {
        let began = Instant::now();
        let (mut now, mut pace) = (began, Pace::new(Pacing::default(), began));
        let (mut requests, mut lines) = (0, 0);
        while now.duration_since(began) < Duration::from_secs(600) {
            pace.brought(&Event::<()>::Init, now);
            let setback = pace.ended(&error(requests), now);
            requests += 1;
            lines += usize::from(setback.news);
            now += setback.delay;
        }
        (requests, lines)
    }

    #[test]
    fn a_kind_that_is_not_served_costs_a_dozen_requests_and_one_line() {
        for code in [403, 404] {
            let (requests, lines) = ten_minutes(|_| list(code));
            assert!((8..=13).contains(&requests) && lines == 1, "{requests} requests, {lines} lines");
        }
    }

    #[test]
    fn a_server_that_is_away_is_asked_about_once_a_minute() {
        let (requests, lines) = ten_minutes(|_| WatchError::InitialListFailed(kube::Error::LinesCodecMaxLineLengthExceeded));
        assert!((14..=21).contains(&requests) && lines == 1, "{requests} requests, {lines} lines");
    }

    #[test]
    fn another_trouble_is_news() {
        let (_, lines) = ten_minutes(|request| list(if request < 3 { 500 } else { 404 }));
        assert_eq!(lines, 2);
    }

    #[test]
    fn what_lasts_is_what_hinders() {
        let now = Instant::now();
        let reported = |trouble: Trouble| {
            let mut pace = Pace::new(Pacing::default(), now);
            (1..=20).find(|_| pace.failed(trouble, now).lasts)
        };
        let answers = [403, 500, 503, 404].map(|code| reported(Trouble::Answer(code)));
        assert_eq!(answers, [Some(1), Some(LASTS), Some(LASTS), None]);
        assert_eq!((reported(Trouble::Unreachable), reported(Trouble::Expired)), (Some(LASTS), None));
    }

    /// An expired watch is listed anew; a list that expires each time brings nothing at all.
    #[test]
    fn a_list_that_expires_is_an_answer_like_any_other() {
        let now = Instant::now();
        let mut pace = Pace::new(Pacing::default(), now);
        let setbacks: Vec<_> = (0..LASTS).map(|_| pace.ended(&list(410), now)).collect();
        assert!(setbacks[0].news && setbacks[1..].iter().all(|setback| !setback.news), "{setbacks:?}");
        assert!(setbacks.last().is_some_and(|setback| setback.lasts) && !setbacks[0].lasts, "{setbacks:?}");
        assert!(pace.brought(&Event::<()>::InitDone, now), "its end is told");
    }

    /// Lists work, and their watches expire at once: that is no less a storm.
    #[test]
    fn a_list_whose_watch_does_not_hold_shortens_nothing() {
        let now = Instant::now();
        let mut pace = Pace::new(Pacing::default(), now);
        let expired = WatchError::WatchError(Box::new(Status { code: 410, ..Status::default() }));
        let mut delays = Vec::new();
        let mut time = now;
        for _ in 0..8 {
            assert!(!pace.brought(&Event::<()>::InitDone, time), "no news");
            let setback = pace.ended(&expired, time);
            assert!(!setback.news, "no news");
            delays.push(setback.delay);
            time += setback.delay;
        }
        assert!(delays[0] < Duration::from_secs(2) && delays[7] > Duration::from_secs(40), "{delays:?}");
    }

    /// What has worked begins anew with the shortest delay, and its next trouble is news.
    #[test]
    fn what_works_is_forgiven() {
        let began = Instant::now();
        let broken = || WatchError::WatchFailed(kube::Error::LinesCodecMaxLineLengthExceeded);
        let works: [fn(&mut Pace, Instant) -> bool; 3] = [
            |pace, now| pace.brought(&Event::Apply(()), now),
            |pace, now| pace.brought(&Event::Delete(()), now),
            |pace, now| pace.brought(&Event::<()>::InitDone, now),
        ];
        for works in works {
            let mut pace = Pace::new(Pacing::default(), began);
            for _ in 0..6 {
                pace.ended(&list(500), began);
            }
            assert!(pace.troubled() && works(&mut pace, began), "the end of a trouble is told");
            assert!(!pace.troubled() && !works(&mut pace, began), "once");
            let setback = pace.ended(&broken(), began + Duration::from_secs(10));
            assert!(setback.news && setback.delay <= Duration::from_secs(1), "{setback:?}");
        }
        // A watch that was resumed brings nothing until something happens.
        let mut pace = Pace::new(Pacing::default(), began);
        let delay = (0..6).map(|_| pace.ended(&broken(), began).delay).max().unwrap_or_default();
        let setback = pace.ended(&broken(), began + delay + Duration::from_secs(10));
        assert!(setback.news && setback.delay <= Duration::from_secs(1), "{setback:?}");
    }

    #[test]
    fn each_cause_is_reported_once() {
        let error = anyhow::anyhow!("connection refused").context("sending").context("asking: sending");
        assert_eq!(causes(error.as_ref()), "asking: sending: connection refused");
        let forbidden = Status { code: 403, message: "jobs is forbidden".to_owned(), ..Status::default() };
        assert_eq!(causes(&kube::Error::Api(Box::new(forbidden))), "jobs is forbidden (HTTP 403)");
    }
}
