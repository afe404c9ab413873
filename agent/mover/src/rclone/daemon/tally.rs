//! Adds up what calls that run side by side have moved, for the one line of progress there is.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::store::progress::Progress;
use crate::store::stats::Stats;

/// The calls that run, by their numbers.
#[derive(Debug)]
pub(super) struct Tally {
    progress: Progress,
    running: Mutex<BTreeMap<u64, Stats>>,
}

impl Tally {
    pub(super) fn new(progress: Progress) -> Self {
        Self { progress, running: Mutex::default() }
    }

    /// A call moved on.
    pub(super) fn show(&self, call: u64, stats: &Stats) {
        let mut running = self.lock();
        running.insert(call, stats.clone());
        self.progress.show(&sum(&running));
    }

    /// A call is over; what it did counts.
    pub(super) fn finished(&self, call: u64, stats: &Stats) {
        let mut running = self.lock();
        running.remove(&call);
        self.progress.finished(stats);
        if !running.is_empty() {
            self.progress.show(&sum(&running));
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<u64, Stats>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Of the bytes, which are all that is shown of a call that runs.
fn sum(running: &BTreeMap<u64, Stats>) -> Stats {
    Stats { bytes: running.values().map(|stats| stats.bytes).sum(), ..Stats::default() }
}
