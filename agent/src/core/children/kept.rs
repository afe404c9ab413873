//! What an edit cannot change any more, what it leaves over, and what has no effect: reported, since nothing else shows it.

use crate::core::decision::Decision;
use crate::core::model::facts::{Claim, Role};
use crate::core::model::spec::{ClaimShape, DestinationClaim, Spec, Volume};
use std::collections::BTreeSet;

/// Reports it of a destination's volume; a source's is made anew for each sync.
pub(in crate::core) fn report(decision: &mut Decision<'_>, spec: &Spec) {
    let Volume::Destination { claim, cleanup, .. } = &spec.volume else { return };
    let facts = decision.facts;
    let mut volumes = facts.claims_as(Role::Volume).filter(|claim| claim.bound && !claim.meta.deleting);
    match claim {
        // One that goes after each sync is made by the present spec.
        DestinationClaim::Private(_) if *cleanup => {}
        DestinationClaim::Private(shape) => {
            let differences = volumes.next().and_then(|claim| differences(claim, shape));
            decision.troubles.extend(differences);
        }
        DestinationClaim::Existing(name) => {
            let left = volumes.find(|claim| claim.meta.name != *name).map(|claim| {
                format!(
                    "PVC {} was created for this object and is not used while spec.rclone.destinationPVC names another one: delete it if its data \
                     is not needed",
                    claim.meta.name
                )
            });
            let unused = (!spec.unused.is_empty()).then(|| {
                let fields = spec.unused.join(", ");
                format!("{fields} in spec.rclone: no effect beside destinationPVC, which names an existing PVC")
            });
            decision.notes.extend(left.into_iter().chain(unused));
        }
    }
}

/// Storage class and access modes of a PVC never change.
fn differences(claim: &Claim, wanted: &ClaimShape) -> Option<String> {
    let class = wanted.storage_class.as_ref().filter(|class| claim.shape.storage_class.as_ref() != Some(class));
    let class =
        class.map(|class| format!("storageClassName {class:?} (it has {:?})", claim.shape.storage_class.as_deref().unwrap_or_default()));
    let set = |modes: &Vec<String>| modes.iter().cloned().collect::<BTreeSet<_>>();
    let modes = wanted.access_modes.as_ref().zip(claim.shape.access_modes.as_ref()).filter(|(wanted, has)| set(wanted) != set(has));
    let modes = modes.map(|(wanted, has)| format!("accessModes [{}] (it has [{}])", wanted.join(", "), has.join(", ")));
    let all: Vec<_> = class.into_iter().chain(modes).collect();
    (!all.is_empty()).then(|| {
        let (name, what) = (&claim.meta.name, all.join(" and "));
        format!(
            "PVC {name} cannot be changed to {what}, and syncs continue with it as it is: restore the spec, or delete the PVC, and the next sync \
             pulls everything into a new one"
        )
    })
}
