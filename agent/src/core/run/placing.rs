//! Whether the mover of a volume that pods use can start, and where.

use super::deadline;
use super::failure;
use super::report;
use crate::api::reason::Reason;
use crate::api::status::Run;
use crate::core::children::placement::{self, Placement};
use crate::core::decision::Decision;
use crate::core::model::facts::Refresh;
use crate::core::model::in_place;
use crate::core::model::placement::Pin;
use crate::core::model::spec::Spec;
use jiff::SignedDuration;

/// So long a pod without a node, or one that is being deleted, is waited for. One that stays so must not keep its volume from being replicated.
const PATIENCE: SignedDuration = SignedDuration::from_mins(2);
/// It is looked for a node again so often.
const AGAIN: SignedDuration = SignedDuration::from_secs(10);
/// So long an attempt lasts while no mover can mount the volume.
const IN_USE: SignedDuration = SignedDuration::from_mins(1);

/// Asks for the pods that use the mover's volume, where they matter; without them a plan that starts a mover is not executed.
pub(super) fn ask(decision: &mut Decision<'_>) {
    if in_place::claim(decision.facts).is_some() {
        decision.plan.needs.insert(Refresh::Consumers);
    }
}

/// The node that the mover is kept to, if it is to one; an error where none may start now, which [`waits`] reports.
pub(super) fn pin(decision: &Decision<'_>, spec: &Spec, run: &Run) -> Result<Option<Pin>, NotNow> {
    match placement::of(decision.facts, spec) {
        Placement::On(pin) => Ok(Some(pin)),
        Placement::Later(..) if decision.now < deadline::deadline(run, PATIENCE) => Err(NotNow),
        Placement::Later(_, pin) => Ok(pin),
        Placement::Anywhere => Ok(None),
        Placement::Nowhere(_) => Err(NotNow),
    }
}

/// No mover may start now.
pub(super) struct NotNow;

/// Reports what keeps a mover from starting, where that is a pod that uses its volume; ends the attempt where none can start at all. Returns
/// whether something does.
pub(super) fn waits(decision: &mut Decision<'_>, spec: &Spec, run: &Run) -> bool {
    if !decision.facts.fresh.contains(&Refresh::Consumers) || pin(decision, spec, run).is_ok() {
        return false;
    }
    match placement::of(decision.facts, spec) {
        Placement::Later(what, _) => {
            // Pods of the user's are not watched.
            let ends = deadline::deadline(run, PATIENCE);
            decision.plan.wake_at(deadline::after(decision.now, AGAIN).min(ends));
            report::report(decision, run, &what, None);
        }
        Placement::Nowhere(problem) => {
            let ends = deadline::deadline(run, IN_USE);
            if decision.now >= ends {
                decision.plan.needs.extend(Refresh::ALL);
                failure::give_up(decision, run, Reason::VolumeInUse, problem, None);
                return true;
            }
            decision.plan.wake_at(ends);
            report::report(decision, run, "the volume", Some(&problem));
        }
        Placement::On(_) | Placement::Anywhere => {}
    }
    true
}
