//! The data plane: pushes a volume to an rclone remote and pulls it back.
//!
//! This crate knows nothing of Kubernetes; the agent starts it in a Job and reads its [`report`].

pub mod report;
