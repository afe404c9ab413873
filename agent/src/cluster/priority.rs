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

/// Of so many that are served, one is not of the most urgent: the others must come to an end as well, and they take turns at it.
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
    /// The line that the last such turn was given to.
    last: usize,
}

impl<T> Default for Queue<T> {
    fn default() -> Self {
        Queue { lines: Default::default(), served: 0, last: 0 }
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
        let mut waiting = self.lines.iter().enumerate().filter(|(_, line)| !line.is_empty()).map(|(number, _)| number);
        let first = waiting.next()?;
        if !self.served.is_multiple_of(SHARE) {
            return self.lines.get_mut(first)?.pop_front();
        }
        let others: Vec<_> = waiting.collect();
        let after_the_last = others.iter().find(|number| **number > self.last);
        let next = after_the_last.or_else(|| others.first()).copied();
        if let Some(next) = next {
            self.last = next;
        }
        self.lines.get_mut(next.unwrap_or(first))?.pop_front()
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
        assert_eq!(first, ["under way", "under way", "under way", "due", "under way", "under way", "under way", "report"]);
        for what in ["report", "due", "under way"] {
            let numbers: Vec<_> = order.iter().filter(|(other, _)| *other == what).map(|(_, number)| *number).collect();
            assert_eq!(numbers, [0, 1, 2, 3, 4, 5], "{what}");
        }
        assert!(queue.is_empty());
    }

    /// What is due starts, however many syncs are under way and however many failures are to be reported.
    #[test]
    fn no_line_starves() {
        for (lines, shares) in [
            (vec![Priority::UnderWay, Priority::Due, Priority::Report], [75, 13, 12]),
            (vec![Priority::UnderWay, Priority::Due], [75, 25, 0]),
            (vec![Priority::UnderWay, Priority::Report], [75, 0, 25]),
            (vec![Priority::Due, Priority::Report], [0, 75, 25]),
            (vec![Priority::Report], [0, 0, 100]),
        ] {
            let mut queue = Queue::default();
            let served: Vec<_> = (0..100)
                .filter_map(|_| {
                    // Each line is never empty.
                    for line in &lines {
                        queue.push(*line, *line);
                    }
                    queue.pop()
                })
                .collect();
            assert_eq!(ALL.map(|line| served.iter().filter(|one| **one == line).count()), shares, "{lines:?}");
        }
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
