//! How an attempt ends badly: what is written for a person, and what is cleaned up before the next one.
//!
//! Imports `draft`, `facts`, `plan`, `retry`.

use super::draft::Draft;
use super::facts::{Job, Pod, Role, Snapshot};
use super::plan::{ChildKind, Step, Target};
use super::retry;
use crate::api::reason::Reason;
use crate::api::status::{LastError, MoverResult, MoverStatus, Phase, Run};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use scribe_mover::report::Report;

/// When a phase has taken too long.
pub(super) fn deadline(run: &Run, timeout: SignedDuration) -> Timestamp {
    run.phase_time.0.saturating_add(timeout).unwrap_or(Timestamp::MAX)
}

/// Ends the attempt. The run's snapshot and PVC stay for the next one; its Job goes.
pub(super) fn give_up(draft: &mut Draft<'_>, run: &Run, reason: Reason, message: String, report: Option<&Report>) {
    let error = LastError { reason: reason.as_str().to_owned(), message: message.clone(), time: Time(draft.now) };
    let before = draft.status.last_error.replace(error);
    if let Some(report) = report {
        draft.status.latest_mover_status = Some(MoverStatus { result: MoverResult::Failed, logs: report.logs.clone() });
    }
    let failures = draft.status.attempts.unwrap_or(0).saturating_add(1);
    draft.status.attempts = Some(failures);
    next_attempt(draft, Phase::Backoff);
    let (key, limit) = (format!("{}/{}", run.id, run.attempt), draft.limits.max_attempts);
    if failures == limit {
        draft.event(true, Reason::Failing, format!("{failures} attempts in a row failed; going on in no hurry: {message}"), &key);
    }
    // Of an object that is known to be failing, only news are told.
    if failures <= limit || before.is_none_or(|b| b.reason != reason.as_str()) {
        draft.event(true, reason, message, &key);
    }
}

/// Nothing has been pushed yet: no failure, the run stays open.
pub(super) fn wait_for_first_push(draft: &mut Draft<'_>, report: &Report) {
    draft.status.last_error = None;
    draft.status.attempts = None;
    draft.status.latest_mover_status = Some(MoverStatus { result: MoverResult::Successful, logs: report.logs.clone() });
    next_attempt(draft, Phase::WaitingForFirstPush);
}

/// Ends the attempt without a failure: a paused run whose spec names something else by now. It waits until a run of that may take its
/// place; an image that was being made is never going to be published.
pub(super) fn hold(draft: &mut Draft<'_>, run: &Run) {
    for image in draft.facts.snapshots_as(Role::Image).filter(|s| s.meta.serves(&run.id) && !s.keep) {
        remove(draft, ChildKind::Snapshot, &image.meta.name, &image.meta.uid);
    }
    next_attempt(draft, Phase::Backoff);
}

fn next_attempt(draft: &mut Draft<'_>, phase: Phase) {
    draft.enter(phase);
    if let Some(run) = draft.status.run.as_mut() {
        run.attempt += 1;
    }
    retry::schedule(draft);
}

/// A snapshot did not become ready in time. It goes, so that the next attempt asks for another.
pub(super) fn snapshot_not_ready(draft: &mut Draft<'_>, run: &Run, snapshot: &Snapshot, words: Option<String>) {
    let waited = draft.limits.snapshot_timeout.as_secs();
    let words = words.unwrap_or_else(|| "the cluster gives no reason; is the snapshot controller running?".to_owned());
    let message = format!("VolumeSnapshot {} was not ready after {waited}s: {words}", snapshot.meta.name);
    remove(draft, ChildKind::Snapshot, &snapshot.meta.name, &snapshot.meta.uid);
    give_up(draft, run, Reason::SnapshotNotReady, message, None);
}

/// The mover's pod did not start in time: its volume is not there, its image is not, or no node takes it.
pub(super) fn pod_not_started(draft: &mut Draft<'_>, run: &Run, job: &Job, pod: Option<&Pod>) {
    let facts = draft.facts;
    let waited = draft.limits.pod_start_timeout.as_secs();
    let unbound = facts.claims.iter().find(|c| !c.bound && !c.meta.deleting && matches!(c.meta.role, Some(Role::Capture | Role::Volume)));
    let words = facts.words.clone().or_else(|| pod.and_then(|p| p.words.clone()));
    let words = words.unwrap_or_else(|| "the cluster gives no reason".to_owned());
    if let Some(claim) = unbound {
        let message = format!("PVC {} had no volume after {waited}s: {words}", claim.meta.name);
        // Nothing was ever written to it; the next attempt makes another, with the class the spec then names.
        remove(draft, ChildKind::Claim, &claim.meta.name, &claim.meta.uid);
        give_up(draft, run, Reason::VolumeNotBound, message, None);
    } else if pod.is_none() {
        let message = format!("Job {} has no pod after {waited}s: {words}", job.meta.name);
        give_up(draft, run, Reason::PodRejected, message, None);
    } else {
        let message = format!("The mover's pod did not start within {waited}s: {words}");
        give_up(draft, run, Reason::PodPending, message, None);
    }
}

/// The Job is over and there is no report to believe.
pub(super) fn no_report(draft: &mut Draft<'_>, run: &Run, job: &Job, pod: Option<&Pod>) {
    let words = pod.and_then(|p| p.words.clone()).unwrap_or_else(|| job.message.clone());
    let words = if words.is_empty() { "its pod is gone".to_owned() } else { words };
    let reason = if pod.is_some_and(|p| p.by_itself) { Reason::MoverFailed } else { Reason::MoverKilled };
    give_up(draft, run, reason, format!("The mover ended without a report: {words}"), None);
}

fn remove(draft: &mut Draft<'_>, kind: ChildKind, name: &str, uid: &str) {
    draft.plan.steps.push(Step::Delete(Target { kind, name: name.to_owned(), uid: uid.to_owned() }));
}
