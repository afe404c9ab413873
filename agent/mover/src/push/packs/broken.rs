//! Retained revisions of which something is lost. No push can send that again: the volume has other content by now. It says so, and keeps them all the
//! same: what two listings do not show may be there.

use std::ops::Range;

use super::base::Base;
use crate::format::revision::Revision;
use crate::packs::manifest::Retained;
use crate::push::lost::Lost;

/// The committed revision and those that it retains, as far as they need what is lost.
pub(super) fn broken(base: &Base, lost: &Lost) -> Vec<String> {
    // What lies in a pack of the map is needed by every revision since the one that wrote it.
    let current = lost.packs.iter().filter_map(|id| base.packs.get(id)).map(|row| row.born..u64::MAX);
    let needed_by: Vec<Range<u64>> = current.chain(lost.older.values().cloned()).collect();
    let is_broken =
        |name: &&String| Revision::parse(name).is_some_and(|revision| needed_by.iter().any(|range| range.contains(&revision.generation())));
    if let Some(first) = lost.older.keys().next() {
        tracing::warn!(objects = lost.older.len(), first, "objects that only retained revisions need are not listed as they were written");
    }
    let document = &base.document;
    [&document.revision].into_iter().chain(document.retained.iter().map(|kept| &kept.revision)).filter(is_broken).cloned().collect()
}

/// Those of them that are retained from now on, which the log names.
pub(super) fn told(broken: Vec<String>, retained: &[Retained]) -> Vec<String> {
    let told: Vec<String> = broken.into_iter().filter(|name| retained.iter().any(|kept| kept.revision == *name)).collect();
    for revision in &told {
        tracing::warn!(%revision, "this retained revision needs what is lost or damaged at the path, and cannot be pulled as long as it is");
    }
    told
}
