//! The mover against real rclone servers. Every test has a server of its own on a port the kernel picks.

// Clippy excuses test functions, but not the helpers they share.
#![allow(clippy::unwrap_used, clippy::panic)]

mod attributes;
mod backends;
mod blocks;
mod changing;
mod commits;
mod crash_pull;
mod crash_push;
mod daemon;
mod daemon_process;
mod dead_pushes;
mod encrypted;
mod failures;
mod folding;
mod guards;
mod hints;
mod history;
mod late;
mod lost_control;
mod lying;
mod measured;
mod memory;
mod names;
mod neighbours;
mod no_empty_path;
mod obstacles;
mod plain;
mod predecessors;
mod process;
mod property;
mod requests;
mod rivals;
mod roundtrip;
mod sections;
mod servers;
mod skew;
mod space;
mod support;
mod torn;
mod unions;
mod unprivileged;
mod variables;
mod watchdog;
mod witnesses;
