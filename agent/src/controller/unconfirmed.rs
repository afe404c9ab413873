//! Status writes whose answer was lost. The status may be written all the same, and no later decision brings its events again: they are
//! published once a read shows that status.

use super::memory::{recall, remember};
use super::{Context, events, reconcile};
use crate::api::Status;
use crate::cluster::view::Replication;
use crate::core::model::facts::Facts;
use crate::core::model::plan::{Event, Plan, Step};
use std::sync::Arc;

/// A status write whose answer was lost.
#[derive(Debug, PartialEq)]
pub struct Unconfirmed {
    before: Status,
    sent: Status,
    events: Vec<Event>,
}

/// What a read of the object says about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    /// The status is there.
    Written,
    /// It is not.
    Lost,
    /// It may come yet.
    Open,
}

impl Unconfirmed {
    fn verdict(&self, seen: &Status, fresh: bool) -> Verdict {
        match fresh {
            _ if *seen == self.sent => Verdict::Written,
            true => Verdict::Lost,
            // The cache is behind.
            false => Verdict::Open,
        }
    }
}

/// Keeps what belongs to a status that may have been written.
pub(super) fn keep(context: &Context, facts: &Facts, plan: &Plan, sent: &Status) {
    let events = plan.steps.iter().filter_map(|step| if let Step::Publish(event) = step { Some(event.clone()) } else { None }).collect();
    let unconfirmed = Unconfirmed { before: facts.status.clone(), sent: sent.clone(), events };
    remember(context, &facts.object.uid, |memory| memory.unconfirmed = Some(Arc::new(unconfirmed)));
}

/// Does what belongs to that status if `seen` shows it; forgets it if a `fresh` read does not.
pub(super) async fn settle(context: &Context, seen: &Replication, fresh: bool) {
    let (object, uid) = (&seen.object, &seen.object.uid);
    let Some(unconfirmed) = recall(context, uid).unconfirmed else { return };
    let verdict = unconfirmed.verdict(&seen.status, fresh);
    if verdict == Verdict::Open {
        return;
    }
    remember(context, uid, |memory| memory.unconfirmed = None);
    if verdict == Verdict::Written {
        reconcile::written(context, object, &unconfirmed.before, &unconfirmed.sent);
        for event in &unconfirmed.events {
            events::publish(context, object, event).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_fresh_read_shows_that_a_status_was_not_written() {
        let before = Status::default();
        let sent = Status { observed_generation: Some(1), ..Status::default() };
        let unconfirmed = Unconfirmed { before: before.clone(), sent: sent.clone(), events: Vec::new() };
        for fresh in [false, true] {
            assert_eq!(unconfirmed.verdict(&sent, fresh), Verdict::Written);
        }
        assert_eq!(unconfirmed.verdict(&before, false), Verdict::Open);
        assert_eq!(unconfirmed.verdict(&before, true), Verdict::Lost);
    }
}
