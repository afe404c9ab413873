//! How many reconciles make requests at a time, and which are next. Each holds what it has read until its last request is answered, so that a
//! namespace of any size must not have all of its objects at it; those that wait have read nothing yet.

use crate::cluster::priority::{self, Queue};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::oneshot;

/// Reconciles that make requests at a time.
const PLACES: usize = 32;

/// All places.
#[derive(Clone, Default)]
pub struct Places(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    taken: usize,
    queue: Queue<oneshot::Sender<Place>>,
}

/// One place, until it is dropped.
pub struct Place(Places);

impl Places {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for a place. An error, which never comes, would mean that there are none any more.
    pub async fn take(&self) -> Option<Place> {
        let given = {
            let mut state = self.state();
            if state.taken < PLACES {
                state.taken += 1;
                return Some(Place(self.clone()));
            }
            let (give, given) = oneshot::channel();
            state.queue.push(priority::present(), give);
            given
        };
        given.await.ok()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let next = {
            let mut state = self.0.state();
            let next = state.queue.pop();
            if next.is_none() {
                state.taken = state.taken.saturating_sub(1);
            }
            next
        };
        if let Some(next) = next {
            // One that does not wait any more drops the place, which goes to the next one then.
            let _ = next.send(Place(self.0.clone())).is_ok();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::priority::Priority;
    use futures::FutureExt;

    #[tokio::test]
    async fn a_place_that_is_free_goes_to_the_most_urgent_one() {
        let places = Places::default();
        let mut taken: Vec<_> = (0..PLACES).filter_map(|_| places.take().now_or_never().flatten()).collect();
        assert_eq!(taken.len(), PLACES);
        let mut report = Box::pin(priority::with(Priority::Report, places.take()));
        let mut given_up = Box::pin(priority::with(Priority::UnderWay, places.take()));
        let mut result = Box::pin(priority::with(Priority::UnderWay, places.take()));
        for waiting in [&mut report, &mut given_up, &mut result] {
            assert!(waiting.now_or_never().is_none());
        }
        drop(given_up);
        taken.pop();
        assert!((&mut report).now_or_never().is_none());
        let place = (&mut result).now_or_never().flatten();
        assert!(place.is_some());
        drop(place);
        assert!(report.now_or_never().flatten().is_some());
        taken.clear();
        assert_eq!(places.state().taken, 0);
    }
}
