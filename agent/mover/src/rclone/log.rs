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

/// One message of rclone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Message {
    /// The object that it is about, if it is about one.
    pub(super) object: Option<String>,
    /// Which may name the object again.
    pub(super) text: String,
}

impl Message {
    /// What it says without the object's name, which could be any text.
    pub(super) fn nameless(&self) -> String {
        let Some(object) = self.object.as_deref() else { return self.text.clone() };
        // The folders it lies in are made before it.
        let folders = object.match_indices('/').rev().filter_map(|(at, _)| object.get(..at));
        std::iter::once(object).chain(folders).fold(self.text.clone(), |text, name| without(&text, name))
    }
}

/// Whether a name goes on as that of what rclone uploads first: `.1a2b3c4d.partial`.
fn is_half_written(after: &str) -> bool {
    let digits = after.strip_prefix('.').and_then(|after| after.split_once(".partial"));
    digits.is_some_and(|(digits, _)| digits.len() == 8 && digits.bytes().all(|digit| digit.is_ascii_hexdigit()))
}

/// A text without a name in it: where a path ends with it, or it stands in quotes, or before everything else. A word that reads the same
/// stays.
pub(super) fn without(text: &str, name: &str) -> String {
    let (mut rest, mut kept) = (text, String::new());
    while let Some((before, after)) = rest.split_once(name).filter(|_| !name.is_empty()) {
        kept.push_str(before);
        let begins = kept.is_empty() || kept.ends_with(['/', '"', '\'']);
        if !begins || !(after.is_empty() || after.starts_with([':', '"', '\'', ',']) || is_half_written(after)) {
            kept.push_str(name);
        }
        rest = after;
    }
    kept + rest
}

impl std::fmt::Display for Message {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.object {
            Some(object) => write!(f, "{object}: {}", self.text),
            None => f.write_str(&self.text),
        }
    }
}

/// What a child said.
#[derive(Debug, Default)]
pub(super) struct Log {
    pub(super) stats: Stats,
    first: Vec<Message>,
    last: VecDeque<Message>,
    /// What is no error, such as a warning about the configuration: explains a failure only where nothing else does.
    notices: Vec<Message>,
    latest: Option<Message>,
    /// The first symbolic link that it has left out, of a remote that is a folder here.
    pub(super) link: Option<String>,
}

/// What rclone's backend `local` says of a link, which it then leaves out (`backend/local/local.go`, 1.75.2).
const LEFT_OUT: &str = "Can't follow symlink";

impl Log {
    /// Takes note of a line; returns what it says if it is an error.
    pub(super) fn line(&mut self, bytes: &[u8], redaction: &Redaction) -> Option<Message> {
        let Ok(line) = serde_json::from_slice::<Line>(bytes) else {
            // A crash of rclone, or a complaint from before its log is set up.
            self.keep(Message { object: None, text: String::from_utf8_lossy(bytes).into_owned() });
            return None;
        };
        if let Some(stats) = line.stats {
            self.stats = stats;
            return None;
        }
        let message = Message { object: line.object, text: line.msg };
        tracing::debug!(level = line.level, "rclone: {}", redaction.apply(&message.to_string()));
        let error = (line.level == "error").then(|| message.clone());
        // The sum of what went wrong is a notice.
        if error.is_some() || line.level == "critical" || message.object.is_none() && message.text.starts_with("Failed to ") {
            self.keep(message);
        } else if !message.text.trim().is_empty() {
            if self.link.is_none() && message.text.starts_with(LEFT_OUT) {
                self.link = Some(message.object.clone().unwrap_or_default());
            }
            if self.notices.len() < KEPT {
                self.notices.push(message.clone());
            }
            self.latest = Some(message);
        }
        error
    }

    fn keep(&mut self, message: Message) {
        if message.text.trim().is_empty() {
            return;
        }
        self.latest = Some(message.clone());
        if self.first.len() < KEPT {
            self.first.push(message);
            return;
        }
        self.last.push_back(message);
        if self.last.len() > KEPT {
            self.last.pop_front();
        }
    }

    /// What explains a failure: the first and the last errors, or the notices where there are none.
    pub(super) fn messages(&self) -> Vec<Message> {
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

    fn texts(log: &Log) -> Vec<String> {
        log.messages().iter().map(Message::to_string).collect()
    }

    #[test]
    fn statistics_messages_and_noise_are_separated() {
        let (mut log, none) = (Log::default(), Redaction::default());
        log.line(br#"{"level":"notice","msg":"x","stats":{"bytes":8,"transfers":3,"eta":null,"serverSideCopies":2},"source":"s"}"#, &none);
        log.line(br#"{"level":"error","msg":"Failed to copy: boom","object":"a/b"}"#, &none);
        log.line(b"panic: oh", &none);
        assert_eq!((log.stats.bytes, log.stats.transfers, log.stats.server_side_copies), (8, 3, 2));
        assert_eq!(texts(&log), ["a/b: Failed to copy: boom", "panic: oh"]);
        assert_eq!(log.last_message(), "; last message of rclone: panic: oh");
    }

    #[test]
    fn an_error_explains_a_failure_and_a_notice_only_where_there_is_none() {
        let (mut log, none) = (Log::default(), Redaction::default());
        log.line(br#"{"level":"notice","msg":"No host key validation is being performed"}"#, &none);
        assert_eq!(texts(&log), ["No host key validation is being performed"]);
        log.line(br#"{"level":"notice","msg":"Failed to copy: strange"}"#, &none);
        log.line(br#"{"level":"critical","msg":"stranger"}"#, &none);
        log.line(br#"{"level":"notice","msg":"bye"}"#, &none);
        assert_eq!(texts(&log), ["Failed to copy: strange", "stranger"]);
        assert_eq!(log.last_message(), "; last message of rclone: bye");
    }

    #[test]
    fn a_name_is_left_out_where_it_is_one() {
        for (name, text, expected) in [
            ("a", "a: Failed to open /x/a: access denied", ": Failed to open /x/: access denied"),
            ("access denied", "open \"access denied\": access denied", "open \"\": access denied"),
            ("507 x", "open /b/507 x, 507 x", "open /b/, 507 x"),
            ("throttle.log", "open /b/throttle.log.b8f7b2a5.partial: denied", "open /b/.b8f7b2a5.partial: denied"),
            ("", "x", "x"),
        ] {
            assert_eq!(without(text, name), expected);
        }
    }

    #[test]
    fn a_flood_keeps_its_beginning_and_its_end() {
        let mut log = Log::default();
        for n in 0..1000 {
            log.line(format!(r#"{{"level":"error","msg":"{n}"}}"#).as_bytes(), &Redaction::default());
        }
        let messages = texts(&log);
        assert_eq!((messages.len(), messages[0].as_str(), messages[23].as_str()), (24, "0", "999"));
    }
}
