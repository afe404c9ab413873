//! Files whose object is not what the committed revision needs: lost, of another size, or of other content.
//!
//! Their content is going to be sent again, so hints are not enough to know it by: the object may be wrong because the file holds
//! something else than the manifest says.

use std::collections::HashSet;

use super::object_names::object_name;
use super::observe::{Known, ObserveContext, Tree, observe};
use super::remote_state::intact;
use crate::error::Result;
use crate::remote::Listing;
use crate::remote::committed::Committed;
use crate::volume::merge_join::join;
use crate::volume::path::RelPath;

/// Looks at the volume again if there are such files, and reads them.
pub(super) fn settle(look: ObserveContext, tree: Tree, committed: &Committed, listing: &Listing) -> Result<Tree> {
    let doubtful = doubtful(committed, &tree, listing)?;
    if doubtful.is_empty() {
        return Ok(tree);
    }
    tracing::info!(count = doubtful.len(), "objects are not as they were committed; reading these files again");
    observe(look, &Known::but(&tree.entries, &doubtful))
}

/// No more names than the listing lacks, or holds wrongly.
fn doubtful(committed: &Committed, tree: &Tree, listing: &Listing) -> Result<HashSet<RelPath>> {
    let mut doubtful = HashSet::new();
    for pair in join(committed.entries.read()?, tree.entries.read()?) {
        let (Some(before), Some(entry)) = pair? else { continue };
        let (Some(old), Some(file)) = (before.file(), entry.file()) else { continue };
        // Other content was read by this very push.
        if old.sha256 == file.sha256 && !intact(Some(listing), &object_name(&before.path, old), old.size) {
            // Names of one inode share what is read by the first of them.
            doubtful.insert(file.link.clone().unwrap_or(entry.path));
        }
    }
    Ok(doubtful)
}
