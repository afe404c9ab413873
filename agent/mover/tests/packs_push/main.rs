//! Pushes of layout Packs to objects in memory: what is committed is read back by what the format says and by nothing of the push, after any
//! series of changes of a volume and wherever a push is killed. And pulls from there: by sites that are behind, and while the path changes.

#![allow(clippy::unwrap_used, clippy::panic, missing_docs, reason = "a test")]

mod behind;
mod block_size;
mod broken;
mod changing;
mod checking;
mod crashes;
mod damaged;
mod doubts;
mod edits;
mod keeping;
mod leftovers;
mod limits;
mod memory;
mod owners;
mod read;
mod renames;
mod resuming;
mod retained;
mod rolled_back;
mod series;
mod set_back;
mod support;
mod swapped;
mod switching;
mod switching_killed;
