//! Notations that users write: schedules, sizes, durations.

pub mod cron;
pub mod go_duration;
pub mod object_name;
pub mod quantity;
