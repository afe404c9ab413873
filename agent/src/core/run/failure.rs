//! How an attempt fails: what is reported, and what is cleaned up before the next one.

use super::deadline;
use super::obstacles;
use super::retry;
use super::unfinished;
use crate::api::Status;
use crate::api::reason::Reason;
use crate::api::status::{FirstPush, LastError, MoverResult, MoverStatus, Phase, Run};
use crate::core::conditions;
use crate::core::decision::Decision;
use crate::core::model::clock::seconds;
use crate::core::model::facts::{Job, Kind, Pod, Snapshot};
use crate::core::model::place::Place;
use crate::core::model::plan::ChildKind;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use scribe_mover::report::Report;

/// So many disruptions of one run are no failures. A mover that is evicted again and again is not helped by attempts without a pause.
const DISRUPTIONS: i64 = 3;

/// Ends the attempt. The run's snapshot and PVC stay for the next one; its Job goes.
pub(super) fn give_up(decision: &mut Decision<'_>, run: &Run, reason: Reason, message: String, report: Option<&Report>) {
    if let Some(report) = report {
        decision.status.latest_mover_status = Some(MoverStatus { result: MoverResult::Failed, logs: report.logs.clone() });
    }
    note(decision, reason, message, &format!("{}/{}", run.id, run.attempt));
    next_attempt(decision, Phase::Backoff);
}

/// The cluster ended the mover's pod for reasons of its own (drain, preemption, eviction): the next attempt follows at once, and nothing is
/// counted. Where that goes on, or the CRD does not let the agent count it, it is a failure like any other: returns false.
pub(super) fn disrupted(decision: &mut Decision<'_>, run: &Run, report: Option<&Report>) -> bool {
    let before = run.disruptions.unwrap_or(0);
    if before >= DISRUPTIONS || decision.facts.undeclared.contains("run.disruptions") {
        return false;
    }
    if let Some(report) = report {
        decision.status.latest_mover_status = Some(MoverStatus { result: MoverResult::Failed, logs: report.logs.clone() });
    }
    let note = "The mover's pod was evicted, preempted or drained; the next attempt starts at once and continues from there".to_owned();
    decision.event(false, Reason::MoverDisrupted, note, &format!("{}/{}", run.id, run.attempt));
    next_attempt(decision, Phase::Backoff);
    if let Some(run) = decision.status.run.as_mut() {
        run.disruptions = Some(before + 1);
    }
    let now = decision.now;
    decision.status.next_attempt_time = Some(Time(seconds(now)));
    decision.plan.wake_at(now);
    true
}

/// The error of an agent that did not record the spec of it is of that of its run.
pub(in crate::core) fn attribute(status: &mut Status) {
    let (Some(run), Some(error)) = (&status.run, &mut status.last_error) else { return };
    // One of an earlier run may be of another spec.
    if error.generation.is_none() && error.time.0 >= seconds(run.start_time.0) {
        error.generation = Some(run.generation);
    }
}

/// Counts a failure and reports it. The phase of the run stays as it is.
fn note(decision: &mut Decision<'_>, reason: Reason, message: String, key: &str) {
    let before = record(decision, reason, message.clone());
    let counted = decision.status.attempts;
    let failures = counted.unwrap_or(0).saturating_add(1);
    decision.status.attempts = Some(failures);
    let limit = decision.limits.max_attempts;
    if failures == limit {
        decision.event(
            true,
            Reason::Failing,
            format!("{failures} attempts in a row failed; retrying at the maximum delay: {message}"),
            key,
        );
    }
    // The same failure in a row is published once; of an object that is known to be failing, only a new reason is.
    let known = before.filter(|b| counted.is_some() && b.reason == reason.as_str());
    if known.is_none_or(|b| failures <= limit && b.message != message) {
        decision.event(true, reason, message, key);
    }
}

/// Records an error, and returns the one before.
fn record(decision: &mut Decision<'_>, reason: Reason, message: String) -> Option<LastError> {
    let generation = decision.status.run.as_ref().map(|run| run.generation);
    let error = LastError { reason: reason.as_str().to_owned(), message, time: Time(decision.now), generation };
    decision.status.last_error.replace(error)
}

