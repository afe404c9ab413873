//! When a sync is due, how long to wait after a failure, and which object may start next.

pub mod backoff;
pub mod due;
pub mod queue;
