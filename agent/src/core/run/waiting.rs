//! What a run waits for that the cluster has to do: how long it may take, what is reported meanwhile, and what is kept after that.
//!
//! A child that is slow is kept: the next attempt goes on waiting for it. A child that cannot come into being is replaced.

use super::deadline;
use super::failure;
use super::obstacles;
use super::report;
use super::stuck;
use crate::api::reason::Reason;
use crate::api::status::{Phase, Run};
use crate::core::children;
use crate::core::decision::Decision;
use crate::core::model::clock::seconds;
use crate::core::model::facts::{Claim, Job, Pod, Refresh, Role, Snapshot};
use crate::core::schedule::due;
use jiff::{SignedDuration, Timestamp};

/// How long a run keeps its slot while a source's snapshot is being created, or its mover's pod does not start.
const SLOT_KEPT: SignedDuration = SignedDuration::from_mins(2);
/// So long an attempt lasts once the cluster has reported that what it waits for cannot be made as it is.
const HOPELESS: SignedDuration = SignedDuration::from_mins(1);
/// A snapshot that is not ready yet, of a source's volume or of a destination's.
pub(super) fn for_snapshot(decision: &mut Decision<'_>, run: &Run, snapshot: &Snapshot) {
    let (limit, now) = (decision.limits.snapshot_timeout, decision.now);
    let why = snapshot.error.clone().or_else(|| decision.facts.warnings.clone());
    let correct = why.as_deref().and_then(|why| obstacles::unknown_snapshot_class(decision.facts, why));
    let patience = match &correct {
        Some(_) => limit.min(HOPELESS),
        None if obstacles::failed(snapshot) => limit.min(report::TROUBLED),
        None => limit,
    };
    let since = deadline::since(decision, run, &snapshot.meta);
    let deadline = deadline::after(since, patience);
    if now >= deadline {
        decision.plan.needs.extend(Refresh::ALL);
        return failure::snapshot_not_ready(decision, run, snapshot, why);
    }
    decision.plan.wake_at(deadline);
    let why = corrected(why, correct);
    report::report(decision, run, &format!("VolumeSnapshot {} to be ready", snapshot.meta.name), why.as_deref());
    if run.phase != Phase::Capturing {
        return;
    }
    let gives_back = deadline::after(since, SLOT_KEPT);
    if now < gives_back {
        return decision.plan.wake_at(gives_back);
    }
    // The deadline goes on counting from the time at which the capture began.
    if let Some(run) = decision.status.run.as_mut() {
        run.phase = Phase::WaitingForSnapshot;
    }
}

/// Something keeps the run from making its children. Ends the attempt where that has lasted too long, and returns whether it did.
pub(super) fn hindered(decision: &mut Decision<'_>, run: &Run, limit: SignedDuration, reason: Reason) -> bool {
    let facts = decision.facts;
    if let Some(pod) = facts.living_mover() {
        return stuck::hinders(decision, run, pod, limit.min(report::TROUBLED));
    }
    let Some(obstacle) = children::in_the_way(facts, run).or_else(|| facts.blocked.clone()) else { return false };
    let deadline = deadline::deadline(run, limit.min(report::TROUBLED));
    if decision.now < deadline {
        decision.plan.wake_at(deadline);
        report::report(decision, run, "what the sync needs to be created", Some(&obstacle));
        return false;
    }
    decision.plan.needs.extend(Refresh::ALL);
    let waited = deadline::lasted(decision, run);
    failure::give_up(decision, run, reason, format!("What the sync needs could not be created for {waited}: {obstacle}"), None);
    true
}

/// The mover's pod has not started.
pub(super) fn for_pod(decision: &mut Decision<'_>, run: &Run, job: &Job, pod: Option<&Pod>) {
    let facts = decision.facts;
    let why = obstacles::why(facts, pod);
    let claim = obstacles::unbound(facts);
    let since = deadline::since(decision, run, &job.meta);
    let deadline = deadline::after(since, pod_patience(decision, claim, pod, why.as_deref()));
    if decision.now >= deadline {
        decision.plan.needs.extend(Refresh::ALL);
        return failure::pod_not_started(decision, run, job, pod);
    }
    decision.plan.wake_at(deadline);
    let what = match (claim, pod) {
        (Some(claim), _) if obstacles::restored_from(claim).is_some() => restore(decision, claim, deadline, since),
        (Some(claim), _) => format!("PVC {} to get its volume", claim.meta.name),
        (None, None) => format!("the pod of Job {}", job.meta.name),
        (None, Some(pod)) => format!("pod {} to start{}", pod.meta.name, job.placed()),
    };
    let correct = claim.zip(why.as_deref()).and_then(|(claim, why)| obstacles::unknown_class(facts, claim, why));
    let why = corrected(why, correct);
    report::report(decision, run, &what, why.as_deref());
    let gives_back = deadline::after(since, SLOT_KEPT);
    if decision.now < gives_back {
        return decision.plan.wake_at(gives_back);
    }
    if let Some(run) = decision.status.run.as_mut() {
        run.waits_for_pod = true;
    }
}

/// The cluster's words, and what to correct because of them.
fn corrected(why: Option<String>, correct: Option<String>) -> Option<String> {
    why.map(|why| correct.map_or_else(|| why.clone(), |correct| format!("{}. {correct}", why.trim())))
}

/// A volume that is created from the latest image: what follows if that takes too long is not what follows elsewhere.
fn restore(decision: &Decision<'_>, claim: &Claim, deadline: Timestamp, since: Timestamp) -> String {
    let (name, image) = (&claim.meta.name, obstacles::restored_from(claim).unwrap_or_default());
    let setting =
        if deadline == deadline::after(since, decision.limits.pod_start_timeout) { " (podStartTimeout in agent.yaml)" } else { "" };
    format!(
        "PVC {name} to get its volume from VolumeSnapshot {image}; at {} at the latest{setting} an empty one replaces it and everything is pulled",
        seconds(deadline)
    )
}

/// How long the pod may take, by what the cluster reports. Only what is slow without a known reason gets all of the time.
fn pod_patience(decision: &Decision<'_>, claim: Option<&Claim>, pod: Option<&Pod>, why: Option<&str>) -> SignedDuration {
    let limit = decision.limits.pod_start_timeout;
    let patience = match (claim, pod, why) {
        (_, _, None) => limit,
        (Some(_), _, Some(why)) if obstacles::refused_volume(why) => HOPELESS,
        (Some(_), _, Some(why)) if obstacles::provisioning(why) => limit,
        (None, None, Some(why)) if why.starts_with("FailedCreate") => HOPELESS,
        (_, _, Some(_)) => report::TROUBLED,
    };
    // The volume goes on being made between attempts; each of them is only there for a provisioner that waits for a pod.
    let again = claim.is_some() && decision.status.failed_for(Reason::VolumeNotBound);
    patience.min(limit).min(if again { SLOT_KEPT } else { limit })
}

/// Whether the last attempt failed because the cluster takes long over something that would be lost with this run, or has it by now.
pub(super) fn keeps(decision: &Decision<'_>, run: &Run) -> bool {
    let facts = decision.facts;
    let made = facts.snapshots_as(Role::Capture).any(|s| s.meta.serves(&run.id) && !obstacles::failed(s))
        || facts.claims_as(Role::Capture).any(|c| c.meta.serves(&run.id));
    made && due::was_slow(&decision.status)
}
