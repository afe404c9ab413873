//! Growing a destination's own volume when `capacity` grows. Only the API server knows whether its storage class can expand: the agent tries
//! and reports the answer.

use crate::api::reason::Reason;
use crate::core::decision::Decision;
use crate::core::model::facts::{Refresh, Role};
use crate::core::model::plan::{ChildKind, ChildRef, Step};
use crate::core::model::spec::{DestinationClaim, Spec, Volume};

/// The API server has accepted the expansion, which says nothing of whether anything in the cluster carries it out.
fn pending(decision: &mut Decision<'_>) {
    let mut claims = decision.facts.claims_as(Role::Volume).filter(|c| c.bound && !c.meta.deleting);
    let Some((claim, growth)) = claims.find_map(|claim| claim.growth.as_ref().map(|growth| (claim, growth))) else { return };
    let (name, from, to) = (&claim.meta.name, &growth.from, &growth.to);
    let state = growth.state.as_ref().map_or_else(
        || " (no condition of the PVC says that it has begun: check that the CSI driver has a resizer)".to_owned(),
        |state| format!(" ({})", state.trim_end_matches('.')),
    );
    decision.notes.push(format!("The expansion of PVC {name} from {from} to {to} is pending{state}; syncs continue with its current size"));
}

/// Plans the expansion, or reports that it was refused.
pub(in crate::core) fn volume(decision: &mut Decision<'_>, spec: &Spec) {
    let facts = decision.facts;
    let Volume::Destination { claim: DestinationClaim::Private(shape), .. } = &spec.volume else { return };
    let Some(wanted) = shape.size else { return };
    // A claim can only grow once it has a volume.
    let mut claims = facts.claims_as(Role::Volume).filter(|c| c.bound && !c.meta.deleting);
    let Some(claim) = claims.find(|c| c.shape.size.is_some_and(|size| size < wanted)) else { return pending(decision) };
    match facts.resize_refused.as_ref().filter(|refused| refused.size == wanted) {
        Some(refused) => {
            decision.troubles.push(refused.message.clone());
            let told = facts.status.conditions.iter().any(|c| c.type_ == "Reconciled" && c.message.contains(&refused.message));
            if !told {
                decision.event(true, Reason::ResizeRefused, refused.message.clone(), &format!("{}/{wanted}", claim.meta.uid));
            }
        }
        None => {
            decision.plan.needs.insert(Refresh::Claims);
            // What is known of an earlier try stands until this one has its answer.
            let before = facts.status.conditions.iter().find(|c| c.type_ == "Reconciled" && c.status == "False");
            if decision.troubles.is_empty() {
                decision.troubles.extend(before.map(|c| c.message.clone()));
            }
            let target = ChildRef::of(ChildKind::Claim, &claim.meta);
            decision.plan.steps.push(Step::Resize(target, wanted));
        }
    }
}
