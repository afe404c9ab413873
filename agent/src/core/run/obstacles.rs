//! What the facts show of a child that is not ready: slow, failed for good, or refused.

use crate::core::model::facts::{Claim, Facts, Pod, Role, Snapshot};
use crate::core::model::spec::{Capture, DestinationClaim, Volume};

/// Whether the driver has given up on this snapshot. An error after the data was captured leaves a copy that may still be under way.
pub(super) fn failed(snapshot: &Snapshot) -> bool {
    snapshot.error.is_some() && !snapshot.taken
}

/// A claim of the object's own that has no volume yet.
pub(super) fn unbound(facts: &Facts) -> Option<&Claim> {
    let claims = facts.claims_as(Role::Capture).chain(facts.claims_as(Role::Volume));
    claims.into_iter().find(|c| !c.bound && !c.meta.deleting)
}

/// The image that a destination's own volume is created from.
pub(super) fn restored_from(claim: &Claim) -> Option<&str> {
    claim.made_from.as_deref().filter(|_| claim.meta.role == Some(Role::Volume))
}

/// What the scheduler's events begin with.
const UNSCHEDULED: &str = "FailedScheduling";

/// Why a mover's pod does not start, or why there is none. An event says what was so when it was written, and events are read once a minute:
/// what the scheduler says now is in the pod's own condition.
pub(super) fn why(facts: &Facts, pod: Option<&Pod>) -> Option<String> {
    quoted(facts.warnings.clone(), pod)
}

fn quoted(event: Option<String>, pod: Option<&Pod>) -> Option<String> {
    let by_itself = pod.and_then(|pod| pod.cause.clone());
    let Some(pod) = pod.filter(|_| event.as_ref().is_some_and(|event| event.starts_with(UNSCHEDULED))) else {
        return event.or(by_itself);
    };
    match &pod.unscheduled {
        Some(now) => Some(format!("{UNSCHEDULED}: {}", now.trim())),
        None if pod.scheduled => by_itself,
        None => event,
    }
}

/// Whether this is the message of a provisioner that failed for good: the claim is replaced.
pub(super) fn refused_volume(why: &str) -> bool {
    why.starts_with("ProvisioningFailed") && !provisioning(why)
}

/// Whether the volume is being made all the same. With these codes of CSI, the driver may still be at work; external-provisioner then
/// goes on as well. A scheduler waits ten minutes for a volume that is created for the node which it has chosen, and then begins anew.
pub(super) fn provisioning(why: &str) -> bool {
    let under_way = ["DeadlineExceeded", "Aborted", "Unavailable", "Canceled"].iter().any(|code| why.contains(&format!("code = {code}")));
    why.starts_with("ProvisioningFailed") && under_way
        || ["unbound immediate PersistentVolumeClaims", "binding volumes: "].iter().any(|words| why.contains(words))
}

/// What to correct where the cluster does not have the storage class of this claim.
pub(super) fn unknown_class(facts: &Facts, claim: &Claim, why: &str) -> Option<String> {
    let class = claim.shape.storage_class.as_deref()?;
    if !why.contains(&format!("storageclass.storage.k8s.io {class:?} not found")) {
        return None;
    }
    let shape = match &facts.spec.as_ref().ok()?.volume {
        Volume::Source { temporary: shape, .. } | Volume::Destination { claim: DestinationClaim::Private(shape), .. } => shape,
        Volume::Destination { claim: DestinationClaim::Existing(_), .. } => return None,
    };
    Some(match shape.storage_class.as_deref() {
        Some(named) if named == class => {
            format!("spec.rclone.storageClassName names the storage class {class:?}, which the cluster does not have: correct it")
        }
        _ => format!(
            "The cluster does not have the storage class {class:?} of the PVC that is replicated: set spec.rclone.storageClassName to one that it has"
        ),
    })
}

/// What to correct where the cluster does not have the snapshot class that the spec names, or none that it would take by itself. The
/// agent cannot read classes: the snapshot controller says so, in the snapshot's status and in an event.
pub(super) fn unknown_snapshot_class(facts: &Facts, why: &str) -> Option<String> {
    let (Volume::Source { capture: Capture::Snapshot(class), .. } | Volume::Destination { image: Some(class), .. }) =
        &facts.spec.as_ref().ok()?.volume
    else {
        return None;
    };
    match class.0.as_deref() {
        Some(class) if why.contains(&format!("volumesnapshotclass.snapshot.storage.k8s.io {class:?} not found")) => Some(format!(
            "spec.rclone.volumeSnapshotClassName names the VolumeSnapshotClass {class:?}, which the cluster does not have: correct it"
        )),
        None if why.contains("default snapshot class") => Some(
            "The cluster does not have one default VolumeSnapshotClass for the driver of this volume: set spec.rclone.volumeSnapshotClassName to \
             one that it has"
                .to_owned(),
        ),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Its condition and a later event said `Insufficient cpu`, and for 45 seconds the status quoted the event before.
    #[test]
    fn the_scheduler_is_quoted_by_the_pod_itself() {
        let of_the_scheduler = "FailedScheduling: pod has unbound immediate PersistentVolumeClaims";
        let of_the_kubelet = "FailedMount: no such Secret";
        let pod = |scheduled, unscheduled: Option<&str>, cause: Option<&str>| Pod {
            scheduled,
            unscheduled: unscheduled.map(str::to_owned),
            cause: cause.map(str::to_owned),
            ..Pod::default()
        };
        let unscheduled = pod(false, Some("0/1 nodes: Insufficient cpu"), Some("0/1 nodes: Insufficient cpu"));
        for (event, pod, expected) in [
            (Some(of_the_scheduler), Some(&unscheduled), Some("FailedScheduling: 0/1 nodes: Insufficient cpu")),
            (Some(of_the_scheduler), Some(&pod(true, None, Some("ErrImagePull: none"))), Some("ErrImagePull: none")),
            (Some(of_the_scheduler), Some(&pod(true, None, None)), None),
            (Some(of_the_scheduler), Some(&pod(false, None, None)), Some(of_the_scheduler)),
            (Some(of_the_scheduler), None, Some(of_the_scheduler)),
            (Some(of_the_kubelet), Some(&pod(true, None, Some("CreateContainerError"))), Some(of_the_kubelet)),
            (None, Some(&unscheduled), Some("0/1 nodes: Insufficient cpu")),
        ] {
            assert_eq!(quoted(event.map(str::to_owned), pod).as_deref(), expected, "{event:?} {pod:?}");
        }
    }

    #[test]
    fn a_provisioner_that_is_at_work_has_not_failed() {
        for (why, refused) in [
            ("ProvisioningFailed: storageclass.storage.k8s.io \"fast\" not found", true),
            ("ProvisioningFailed: failed to provision volume: rpc error: code = InvalidArgument desc = too small", true),
            ("ProvisioningFailed: failed to provision volume: rpc error: code = DeadlineExceeded desc = context deadline exceeded", false),
            ("ProvisioningFailed: failed to provision volume: rpc error: code = Aborted desc = an operation is pending", false),
            ("FailedScheduling: 0/1 nodes are available", false),
        ] {
            assert_eq!(refused_volume(why), refused, "{why}");
        }
        assert!(provisioning("FailedScheduling: pod has unbound immediate PersistentVolumeClaims"));
        assert!(provisioning("FailedScheduling: running PreBind plugin \"VolumeBinding\": binding volumes: context deadline exceeded"));
        assert!(!provisioning("FailedScheduling: 0/1 nodes are available: insufficient memory"));
    }
}
