//! The one error type of this crate: a reason that the agent acts on, and a message that says what to do.

use std::fmt;
use std::io;
use std::path::Path;
use std::sync::Arc;

use rustix::io::Errno;

use crate::report::Reason;

/// Why a push or pull stopped.
#[derive(Clone, Debug)]
pub struct Failure {
    /// Decides what the agent does next; becomes a condition reason.
    pub reason: Reason,
    /// What happened and what to do about it.
    pub message: String,
    /// The error of the operating system behind it, if there is one.
    source: Option<Arc<io::Error>>,
}

/// Two failures are the same if they report the same: errors of the operating system cannot be compared.
impl PartialEq for Failure {
    fn eq(&self, other: &Self) -> bool {
        (self.reason, &self.message) == (other.reason, &other.message)
    }
}

impl Eq for Failure {}

/// The result of every fallible step of a push or pull.
pub type Result<T> = std::result::Result<T, Failure>;

impl Failure {
    /// A failure with a known reason.
    pub fn new(reason: Reason, message: impl Into<String>) -> Self {
        Self { reason, message: message.into(), source: None }
    }

    /// An error with a file of the volume: names the file, and distinguishes a full file system.
    pub fn volume(doing: &str, path: &Path, error: &io::Error) -> Self {
        let what = match error.raw_os_error().map(Errno::from_raw_os_error) {
            Some(Errno::LOOP) => "a symbolic link has taken the place of a directory of its path".to_owned(),
            Some(Errno::AGAIN) => {
                "another program has a lease on it (fcntl F_SETLEASE), as file servers take, and does not give it up, or its folders are moved all the time".to_owned()
            }
            Some(Errno::XDEV) => "another file system is mounted there, or above it".to_owned(),
            _ => error.to_string(),
        };
        Self::of(error, Reason::VolumeUnreadable, format!("cannot {doing} {}: {what}", path.display()))
    }

    /// An error with the mover's own temporary files.
    pub fn scratch(error: &io::Error) -> Self {
        Self::of(error, Reason::MoverFailed, format!("the mover's temporary directory: {error}"))
    }

    /// An error of the operating system: `reason`, unless the file system is full.
    fn of(error: &io::Error, reason: Reason, message: String) -> Self {
        let full = matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded);
        // An io::Error cannot be cloned; what counts of it is kept.
        let source = error.raw_os_error().map_or_else(|| io::Error::new(error.kind(), error.to_string()), io::Error::from_raw_os_error);
        Self { reason: if full { Reason::NoSpace } else { reason }, message, source: Some(Arc::new(source)) }
    }

    /// The same, with another sentence at the end of its message.
    #[must_use]
    pub fn with_more(self, what: &str) -> Self {
        Self { message: format!("{}. {what}.", self.message.trim_end_matches('.')), ..self }
    }

    /// Whether the operating system has refused something.
    pub fn is_of_the_system(&self) -> bool {
        self.source.is_some()
    }

    /// Whether it has refused that because something else is there than was expected: that will be no other one at the next try.
    pub fn is_of_what_is_there(&self) -> bool {
        let error = self.source.as_ref().and_then(|error| error.raw_os_error()).map(Errno::from_raw_os_error);
        matches!(error, Some(Errno::NOTEMPTY | Errno::EXIST | Errno::NOTDIR | Errno::ISDIR | Errno::NOENT | Errno::LOOP))
    }

    /// The stop signal arrived.
    pub fn killed() -> Self {
        Self::new(Reason::MoverKilled, "the mover was stopped before it had finished; the next attempt continues from here")
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.reason, self.message)
    }
}

impl std::error::Error for Failure {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_deref().map(|error| error as _)
    }
}

/// The next item of a stream that ends with its first failure. `ended` is where the stream keeps that it has.
pub fn next_or_end<S, T>(stream: &mut S, ended: fn(&mut S) -> &mut bool, step: fn(&mut S) -> Result<Option<T>>) -> Option<Result<T>> {
    if *ended(stream) {
        return None;
    }
    let item = step(stream).transpose();
    *ended(stream) = !matches!(item, Some(Ok(_)));
    item
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::error::Error;

    #[test]
    fn the_error_of_the_operating_system_is_kept() {
        let full = Failure::volume("write", Path::new("/v/f"), &io::Error::from_raw_os_error(28));
        assert_eq!(full.reason, Reason::NoSpace);
        assert!(full.source().unwrap().to_string().contains("No space left"), "{full:?}");
        assert!(Failure::killed().source().is_none());
    }
}
