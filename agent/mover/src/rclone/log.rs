//! Understands rclone's JSON log: statistics, and the messages that explain a failure.

use std::collections::VecDeque;

use serde::Deserialize;

use crate::rclone::redaction::Redaction;
use crate::store::stats::Stats;

/// Enough to see the cause; rclone repeats itself for every file.
const KEPT: usize = 12;

#[derive(Deserialize)]
struct Line {
    #[serde(default)]
    level: String,
    #[serde(default)]
    msg: String,
    #[serde(default)]
    object: Option<String>,
    #[serde(default)]
    stats: Option<Stats>,
}

/// What a child said.
#[derive(Debug, Default)]
pub(super) struct Log {
    pub(super) stats: Stats,
    first: Vec<String>,
    last: VecDeque<String>,
    /// What is no error, such as a warning about the configuration: explains a failure only where nothing else does.
    notices: Vec<String>,
    latest: Option<String>,
}

impl Log {
    /// Takes note of a line; returns what it says if it is an error.
    pub(super) fn line(&mut self, bytes: &[u8], redaction: &Redaction) -> Option<String> {
        let Ok(line) = serde_json::from_slice::<Line>(bytes) else {
            // A crash of rclone, or a complaint from before its log is set up.
            self.keep(String::from_utf8_lossy(bytes).into_owned());
            return None;
        };
        if let Some(stats) = line.stats {
            self.stats = stats;
            return None;
        }
        let text = match line.object {
            Some(object) => format!("{object}: {}", line.msg),
            None => line.msg,
        };
        tracing::debug!(level = line.level, "rclone: {}", redaction.apply(&text));
        let error = (line.level == "error").then(|| text.clone());
        // The sum of what went wrong is a notice.
        if error.is_some() || line.level == "critical" || text.starts_with("Failed to ") {
            self.keep(text);
        } else if !text.trim().is_empty() {
            if self.notices.len() < KEPT {
                self.notices.push(text.clone());
            }
            self.latest = Some(text);
        }
        error
    }

    fn keep(&mut self, text: String) {
        if text.trim().is_empty() {
            return;
        }
        self.latest = Some(text.clone());
        if self.first.len() < KEPT {
            self.first.push(text);
            return;
        }
        self.last.push_back(text);
        if self.last.len() > KEPT {
            self.last.pop_front();
        }
    }

    /// What explains a failure: the first and the last errors, or the notices where there are none.
    pub(super) fn messages(&self) -> Vec<String> {
        if self.first.is_empty() {
            return self.notices.clone();
        }
        self.first.iter().chain(&self.last).cloned().collect()
    }

    /// `; last message of rclone: …`, or nothing.
    pub(super) fn last_message(&self) -> String {
        self.latest.as_ref().map_or_else(String::new, |words| format!("; last message of rclone: {words}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statistics_messages_and_noise_are_separated() {
        let (mut log, none) = (Log::default(), Redaction::default());
        log.line(br#"{"level":"notice","msg":"x","stats":{"bytes":8,"transfers":3,"eta":null,"serverSideCopies":2},"source":"s"}"#, &none);
        log.line(br#"{"level":"error","msg":"Failed to copy: boom","object":"a/b"}"#, &none);
        log.line(b"panic: oh", &none);
        assert_eq!((log.stats.bytes, log.stats.transfers, log.stats.server_side_copies), (8, 3, 2));
        assert_eq!(log.messages(), ["a/b: Failed to copy: boom", "panic: oh"]);
        assert_eq!(log.last_message(), "; last message of rclone: panic: oh");
    }

    #[test]
    fn an_error_explains_a_failure_and_a_notice_only_where_there_is_none() {
        let (mut log, none) = (Log::default(), Redaction::default());
        log.line(br#"{"level":"notice","msg":"No host key validation is being performed"}"#, &none);
        assert_eq!(log.messages(), ["No host key validation is being performed"]);
        log.line(br#"{"level":"notice","msg":"Failed to copy: strange"}"#, &none);
        log.line(br#"{"level":"critical","msg":"stranger"}"#, &none);
        log.line(br#"{"level":"notice","msg":"bye"}"#, &none);
        assert_eq!(log.messages(), ["Failed to copy: strange", "stranger"]);
        assert_eq!(log.last_message(), "; last message of rclone: bye");
    }

    #[test]
    fn a_flood_keeps_its_beginning_and_its_end() {
        let mut log = Log::default();
        for n in 0..1000 {
            log.line(format!(r#"{{"level":"error","msg":"{n}"}}"#).as_bytes(), &Redaction::default());
        }
        let messages = log.messages();
        assert_eq!((messages.len(), messages[0].as_str(), messages[23].as_str()), (24, "0", "999"));
    }
}
