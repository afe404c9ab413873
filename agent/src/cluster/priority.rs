//! In which order those are served that wait for the same: for a request (`budget`), or for a place to reconcile in.

use std::cell::Cell;
use std::collections::VecDeque;
use std::future::Future;

/// How urgent a request is. What nothing else is known of is urgent: watches and their lists, and what the agent needs to start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Priority {
    /// A sync is under way, and its mover's result may be there.
    #[default]
    UnderWay,
    /// Something is due, or is to be cleaned up.
    Due,
    /// Nothing but a report, most often of a failure.
    Report,
}

const ALL: [Priority; 3] = [Priority::UnderWay, Priority::Due, Priority::Report];

/// Of so many that are served, one is of the least urgent: these must come to an end as well.
const SHARE: u32 = 4;

tokio::task_local! {
    static PRESENT: Cell<Priority>;
}

/// Makes the requests of `future` so urgent.
pub async fn with<F: Future>(priority: Priority, future: F) -> F::Output {
    PRESENT.scope(Cell::new(priority), future).await
}

/// Makes the requests that follow so urgent, within [`with`].
pub fn set(priority: Priority) {
    // Outside of it there is nothing to set.
    let _ = PRESENT.try_with(|present| present.set(priority)).is_ok();
}

/// How urgent the requests are that are made here.
pub fn present() -> Priority {
    PRESENT.try_with(Cell::get).unwrap_or_default()
}

/// A line per priority, each in the order of arrival.
#[derive(Debug)]
pub struct Queue<T> {
    lines: [VecDeque<T>; ALL.len()],
    served: u32,
}

impl<T> Default for Queue<T> {
    fn default() -> Self {
        Queue { lines: Default::default(), served: 0 }
    }
}

impl<T> Queue<T> {
    /// Whether anything waits.
    pub fn is_empty(&self) -> bool {
        self.lines.iter().all(VecDeque::is_empty)
    }

    /// Appends one.
    pub fn push(&mut self, priority: Priority, one: T) {
        if let Some((line, _)) = self.lines.iter_mut().zip(ALL).find(|(_, of)| *of == priority) {
            line.push_back(one);
        }
    }

    /// Takes the next one.
    pub fn pop(&mut self) -> Option<T> {
        self.served = self.served.wrapping_add(1);
        if self.served.is_multiple_of(SHARE) {
            self.lines.iter_mut().rev().find_map(VecDeque::pop_front)
        } else {
            self.lines.iter_mut().find_map(VecDeque::pop_front)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_urgent_ones_are_first_and_the_others_are_not_forgotten() {
        let mut queue = Queue::default();
        for number in 0..6 {
            queue.push(Priority::Report, ("report", number));
            queue.push(Priority::Due, ("due", number));
            queue.push(Priority::UnderWay, ("under way", number));
        }
        let order: Vec<_> = std::iter::from_fn(|| queue.pop()).collect();
        let first: Vec<_> = order[..8].iter().map(|(what, _)| *what).collect();
        assert_eq!(first, ["under way", "under way", "under way", "report", "under way", "under way", "under way", "report"]);
        for what in ["report", "due", "under way"] {
            let numbers: Vec<_> = order.iter().filter(|(other, _)| *other == what).map(|(_, number)| *number).collect();
            assert_eq!(numbers, [0, 1, 2, 3, 4, 5], "{what}");
        }
        assert!(queue.is_empty());
    }

    #[tokio::test]
    async fn what_is_known_of_no_object_is_urgent() {
        assert_eq!(present(), Priority::UnderWay);
        with(Priority::Due, async {
            assert_eq!(present(), Priority::Due);
            set(Priority::Report);
            assert_eq!(present(), Priority::Report);
        })
        .await;
        set(Priority::Report);
        assert_eq!(present(), Priority::UnderWay);
    }
}
