//! Waiting for something to become true: the only place of these tests where time passes by itself.

use std::fmt::Debug;
use std::time::Duration;
use tokio::time::{Instant, sleep};

const INTERVAL: Duration = Duration::from_millis(150);

/// Looks again and again until `look` finds what it waits for, and returns it.
///
/// `Err` is what was seen instead; the last one is in the panic when `seconds` have passed.
pub async fn until<T, E: Debug>(what: &str, seconds: u64, look: impl AsyncFnMut() -> Result<T, E>) -> T {
    within(seconds, look).await.unwrap_or_else(|seen| panic!("waited {seconds} s in vain for: {what}\nlast seen: {seen:#?}"))
}

/// The same, and the last one is returned.
pub async fn within<T, E>(seconds: u64, mut look: impl AsyncFnMut() -> Result<T, E>) -> Result<T, E> {
    let deadline = Instant::now() + Duration::from_secs(seconds);
    loop {
        match look().await {
            Err(_) if Instant::now() < deadline => sleep(INTERVAL).await,
            ended => return ended,
        }
    }
}
