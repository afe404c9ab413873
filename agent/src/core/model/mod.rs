//! What decisions are made of and what they come to: facts, spec, limits, plan, and the names and identities in them.

pub mod approvals;
pub mod claimant;
pub mod clock;
pub mod copy;
pub mod facts;
pub mod in_place;
pub mod limits;
pub mod names;
pub mod place;
pub mod placement;
pub mod plan;
pub mod pod;
pub use scribe_mover::retention;
pub mod run_id;
pub mod spec;
pub mod subject;
