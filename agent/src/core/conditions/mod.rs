//! The four conditions, computed from the rest of the status.

mod ready;

use crate::api::Status;
use crate::api::reason::Reason;
use crate::api::status::{FirstPush, LastError, Phase};
use crate::core::model::limits::Limits;
use crate::core::model::spec::{InvalidSpec, Spec};
use crate::core::model::subject::Named;
use crate::core::schedule::due;
use crate::core::summary;
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

/// A condition before it has times.
struct Verdict {
    holds: bool,
    reason: Reason,
    message: String,
}

fn verdict(holds: bool, reason: Reason, message: impl Into<String>) -> Verdict {
    Verdict { holds, reason, message: message.into() }
}

/// What the conditions tell beyond the rest of the status.
#[derive(Clone, Copy, Debug, Default)]
pub struct Course<'a> {
    /// What did not work, if anything.
    pub problem: Option<&'a str>,
    /// What works, and may not be what the user expects; sentences.
    pub notes: &'a str,
    /// What the open run waits for, if that is worth a report.
    pub waiting: Option<&'a str>,
    /// Some of the syncs that hold the slots, if it waits for one.
    pub holders: &'a [String],
}

/// Sets all conditions; the transition time stays unless the status changes.
pub fn set(status: &mut Status, spec: &Result<Spec, InvalidSpec>, course: Course<'_>, generation: i64, limits: &Limits, now: Timestamp) {
    let (stalled, ready) = (stalled(status, spec, course.problem, limits), ready::ready(status, spec, generation, limits, now));
    let all = [
        ("Reconciled", reconciled(course.problem, course.notes), generation),
        ("Synchronizing", synchronizing(status, spec, course, limits, now), generation),
        ("Stalled", stalled, generation),
        ("Ready", ready.0, ready.1),
    ];
    status.conditions = all.into_iter().map(|(kind, verdict, generation)| condition(status, kind, verdict, generation, now)).collect();
    summary::set(status, spec, now);
}

/// Sets the condition Reconciled alone, where nothing can be found out that the others depend on.
pub fn report_trouble(status: &mut Status, problem: &str, generation: i64, now: Timestamp) {
    let reconciled = condition(status, "Reconciled", reconciled(Some(problem), ""), generation, now);
    status.conditions.retain(|c| c.type_ != reconciled.type_);
    status.conditions.insert(0, reconciled);
}

fn condition(status: &Status, kind: &str, verdict: Verdict, generation: i64, now: Timestamp) -> Condition {
    let word = if verdict.holds { "True" } else { "False" };
    let old = status.conditions.iter().find(|c| c.type_ == kind && c.status == word);
    Condition {
        type_: kind.to_owned(),
        status: word.to_owned(),
        reason: verdict.reason.as_str().to_owned(),
        message: verdict.message,
        observed_generation: Some(generation),
        last_transition_time: old.map_or(Time(now), |c| c.last_transition_time.clone()),
    }
}

fn reconciled(problem: Option<&str>, notes: &str) -> Verdict {
    match problem {
        None if !notes.is_empty() => verdict(true, Reason::ReconcileComplete, format!("Reconcile complete. {notes}")),
        None => verdict(true, Reason::ReconcileComplete, "Reconcile complete"),
        Some(problem) if notes.is_empty() => verdict(false, Reason::ReconcileError, problem),
        Some(problem) => verdict(false, Reason::ReconcileError, format!("{}. {notes}", problem.trim_end_matches('.'))),
    }
}

fn synchronizing(status: &Status, spec: &Result<Spec, InvalidSpec>, course: Course<'_>, limits: &Limits, now: Timestamp) -> Verdict {
    let Course { waiting, holders, .. } = course;
    let spec = match spec {
        Ok(spec) => spec,
        Err(InvalidSpec(problem)) => return verdict(false, Reason::Error, problem),
    };
    if status.waiting_since.is_some() {
        let words = "Due; waiting for a slot: maxConcurrentSyncs syncs are running, or more wait for their pods to start";
        let longest = if holders.is_empty() { String::new() } else { format!("; the longest: {}", holders.join(", ")) };
        return verdict(false, Reason::WaitingForSlot, format!("{words}{longest}"));
    }
    let problem = status.last_error.as_ref().map_or("", |e| e.message.as_str());
    match status.run.as_ref().map(|run| (run.phase, run.attempt)) {
        Some((Phase::Backoff, _)) if spec.paused && status.last_error.is_none() => verdict(
            false,
            Reason::Paused,
            "Paused: the spec has changed since this sync started; a new sync starts once spec.paused is false",
        ),
        Some((Phase::Backoff, _)) if spec.paused => verdict(false, Reason::Paused, format!("Paused after a failure: {problem}")),
        Some((Phase::Backoff, _)) if is_history(status) => verdict(
            false,
            Reason::Backoff,
            format!("The spec has changed since the last attempt failed; a sync of it follows. Before: {problem}"),
        ),
        Some((Phase::Backoff, _)) => verdict(false, Reason::Backoff, backoff(status, limits, problem)),
        Some((Phase::WaitingForFirstPush, _)) if spec.paused => verdict(
            false,
            Reason::Paused,
            format!("Paused: {}; the agent checks again once spec.paused is false", not_pushed(status, spec)),
        ),
        Some((Phase::WaitingForFirstPush, _)) => {
            verdict(false, Reason::WaitingForFirstPush, format!("{}; the agent checks again every few minutes", not_pushed(status, spec)))
        }
        Some((Phase::Capturing | Phase::WaitingForSnapshot, _)) => in_progress(waiting.unwrap_or("Capturing the volume"), problem),
        Some((Phase::Transferring, _)) => in_progress(waiting.unwrap_or("Moving data"), problem),
        Some((Phase::Publishing, _)) => in_progress(waiting.unwrap_or("Creating an image of the new data"), problem),
        None => idle(status, spec, now),
    }
}

