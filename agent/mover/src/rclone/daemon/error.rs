//! What a call may end in instead of its answer.
//!
//! Whose fault it can be follows from what the call was to read and to write, and not from words: the same "permission denied" may be a
//! server's or that of a file here.

use std::fmt;

use serde::Deserialize;
use serde_json::Value;

use crate::error::Failure;
use crate::rclone::classify::{recognize, shorten};
use crate::rclone::log::{Message, without};
use crate::rclone::redaction::Redaction;
use crate::store::{Class, StoreError};

/// How a place begins whose files the mover serves, see [`super::Serving`].
pub(super) const SERVED: &str = ":webdav,";

/// Where something lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// In the mover's own file systems.
    Mover,
    /// In a section of the configuration, of whatever type.
    Remote,
}

/// What a call was to read and to write.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sides {
    /// Where it reads, if it does.
    pub reads: Option<Side>,
    /// Where it writes, if it does.
    pub writes: Option<Side>,
}

impl Sides {
    /// As its parameters say.
    pub(super) fn of(params: &Value) -> Self {
        let side = |name: &str| {
            let place = params.get(name)?.as_str()?;
            Some(if place.starts_with('/') || place.starts_with(":local") || place.starts_with(SERVED) {
                Side::Mover
            } else {
                Side::Remote
            })
        };
        match side("fs") {
            // It may do both there.
            Some(only) => Self { reads: Some(only), writes: Some(only) },
            None => Self { reads: side("srcFs"), writes: side("dstFs") },
        }
    }

    /// What an error of a file system is about. What is sent was opened by the mover, so that a permission is the remote's to refuse.
    fn of_class(self, class: Class, said: &str) -> Class {
        let permission = ["permission denied", "operation not permitted", "read-only file system"]
            .iter()
            .any(|words| said.to_lowercase().contains(words));
        match class {
            // Both sides are the remote's: what it has copied is something else.
            Class::SourceChanging if self.reads == Some(Side::Remote) && self.writes == Some(Side::Remote) => Class::Other,
            Class::VolumeUnreadable if self.writes == Some(Side::Mover) => class,
            Class::VolumeUnreadable if permission => Class::AccessDenied,
            Class::VolumeUnreadable if self.reads != Some(Side::Mover) => Class::Unreachable,
            class => class,
        }
    }

    /// The one side there is; nothing where it could be either.
    pub fn only(self) -> Option<Side> {
        match (self.reads, self.writes) {
            (Some(one), Some(other)) if one != other => None,
            (one, other) => one.or(other),
        }
    }
}

/// A call that failed.
#[derive(Clone, Debug)]
pub struct CallError {
    /// What was called, such as `operations/copyfile`.
    pub method: String,
    /// Where it was to read and to write.
    pub sides: Sides,
    /// How it ended.
    pub kind: Kind,
    /// The kind of error, as far as the words of rclone say.
    pub class: Class,
    /// For a person, without secrets.
    pub message: String,
}

/// How it ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// rclone answered that it failed.
    Answered(Answer),
    /// rclone answered that it succeeded, and has moved another number of files than it was asked to.
    Incomplete {
        /// Files that it moved.
        moved: u64,
        /// Files that it was to move.
        asked: u64,
    },
    /// A stop was requested.
    Stopped,
    /// Nothing moved on for too long, or everything failed.
    GivenUp,
    /// The daemon has ended, or does not answer.
    Gone,
    /// What was answered is nothing that rclone says.
    Garbled,
    /// The answer is longer than [`super::MOST`].
    TooLong,
    /// Nothing was sent: it cannot be asked for.
    Refused,
    /// Nothing was sent: the mover could not prepare it.
    Own(Failure),
}

/// What rclone answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Status of the HTTP answer.
    pub http: u16,
    /// The same in the structured answer.
    pub status: Option<u16>,
    /// What was called, as rclone has understood it.
    pub path: Option<String>,
    /// The error, without secrets.
    pub error: String,
    missing: Option<Missing>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Missing {
    Object,
    Folder,
}

/// The whole errors that rclone answers with status 404 where something is missing. It does so with others, for a method that does not
/// exist and for what some server's page says, so that these are compared as a whole.
const OBJECT_MISSING: [&str; 2] = ["object not found", "failed to open source object: object not found"];
/// The same of a listing; a combination of remotes says in between where it looked.
const LISTING: &str = "error in ListJSON: ";
const NO_FOLDER: &str = "directory not found";
/// What rclone says of a transfer that is longer than it may be.
const LIMIT: &str = "max transfer limit reached";

