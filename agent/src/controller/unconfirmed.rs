//! Status writes whose answer was lost. The status may be written all the same, and no later decision brings its events again: they are
//! published once a read shows that status.

use crate::api::{Status, recorded};
use crate::core::model::plan::Event;
use std::collections::BTreeSet;

/// A status write whose answer was lost.
#[derive(Debug, PartialEq)]
pub struct Unconfirmed {
    /// The status in whose place it was sent.
    pub(super) before: Status,
    /// What was sent.
    pub(super) sent: Status,
    /// What was to be published of it.
    pub(super) events: Vec<Event>,
}

/// What a read of the object says about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The status is there.
    Written,
    /// It is not.
    Lost,
    /// It may come yet.
    Open,
}

impl Unconfirmed {
    /// What `seen` says about it, whose CRD does not declare these fields; the cache may be behind, a `fresh` read is not.
    pub(super) fn verdict(&self, seen: &Status, undeclared: &BTreeSet<String>, fresh: bool) -> Verdict {
        match fresh {
            // As they are stored: the API server keeps less of a time than memory does.
            _ if recorded::stored(seen, undeclared) == recorded::stored(&self.sent, undeclared) => Verdict::Written,
            true => Verdict::Lost,
            false => Verdict::Open,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::Timestamp;
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
    use serde_json::json;

    #[test]
    fn only_a_fresh_read_shows_that_a_status_was_not_written() {
        let before = Status::default();
        let time = Timestamp::from_nanosecond(1_700_000_000_123_456_789).map(Time).ok();
        let sent = Status { observed_generation: Some(1), last_sync_start_time: time, ..Status::default() };
        let stored: Status = serde_json::from_value(json!(sent)).unwrap();
        let unconfirmed = Unconfirmed { before: before.clone(), sent: sent.clone(), events: Vec::new() };
        let all = BTreeSet::new();
        for fresh in [false, true] {
            assert_eq!(unconfirmed.verdict(&stored, &all, fresh), Verdict::Written);
        }
        assert_eq!(unconfirmed.verdict(&before, &all, false), Verdict::Open);
        assert_eq!(unconfirmed.verdict(&before, &all, true), Verdict::Lost);
        // An older CRD has dropped a field of it.
        let pruned = Status { observed_generation: None, ..stored };
        assert_eq!(unconfirmed.verdict(&pruned, &BTreeSet::from(["observedGeneration".to_owned()]), true), Verdict::Written);
    }
}
