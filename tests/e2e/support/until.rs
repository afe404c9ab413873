//! Waiting for something to become true: the only place of these tests where time passes by itself.

use std::fmt::Debug;
use std::time::Duration;
use tokio::time::{Instant, sleep};

const INTERVAL: Duration = Duration::from_millis(150);

/// Looks again and again until `look` finds what it waits for, and returns it.
///
/// `Err` is what was seen instead; the last one is in the panic when `seconds` have passed.
pub async fn until<T, E: Debug>(what: &str, seconds: u64, mut look: impl AsyncFnMut() -> Result<T, E>) -> T {
    let deadline = Instant::now() + Duration::from_secs(seconds);
    loop {
        match look().await {
            Ok(found) => return found,
            Err(seen) if Instant::now() >= deadline => panic!("waited {seconds} s in vain for: {what}\nlast seen: {seen:#?}"),
            Err(_) => pause().await,
        }
    }
}

/// Between two looks.
pub async fn pause() {
    sleep(INTERVAL).await;
}
