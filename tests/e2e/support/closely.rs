//! Moments that a test would miss that does other things too.

use std::time::Duration;

const INTERVAL: Duration = Duration::from_millis(3);

/// Looks every few milliseconds, on a thread of its own, until there is an answer.
pub async fn closely<T: Send + 'static>(mut look: impl FnMut() -> Option<T> + Send + 'static) -> T {
    let looking = tokio::task::spawn_blocking(move || {
        loop {
            match look() {
                Some(found) => return found,
                None => std::thread::sleep(INTERVAL),
            }
        }
    });
    looking.await.unwrap()
}
