//! rclone: its process, its environment, and what its log reports.

mod base;
mod classify;
pub mod environment;
mod ini;
mod log;
pub mod memory;
pub mod options;
mod places;
mod process;
pub mod progress;
mod redaction;
pub mod stats;
mod watchdog;

pub use classify::Class;
pub use process::*;
