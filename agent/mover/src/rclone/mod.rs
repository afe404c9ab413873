//! rclone: its process, its environment, what it says of its configuration, and what its log reports.

mod authority;
mod base;
pub mod bucket;
mod classify;
mod configuration;
pub mod daemon;
pub mod environment;
mod lines;
mod log;
pub mod memory;
mod open;
pub mod options;
mod places;
mod private;
mod process;
mod redaction;
mod refusal;
mod shim;
mod store;
mod target;
mod variables;
mod version;
mod watchdog;

pub use base::{Form, form};
pub use open::open;
pub(crate) use private::MEMORY;
pub use process::*;
pub use shim::{OURSELVES, shim};
pub use store::RcloneStore;
