//! Progress of the transfers, as JSON lines on standard output: the agent reads the last one of a long run.
//!
//! Imports [`crate::stats`].

use std::io::Write;
use std::sync::Mutex;

use serde::Serialize;

use crate::stats::Stats;

/// What the lines are made of.
#[derive(Debug, Default)]
pub struct Progress {
    state: Mutex<State>,
}

#[derive(Debug, Default, Clone)]
struct State {
    shown: bool,
    phase: &'static str,
    bytes_done: u64,
    bytes_total: u64,
    /// Everything rclone did in all its runs.
    sum: Stats,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Line {
    phase: &'static str,
    bytes_done: u64,
    bytes_total: u64,
}

impl Progress {
    /// Lines go to standard output; without this, nowhere.
    pub fn on_stdout() -> Self {
        Self { state: Mutex::new(State { shown: true, ..State::default() }) }
    }

    /// A new phase begins, which is going to move this many bytes.
    pub fn phase(&self, phase: &'static str, bytes_total: u64) {
        let mut state = self.lock();
        (state.phase, state.bytes_done, state.bytes_total) = (phase, 0, bytes_total);
        line(&state, 0);
    }

    /// rclone moved on.
    pub fn show(&self, stats: &Stats) {
        line(&self.lock(), stats.bytes);
    }

    /// rclone ended; what it did counts.
    pub fn finished(&self, stats: &Stats) {
        let mut now = self.lock();
        now.bytes_done += stats.bytes;
        let sum = &mut now.sum;
        sum.bytes += stats.bytes;
        sum.transfers += stats.transfers;
        sum.checks += stats.checks;
        sum.deletes += stats.deletes;
        sum.server_side_copies += stats.server_side_copies;
        sum.errors += stats.errors;
    }

    /// Everything rclone did so far.
    pub fn sum(&self) -> Stats {
        self.lock().sum.clone()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

fn line(state: &State, running: u64) {
    if !state.shown {
        return;
    }
    let bytes_done = state.bytes_done + running;
    let line = Line { phase: state.phase, bytes_done, bytes_total: state.bytes_total.max(bytes_done) };
    if let Ok(mut text) = serde_json::to_string(&line) {
        text.push('\n');
        // A reader that went away must not end the transfer.
        let _ = std::io::stdout().write_all(text.as_bytes());
    }
}
