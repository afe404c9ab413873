//! Which PVCs hold a part of what a destination has pulled. It is recorded before the first Job that pulls into a PVC, and stays, whatever
//! becomes of the sync and the spec, until a pull of that path into that PVC has succeeded or the user ends it: until then no source pushes
//! that PVC to that path.

use crate::api::status::Run;
use crate::core::decision::Decision;
use crate::core::model::facts::Kind;
use crate::core::model::place::Place;

/// The oldest ones are dropped of more.
const MOST: usize = 256;

/// An attempt of this run begins to pull there.
pub(super) fn begins(decision: &mut Decision<'_>, run: &Run, place: Place) {
    let pulls = &mut decision.status.unfinished_pulls;
    if decision.facts.object.kind != Kind::Destination || pulls.iter().any(|pull| Place::of_pull(pull).is(&place)) {
        return;
    }
    pulls.push(place.begun(run));
    let over = pulls.len().saturating_sub(MOST);
    pulls.drain(..over);
}

/// A pull has succeeded: the PVC holds all of one revision, and nothing else.
pub(super) fn is_whole(decision: &mut Decision<'_>, claim: &str) {
    decision.status.unfinished_pulls.retain(|pull| pull.claim != claim);
}

/// This attempt has found nothing at the path: it has pulled nothing. What an earlier one has pulled in part may be of a path that is only
/// empty for a moment.
pub(super) fn did_not_begin(decision: &mut Decision<'_>, run: &Run) {
    decision.status.unfinished_pulls.retain(|pull| (&pull.run, pull.attempt) != (&run.id, run.attempt));
}
