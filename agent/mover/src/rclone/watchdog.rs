//! When a running rclone is killed: it makes no progress, or everything that it does fails.
//!
//! rclone tries each of many files again and again, and with a server that has gone silent that takes hours. What it reads again for a
//! retry counts as bytes moved, so bytes alone prove nothing.

use std::time::{Duration, Instant};

use crate::store::stats::Stats;

/// After the remote failed one file, another must be done within this time.
const FAILING: Duration = Duration::from_secs(20);

/// Follows one child.
#[derive(Debug)]
pub(super) struct Watchdog {
    idle: Duration,
    moved: Instant,
    alive: (Stats, u64),
    failing: Option<Instant>,
}

/// Why it is to be given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Nothing at all has happened for too long.
    StandsStill,
    /// The remote fails one file after another.
    OnlyFails,
}

impl Watchdog {
    pub(super) fn new(idle: Duration, now: Instant) -> Self {
        Self { idle, moved: now, alive: (Stats::default(), 0), failing: None }
    }

    /// Takes note of the statistics and of how much was written to standard output. True if anything moved on.
    pub(super) fn saw(&mut self, stats: &Stats, written: u64, now: Instant) -> bool {
        let alive = (stats.signs_of_life(), written);
        if alive == self.alive {
            return false;
        }
        if done(&alive.0) != done(&self.alive.0) || written != self.alive.1 {
            self.failing = None;
        }
        (self.alive, self.moved) = (alive, now);
        true
    }

    /// Takes note that the remote failed a file, and not for the file's own fault.
    pub(super) fn failed(&mut self, now: Instant) {
        self.failing.get_or_insert(now);
    }

    /// How long there is nothing to be said.
    pub(super) fn patience(&self, now: Instant) -> Duration {
        let until_still = self.idle.saturating_sub(now.duration_since(self.moved));
        let until_failed = self.failing.map(|since| FAILING.saturating_sub(now.duration_since(since)));
        until_failed.map_or(until_still, |left| left.min(until_still))
    }

    /// Whether it is to be given up now.
    pub(super) fn verdict(&self, now: Instant) -> Option<Verdict> {
        if self.failing.is_some_and(|since| now.duration_since(since) >= FAILING) {
            return Some(Verdict::OnlyFails);
        }
        (now.duration_since(self.moved) >= self.idle).then_some(Verdict::StandsStill)
    }
}

/// What is finished for good, in contrast to bytes.
fn done(stats: &Stats) -> Stats {
    Stats { bytes: 0, server_side_copy_bytes: 0, ..stats.clone() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_keep_it_alive_but_do_not_excuse_failures() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let stats = |bytes, transfers| Stats { bytes, transfers, ..Stats::default() };
        let mut dog = Watchdog::new(Duration::from_secs(60), start);
        assert!(dog.saw(&stats(1, 0), 0, at(50)) && !dog.saw(&stats(1, 0), 0, at(51)));
        assert_eq!(
            (dog.patience(at(52)), dog.verdict(at(109)), dog.verdict(at(110))),
            (Duration::from_secs(58), None, Some(Verdict::StandsStill))
        );

        dog.failed(at(60));
        dog.failed(at(70));
        dog.saw(&stats(9, 0), 0, at(75));
        assert_eq!((dog.patience(at(75)), dog.verdict(at(80))), (Duration::from_secs(5), Some(Verdict::OnlyFails)));
        dog.saw(&stats(9, 1), 0, at(79));
        assert_eq!(dog.verdict(at(81)), None, "a file is done");
    }
}
