//! Waits until nothing is asked of the API server any more.

use super::until::until;
use std::time::{Duration, Instant};

/// Until what `asked` counts has not grown for five seconds.
pub async fn quiet(asked: impl Fn() -> usize) {
    let mut last = (asked(), Instant::now());
    until("nothing was asked for five seconds", 60, async || {
        if asked() != last.0 {
            last = (asked(), Instant::now());
        }
        if last.1.elapsed() >= Duration::from_secs(5) { Ok(()) } else { Err(last.0) }
    })
    .await;
}