/// What is known of the path while nothing has been pushed to it.
fn not_pushed(status: &Status, spec: &Spec) -> String {
    let unknown = || format!("Nothing has been pushed to {} yet", Named::by(spec).record().remote);
    status.first_push.as_ref().map_or_else(unknown, first_push)
}

/// The same as a pull found it, and a question once that has lasted long.
pub fn first_push(wait: &FirstPush) -> String {
    let FirstPush { since, message, overdue } = wait;
    if !overdue {
        return message.clone();
    }
    format!(
        "{message}. That has lasted since {}, longer than firstPushPatience in agent.yaml: check that rcloneConfigSection and rcloneDestPath are those of a source, and that the source works",
        since.0
    )
}

/// Whether the last error is of an earlier spec, and none of the present one has failed since.
fn is_history(status: &Status) -> bool {
    status.last_error.is_some() && status.present_error().is_none()
}

/// The last error stays until a sync succeeds: the running attempt may fail like the one before.
fn in_progress(doing: &str, problem: &str) -> Verdict {
    let before = if problem.is_empty() { String::new() } else { format!("; the last error: {problem}") };
    verdict(true, Reason::SyncInProgress, format!("{doing}{before}"))
}

fn backoff(status: &Status, limits: &Limits, problem: &str) -> String {
    let time = status.next_attempt_time.as_ref().map_or_else(String::new, |t| format!(" at {}", t.0));
    match status.attempts {
        Some(failures) if failures >= limits.max_attempts => {
            format!("Failing: {failures} attempts in a row failed; next attempt{time}: {problem}")
        }
        _ if problem.is_empty() => format!("The mover's pod was evicted, preempted or drained; next attempt{time}"),
        _ => format!("Next attempt{time}: {problem}"),
    }
}

fn idle(status: &Status, spec: &Spec, now: Timestamp) -> Verdict {
    if spec.paused {
        return verdict(false, Reason::Paused, "Paused: no sync starts until spec.paused is false");
    }
    if due::cause(&spec.trigger, status, now).is_some() {
        return verdict(true, Reason::SyncInProgress, "Starting");
    }
    let aborted = status.aborted.as_ref().filter(|_| due::waits_for_a_trigger(status));
    let aborted = aborted.map_or_else(String::new, |aborted| format!("The last sync was aborted at {}. ", aborted.time.0));
    let (reason, words) = if spec.trigger.schedule.is_some() {
        (Reason::WaitingForSchedule, "Waiting for the next scheduled time")
    } else if spec.trigger.manual.is_some() {
        (Reason::WaitingForManual, "No schedule: the next sync starts with a new value of spec.trigger.manual")
    } else {
        (Reason::WaitingForInterval, "Waiting for the continuous interval to pass")
    };
    verdict(false, reason, format!("{aborted}{words}"))
}

/// The error that requires action by a person, if it is one of the present spec.
fn present_stall(status: &Status) -> Option<(Reason, &LastError)> {
    status.stalling_error().filter(|(_, error)| status.present_error() == Some(error))
}

/// The last error, and its reason, if a person should look at it: it requires action, or `maxAttempts` attempts in a row have failed,
/// however passing the trouble seemed.
fn lasting<'a>(status: &'a Status, limits: &Limits) -> Option<(Reason, &'a LastError)> {
    let failing = status.attempts.is_some_and(|failures| failures >= limits.max_attempts);
    let failed = || status.present_error().filter(|_| failing);
    present_stall(status).or_else(|| failed().map(|error| (Reason::parse(&error.reason).unwrap_or(Reason::MoverFailed), error)))
}

fn stalled(status: &Status, spec: &Result<Spec, InvalidSpec>, problem: Option<&str>, limits: &Limits) -> Verdict {
    if let Err(InvalidSpec(problem)) = spec {
        return verdict(true, Reason::InvalidSpec, problem);
    }
    if let Some((reason, error)) = lasting(status, limits) {
        return verdict(true, reason, &error.message);
    }
    // It does not deny what another condition asks a person to look at.
    let words = match (&status.last_error, &status.first_push) {
        (Some(_), _) if is_history(status) => "The spec has changed since the last attempt failed".to_owned(),
        (Some(error), _) => format!("The agent retries by itself after {}; see Synchronizing", error.reason),
        (None, Some(wait)) if wait.overdue => "The agent waits for the first push; see Synchronizing".to_owned(),
        _ if problem.is_some() => "Syncs are not stalled; see Reconciled".to_owned(),
        _ => "Nothing requires action".to_owned(),
    };
    verdict(false, Reason::NotStalled, words)
}

#[cfg(test)]
mod tests;
