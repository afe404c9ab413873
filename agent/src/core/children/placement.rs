//! Where the mover of a volume that pods use may run. A ReadWriteOnce volume can be attached to one node, and a ReadWriteOncePod one be mounted
//! by one pod: a mover elsewhere would wait for the volume, or, while the pod is restarted, take it away from it.

use crate::core::model::facts::Facts;
use crate::core::model::in_place;
use crate::core::model::placement::{Consumer, Pin};
use crate::core::model::spec::{Spec, Volume};

const ONCE_POD: &str = "ReadWriteOncePod";

/// What follows from the pods that use the volume.
#[derive(Clone, Debug, PartialEq)]
pub enum Placement {
    /// The scheduler is free.
    Anywhere,
    /// The mover must run on this node.
    On(Pin),
    /// It is not known yet on which: a pod that uses the volume has no node, or is about to leave its own. What is waited for, and where it
    /// may run if that takes too long.
    Later(String, Option<Pin>),
    /// No mover can mount the volume: a sentence that says what to do.
    Nowhere(String),
}

/// Where the mover may run, by pods that were just read.
pub fn of(facts: &Facts, spec: &Spec) -> Placement {
    let Some(claim) = in_place::claim(facts) else { return Placement::Anywhere };
    let (name, users) = (&claim.meta.name, &facts.consumers);
    let once = claim.shape.access_modes.iter().flatten().any(|mode| mode == ONCE_POD);
    // The one that has the volume comes first, and one that is about to leave it last.
    let rank = |user: &&Consumer| (user.deleting, !user.running, user.node.clone(), user.pod.clone());
    let mut placed: Vec<_> = users.iter().filter(|user| user.node.is_some()).collect();
    placed.sort_by_key(rank);
    let Some(first) = placed.first() else {
        let waiting = users.iter().find(|user| !user.gated && !user.deleting);
        return waiting.map_or(Placement::Anywhere, |user| {
            let what = format!("pod {}, which uses PVC {name}, to be scheduled: the mover has to run on its node", user.pod);
            Placement::Later(what, None)
        });
    };
    if once {
        let instead = match &spec.volume {
            Volume::Source { .. } => "Use copyMethod Snapshot or Clone, which leave the PVC to that pod",
            Volume::Destination { .. } => {
                "Remove spec.rclone.destinationPVC and use the images of copyMethod Snapshot, or stop that pod while a sync runs"
            }
        };
        return Placement::Nowhere(format!(
            "PVC {name} is ReadWriteOncePod and pod {} uses it, so that no other pod can mount it. {instead}",
            first.pod
        ));
    }
    let node = first.node.clone().unwrap_or_default();
    let elsewhere = placed.iter().find(|user| user.running && !user.deleting && user.node.as_ref() != Some(&node));
    let why = match elsewhere.and_then(|other| other.node.as_deref().map(|at| (at, &other.pod))) {
        // Then it is a volume that can be used on several nodes, whatever its mode says.
        Some((at, pod)) => {
            format!("on node {node}: PVC {name} is ReadWriteOnce, and pods on two nodes use it ({} on {node}, {pod} on {at})", first.pod)
        }
        None => format!("on node {node}, where pod {} uses PVC {name}", first.pod),
    };
    let pin = Pin { node, tolerations: first.tolerations.clone(), why };
    if first.deleting {
        // Its successor may be scheduled elsewhere, and would wait for the volume as long as a mover kept it here.
        return Placement::Later(format!("pod {}, which uses PVC {name}, to be deleted", first.pod), Some(pin));
    }
    Placement::On(pin)
}