/// Nobody has asked for the copy that the run waits for. It goes on waiting: no attempt has failed.
pub(super) fn not_asked_for(decision: &mut Decision<'_>, run: &Run, message: String) {
    record(decision, Reason::CopyTriggerTimeout, message.clone());
    decision.event(true, Reason::CopyTriggerTimeout, message, &format!("{}/{}/copy", run.id, run.attempt));
}

/// Nothing has been pushed yet: no failure, the run stays open. A path with a typing error looks the same, so after some time the user is
/// asked about it, once.
pub(super) fn wait_for_first_push(decision: &mut Decision<'_>, run: &Run, report: &Report) {
    let now = decision.now;
    let before = decision.status.first_push.take();
    let since = before.as_ref().map_or_else(|| Time(seconds(now)), |before| before.since.clone());
    let overdue = now.duration_since(since.0) >= decision.limits.first_push_patience;
    let wait = FirstPush { since, message: report.message.trim_end_matches('.').to_owned(), overdue };
    if overdue && !before.is_some_and(|before| before.overdue) {
        let key = format!("first push since {}", wait.since.0);
        decision.event(true, Reason::WaitingForFirstPush, conditions::first_push(&wait), &key);
    }
    decision.status.first_push = Some(wait);
    decision.status.last_error = None;
    decision.status.attempts = None;
    decision.status.latest_mover_status = Some(MoverStatus { result: MoverResult::Successful, logs: report.logs.clone() });
    unfinished::did_not_begin(decision, run);
    next_attempt(decision, Phase::WaitingForFirstPush);
}

/// Ends the attempt without a failure: a paused run whose spec names something else by now, or one whose spec is invalid. It waits until
/// another run may supersede it; an image that was being created will never be published.
pub(super) fn hold(decision: &mut Decision<'_>) {
    next_attempt(decision, Phase::Backoff);
}

/// What was pulled cannot be trusted: neither it nor an image of it is published, and the next attempt compares the whole volume.
pub(super) fn discard(decision: &mut Decision<'_>, run: &Run, place: Option<Place>, (reason, message): (Reason, String)) {
    decision.status.volume_touched = true;
    if let Some(place) = place {
        unfinished::begins(decision, run, place);
    }
    give_up(decision, run, reason, message, None);
}

fn next_attempt(decision: &mut Decision<'_>, phase: Phase) {
    decision.enter(phase);
    if let Some(run) = decision.status.run.as_mut() {
        run.attempt += 1;
    }
    retry::schedule(decision);
}

const KEPT: &str = "It is kept, and the agent keeps waiting for it";
const GIVEN_UP: &str = "It is given up, because the source is paused, and is made again by the next attempt";

/// Copies of a source that is paused are given up, see `core::children::cleanup`.
fn is_paused(decision: &Decision<'_>) -> bool {
    decision.facts.spec.as_ref().is_ok_and(|spec| spec.paused)
}

/// A snapshot is not ready in time. One that the driver failed to take is replaced; one that is slow is kept and waited for.
pub(super) fn snapshot_not_ready(decision: &mut Decision<'_>, run: &Run, snapshot: &Snapshot, why: Option<String>) {
    let why = why.unwrap_or_else(|| "the cluster reports no reason; check that the snapshot controller is running".to_owned());
    let name = &snapshot.meta.name;
    let since = deadline::since(decision, run, &snapshot.meta);
    let age = deadline::lasted_since(decision, snapshot.captured.unwrap_or(since).min(since));
    let correct = obstacles::unknown_snapshot_class(decision.facts, &why);
    if obstacles::failed(snapshot) || correct.is_some() && !snapshot.taken {
        decision.delete(ChildKind::Snapshot, &snapshot.meta);
        let correct = correct.map_or_else(String::new, |correct| format!(". {correct}"));
        let message = format!("VolumeSnapshot {name} failed and is created again: not ready after {age}: {}{correct}", why.trim());
        return give_up(decision, run, Reason::SnapshotNotReady, message, None);
    }
    let kept = if is_paused(decision) && !snapshot.taken && run.phase != Phase::Publishing { GIVEN_UP } else { KEPT };
    let message = format!("VolumeSnapshot {name} is still not ready after {age}, longer than snapshotTimeout in agent.yaml: {why}. {kept}");
    if run.phase == Phase::Publishing {
        // What was pulled, and the report on it, is only good for this image: the run stays where it is.
        let failures = decision.status.attempts.unwrap_or(0);
        decision.enter(Phase::Publishing);
        return note(decision, Reason::SnapshotNotReady, message, &format!("{}/{}/{failures}", run.id, run.attempt));
    }
    give_up(decision, run, Reason::SnapshotNotReady, message, None);
}

