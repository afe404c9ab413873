//! The data plane: pushes a volume to an rclone remote and pulls it back.
//!
//! This crate knows nothing of Kubernetes; the agent starts it in a Job and reads its [`report`]. It is usable by hand too.
//! `docs/remote-format.md` describes what is written to the remote. Read `push` and `pull` first.

mod apply;
mod args;
mod config;
mod control;
mod failure;
mod manifest;
mod names;
mod pull;
mod push;
mod rclone;
pub mod report;
mod run;
mod scratch;
mod walk;

pub use args::MoverArgs;
pub use run::run;
