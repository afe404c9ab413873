//! When a dead object goes: one of a committed revision that the current one does not refer to. Packs, runs and manifests alike.
//!
//! No listing decides, but the manifest alone: an object is referred to by the revisions from the one that wrote it to the one before that
//! in which it died. Nothing of those that are retained has to be read for that.

use std::cmp::Reverse;
use std::time::Duration;

use super::clock::{Graces, Reading};
use super::dead::{Dead, Since};

/// What becomes of dead objects with one commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Garbage<Id> {
    /// Stay, and stand in the new manifest.
    pub stay: Vec<Dead<Id>>,
    /// Are deleted after the commit; the new manifest does not have them.
    pub go: Vec<Dead<Id>>,
}

/// What becomes of the dead objects of the manifest before and of those that have died since, with the manifest of `generation`.
/// `retained` are the generations that it keeps, `now` is what its meters show. With `live`, dead bytes beyond that go after the brief
/// grace, those that are unused for longest first; what retained revisions refer to does not count.
pub fn garbage<Id: Copy + Ord>(
    dead: Vec<Dead<Id>>,
    retained: &[u64],
    generation: u64,
    now: Reading,
    live: Option<u64>,
    graces: &Graces,
) -> Garbage<Id> {
    let (mut stay, mut unused) = (Vec::new(), Vec::new());
    for mut object in dead {
        if retained.iter().any(|generation| object.is_of(*generation)) {
            // A pull of that revision may begin until the push that drops it: only then does the grace.
            object.since = None;
            stay.push(object);
        } else {
            let since = *object.since.get_or_insert(Since { generation, full: now.full, brief: now.brief });
            unused.push((since, object));
        }
    }
    // By the generation: the meters may stand still for some pushes.
    unused.sort_by_key(|(since, object)| (Reverse(since.generation), object.id));
    let (mut younger, mut go) = (0_u64, Vec::new());
    for (since, object) in unused {
        younger = younger.saturating_add(object.size);
        let is_over = now.full.saturating_sub(since.full) >= graces.full;
        let is_excess = live.is_some_and(|live| younger > live) && now.brief.saturating_sub(since.brief) >= graces.brief;
        if is_over || is_excess { go.push(object) } else { stay.push(object) }
    }
    stay.sort_by_key(|object| object.id);
    go.sort_by_key(|object| object.id);
    Garbage { stay, go }
}

/// Whether a push may still commit, if it has last seen the revision that it follows to be the committed one at `seen`, and it is `now`;
/// both by the clock that counts from the boot of the node. Where the backend has no conditional writes, another push may have committed
/// since, and what the revision refers to goes after the shortest grace. The other half of it is for the write itself.
/// A push that takes longer reads the commit again: if it is the same, nothing has been deleted.
pub fn may_commit(seen: Duration, now: Duration, graces: &Graces) -> bool {
    now.checked_sub(seen).is_some_and(|passed| passed < graces.shortest() / 2)
}

#[cfg(test)]
mod tests;