#[derive(Deserialize)]
struct Structured {
    error: String,
    status: Option<u16>,
    path: Option<String>,
}

impl Answer {
    /// Nothing where this is no structured answer of rclone.
    fn read(http: u16, body: &[u8], redaction: &Redaction) -> Option<(Self, String)> {
        let Structured { error, status, path } = serde_json::from_slice(body).ok()?;
        let missing = if http != 404 || status != Some(404) {
            None
        } else if OBJECT_MISSING.contains(&error.as_str()) {
            Some(Missing::Object)
        } else if error.strip_prefix(LISTING).is_some_and(|error| error == NO_FOLDER || error.ends_with(&format!(": {NO_FOLDER}"))) {
            Some(Missing::Folder)
        } else {
            None
        };
        Some((Self { http, status, path, error: redaction.apply(&error), missing }, error))
    }
}

impl CallError {
    /// An answer of another status than success. Of many files, rclone says what went wrong with one, and has `logged` that of the others.
    pub(super) fn answered(method: &str, sides: Sides, http: u16, body: &[u8], logged: Vec<Message>, redaction: &Redaction) -> Self {
        match Answer::read(http, body, redaction) {
            Some((answer, raw)) => {
                let mut messages = logged;
                // Last, because those name the object that they are about.
                let text = messages.iter().filter_map(|logged| logged.object.as_deref()).fold(raw, |text, name| without(&text, name));
                messages.push(Message { object: None, text });
                let (class, telling) = recognize(&messages).map_or((Class::Other, messages.first()), |(class, said)| (class, Some(said)));
                // Before it is shortened: half a secret would not be recognized.
                let said = telling.map(|said| shorten(&redaction.apply(&said.to_string()))).unwrap_or_default();
                let message = format!("rclone {method}: {said}");
                let class = sides.of_class(class, &telling.map(Message::nameless).unwrap_or_default());
                Self { method: method.to_owned(), sides, kind: Kind::Answered(answer), class, message }
            }
            None => Self::new(method, sides, Kind::Garbled, Class::Other, &format!("an answer of status {http} that is not rclone's")),
        }
    }

    pub(super) fn new(method: &str, sides: Sides, kind: Kind, class: Class, what: &str) -> Self {
        Self { method: method.to_owned(), sides, kind, class, message: format!("rclone {method}: {what}") }
    }

    /// Of a call that may move so many bytes and no more.
    pub(super) fn of_limited(mut self) -> Self {
        if matches!(&self.kind, Kind::Answered(answer) if answer.error.contains(LIMIT)) {
            self.class = Class::TooLarge;
        }
        self
    }

    /// The mover could not prepare it.
    pub(super) fn own(method: &str, failure: Failure) -> Self {
        let message = failure.message.clone();
        Self { message, ..Self::new(method, Sides::default(), Kind::Own(failure), Class::Mover, "") }
    }

    pub(super) fn refused(method: &str, what: &str) -> Self {
        Self::new(method, Sides::default(), Kind::Refused, Class::Other, what)
    }

    /// Whether rclone says, by its status and by the whole of its error, that the object does not exist, or its bucket: S3 does not say
    /// which. A bare 404 of any web server reads the same, so this is one witness, see [`crate::remote`]. Of the object that the call was
    /// to *read*: a sender's missing file is this too.
    pub fn is_missing_object(&self) -> bool {
        matches!(&self.kind, Kind::Answered(answer) if answer.missing == Some(Missing::Object))
    }

    /// Whether an S3 server has answered a PUT with one of these statuses.
    pub(super) fn is_of_s3(&self, statuses: &[u16]) -> bool {
        let Kind::Answered(answer) = &self.kind else { return false };
        let is = |status: &u16| answer.error.contains(&format!("PutObject, https response error StatusCode: {status},"));
        statuses.iter().any(is)
    }

    /// It is about something in the folder that the call was about, which says nothing of that one's absence.
    pub(super) fn of_a_part(mut self) -> Self {
        if let Kind::Answered(answer) = &mut self.kind {
            answer.missing = None;
        }
        self
    }

