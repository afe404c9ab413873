//! scribe-agent: replicates the volumes of one Kubernetes namespace through an rclone remote.

pub mod api;
