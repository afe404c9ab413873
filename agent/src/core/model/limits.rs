//! The settings that decisions depend on.

use jiff::SignedDuration;

/// Durations and numbers that decisions depend on; part of the agent's settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Pause between two syncs of an object without a trigger.
    pub continuous_interval: SignedDuration,
    /// How long a snapshot may take to become ready.
    pub snapshot_timeout: SignedDuration,
    /// How long a mover's pod may take to start, the binding of its volume included.
    pub pod_start_timeout: SignedDuration,
    /// How long a mover may go without any progress.
    pub stall_timeout: SignedDuration,
    /// Delay after a first failure.
    pub retry_initial: SignedDuration,
    /// Longest delay after failures.
    pub retry_cap: SignedDuration,
    /// After so many failed attempts in a row the object is reported as failing, and tried at the longest delay only.
    pub max_attempts: i64,
    /// How long a destination waits for a first push before it asks whether its path is right.
    pub first_push_patience: SignedDuration,
    /// How many syncs may run at a time in this namespace.
    pub max_concurrent_syncs: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            continuous_interval: SignedDuration::from_secs(60),
            snapshot_timeout: SignedDuration::from_hours(2),
            pod_start_timeout: SignedDuration::from_hours(1),
            stall_timeout: SignedDuration::from_mins(30),
            retry_initial: SignedDuration::from_secs(10),
            retry_cap: SignedDuration::from_mins(15),
            max_attempts: 5,
            first_push_patience: SignedDuration::from_hours(24),
            max_concurrent_syncs: 4,
        }
    }
}

/// How many requests the API server gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestRate {
    /// A second, on average.
    pub qps: u32,
    /// At once, after a time with fewer.
    pub burst: u32,
}

impl Default for RequestRate {
    fn default() -> Self {
        RequestRate { qps: 20, burst: 40 }
    }
}
