//! The decisions: pure functions from what was observed, and the time, to what is to be done.
//!
//! Nothing here reads a clock, a file or the cluster, so property tests can drive it through every crash.
//! Read it in this order: [`model::facts`] → [`decide`] → [`model::plan`].

mod abort;
mod adoption;
mod children;
pub mod conditions;
pub mod decide;
mod decision;
pub mod model;
mod run;
pub mod schedule;
mod summary;
mod syncing;
pub mod syntax;
pub mod validate;
