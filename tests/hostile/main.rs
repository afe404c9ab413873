//! The agent against an API server that misbehaves: a real etcd and kube-apiserver behind a proxy that refuses, delays, cuts and
//! forgets. What runs on a node is played (`world`): here it is only the API that is hostile.
//!
//! Needs the node's programs, but no node: `make test` builds them.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test says what it needs by failing")]

mod agent;
mod budget;
#[path = "../e2e/support/chance.rs"]
mod chance;
mod control_plane;
mod five_hundred;
mod idle;
mod images;
mod in_place;
mod lasting;
#[path = "../../agent/mover/tests/mover/support/limits.rs"]
mod limits;
#[path = "../../agent/mover/tests/mover/support/ports.rs"]
mod ports;
mod proxy;
mod pushed_back;
mod quiet;
mod reports;
mod requests;
mod setbacks;
mod shared;
mod site;
mod slots;
mod starting;
mod unreadable;
#[path = "../e2e/support/until.rs"]
mod until;
mod warnings;
mod world;
