//! The claim of the user's that the spec names is not there: nothing can be tried, so no slot is taken and nothing is read again until the
//! watch shows it. It is tried then at once.

use super::failure;
use crate::api::status::{Phase, Run};
use crate::core::children;
use crate::core::decision::Decision;
use crate::core::model::clock::seconds;
use crate::core::model::facts::Refresh;
use crate::core::model::spec::Spec;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

/// Ends the attempt where the claim is not there, and returns whether it did.
pub(super) fn claim(decision: &mut Decision<'_>, spec: &Spec, run: &Run) -> bool {
    let Some((reason, message)) = children::missing(decision.facts, spec).filter(|_| decision.facts.lacks_claim()) else { return false };
    let known = decision.status.last_error.as_ref().is_some_and(|e| e.reason == reason.as_str() && e.message == message);
    // The first time, the cache may only be behind; later ones say nothing new. Where a watch fails it may be behind for long.
    if !known || !decision.facts.troubles.is_empty() {
        decision.plan.needs.insert(Refresh::Claims);
    }
    failure::give_up(decision, run, reason, message, None);
    true
}

/// The waiting run was waiting for the claim alone, which is there now: its next attempt is due.
pub(super) fn appeared(decision: &mut Decision<'_>, spec: &Spec) {
    let status = &decision.status;
    let missing = || children::missing(decision.facts, spec).map(|(_, message)| message);
    let waited = status.run.as_ref().is_some_and(|run| run.phase == Phase::Backoff) && !decision.facts.lacks_claim();
    if waited && status.last_error.as_ref().is_some_and(|error| Some(&error.message) == missing().as_ref()) {
        let now = Time(seconds(decision.now));
        let next = status.next_attempt_time.clone().map_or(now.clone(), |next| next.min(now));
        decision.status.next_attempt_time = Some(next);
    }
}
