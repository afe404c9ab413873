//! Notations that users write: schedules, sizes, durations.

pub mod cron;
pub mod go_duration;
pub mod quantity;
