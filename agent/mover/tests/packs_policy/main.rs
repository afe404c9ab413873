//! The policy of layout Packs, played over thousands of pushes on a model of a volume and a remote, with readers, rivals and wrong clocks.
//!
//! `PACKS_PUSHES` says how many pushes each course has. With 10,000, `the_aims_are_met` prints the table of docs/decisions/0007.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs, reason = "a test")]

mod case;
mod checks;
mod clocks;
mod cost;
mod courses;
mod draw;
mod faults;
mod readers;
mod remote;
mod rivals;
mod rules;
mod volume;
mod world;
