//! Layout Packs, format 2 of a remote path: a volume as blocks in packs, and a map of them in sorted runs. The bytes, their reader and their
//! writer, which refuses what no push wrote; nothing here speaks to a remote. `docs/remote-format.md` describes every byte.
//!
//! [`block`] and [`frame`] are content on its way in and out, [`pack`] is the object that holds it, [`run`] one part of the map, [`map`] all
//! parts as one, [`levels`] says which parts become one, [`check`] holds a whole map against itself, [`commit`] and [`manifest`] are the
//! documents that name all of it, and [`checkpoint`] that of a push that has none yet. [`policy`] decides what is written again, and what goes.

pub mod block;
pub mod check;
pub mod checkpoint;
mod coding;
pub mod commit;
pub mod frame;
pub mod id;
pub mod levels;
pub mod limits;
pub mod manifest;
pub mod map;
pub mod node;
pub mod object;
pub mod pack;
pub mod policy;
pub mod reference;
pub mod run;
pub mod salt;
pub mod size;

use crate::error::Failure;
use crate::report::Reason;

/// The failure of an object that no push has written as it is.
pub(crate) fn damaged(object: &str, what: &str) -> Failure {
    Failure::new(Reason::RemoteInconsistent, format!("{object} is damaged: {what}"))
}

/// The failure of a caller that asks for what the format does not have: a fault of this program.
fn misused(what: &str) -> Failure {
    Failure::new(Reason::MoverFailed, format!("a fault of the mover: {what}"))
}
