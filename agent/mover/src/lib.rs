//! The data plane: pushes a volume to an rclone remote and pulls it back.
//!
//! This crate knows nothing of Kubernetes; the agent starts it in a Job and reads its [`report`].
//!
//! Imports point downwards only: [`run`] → [`push`], [`pull`] → [`committed`] → [`remote`] → [`rclone`] and the plain
//! data below them. What decides (`plan`, `owner`, `guard`) does no I/O.

pub mod args;
pub mod attributes;
mod clock;
pub mod committed;
pub mod control;
pub mod entry;
pub mod failure;
pub mod guard;
pub mod hash;
pub mod holes;
mod ini;
pub mod join;
pub mod manifest;
pub mod memory;
pub mod name_set;
pub mod names;
pub mod options;
pub mod path;
pub mod progress;
pub mod pull;
pub mod push;
pub mod rclone;
mod redaction;
pub mod remote;
pub mod report;
mod report_file;
pub mod revision;
pub mod run;
pub mod scratch;
pub mod secret;
pub mod spill;
pub mod stats;
pub mod stop;
pub mod tree;
mod vanished;
pub mod walk;

pub use args::MoverArgs;
pub use run::run;
