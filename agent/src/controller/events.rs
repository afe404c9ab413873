//! Publishes events. One that does not get through is kept: the status is written already, so no later decision brings it again. No sync
//! waits for an event.

use super::Context;
use super::memory::{recall, remember};
use crate::cluster::refusal::Answer;
use crate::core::model::facts::Facts;
use crate::core::model::plan::Event;
use jiff::Timestamp;
use std::time::{Duration, Instant};

/// Events that were kept are tried again no more often than this.
const PAUSE: Duration = Duration::from_secs(15);

/// Publishes an event, or keeps it for a later reconcile if the API server fails. If it rejects the event, that is reported instead.
pub(super) async fn publish(context: &Context, facts: &Facts, event: &Event) {
    let (kind, name, reason) = (facts.object.kind.as_str(), facts.object.name.as_str(), event.reason.as_str());
    tracing::info!(kind, name, reason, note = event.note, "{reason}");
    if try_once(context, facts, event).await {
        return;
    }
    let now = Instant::now();
    remember(context, &facts.object.uid, |memory| {
        memory.keep(event.clone());
        memory.kept_since = Some(now);
    });
}

/// Publishes what was kept, until one does not get through again.
pub(super) async fn publish_kept(context: &Context, facts: &Facts) {
    let uid = &facts.object.uid;
    let memory = recall(context, uid);
    if memory.kept_since.is_none_or(|since| since.elapsed() < PAUSE) {
        return;
    }
    let mut left = memory.unpublished.as_slice();
    while let Some((event, rest)) = left.split_first() {
        if !try_once(context, facts, event).await {
            break;
        }
        left = rest;
    }
    let (left, since) = (left.to_vec(), Instant::now());
    remember(context, uid, |memory| {
        memory.kept_since = (!left.is_empty()).then_some(since);
        memory.unpublished = left;
    });
}

/// Whether the event needs no other try: it is published, or will never be.
async fn try_once(context: &Context, facts: &Facts, event: &Event) -> bool {
    let (uid, name, reason) = (&facts.object.uid, facts.object.name.as_str(), event.reason.as_str());
    match context.writer.publish(&facts.object, event, Timestamp::now()).await {
        Ok(()) => {
            remember(context, uid, |memory| memory.denied.remove("events"));
            true
        }
        Err(Answer::Transient(error)) => {
            tracing::warn!(name, reason, %error, "an event could not be published and is kept for a retry");
            false
        }
        Err(Answer::Refused(refusal)) => {
            tracing::warn!(name, reason, message = refusal.message, "the API server rejects events");
            remember(context, uid, |memory| memory.denied.insert("events", format!("The API server rejects events: {}", refusal.message)));
            true
        }
        // The object or its namespace is gone, or going.
        Err(_) => true,
    }
}
