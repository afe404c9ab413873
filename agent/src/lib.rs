//! scribe-agent: replicates the volumes of one Kubernetes namespace through an rclone remote.
//!
//! Modules import downwards only: `tests/structure` lists the layers and holds the code to them. The data plane is a crate of its own,
//! `scribe_mover`, which knows nothing of Kubernetes.

pub mod admin;
pub mod agent;
pub mod api;
pub mod cluster;
pub mod controller;
pub mod core;
pub mod manifests;
pub mod metrics;
pub mod reload;
pub mod settings;
pub mod triggers;
