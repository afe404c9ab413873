//! The data plane: pushes a volume to an rclone remote and pulls it back.
//!
//! This crate knows nothing of Kubernetes; the agent starts it in a Job and reads its [`report`].
//!
//! Modules import downwards only; `tests/structure` lists the layers. What decides (`plan`, `owner`, `guard`) does no I/O.

pub mod cli;
mod clock;
pub mod digest;
pub mod error;
pub mod format;
pub mod guard;
pub mod inspect;
pub mod name_set;
pub mod packs;
pub mod pull;
pub mod push;
mod random;
pub mod rclone;
pub mod remote;
pub mod report;
pub mod retention;
pub mod scratch;
pub mod spill;
pub mod stop;
pub mod store;
pub mod volume;

pub use cli::{MoverArgs, run};
pub use rclone::shim;