/// The mover's pod has not started in time: its volume is not there, its image is not, or no node takes it.
pub(super) fn pod_not_started(decision: &mut Decision<'_>, run: &Run, job: &Job, pod: Option<&Pod>) {
    let facts = decision.facts;
    let since = deadline::since(decision, run, &job.meta);
    let waited = deadline::lasted_since(decision, since);
    let why = obstacles::why(facts, pod).unwrap_or_else(|| "the cluster reports no reason".to_owned());
    let limit = if decision.now >= deadline::after(since, decision.limits.pod_start_timeout) {
        ", longer than podStartTimeout in agent.yaml"
    } else {
        ""
    };
    if let Some(claim) = obstacles::unbound(facts) {
        // Nothing was ever written to it; one that cannot get a volume is made anew, and one that is slow is kept.
        // Where an image cannot be restored, everything is pulled again.
        let (refused, image) = (obstacles::refused_volume(&why), obstacles::restored_from(claim));
        let then = match image {
            Some(_) if refused => "The next attempt creates an empty one and pulls everything",
            Some(_) => {
                "The next attempt creates an empty one and pulls everything: if the driver needs longer for a restore, raise podStartTimeout, or set spec.rclone.cleanupTempPVC to false"
            }
            None if refused => "The next attempt creates a new one",
            None if facts.object.kind == Kind::Source && is_paused(decision) => GIVEN_UP,
            None => KEPT,
        };
        let from = image.map_or_else(String::new, |image| format!(" from VolumeSnapshot {image}"));
        let correct = obstacles::unknown_class(facts, claim, &why).map_or_else(String::new, |correct| format!("{correct}. "));
        let message = format!("PVC {} has no volume{from} after {waited}{limit}: {why}. {correct}{then}", claim.meta.name);
        if refused || image.is_some() {
            decision.delete(ChildKind::Claim, &claim.meta);
        }
        give_up(decision, run, Reason::VolumeNotBound, message, None);
    } else if pod.is_none() {
        let profile = ["violates PodSecurity", "kustomize/components/restricted runs movers without root"];
        let message = format!("Job {} has no pod after {waited}{limit}: {why}{}", job.meta.name, remedy(&why, profile));
        give_up(decision, run, Reason::PodRejected, message, None);
    } else {
        let placed = job.placed();
        let message = format!("The mover's pod has not started{placed} after {waited}{limit}: {why}");
        give_up(decision, run, Reason::PodPending, message, None);
    }
}

/// The Job is over and there is no report to believe.
pub(super) fn no_report(decision: &mut Decision<'_>, run: &Run, job: &Job, pod: Option<&Pod>) {
    let cause = pod.and_then(|p| p.cause.clone()).unwrap_or_else(|| job.message.clone());
    let cause = if cause.is_empty() { "its pod is gone".to_owned() } else { cause };
    let reason = if pod.is_some_and(|p| p.by_itself) { Reason::MoverFailed } else { Reason::MoverKilled };
    let memory = ["OOMKilled", "raise moverResources.limits.memory of this object, or mover.resources of the settings"];
    give_up(decision, run, reason, format!("The mover terminated without a report: {cause}{}", remedy(&cause, memory)), None);
}

/// What to do, where the cluster's words have the first of the two.
fn remedy(cause: &str, [word, remedy]: [&str; 2]) -> String {
    if cause.contains(word) { format!("; {remedy}") } else { String::new() }
}
