//! Publishes events. One that does not get through is kept: the status is written already, so no later decision brings it again. No sync
//! waits for an event.

use super::Context;
use super::memory::{TRY_AGAIN, recall, remember};
use crate::api::reason::Reason;
use crate::cluster::refusal::Answer;
use crate::core::model::facts::Object;
use crate::core::model::plan::Event;
use jiff::Timestamp;
use std::time::Instant;

/// The events in [`Memory::denied`](super::Memory::denied).
const EVENTS: &str = "events";

/// What became of an event.
enum Outcome {
    /// It is published, or its object is gone.
    Done,
    /// The API server does not take events at present.
    Later(Option<String>),
    /// The API server does not take this event, or a policy of the namespace does not.
    Rejected(String),
}

/// Publishes an event, or keeps it for a later reconcile. That the API server rejects events is reported until it has taken those it rejected.
pub(super) async fn publish(context: &Context, object: &Object, event: &Event) {
    let (kind, name, reason) = (object.kind.as_str(), object.name.as_str(), event.reason.as_str());
    if event.warning {
        tracing::warn!(kind, name, reason, note = event.note, "{reason}");
    } else {
        tracing::info!(kind, name, reason, note = event.note, "{reason}");
    }
    let answer = match try_once(context, object, event).await {
        Outcome::Done => return,
        Outcome::Later(answer) => answer,
        Outcome::Rejected(answer) => Some(answer),
    };
    remember(context, &object.uid, |memory| {
        memory.unpublished.keep(event.clone(), Instant::now());
        if let Some(answer) = answer {
            memory.denied.insert(EVENTS, report(&answer));
        }
    });
}

/// Publishes what was kept, until one does not get through again.
pub(super) async fn publish_kept(context: &Context, object: &Object) {
    let uid = &object.uid;
    let kept = recall(context, uid).unpublished;
    if !kept.is_due(Instant::now()) {
        return;
    }
    let (mut left, mut denied) = (Vec::new(), None);
    let mut events = kept.events().iter();
    for (event, since) in events.by_ref() {
        match try_once(context, object, event).await {
            Outcome::Done => {}
            Outcome::Later(answer) => {
                denied = denied.or(answer);
                left.push((event.clone(), *since));
                break;
            }
            Outcome::Rejected(answer) if since.elapsed() >= TRY_AGAIN => {
                tracing::error!(
                    name = object.name,
                    reason = event.reason.as_str(),
                    answer,
                    "an event was rejected for an hour and is dropped"
                );
            }
            Outcome::Rejected(answer) => {
                denied = denied.or(Some(answer));
                left.push((event.clone(), *since));
            }
        }
    }
    left.extend(events.cloned());
    remember(context, uid, |memory| {
        memory.unpublished.left(left, Instant::now());
        match denied {
            Some(answer) => memory.denied.insert(EVENTS, report(&answer)),
            None => memory.denied.remove(EVENTS),
        }
    });
}

fn report(answer: &str) -> String {
    format!("The API server rejects events: {answer}")
}

async fn try_once(context: &Context, object: &Object, event: &Event) -> Outcome {
    let (name, reason) = (object.name.as_str(), event.reason.as_str());
    match context.writer.publish(object, event, Timestamp::now()).await {
        Err(Answer::Transient(error)) => {
            tracing::warn!(name, reason, %error, "an event could not be published and is kept for a retry");
            Outcome::Later(None)
        }
        Err(Answer::Refused(refusal)) => {
            tracing::warn!(name, reason, message = refusal.message, "the API server rejects an event, which is kept for a retry");
            if refusal.reason == Reason::MissingPermission {
                Outcome::Later(Some(refusal.message))
            } else {
                Outcome::Rejected(refusal.message)
            }
        }
        // Published; or the object or its namespace is gone, or going.
        Ok(()) | Err(_) => Outcome::Done,
    }
}
