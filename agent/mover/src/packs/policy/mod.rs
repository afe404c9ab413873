//! What layout Packs decides: how large packs are, which of them are rewritten, what is deleted and when, which ranges are fetched as one.
//!
//! Pure: no clock, no I/O, and nothing of the byte format; `Id` is whatever names a pack. `tests/packs_policy` plays 10,000 pushes on it;
//! docs/decisions/0007 has the figures.

pub mod clock;
pub mod compaction;
pub mod dead;
pub mod garbage;
pub mod merge_gaps;
pub mod retained;
pub mod strangers;
pub mod table;
