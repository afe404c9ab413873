//! The one error type of this crate: a reason the agent acts on, and a sentence for a person.

use std::fmt;
use std::io;
use std::path::Path;

use crate::report::Reason;

/// Why a push or pull stopped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Decides what the agent does next; becomes a condition reason.
    pub reason: Reason,
    /// What happened and what to do about it.
    pub message: String,
}

/// The result of every fallible step of a push or pull.
pub type Result<T> = std::result::Result<T, Failure>;

impl Failure {
    /// A failure with a known reason.
    pub fn new(reason: Reason, message: impl Into<String>) -> Self {
        Self { reason, message: message.into() }
    }

    /// RcloneError with a file of the volume: names it, and tells a full file system from the rest.
    pub fn volume(doing: &str, path: &Path, error: &io::Error) -> Self {
        let reason = match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Reason::NoSpace,
            _ => Reason::VolumeUnreadable,
        };
        Self::new(reason, format!("cannot {doing} {}: {error}", path.display()))
    }

    /// RcloneError with the mover's own temporary files.
    pub fn scratch(error: &io::Error) -> Self {
        let reason = match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Reason::NoSpace,
            _ => Reason::MoverFailed,
        };
        Self::new(reason, format!("the mover's temporary directory: {error}"))
    }

    /// The stop signal arrived.
    pub fn killed() -> Self {
        Self::new(Reason::MoverKilled, "the mover was told to stop before it was done; the next attempt goes on from here")
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.reason, self.message)
    }
}

impl std::error::Error for Failure {}
