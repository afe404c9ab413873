//! Replication from end to end on a real Kubernetes node: real kubelet, real CSI drivers, a real S3 server, the real image.
//!
//! Each test has a namespace and an agent of its own, so they run side by side. Needs what `make test` sets up.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test says what it needs by failing")]

#[allow(dead_code, reason = "shared with the measurements, which need other parts of it")]
mod support;

mod aborted;
mod agent_killed;
mod all_together;
mod at_rest;
mod chaos;
mod copy_methods;
mod copy_trigger;
mod custom_ca;
mod deletion;
mod drivers;
mod evicted;
mod exclude;
mod failures;
mod first_push;
mod guard;
mod health;
mod images;
mod keyless;
mod killed_pulls;
mod mover_killed;
mod mover_pod;
mod names;
mod outages;
mod overlays;
mod ownership;
mod packs;
mod placement;
mod plain;
mod progress;
mod restricted;
mod retained;
mod retention;
mod second_sync;
mod seed;
mod subject;
mod terabyte;
mod torn;
mod triggers;
