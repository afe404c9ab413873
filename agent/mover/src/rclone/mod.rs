//! rclone: its process, its environment, and what its log reports.

mod base;
mod classify;
mod configuration;
pub mod daemon;
pub mod environment;
mod ini;
mod log;
pub mod memory;
pub mod options;
mod places;
mod process;
pub mod progress;
mod redaction;
mod refusal;
pub mod stats;
mod target;
mod watchdog;

pub use classify::Class;
pub use process::*;
