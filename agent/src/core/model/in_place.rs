//! The volume that a mover shares with pods of the user's: where it can be used on one node, or by one pod, that decides where the mover runs.

use crate::core::model::facts::{Claim, Facts, Role};
use crate::core::model::spec::{Capture, DestinationClaim, Volume};

/// With one of these modes the cluster attaches a volume to any number of nodes.
const ANYWHERE: [&str; 2] = ["ReadWriteMany", "ReadOnlyMany"];

/// The claim that the object's mover mounts while pods of the user's may use it, if its volume is bound to one node or pod. For the others
/// nothing needs to be known of pods.
pub fn claim(facts: &Facts) -> Option<&Claim> {
    let claim = match &facts.spec.as_ref().ok()?.volume {
        Volume::Source { claim, capture: Capture::Direct, .. } | Volume::Destination { claim: DestinationClaim::Existing(claim), .. } => {
            facts.users_claim(claim)
        }
        // Pods may read it in place.
        Volume::Destination { claim: DestinationClaim::Private(_), image: None, .. } => {
            facts.claims_as(Role::Volume).find(|claim| !claim.meta.deleting)
        }
        Volume::Source { .. } | Volume::Destination { .. } => None,
    };
    claim.filter(|claim| {
        let modes = claim.shape.access_modes.as_deref().unwrap_or_default();
        !modes.is_empty() && !modes.iter().any(|mode| ANYWHERE.contains(&mode.as_str()))
    })
}
