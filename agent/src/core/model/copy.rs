//! The copy trigger: what the annotations on a source's PVC say of the copies that are made of it when the user asks for them.

use crate::api::status::Run;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// The annotations of one PVC.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct CopyTrigger {
    /// Whether copies wait for a trigger. Any value counts, as with VolSync: a copy that nobody has asked for cannot be taken back.
    pub used: bool,
    /// What the user has set to ask for a copy.
    pub value: Option<String>,
    /// The value whose copy was made last.
    pub latest: Option<String>,
    /// How far the copy is; none where nobody makes or waits for one.
    pub status: Option<CopyStatus>,
    /// Since when a value has been waited for.
    pub waiting_since: Option<Timestamp>,
    /// Whose status that is.
    pub by: Option<CopyBy>,
    /// The PVC's `metadata.resourceVersion`: what is written there is only good for what was read.
    pub version: String,
}

/// How far a copy is, as the annotation has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CopyStatus {
    /// A new value makes the copy at once.
    WaitingForTrigger,
    /// The value was taken, and the copy is being made.
    InProgress,
    /// The copy is there: what is written to the volume from now on is not part of it.
    Completed,
}

impl CopyStatus {
    /// The annotation's value.
    pub fn as_str(self) -> &'static str {
        match self {
            CopyStatus::WaitingForTrigger => "WaitingForTrigger",
            CopyStatus::InProgress => "InProgress",
            CopyStatus::Completed => "Completed",
        }
    }

    /// The status with this name.
    pub fn parse(text: &str) -> Option<CopyStatus> {
        [CopyStatus::WaitingForTrigger, CopyStatus::InProgress, CopyStatus::Completed].into_iter().find(|s| s.as_str() == text)
    }
}

/// The attempt that the status on the PVC is of, and the value that was taken last. A value that was taken is used up, also where no copy
/// came of it: by then the application may go on.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct CopyBy {
    /// Name of the source, for people.
    pub source: String,
    /// UID of the source; empty where that is no more.
    pub uid: String,
    /// The run.
    pub run: String,
    /// The attempt of that run.
    pub attempt: i64,
    /// The value that was taken last, by whichever attempt of whichever source.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub taken: Option<String>,
}

impl CopyBy {
    /// Whether it is of this attempt.
    pub fn is_of(&self, uid: &str, run: &Run) -> bool {
        self.uid == uid && self.run == run.id && self.attempt == run.attempt
    }
}

impl CopyTrigger {
    /// The value that asks for a copy: one that was not taken yet.
    pub fn asked(&self) -> Option<&str> {
        let used = [self.latest.as_deref(), self.taken()];
        self.value.as_deref().filter(|value| !used.contains(&Some(*value)))
    }

    /// The value that was taken last.
    pub fn taken(&self) -> Option<&str> {
        self.by.as_ref().and_then(|by| by.taken.as_deref())
    }

    /// The value that this attempt has taken, and whose copy it has not reported.
    pub fn taken_by(&self, uid: &str, run: &Run) -> Option<&str> {
        let by = self.by.as_ref().filter(|by| self.status == Some(CopyStatus::InProgress) && by.is_of(uid, run));
        by.and_then(|by| by.taken.as_deref())
    }

    /// Name of another source, which is there, that is making its copy.
    pub fn made_by_another(&self, uid: &str) -> Option<&str> {
        let by = self.by.as_ref().filter(|_| self.is_of_another(uid) && self.status == Some(CopyStatus::InProgress));
        by.map(|by| by.source.as_str())
    }

    /// Whether the copy that `value` asked for is not what this run is to push: the attempt that took the value has failed, and the API server
    /// has made the copy since. The application may have gone on by then. One that was made without a value was not made on request.
    pub fn is_too_late(&self, uid: &str, run: &str, value: Option<&str>) -> bool {
        let ours = self.by.as_ref().filter(|by| by.uid == uid && by.run == run);
        let (Some(by), Some(value)) = (ours, value) else { return false };
        match self.status {
            Some(CopyStatus::WaitingForTrigger) => true,
            Some(CopyStatus::InProgress) => by.taken.as_deref() != Some(value),
            Some(CopyStatus::Completed) | None => self.latest.as_deref() != Some(value),
        }
    }

    /// Whether another source, which is there, waits for a value or makes a copy.
    pub fn is_of_another(&self, uid: &str) -> bool {
        let busy = matches!(self.status, Some(CopyStatus::WaitingForTrigger | CopyStatus::InProgress));
        busy && self.by.as_ref().is_some_and(|by| !by.uid.is_empty() && by.uid != uid)
    }
}
