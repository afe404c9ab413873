//! Progress of the transfers, as JSON lines on standard output: the agent reads the last one of a long run.

use std::io::{self, Write};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde::Serialize;

use crate::stop::Stop;
use crate::store::stats::Stats;

/// How often work that moves no bytes, such as hashing, reports that it makes progress. The agent reads it as often.
const BEAT: Duration = Duration::from_secs(10);

/// What the lines are made of. Clones show the same progress.
#[derive(Clone, Debug, Default)]
pub struct Progress {
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default, Clone)]
struct State {
    shown: bool,
    phase: &'static str,
    bytes_done: u64,
    bytes_total: u64,
    /// What the rclone that runs has moved so far.
    running: u64,
    /// Steps of the mover itself, as of the last line.
    steps: u64,
    /// Everything rclone did in all its runs.
    sum: Stats,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Line {
    phase: &'static str,
    bytes_done: u64,
    bytes_total: u64,
    steps: u64,
}

impl Progress {
    /// Lines go to standard output; without this, nowhere.
    pub fn on_stdout() -> Self {
        Self { state: Arc::new(Mutex::new(State { shown: true, ..State::default() })) }
    }

    /// Prints a line from time to time as long as the mover itself moves on. One thread, which lives as long as the process.
    pub fn follow(&self, stop: &Stop) -> io::Result<()> {
        let (progress, stop) = (self.clone(), stop.clone());
        std::thread::Builder::new().name("progress".into()).spawn(move || {
            loop {
                std::thread::sleep(BEAT);
                progress.beat(stop.steps());
            }
        })?;
        Ok(())
    }

    /// Prints a line if steps were taken since the last one; returns whether it did.
    fn beat(&self, steps: u64) -> bool {
        let mut state = self.lock();
        let moved = state.steps != steps;
        state.steps = steps;
        if moved {
            line(&state);
        }
        moved
    }

    /// A new phase begins, which is going to move this many bytes.
    pub fn phase(&self, phase: &'static str, bytes_total: u64) {
        let mut state = self.lock();
        (state.phase, state.bytes_done, state.bytes_total, state.running) = (phase, 0, bytes_total, 0);
        line(&state);
    }

    /// rclone moved on.
    pub fn show(&self, stats: &Stats) {
        let mut state = self.lock();
        state.running = stats.bytes;
        line(&state);
    }

    /// rclone ended; what it did counts.
    pub fn finished(&self, stats: &Stats) {
        let mut now = self.lock();
        now.bytes_done += stats.bytes;
        now.running = 0;
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

fn line(state: &State) {
    if !state.shown {
        return;
    }
    let bytes_done = state.bytes_done + state.running;
    let line = Line { phase: state.phase, bytes_done, bytes_total: state.bytes_total.max(bytes_done), steps: state.steps };
    if let Ok(mut text) = serde_json::to_string(&line) {
        text.push('\n');
        // A reader that went away must not end the transfer.
        let _ = std::io::stdout().write_all(text.as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::volume::beneath::Root;
    use crate::volume::hash::Hasher;
    use crate::volume::path::RelPath;

    /// Reading a volume for hours moves no bytes: its steps show progress, and a mover that hangs takes none.
    #[test]
    fn hashing_is_progress_and_hanging_is_none() {
        let (progress, stop, dir) = (Progress::default(), Stop::default(), assert_fs::TempDir::new().unwrap());
        let (root, file) = (Root::open(dir.path()).unwrap(), RelPath::own("file"));
        std::fs::write(root.shown(&file), vec![0; 1 << 20]).unwrap();
        for _ in 0..2 {
            Hasher::default().all(&root, std::slice::from_ref(&file), &stop).unwrap();
            assert!(progress.beat(stop.steps()));
            assert!(!progress.beat(stop.steps()));
        }
    }
}
