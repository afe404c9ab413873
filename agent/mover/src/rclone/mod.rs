//! rclone: its process, its environment, and what its log reports.

mod base;
mod classify;
mod configuration;
pub mod daemon;
pub mod environment;
mod ini;
mod lines;
mod log;
pub mod memory;
pub mod options;
mod places;
mod process;
mod redaction;
mod refusal;
mod store;
mod target;
mod watchdog;

pub use process::*;
pub use store::RcloneStore;
