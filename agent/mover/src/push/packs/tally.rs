//! What a path stores, and what a push has sent of it: bytes, for its report.

use crate::packs::manifest::{Document, Totals};
use crate::report::PacksReport;

/// What a path stores with this manifest, and what a push has sent of that.
pub(super) fn tally(document: &Document, sent: u64) -> PacksReport {
    let Totals { blocks, pack_bytes, live, .. } = document.totals;
    // A block weighs one more than its bytes.
    let dead = document.dead_packs.iter().fold(pack_bytes, |sum, dead| sum.saturating_add(dead.size));
    PacksReport { stored: dead, live: live.saturating_sub(blocks), sent }
}
