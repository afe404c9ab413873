//! What a run waits for that the cluster has to do: how long it may take, what is reported meanwhile, and what is kept after that.
//!
//! A child that is slow is kept: the next attempt goes on waiting for it. A child that cannot come into being is replaced.

use super::children;
use super::draft::Draft;
use super::facts::{Claim, Facts, Fresh, Job, Pod, Role, Snapshot};
use super::failure;
use super::retry;
use super::stuck;
use crate::api::reason::Reason;
use crate::api::status::{Phase, Run};
use jiff::SignedDuration;

/// Most waits are over by then, and need neither an explanation nor a request for one.
const QUIET: SignedDuration = SignedDuration::from_secs(15);
/// So long a source's run keeps its place while its snapshot is being made.
const PLACE: SignedDuration = SignedDuration::from_mins(2);
/// So long an attempt lasts once the cluster has reported that what it waits for cannot be made as it is.
const HOPELESS: SignedDuration = SignedDuration::from_mins(1);
/// So long an attempt lasts once something is known to be wrong that may pass.
pub(super) const TROUBLED: SignedDuration = SignedDuration::from_mins(10);

/// Reports what is waited for, and why it takes so long where that is known; nothing before the wait is worth a report.
pub(super) fn report(draft: &mut Draft<'_>, run: &Run, what: &str, why: Option<&str>) {
    let explained = failure::deadline(run, QUIET);
    if draft.now < explained {
        return draft.plan.wake_at(explained);
    }
    draft.plan.asks_why = true;
    let why = why.map_or_else(String::new, |why| format!(": {}", why.trim()));
    draft.waiting = Some(format!("Waiting for {what}{why}"));
}

/// A snapshot that is not ready yet, of a source's volume or of a destination's.
pub(super) fn for_snapshot(draft: &mut Draft<'_>, run: &Run, snapshot: &Snapshot) {
    let (limit, now) = (draft.limits.snapshot_timeout, draft.now);
    let why = snapshot.error.clone().or_else(|| draft.facts.words.clone());
    let patience = if failed(snapshot) { limit.min(TROUBLED) } else { limit };
    let since = failure::since(draft, run, &snapshot.meta);
    let deadline = failure::after(since, patience);
    if now >= deadline {
        draft.plan.needs.extend(Fresh::ALL);
        return failure::snapshot_not_ready(draft, run, snapshot, why);
    }
    draft.plan.wake_at(deadline);
    report(draft, run, &format!("VolumeSnapshot {} to be ready", snapshot.meta.name), why.as_deref());
    if run.phase != Phase::Capturing {
        return;
    }
    let place = failure::after(since, PLACE);
    if now < place {
        return draft.plan.wake_at(place);
    }
    // The deadline goes on counting from the time at which the capture began.
    if let Some(run) = draft.status.run.as_mut() {
        run.phase = Phase::WaitingForSnapshot;
    }
}

/// Whether the driver has given up on this snapshot. An error after the data was captured leaves a copy that may still be under way.
pub(super) fn failed(snapshot: &Snapshot) -> bool {
    snapshot.error.is_some() && !snapshot.taken
}

/// Something keeps the run from making its children. Ends the attempt where that has lasted too long, and returns whether it did.
pub(super) fn hindered(draft: &mut Draft<'_>, run: &Run, limit: SignedDuration, reason: Reason) -> bool {
    let facts = draft.facts;
    if let Some(pod) = facts.living_mover() {
        return stuck::hinders(draft, run, pod, limit.min(TROUBLED));
    }
    let Some(obstacle) = children::in_the_way(facts, run).or_else(|| facts.blocked.clone()) else { return false };
    let deadline = failure::deadline(run, limit.min(TROUBLED));
    if draft.now < deadline {
        draft.plan.wake_at(deadline);
        report(draft, run, "what the sync needs to be created", Some(&obstacle));
        return false;
    }
    draft.plan.needs.extend(Fresh::ALL);
    let waited = failure::lasted(draft, run);
    failure::give_up(draft, run, reason, format!("What the sync needs could not be created for {waited}: {obstacle}"), None);
    true
}

/// The mover's pod has not started.
pub(super) fn for_pod(draft: &mut Draft<'_>, run: &Run, job: &Job, pod: Option<&Pod>) {
    let facts = draft.facts;
    let why = facts.words.clone().or_else(|| pod.and_then(|p| p.words.clone()));
    let claim = unbound(facts);
    let since = failure::since(draft, run, &job.meta);
    let deadline = failure::after(since, pod_patience(draft, claim, pod, why.as_deref()));
    if draft.now >= deadline {
        draft.plan.needs.extend(Fresh::ALL);
        return failure::pod_not_started(draft, run, job, pod);
    }
    draft.plan.wake_at(deadline);
    let what = match (claim, pod) {
        (Some(claim), _) => format!("PVC {} to get its volume", claim.meta.name),
        (None, None) => format!("the pod of Job {}", job.meta.name),
        (None, Some(pod)) => format!("pod {} to start", pod.meta.name),
    };
    report(draft, run, &what, why.as_deref());
}

/// A claim of the object's own that has no volume yet.
pub(super) fn unbound(facts: &Facts) -> Option<&Claim> {
    let claims = facts.claims_as(Role::Capture).chain(facts.claims_as(Role::Volume));
    claims.into_iter().find(|c| !c.bound && !c.meta.deleting)
}

/// How long the pod may take, by what the cluster reports. Only what is slow without a known reason gets all of the time.
fn pod_patience(draft: &Draft<'_>, claim: Option<&Claim>, pod: Option<&Pod>, why: Option<&str>) -> SignedDuration {
    let limit = draft.limits.pod_start_timeout;
    let patience = match (claim, pod, why) {
        (_, _, None) => limit,
        (Some(_), _, Some(why)) if refused_volume(why) => HOPELESS,
        (Some(_), _, Some(why)) if provisioning(why) => limit,
        (None, None, Some(why)) if why.starts_with("FailedCreate") => HOPELESS,
        (_, _, Some(_)) => TROUBLED,
    };
    // The volume goes on being made between attempts; each of them is only there for a provisioner that waits for a pod.
    let again = claim.is_some() && draft.status.last_error.as_ref().is_some_and(|e| e.reason == Reason::VolumeNotBound.as_str());
    patience.min(limit).min(if again { PLACE } else { limit })
}

/// Whether these are the words of a provisioner that failed for good: the claim is replaced.
pub(super) fn refused_volume(why: &str) -> bool {
    why.starts_with("ProvisioningFailed") && !provisioning(why)
}

/// Whether the volume is being made all the same. With these codes of CSI, the driver may still be at work; external-provisioner then
/// goes on as well.
fn provisioning(why: &str) -> bool {
    let under_way = ["DeadlineExceeded", "Aborted", "Unavailable", "Canceled"].iter().any(|code| why.contains(&format!("code = {code}")));
    why.starts_with("ProvisioningFailed") && under_way || why.contains("unbound immediate PersistentVolumeClaims")
}

/// Whether the last attempt failed because the cluster takes long over something that would be lost with this run, or has it by now.
pub(super) fn keeps(draft: &Draft<'_>, run: &Run) -> bool {
    let facts = draft.facts;
    let made = facts.snapshots_as(Role::Capture).any(|s| s.meta.serves(&run.id) && !failed(s))
        || facts.claims_as(Role::Capture).any(|c| c.meta.serves(&run.id));
    made && retry::was_slow(&draft.status)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_provisioner_that_is_at_work_is_told_from_one_that_failed() {
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
        assert!(!provisioning("FailedScheduling: 0/1 nodes are available: insufficient memory"));
    }
}
