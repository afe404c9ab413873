//! What the daemon says on its standard error, read as long as it lives: else a full pipe would stop it.

use std::io::{self, BufRead, BufReader};
use std::process::ChildStderr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::rclone::classify::classify;
use crate::rclone::log::Log;
use crate::rclone::redaction::Redaction;
use crate::store::Class;

/// Its messages, of all calls.
#[derive(Debug)]
pub(super) struct Messages {
    log: Mutex<Log>,
    /// How often it said that the remote failed a file, and not for the file's own fault.
    troubles: AtomicU64,
    redaction: Redaction,
}

impl Messages {
    pub(super) fn new(redaction: Redaction) -> Self {
        Self { log: Mutex::default(), troubles: AtomicU64::new(0), redaction }
    }

    /// Reads them in a thread, which ends with the pipe. That need not be when the daemon ends: something that it has started may hold it.
    pub(super) fn read(self: &Arc<Self>, stderr: ChildStderr) -> io::Result<()> {
        let messages = Arc::clone(self);
        std::thread::Builder::new().name("rclone-log".into()).spawn(move || {
            for line in BufReader::new(stderr).split(b'\n') {
                match line {
                    Ok(line) => messages.line(&line),
                    Err(error) => return tracing::warn!(%error, "cannot read the messages of rclone"),
                }
            }
        })?;
        Ok(())
    }

    fn line(&self, line: &[u8]) {
        let error = self.lock().line(line, &self.redaction);
        if error.is_some_and(|error| matches!(classify(Some(1), &[error], &self.redaction).0, Class::Unreachable | Class::Throttled)) {
            self.troubles.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(super) fn troubles(&self) -> u64 {
        self.troubles.load(Ordering::Relaxed)
    }

    /// `; last message of rclone: …`, or nothing; without secrets.
    pub(super) fn last(&self) -> String {
        self.redaction.apply(&self.lock().last_message())
    }

    fn lock(&self) -> MutexGuard<'_, Log> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
