//! What follows from a status that was written: slots, counters, and those who wait; also where the answer to the write was lost.

use super::memory::{recall, remember};
use super::unconfirmed::{Unconfirmed, Verdict};
use super::{Context, claims, events, wake};
use crate::api::Status;
use crate::api::reason::Reason;
use crate::cluster::view::Replication;
use crate::core::model::facts::{Facts, Object};
use crate::core::model::plan::{Plan, Step};
use crate::core::schedule::queue;
use jiff::Timestamp;
use std::sync::Arc;
use std::time::Instant;

/// What follows from a status that was written in place of the one `before`.
pub(super) fn note(context: &Context, object: &Object, before: &Status, status: &Status) {
    count(context, object, before, status);
    context.slots().wrote(&object.uid, status, Instant::now());
    if queue::under_way(before) && !queue::under_way(status) {
        let slots = context.settings.borrow().settings.limits.max_concurrent_syncs;
        wake::queue(&context.objects, &context.wakes, slots, Timestamp::now());
    }
}

fn count(context: &Context, object: &Object, before: &Status, status: &Status) {
    if status.last_sync_time != before.last_sync_time {
        context.metrics.synced(object.kind, &object.name, status.transferred);
    }
    if let Some(error) = status.last_error.as_ref().filter(|error| before.last_error.as_ref() != Some(error)) {
        let reason = Reason::parse(&error.reason).unwrap_or(Reason::MoverFailed);
        context.metrics.failed(object.kind, &object.name, reason);
    }
}

/// Keeps what belongs to a status, if `step` writes one, which may have been written although there is no good answer.
pub(super) fn unconfirmed(context: &Context, facts: &Facts, plan: &Plan, step: &Step) {
    let Step::WriteStatus(sent) = step else { return };
    let events = plan.steps.iter().filter_map(|step| if let Step::Publish(event) = step { Some(event.clone()) } else { None }).collect();
    // Until a read shows what became of it, its PVC is given to no other destination.
    claims::wrote(context, facts, sent);
    let unconfirmed = Unconfirmed { before: facts.status.clone(), sent: (**sent).clone(), events };
    remember(context, &facts.object.uid, |memory| memory.unconfirmed = Some(Arc::new(unconfirmed)));
}

/// Does what belongs to that status if `seen` shows it; forgets it if a `fresh` read does not.
pub(super) async fn settle(context: &Context, seen: &Replication, fresh: bool) {
    let (object, uid) = (&seen.object, &seen.object.uid);
    let Some(unconfirmed) = recall(context, uid).unconfirmed else { return };
    let verdict = unconfirmed.verdict(&seen.status, &context.undeclared.fields(object.kind, Instant::now()), fresh);
    if verdict == Verdict::Open {
        return;
    }
    remember(context, uid, |memory| memory.unconfirmed = None);
    if verdict == Verdict::Lost {
        claims::stored(context, seen);
    }
    if verdict == Verdict::Written {
        note(context, object, &unconfirmed.before, &unconfirmed.sent);
        for event in &unconfirmed.events {
            events::publish(context, object, event).await;
        }
    }
}
