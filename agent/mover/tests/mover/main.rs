//! The mover against real servers: rclone's, and versitygw where versions or markers are needed; as S3 the one that `S3_SERVER` names. Every
//! test has a server of its own, except SeaweedFS's.

// Clippy excuses test functions, but not the helpers they share.
#![allow(clippy::unwrap_used, clippy::panic)]

mod attributes;
mod backends;
mod blocks;
mod changing;
mod commits;
mod configuration;
mod crash_pull;
mod crash_push;
mod daemon;
mod daemon_process;
mod dead_pushes;
mod encrypted;
mod failures;
mod first_push;
mod folding;
mod guards;
mod heartbeat;
mod hints;
mod history;
mod identity;
mod late;
mod lost_control;
mod lying;
mod measured;
mod memory;
mod names;
mod neighbours;
mod no_empty_path;
mod obstacles;
mod overlays;
mod plain;
mod predecessors;
mod process;
mod processes;
mod property;
mod requests;
mod rivals;
mod roundtrip;
mod s3_servers;
mod sections;
mod servers;
mod skew;
mod space;
mod support;
mod torn;
mod unions;
mod unprivileged;
mod variables;
mod versions;
mod watchdog;
mod witnesses;
