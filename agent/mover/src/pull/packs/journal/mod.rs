//! What is to be done to a private volume, step by step: written and on disk before the volume is changed, so that a pull which finds it completes
//! what an earlier one had begun, from the staging folder alone.
//!
//! `row` says what a step is, `write` makes the journal of a plan, `read` reads it, `apply` does what it says, and `resume` looks for one. All
//! content lies verified in the staging folder by then. Each step done again ends the same, so nothing keeps count of them.

mod apply;
mod copied;
mod read;
mod resume;
mod row;
mod write;

#[cfg(test)]
mod tests;

pub(super) use apply::carry_out;
pub(in crate::pull) use resume::resume;
pub(super) use write::{Writing, write};
