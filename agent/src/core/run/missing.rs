//! The claim of the user's that the spec names is not there, or being deleted: nothing can be tried, so no slot is taken and nothing is read again until the
//! watch shows it. It is tried then at once.

use super::failure;
use crate::api::status::{Phase, Run};
use crate::core::children;
use crate::core::decision::Decision;
use crate::core::model::clock::seconds;
use crate::core::model::facts::Refresh;
use crate::core::model::spec::Spec;
use crate::core::schedule::due;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

/// Ends the attempt where the claim is not there, and returns whether it did.
pub(super) fn claim(decision: &mut Decision<'_>, spec: &Spec, run: &Run) -> bool {
    let Some((reason, message)) = children::missing(decision.facts, spec).filter(|_| decision.facts.lacks_claim()) else { return false };
    // Failures count anew after an edit and a request.
    let known = decision.status.attempts.is_some() && due::lacked_claim(&decision.status);
    // The first time, the cache may only be behind; later ones say nothing new. Where a watch fails it may be behind for long.
    if !known || !decision.facts.troubles.is_empty() {
        decision.plan.needs.insert(Refresh::Claims);
    }
    failure::give_up(decision, run, reason, message, None);
    true
}

/// The waiting run was waiting for the claim alone, which is there now: its next attempt is due.
pub(super) fn appeared(decision: &mut Decision<'_>, spec: &Spec) {
    let (facts, status) = (decision.facts, &decision.status);
    let there = spec.users_claim().is_some_and(|name| facts.users_claim(name).is_some());
    let waited = status.run.as_ref().is_some_and(|run| run.phase == Phase::Backoff);
    if there && waited && due::lacked_claim(status) {
        let now = Time(seconds(decision.now));
        let next = status.next_attempt_time.clone().map_or(now.clone(), |next| next.min(now));
        decision.status.next_attempt_time = Some(next);
    }
}
