//! Other objects of the same PVC: what is not begun, published or trusted because of them.

use super::destination_claim;
use crate::api::reason::Reason;
use crate::core::decision::Decision;
use crate::core::model::facts::{Facts, Kind};
use crate::core::model::spec::{Spec, Volume};

/// Two pulls into one volume would leave a mixture of both in it, and each would publish that as its own.
fn shared(facts: &Facts, spec: &Spec) -> Option<(Reason, String)> {
    let (Volume::Destination { claim, .. }, Some(rival)) = (&spec.volume, &facts.sharing.rival) else { return None };
    let message = format!(
        "ReplicationDestination {rival:?} also pulls into PVC {:?}, and goes first: two destinations would mix their data. Name another PVC in \
         spec.rclone.destinationPVC of one of them, or leave it out",
        destination_claim(facts, claim)
    );
    Some((Reason::InvalidSpec, message))
}

/// A pull into the very PVC that a source pushes to the same path would delete what was written there since the last push.
fn pushed(facts: &Facts, spec: &Spec) -> Option<(Reason, String)> {
    let (Volume::Destination { claim, .. }, Some(source)) = (&spec.volume, &facts.sharing.pushed_by) else { return None };
    let message = format!(
        "ReplicationSource {source:?} pushes PVC {:?} to {}:{}, which this destination would pull back into it: everything written since the last \
         push would be lost. Name another PVC in spec.rclone.destinationPVC or leave it out, or, to go back to the last push, pause the source \
         (spec.paused: true) and wait for its running sync to end, or end that by the annotation scribe.backube/abort",
        destination_claim(facts, claim),
        spec.remote.section,
        spec.remote.path
    );
    Some((Reason::InvalidSpec, message))
}

/// A push of what a destination has pulled in part would put that in the place of what was pushed before.
fn half_pulled(facts: &Facts, spec: &Spec) -> Option<(Reason, String)> {
    let Volume::Source { claim, .. } = &spec.volume else { return None };
    let (who, end) = match (&facts.sharing.pulled_by, facts.foreign_jobs.first()) {
        (Some(name), _) => (
            format!("ReplicationDestination {name:?}"),
            "where that fails, pause this source (spec.paused: true) until it has, or, to push what is there, end its sync (annotation \
             scribe.backube/abort) or delete it; one whose spec names another PVC or path by now never finishes: name these again there, or delete it",
        ),
        (None, Some(job)) => (format!("Job {job} of a destination that is no more"), "wait for it, or delete it"),
        (None, None) => return None,
    };
    let message = format!(
        "{who} pulls {}:{} into PVC {claim:?} and has not finished: a push now would replace the data of the path by a part of it. This source goes \
         on once it has finished; {end}",
        spec.remote.section, spec.remote.path
    );
    Some((Reason::InvalidSpec, message))
}

/// Why no pull into the PVC, or push of it, may begin, because of other objects.
pub(in crate::core) fn refused(facts: &Facts, spec: &Spec) -> Option<(Reason, String)> {
    half_pulled(facts, spec).or_else(|| pushed(facts, spec)).or_else(|| shared(facts, spec))
}

/// What was pulled may be mixed with another destination's data, as after an agent that let both start: it is not published.
pub(in crate::core) fn mixed(facts: &Facts, spec: &Spec) -> Option<(Reason, String)> {
    let Volume::Destination { claim, .. } = &spec.volume else { return None };
    let other = facts.sharing.mixed.as_ref().map(|name| format!("ReplicationDestination {name:?}"));
    let other = other.or_else(|| facts.foreign_jobs.first().map(|job| format!("Job {job} of another destination")));
    shared(facts, spec).or_else(|| {
        let message = format!(
            "{} also pulls into PVC {:?}, at the same time: the PVC may hold a mixture of both, so nothing of it is published. Name another PVC \
             in spec.rclone.destinationPVC of one of the destinations, or leave it out",
            other?,
            destination_claim(facts, claim)
        );
        Some((Reason::InvalidSpec, message))
    })
}

/// A volume that another destination was free to pull into, or has pulled into, counts as touched: because the spec named another PVC for a
/// moment, be the object paused or its spec invalid, or because the other one had the better right.
pub(in crate::core) fn mark_touched(decision: &mut Decision<'_>) {
    let (facts, status) = (decision.facts, &mut decision.status);
    if facts.object.kind != Kind::Destination || status.last_sync_time.is_none() {
        return;
    }
    let named = facts.object.pulls_into(&facts.spec);
    // Not every agent has recorded what was synced.
    let left = status.synced.as_ref().is_some_and(|synced| synced.claim.as_deref() != named);
    if left || facts.sharing.touched {
        status.volume_touched = true;
    }
}
