//! The children as Kubernetes writes them: pure functions from a plan's child to JSON.
//!
//! Every function has a YAML snapshot beside it, so that a change is reviewed as YAML.

pub mod claim;
pub mod event;
pub mod job;
pub mod meta;
pub mod pin;
pub mod pod;
pub mod snapshot;
#[cfg(test)]
mod tests;
