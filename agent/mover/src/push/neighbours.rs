//! Other replications' paths above and below this one: a push refuses both, because its files would be theirs, too.

use std::collections::BTreeSet;

use crate::error::{Failure, Result};
use crate::format::names::{CLAIM, COMMIT, CONTROL_DIR, is_ours};
use crate::name_set::NameSet;
use crate::remote::committed::Committed;
use crate::remote::{Listing, Remote};
use crate::report::Reason;

/// Refuses a path with another replication's path inside: its files look like strays, and deleting them would be fatal. Names that
/// trees of this path have, `ours` and the committed one, are files of its volume, and what lies in our own folder is a copy of such.
pub(super) fn refuse_nested(remote: &Remote, committed: Option<&Committed>, ours: &NameSet, listing: &Listing) -> Result<()> {
    let marks = [COMMIT, CLAIM].map(|name| format!("/{CONTROL_DIR}/{name}"));
    let marked = |name: &&[u8]| marks.iter().any(|mark| name.ends_with(mark.as_bytes())) && !is_ours(name) && !ours.contains(name);
    let mut nested: BTreeSet<&[u8]> = listing.keys().map(|name| &**name).filter(marked).collect();
    if let Some(committed) = committed.filter(|_| !nested.is_empty()) {
        for entry in committed.entries.read()? {
            nested.remove(entry?.path.as_bytes());
        }
    }
    let Some(name) = nested.first() else { return Ok(()) };
    Err(not_ours(&format!(
        "another replication's path lies inside {}: {} is there. Give each a path of its own, none inside another, such as bucket/database",
        remote.name(),
        String::from_utf8_lossy(name)
    )))
}

/// Refuses a path inside another replication's path: that one's files may lie here at any time.
pub(super) fn refuse_inside(remote: &Remote) -> Result<()> {
    let Some(above) = remote.owner_above()? else { return Ok(()) };
    Err(not_ours(&format!(
        "{} lies inside {above}, which is another replication's path. Give each a path of its own, none inside another, such as bucket/database; if that replication is no more, delete the folder {above}/{CONTROL_DIR}",
        remote.name()
    )))
}

fn not_ours(message: &str) -> Failure {
    Failure::new(Reason::PathNotOurs, message)
}
