//! The mover against real rclone servers. Every test has a server of its own on a port the kernel picks.

mod failures;
mod guards;
mod process;
mod requests;
mod roundtrip;
mod support;
