//! Pushes of layout Packs to objects in memory: what is committed is read back by what the format says and by nothing of the push, after any
//! series of changes of a volume and wherever a push is killed.

#![allow(clippy::unwrap_used, clippy::panic, missing_docs, reason = "a test")]

mod changing;
mod crashes;
mod edits;
mod keeping;
mod memory;
mod owners;
mod read;
mod renames;
mod series;
mod support;
