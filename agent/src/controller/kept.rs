//! Events that could not be published: how many are kept, and when they are tried again.

use crate::core::model::plan::Event;
use std::time::{Duration, Instant};

/// Events that were kept are tried again no more often than this.
const PAUSE: Duration = Duration::from_secs(15);
/// The pause is longer after each try that publishes nothing, up to this. It is shorter than the time between two reconciles of an object
/// that is idle, so each of these is a try.
const LONGEST_PAUSE: Duration = Duration::from_secs(45);
/// More events than this are not kept for a better time.
const MOST_EVENTS: usize = 20;
/// Events that could not be published, the oldest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Kept {
    events: Vec<(Event, Instant)>,
    /// Tries in a row that published none of them.
    failures: u32,
    /// When they are tried again.
    again: Option<Instant>,
}

impl Kept {
    /// The events, and since when each of them is kept.
    pub fn events(&self) -> &[(Event, Instant)] {
        &self.events
    }

    /// Whether it is time to try them again.
    pub fn is_due(&self, now: Instant) -> bool {
        self.again.is_some_and(|again| again <= now)
    }

    /// Keeps an event. The oldest makes room: it says least about the present.
    pub fn keep(&mut self, event: Event, now: Instant) {
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
    pub fn left(&mut self, events: Vec<(Event, Instant)>, now: Instant) {
        self.failures = if events.len() < self.events.len() { 0 } else { self.failures.saturating_add(1) };
        self.again = (!events.is_empty()).then(|| now + (PAUSE * (self.failures + 1).min(3)).min(LONGEST_PAUSE));
        self.events = events;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::reason::Reason;

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