    /// The same of a folder or bucket.
    pub fn is_missing_folder(&self) -> bool {
        matches!(&self.kind, Kind::Answered(answer) if answer.missing == Some(Missing::Folder))
    }
}

impl fmt::Display for CallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for CallError {}

impl From<CallError> for StoreError {
    fn from(error: CallError) -> Self {
        let is_absence = error.is_missing_object() || error.is_missing_folder();
        match error.kind {
            Kind::Stopped => Failure::killed().into(),
            Kind::Own(failure) => failure.into(),
            _ if is_absence => Self::absence(error.class, error.message),
            _ => Self::new(error.class, error.message),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;
    use serde_json::json;

    #[rstest]
    #[case(404, r#"{"error":"object not found","status":404}"#, true, false)]
    #[case(404, r#"{"error":"failed to open source object: object not found","status":404}"#, true, false)]
    #[case(404, r#"{"error":"error in ListJSON: directory not found","status":404}"#, false, true)]
    #[case(404, r#"{"error":"error in ListJSON: combine for remote \"\": directory not found","status":404}"#, false, true)]
    #[case(404, r#"{"error":"error in ListJSON: other directory not found","status":404}"#, false, false)]
    #[case(404, r#"{"error":"couldn't find method \"x/y\"","status":404}"#, false, false)]
    #[case(404, r#"{"error":"key file: object not found","status":404}"#, false, false)]
    #[case(404, r#"{"error":"object not found"}"#, false, false)]
    #[case(404, "object not found", false, false)]
    #[case(500, r#"{"error":"object not found","status":500}"#, false, false)]
    #[case(500, r#"{"error":"object not found","status":404}"#, false, false)]
    #[case(404, r#"{"error":"object not found","status":500}"#, false, false)]
    fn absence_is_a_status_and_a_whole_error(#[case] http: u16, #[case] body: &str, #[case] object: bool, #[case] folder: bool) {
        let error = CallError::answered("a/b", Sides::default(), http, body.as_bytes(), Vec::new(), &Redaction::default());
        assert_eq!((error.is_missing_object(), error.is_missing_folder()), (object, folder), "{error:?}");
    }

    #[test]
    fn the_side_follows_from_the_call() {
        let of = |params: Value| Sides::of(&params).only();
        assert_eq!(of(json!({"fs": "s3:b/"})), Some(Side::Remote));
        assert_eq!(of(json!({"srcFs": ":local,copy_links=true:/a/", "dstFs": "/b/"})), Some(Side::Mover));
        assert_eq!(of(json!({"srcFs": "local:/a/", "dstFs": "/b/"})), None);
        assert_eq!(of(json!({})), None);
        assert_eq!(Sides::of(&json!({"srcFs": "/a/", "dstFs": "s3:b/"})), Sides { reads: Some(Side::Mover), writes: Some(Side::Remote) });
    }

    /// What is sent was opened by the mover, and what a server has copied is no file here.
    #[rstest]
    #[case(Some(Side::Mover), "open /r/x: read-only file system", Class::AccessDenied)]
    #[case(Some(Side::Mover), "mkdir /r/x: permission denied", Class::AccessDenied)]
    #[case(Some(Side::Mover), "corrupted on transfer: md5 hashes differ", Class::SourceChanging)]
    #[case(Some(Side::Remote), "corrupted on transfer: md5 hashes differ", Class::Other)]
    #[case(None, "open /r/x: input/output error", Class::Unreachable)]
    fn what_fails_as_the_remote_is_written_to_is_the_remotes(#[case] reads: Option<Side>, #[case] said: &str, #[case] class: Class) {
        let sides = Sides { reads, writes: Some(Side::Remote) };
        let body = json!({ "error": said, "status": 500 }).to_string();
        let error = CallError::answered("a/b", sides, 500, body.as_bytes(), Vec::new(), &Redaction::default());
        assert_eq!(error.class, class, "{error}");
    }

    #[test]
    fn a_secret_stays_here() {
        let redaction = Redaction::new([("pass", "pass".to_owned(), "HUNTER2")].into_iter());
        let body = br#"{"error":"no HUNTER2 here","status":500,"input":{"x":"HUNTER2"}}"#;
        let error = CallError::answered("a/b", Sides::default(), 500, body, Vec::new(), &redaction);
        assert!(error.message.contains("no <value of pass> here") && !format!("{error:?}").contains("HUNTER2"), "{error:?}");
    }
}
