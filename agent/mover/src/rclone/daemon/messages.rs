//! What the daemon says on its standard error, read as long as it lives: else a full pipe would stop it.

use std::io::{self, BufRead, BufReader, PipeReader, PipeWriter, Read, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard};

use crate::rclone::classify::is_trouble;
use crate::rclone::log::{Log, Message};
use crate::rclone::process::GRACE;
use crate::rclone::redaction::Redaction;

/// At the end of a line of ours in the daemon's pipe: no message of rclone has it.
const MARK: u8 = 0;

/// Bytes of a line; what is longer counts as several.
const LONGEST: u64 = 1 << 20;

/// Its messages, of all calls.
#[derive(Debug)]
pub(super) struct Messages {
    state: Mutex<State>,
    marked: Condvar,
    /// How often it said that the remote failed a file, and not for the file's own fault.
    troubles: AtomicU64,
    redaction: RwLock<Redaction>,
}

#[derive(Debug, Default)]
struct State {
    log: Log,
    /// Our own lines that were read.
    marks: u64,
}

/// The end of the pipe that the daemon writes to.
#[derive(Debug)]
pub(super) struct Pipe(PipeWriter);

impl Messages {
    pub(super) fn new(redaction: Redaction) -> Self {
        Self { state: Mutex::default(), marked: Condvar::new(), troubles: AtomicU64::new(0), redaction: RwLock::new(redaction) }
    }

    /// What to keep out of them from now on.
    pub(super) fn know(&self, redaction: &Redaction) {
        self.redaction.write().unwrap_or_else(PoisonError::into_inner).clone_from(redaction);
    }

    fn redaction(&self) -> RwLockReadGuard<'_, Redaction> {
        self.redaction.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads them in a thread, which ends with the pipe. That need not be when the daemon ends: something that it has started may hold it.
    pub(super) fn read(self: &Arc<Self>) -> io::Result<(Pipe, PipeWriter)> {
        let (reader, writer) = io::pipe()?;
        let own = writer.try_clone()?;
        let messages = Arc::clone(self);
        std::thread::Builder::new().name("rclone-log".into()).spawn(move || messages.follow(reader))?;
        Ok((Pipe(own), writer))
    }

    fn follow(&self, pipe: PipeReader) {
        let (mut pipe, mut line) = (BufReader::new(pipe), Vec::new());
        loop {
            line.clear();
            match pipe.by_ref().take(LONGEST).read_until(b'\n', &mut line) {
                Ok(0) => return,
                Ok(_) => {}
                Err(error) => return tracing::warn!(%error, "cannot read the messages of rclone"),
            }
            if line.ends_with(&[MARK, b'\n']) {
                self.lock().marks += 1;
                self.marked.notify_all();
            } else {
                self.line(line.strip_suffix(b"\n").unwrap_or(&line));
            }
        }
    }

    fn line(&self, line: &[u8]) {
        let redaction = self.redaction();
        let error = self.lock().log.line(line, &redaction);
        if error.is_some_and(|error| is_trouble(&error)) {
            self.troubles.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(super) fn troubles(&self) -> u64 {
        self.troubles.load(Ordering::Relaxed)
    }

    /// A call begins: what is said from now on explains it, and what calls at the same time say.
    pub(super) fn begin(&self) {
        self.lock().log = Log::default();
    }

    /// What explains a call that has failed. rclone writes that before it answers, and what we write into the same pipe comes after it.
    pub(super) fn explanation(&self, pipe: &Pipe) -> Vec<Message> {
        let marks = self.lock().marks;
        if let Err(error) = (&pipe.0).write_all(&[MARK, b'\n']) {
            tracing::warn!(%error, "cannot wait for the messages of rclone");
            return self.lock().log.messages();
        }
        let waited = self.marked.wait_timeout_while(self.lock(), GRACE, |state| state.marks == marks);
        waited.unwrap_or_else(PoisonError::into_inner).0.log.messages()
    }

    /// `; last message of rclone: …`, or nothing; without secrets.
    pub(super) fn last(&self) -> String {
        self.redaction().apply(&self.lock().log.last_message())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_without_an_end_is_not_kept_whole() {
        let messages = Arc::new(Messages::new(Redaction::default()));
        let (pipe, mut rclone) = messages.read().unwrap();
        for _ in 0..3 {
            rclone.write_all(&vec![b'x'; usize::try_from(LONGEST).unwrap()]).unwrap();
        }
        rclone.write_all(b"\nlast\n").unwrap();
        let said: Vec<String> = messages.explanation(&pipe).into_iter().map(|message| message.text).collect();
        assert_eq!(said.last().map(String::as_str), Some("last"));
        assert!(said.len() == 4 && said.iter().all(|said| said.len() as u64 <= LONGEST), "{}", said.len());
    }
}
