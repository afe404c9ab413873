//! The decisions: pure functions from what was observed, and the time, to what is to be done.
//!
//! Nothing here reads a clock, a file or the cluster, so property tests can drive it through every crash.
//! Imports `api` only. Read it in this order: [`facts`] → [`decide`] → [`plan`].

pub mod adoption;
pub mod backoff;
mod children;
mod clock;
pub mod conditions;
pub mod decide;
mod draft;
pub mod due;
mod ending;
pub mod facts;
mod failure;
pub mod gate;
pub mod goduration;
pub mod identity;
mod images;
pub mod names;
pub mod plan;
pub mod quantity;
mod resize;
mod retry;
mod run;
pub mod schedule;
pub mod spec;
mod stuck;
pub mod subject;
mod tidy;
mod waiting;
