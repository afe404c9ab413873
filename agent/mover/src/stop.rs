//! The stop request: set by SIGTERM or SIGINT, seen by every loop that works on files, and passed on to rclone.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, PoisonError};

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::error::{Failure, Result};

/// Shared by the signal thread and the workers.
#[derive(Clone, Debug, Default)]
pub struct Stop {
    shared: Arc<Shared>,
    unheeded: bool,
}

#[derive(Debug, Default)]
struct Shared {
    requested: AtomicBool,
    steps: AtomicU64,
    /// The step at which it is requested, see [`Stop::request_after`]; 0 for none.
    last: AtomicU64,
    // The rclone supervisor waits on a channel: this is how a signal wakes it at once.
    wake: Mutex<Option<Sender<()>>>,
}

impl Stop {
    /// Makes SIGTERM and SIGINT set the request. One thread, which lives as long as the process.
    pub fn on_signals(&self) -> io::Result<()> {
        let mut signals = Signals::new([SIGTERM, SIGINT])?;
        let stop = self.clone();
        std::thread::Builder::new().name("signals".into()).spawn(move || {
            for _ in signals.forever() {
                stop.request();
            }
        })?;
        Ok(())
    }

    /// Asks everything to stop.
    pub fn request(&self) {
        self.shared.requested.store(true, Ordering::SeqCst);
        let wake = self.shared.wake.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(wake) = wake.as_ref() {
            // A supervisor that has just ended needs no waking.
            let _ = wake.send(());
        }
    }

    /// Asks everything to stop when so many more steps have been taken: tests stop a sync between any two of them.
    pub fn request_after(&self, steps: u64) {
        self.shared.last.store(self.steps() + steps.max(1), Ordering::SeqCst);
    }

    /// Whether a stop was requested.
    pub fn requested(&self) -> bool {
        self.shared.requested.load(Ordering::SeqCst)
    }

    /// The same for what must not end in the middle: steps count, and a request is not heeded.
    #[must_use]
    pub fn unheeded(&self) -> Self {
        Self { unheeded: true, ..self.clone() }
    }

    /// `Err(MoverKilled)` once a stop was requested: called between files, and between parts of large ones. Each call counts as a step.
    pub fn check(&self) -> Result<()> {
        let before = self.shared.steps.fetch_add(1, Ordering::Relaxed);
        if before + 1 == self.shared.last.load(Ordering::Relaxed) {
            self.request();
        }
        if self.requested() && !self.unheeded { Err(Failure::killed()) } else { Ok(()) }
    }

    /// How many steps were taken so far: every loop that may take long counts here, so a number that does not change is a mover that hangs.
    pub fn steps(&self) -> u64 {
        self.shared.steps.load(Ordering::Relaxed)
    }

    /// Calls `wake` on the next request; at once if there was one before.
    pub fn wake(&self, wake: Option<Sender<()>>) {
        *self.shared.wake.lock().unwrap_or_else(PoisonError::into_inner) = wake;
        if self.requested() {
            self.request();
        }
    }
}
