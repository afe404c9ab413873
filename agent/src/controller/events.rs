//! Publishes events. One that does not get through is kept: the status is written already, so no later decision brings it again. No sync
//! waits for an event.

use super::Context;
use super::memory::{TRY_AGAIN, recall, remember};
use crate::api::reason::Reason;
use crate::cluster::refusal::Answer;
use crate::core::model::facts::Object;
use crate::core::model::plan::Event;
use jiff::Timestamp;
use std::time::{Duration, Instant};

/// Events that were kept are tried again no more often than this.
const PAUSE: Duration = Duration::from_secs(15);
/// The pause is longer after each try that publishes nothing, up to this. It is shorter than the time between two reconciles of an object
/// that is idle, so each of these is a try.
const LONGEST_PAUSE: Duration = Duration::from_secs(45);
/// More events than this are not kept for a better time.
const MOST_EVENTS: usize = 20;
/// The events in [`Memory::denied`](super::Memory::denied).
const EVENTS: &str = "events";

/// Events that could not be published, the oldest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Kept {
    events: Vec<(Event, Instant)>,
    /// Tries in a row that published none of them.
    failures: u32,
    /// When they are tried again.
    again: Option<Instant>,
}

/// What became of an event.
enum Outcome {
    /// It is published, or its object is gone.
    Done,
    /// The API server does not take events at present.
    Later(Option<String>),
    /// The API server does not take this event, or a policy of the namespace does not.
    Rejected(String),
}

impl Kept {
    /// Keeps an event. The oldest makes room: it says least about the present.
    fn keep(&mut self, event: Event, now: Instant) {
        if self.events.iter().any(|(kept, _)| *kept == event) {
            return;
        }
        if self.events.len() >= MOST_EVENTS {
            self.events.remove(0);
        }
        self.events.push((event, now));
        self.again.get_or_insert(now + PAUSE);
    }

    /// These are left after a try.
    fn left(&mut self, events: Vec<(Event, Instant)>, now: Instant) {
        self.failures = if events.len() < self.events.len() { 0 } else { self.failures.saturating_add(1) };
        self.again = (!events.is_empty()).then(|| now + (PAUSE * (self.failures + 1).min(3)).min(LONGEST_PAUSE));
        self.events = events;
    }
}

/// Publishes an event, or keeps it for a later reconcile. That the API server rejects events is reported until it has taken those it rejected.
pub(super) async fn publish(context: &Context, object: &Object, event: &Event) {
    let (kind, name, reason) = (object.kind.as_str(), object.name.as_str(), event.reason.as_str());
    tracing::info!(kind, name, reason, note = event.note, "{reason}");
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
    if kept.again.is_none_or(|again| again > Instant::now()) {
        return;
    }
    let (mut left, mut denied) = (Vec::new(), None);
    let mut events = kept.events.iter();
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

#[cfg(test)]
mod tests {
    use super::*;

    fn event(key: &str) -> Event {
        Event { warning: true, reason: Reason::Failing, note: String::new(), key: key.to_owned() }
    }

    #[test]
    fn events_are_kept_once_and_the_latest_of_them() {
        let (mut kept, now) = (Kept::default(), Instant::now());
        for number in 0..MOST_EVENTS + 5 {
            kept.keep(event(&number.to_string()), now);
            kept.keep(event(&number.to_string()), now);
        }
        assert_eq!(kept.events.len(), MOST_EVENTS);
        assert_eq!(kept.events[0].0, event("5"));
    }

    #[test]
    fn what_is_kept_is_tried_again_after_a_growing_pause() {
        let (mut kept, now) = (Kept::default(), Instant::now());
        kept.keep(event("a"), now);
        kept.keep(event("b"), now + PAUSE / 2);
        assert_eq!(kept.again, Some(now + PAUSE), "a new event does not delay the older ones");
        let pauses = [1, 2, 3].map(|_| {
            kept.left(kept.events.clone(), now);
            kept.again.map(|again| again - now)
        });
        assert_eq!(pauses, [Some(PAUSE * 2), Some(LONGEST_PAUSE), Some(LONGEST_PAUSE)]);
        kept.left(kept.events[1..].to_vec(), now);
        assert_eq!(kept.again, Some(now + PAUSE));
        kept.left(Vec::new(), now);
        assert_eq!(kept, Kept::default());
    }
}
