//! How much a volume holds, by which the size of its blocks is chosen once for all.

use crate::error::Result;
use crate::stop::Stop;
use crate::volume::beneath::Root;
use crate::volume::exclude::Exclude;
use crate::volume::walk::{FoundKind, walk};

/// How many times what it holds now a volume is expected to hold one day, if it has room for that.
const GROWTH: u64 = 4;

/// What a volume holds, in bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Room {
    /// Of files.
    pub(super) holds: u64,
    /// What it is expected to hold one day. A volume may be a folder of a large disk, whose size says nothing.
    pub(super) may_hold: u64,
}

/// Looks at a volume.
pub(super) fn room(root: &Root, exclude: &Exclude, stop: &Stop) -> Result<Room> {
    let space = root.space()?;
    let bytes = |blocks: u64| blocks.saturating_mul(space.f_frsize);
    let mut files = 0_u64;
    for found in walk(root, stop)?.without(exclude) {
        if let FoundKind::File(size) = found?.kind {
            files = files.saturating_add(size);
        }
    }
    // Sparse files count for what they take.
    let holds = files.min(bytes(space.f_blocks.saturating_sub(space.f_bfree)));
    Ok(Room { holds, may_hold: holds.saturating_mul(GROWTH).min(bytes(space.f_blocks)).max(holds) })
}
