//! How a mover fails: a reason, and a sentence for a person. The one table from rclone's exit codes and words to reasons.
//!
//! Imports `report`.

use crate::report::Reason;
use std::fmt;

/// A failed mover.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) reason: Reason,
    pub(crate) message: String,
}

impl Failure {
    pub(crate) fn new(reason: Reason, message: impl Into<String>) -> Self {
        Failure { reason, message: message.into() }
    }

    /// Something about a file of the volume.
    pub(crate) fn volume(what: &str, path: impl fmt::Debug, error: &std::io::Error) -> Self {
        let reason = match error.raw_os_error() {
            Some(code) if [libc_enospc(), libc_edquot()].contains(&code) => Reason::NoSpace,
            _ => Reason::VolumeUnreadable,
        };
        Failure::new(reason, format!("{what} {path:?}: {error}"))
    }

    /// Something about the mover's own scratch files, and other things that no user can mend.
    pub(crate) fn internal(what: &str, error: impl fmt::Display) -> Self {
        Failure::new(Reason::MoverFailed, format!("{what}: {error}"))
    }
}

fn libc_enospc() -> i32 {
    rustix::io::Errno::NOSPC.raw_os_error()
}

fn libc_edquot() -> i32 {
    rustix::io::Errno::DQUOT.raw_os_error()
}

/// rclone's words, in the order in which they are looked for: the first that matches names the reason.
const WORDS: &[(&str, Reason)] = &[
    ("didn't find section in config file", Reason::SecretInvalid),
    ("NoSuchBucket", Reason::BucketMissing),
    ("directory not found", Reason::BucketMissing),
    ("StatusCode: 401", Reason::AccessDenied),
    ("StatusCode: 403", Reason::AccessDenied),
    ("AccessDenied", Reason::AccessDenied),
    ("unable to authenticate", Reason::AccessDenied),
    ("SlowDown", Reason::Throttled),
    ("StatusCode: 429", Reason::Throttled),
    ("StatusCode: 503", Reason::Throttled),
    ("QuotaExceeded", Reason::NoSpace),
    ("StatusCode: 507", Reason::NoSpace),
    ("no space left on device", Reason::NoSpace),
    ("disk quota exceeded", Reason::NoSpace),
    ("file too big for remaining disk space", Reason::NoSpace),
    ("permission denied", Reason::VolumeUnreadable),
    ("no such host", Reason::Unreachable),
    ("connection refused", Reason::Unreachable),
    ("connection reset", Reason::Unreachable),
    ("no route to host", Reason::Unreachable),
    ("network is unreachable", Reason::Unreachable),
    ("i/o timeout", Reason::Unreachable),
    ("deadline exceeded", Reason::Unreachable),
    ("TLS handshake timeout", Reason::Unreachable),
    ("dial tcp", Reason::Unreachable),
    ("unexpected EOF", Reason::Unreachable),
    ("StatusCode: 5", Reason::Unreachable),
    ("object not found", Reason::RemoteInconsistent),
];

/// What an rclone that ended with this code and these words was trying to say.
pub(crate) fn of_rclone(what: &str, code: Option<i32>, stderr: &str) -> Failure {
    let last = stderr.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("no words").trim();
    let lower = stderr.to_lowercase();
    let known = WORDS.iter().find(|(words, _)| lower.contains(&words.to_lowercase())).map(|(_, reason)| *reason);
    let reason = known.unwrap_or(match code {
        Some(5) => Reason::Unreachable,
        _ => Reason::MoverFailed,
    });
    let code = code.map_or_else(|| "by a signal".to_owned(), |c| format!("with code {c}"));
    Failure::new(reason, format!("{what}: rclone ended {code}: {last}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case("StatusCode: 403, api error SignatureDoesNotMatch", Some(1), Reason::AccessDenied)]
    #[case("dial tcp 127.0.0.1:9: connect: connection refused", Some(1), Reason::Unreachable)]
    #[case("StatusCode: 503, api error SlowDown", Some(1), Reason::Throttled)]
    #[case("something else", Some(5), Reason::Unreachable)]
    #[case("something else", Some(1), Reason::MoverFailed)]
    fn words_have_reasons(#[case] words: &str, #[case] code: Option<i32>, #[case] reason: Reason) {
        assert_eq!(of_rclone("copying", code, words).reason, reason);
    }
}
