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
}

/// Sets all conditions; the transition time stays unless the status changes.
pub fn set(status: &mut Status, spec: &Result<Spec, InvalidSpec>, course: Course<'_>, generation: i64, limits: &Limits, now: Timestamp) {
    let (stalled, ready) = (stalled(status, spec, limits), ready::ready(status, spec, generation, limits));
    let all = [
        ("Reconciled", reconciled(course.problem, course.notes), generation),
        ("Synchronizing", synchronizing(status, spec, course.waiting, limits, now), generation),
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
        Some(problem) => verdict(false, Reason::ReconcileError, problem),
    }
}

fn synchronizing(status: &Status, spec: &Result<Spec, InvalidSpec>, waiting: Option<&str>, limits: &Limits, now: Timestamp) -> Verdict {
    let spec = match spec {
        Ok(spec) => spec,
        Err(InvalidSpec(problem)) => return verdict(false, Reason::Error, problem),
    };
    if status.waiting_since.is_some() {
        let words = "Due; waiting for a slot: maxConcurrentSyncs syncs are already running";
        return verdict(false, Reason::WaitingForSlot, words);
    }
    let problem = status.last_error.as_ref().map_or("", |e| e.message.as_str());
    match status.run.as_ref().map(|run| (run.phase, run.attempt)) {
        Some((Phase::Backoff, _)) if spec.paused && status.last_error.is_none() => verdict(
            false,
            Reason::Paused,
            "Paused: the spec has changed since this sync started; a new sync starts once spec.paused is false",
        ),
        Some((Phase::Backoff, _)) if spec.paused => verdict(false, Reason::Paused, format!("Paused after a failure: {problem}")),
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

/// The last error, and its reason, if a person should look at it: it requires action, or `maxAttempts` attempts in a row have failed,
/// however passing the trouble seemed.
fn lasting<'a>(status: &'a Status, limits: &Limits) -> Option<(Reason, &'a LastError)> {
    let failing = status.attempts.is_some_and(|failures| failures >= limits.max_attempts);
    let failed = || status.last_error.as_ref().filter(|_| failing);
    status.stalling_error().or_else(|| failed().map(|error| (Reason::parse(&error.reason).unwrap_or(Reason::MoverFailed), error)))
}

fn stalled(status: &Status, spec: &Result<Spec, InvalidSpec>, limits: &Limits) -> Verdict {
    if let Err(InvalidSpec(problem)) = spec {
        return verdict(true, Reason::InvalidSpec, problem);
    }
    match lasting(status, limits) {
        Some((reason, error)) => verdict(true, reason, &error.message),
        None => verdict(false, Reason::NotStalled, "Nothing requires action"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::status::Run;
    use crate::core::model::spec::{Capture, ClaimShape, InvalidSpec, Remote, Trigger, Volume};
    use jiff::SignedDuration;
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;

    const NOW: Timestamp = Timestamp::UNIX_EPOCH;

    fn spec(paused: bool) -> Spec {
        let volume = Volume::Source { claim: "data".into(), capture: Capture::Direct, temporary: ClaimShape::default() };
        let remote = Remote { secret: "s".into(), section: "r".into(), path: "p".into() };
        let trigger = Trigger { manual: Some("tag".into()), wait_for_schedule: true, ..Trigger::default() };
        Spec { paused, trigger, ..Spec::new(remote, volume) }
    }

    fn error(reason: &str) -> LastError {
        LastError { reason: reason.into(), message: "words".into(), time: Time(NOW) }
    }

    fn run(phase: Phase, generation: i64) -> Run {
        let time = MicroTime(NOW);
        Run {
            id: "run".into(),
            phase,
            start_time: time.clone(),
            attempt: 1,
            phase_time: time,
            generation,
            bytes_done: None,
            bytes_total: None,
            permits: None,
            manual: None,
            subject: None,
            sync_now: None,
            verify_now: None,
            adopt: None,
            adopted_state: None,
            disruptions: None,
        }
    }

    /// One synced already, with the tag that the spec has.
    fn synced() -> Status {
        Status { last_sync_time: Some(Time(NOW)), last_manual_sync: Some("tag".into()), ..Status::default() }
    }

    fn update(status: &mut Status, spec: &Result<Spec, InvalidSpec>, generation: i64, closed: Option<i64>, now: Timestamp) {
        status.last_sync_generation = closed.or(status.last_sync_generation);
        set(status, spec, Course::default(), generation, &Limits::default(), now);
    }

    fn condition<'a>(status: &'a Status, kind: &str) -> &'a Condition {
        status.conditions.iter().find(|c| c.type_ == kind).unwrap()
    }

    fn told<'a>(status: &'a Status, kind: &str) -> (&'a str, &'a str) {
        let condition = condition(status, kind);
        (&condition.status, &condition.reason)
    }

    #[test]
    fn a_transition_has_the_time_of_its_word_and_of_no_other() {
        let mut status = Status::default();
        update(&mut status, &Ok(spec(false)), 1, None, NOW);
        let later = NOW + SignedDuration::from_secs(9);
        status = Status { conditions: status.conditions, ..synced() };
        update(&mut status, &Ok(spec(false)), 1, Some(1), later);
        let time = |kind| condition(&status, kind).last_transition_time.0;
        assert_eq!((time("Ready"), time("Synchronizing")), (later, later));
        assert_eq!((time("Reconciled"), time("Stalled")), (NOW, NOW));
        let before = status.clone();
        update(&mut status, &Ok(spec(false)), 1, None, later + SignedDuration::from_secs(9));
        assert_eq!(status, before, "nothing changed");
    }

    #[test]
    fn a_paused_failure_is_paused() {
        let mut status = Status { run: Some(run(Phase::Backoff, 1)), last_error: Some(error("Unreachable")), ..Status::default() };
        update(&mut status, &Ok(spec(true)), 1, None, NOW);
        assert_eq!(told(&status, "Synchronizing"), ("False", "Paused"));
        update(&mut status, &Ok(spec(false)), 1, None, NOW);
        assert_eq!(told(&status, "Synchronizing"), ("False", "Backoff"));
    }

    #[test]
    fn failing_is_said_after_the_last_attempt_that_is_allowed() {
        for (attempts, failing) in [(None, false), (Some(4), false), (Some(5), true), (Some(6), true)] {
            let mut status =
                Status { run: Some(run(Phase::Backoff, 1)), last_error: Some(error("Unreachable")), attempts, ..Status::default() };
            update(&mut status, &Ok(spec(false)), 1, None, NOW);
            let message = &condition(&status, "Synchronizing").message;
            assert_eq!(message.starts_with("Failing: "), failing, "{message}");
        }
    }

    /// Ready speaks of the generation that was synced last: a later one that asks for a sync takes it away only by failing.
    #[test]
    fn ready_is_of_a_generation() {
        let mut status = synced();
        status.last_sync_time = None;
        update(&mut status, &Ok(spec(false)), 1, None, NOW);
        assert_eq!(told(&status, "Ready"), ("False", "NeverSynced"));

        (status.last_sync_time, status.last_manual_sync) = (Some(Time(NOW)), Some("another".into()));
        update(&mut status, &Ok(spec(false)), 2, Some(1), NOW);
        let ready = condition(&status, "Ready");
        assert_eq!((ready.status.as_str(), ready.observed_generation), ("True", Some(1)), "a new tag in mid-run");

        // A sync of the same spec fails, one of the new spec runs, and fails.
        for (phase, generation, error, expected) in [
            (Phase::Backoff, 1, Some(error("Unreachable")), ("True", "Synced")),
            (Phase::Transferring, 2, None, ("True", "Synced")),
            (Phase::Backoff, 2, Some(error("Unreachable")), ("False", "Unreachable")),
        ] {
            let mut status = Status { run: Some(run(phase, generation)), last_error: error, ..status.clone() };
            update(&mut status, &Ok(spec(false)), 2, None, NOW);
            assert_eq!(told(&status, "Ready"), expected, "{phase:?} of {generation}");
        }
    }

    /// Whoever waits for Ready after an edit that asks for no sync is done at once, whatever runs or fails meanwhile.
    #[test]
    fn an_edit_that_asks_for_no_sync_is_ready_at_once() {
        for paused in [false, true] {
            for (phase, error) in [(None, None), (Some(Phase::Transferring), None), (Some(Phase::Backoff), Some(error("Unreachable")))] {
                let mut status = Status { run: phase.map(|phase| run(phase, 1)), last_error: error, ..synced() };
                update(&mut status, &Ok(spec(false)), 1, Some(1), NOW);
                update(&mut status, &Ok(spec(paused)), 2, None, NOW);
                let ready = condition(&status, "Ready");
                assert_eq!((ready.status.as_str(), ready.observed_generation), ("True", Some(2)), "{phase:?}");
            }
        }
    }

    #[test]
    fn ready_does_not_say_that_the_last_sync_succeeded_when_it_failed() {
        for (attempts, word, said) in
            [(Some(1), "True", "the last attempt failed: words"), (Some(117), "False", "the last 117 attempts failed: words")]
        {
            let mut status = Status { attempts, ..synced() };
            update(&mut status, &Ok(spec(false)), 1, Some(1), NOW);
            assert_eq!(condition(&status, "Ready").message, "The last sync succeeded");
            status.last_error = Some(error("Unreachable"));
            update(&mut status, &Ok(spec(false)), 1, None, NOW);
            assert_eq!(condition(&status, "Ready").message, format!("A sync succeeded at 1970-01-01T00:00:00Z; {said}"));
            assert_eq!(condition(&status, "Ready").status, word);
        }
    }

    /// After an agent that wrote no conditions, a failure cannot be told from one of a changed spec.
    #[test]
    fn not_ready_where_nothing_is_known_and_something_failed() {
        for (error, expected) in [(None, ("True", "Synced")), (Some(error("Unreachable")), ("False", "Unreachable"))] {
            let mut status = Status { last_error: error, ..synced() };
            update(&mut status, &Ok(spec(false)), 1, None, NOW);
            assert_eq!(told(&status, "Ready"), expected);
        }
    }

    /// kstatus and `scribe_stalled` see what has failed for long, whatever it was; a success or an edit clears it.
    #[test]
    fn what_fails_for_long_is_stalled() {
        for (attempts, stalled) in [(Some(4), ("False", "NotStalled")), (Some(5), ("True", "SourcePVCMissing"))] {
            let mut status = Status { attempts, last_error: Some(error("SourcePVCMissing")), ..synced() };
            status.run = Some(run(Phase::Backoff, 1));
            update(&mut status, &Ok(spec(false)), 1, None, NOW);
            assert_eq!(told(&status, "Stalled"), stalled);
            assert_eq!(status.reason.as_deref(), Some("SourcePVCMissing"));
            (status.run, status.attempts, status.last_error) = (None, None, None);
            update(&mut status, &Ok(spec(false)), 1, Some(1), NOW);
            assert_eq!((told(&status, "Stalled"), told(&status, "Ready")), (("False", "NotStalled"), ("True", "Synced")));
        }
    }

    #[test]
    fn what_requires_action_is_stalled_and_not_ready() {
        let mut status = Status { last_error: Some(error("DeletionGuard")), ..synced() };
        update(&mut status, &Ok(spec(false)), 1, Some(1), NOW);
        assert_eq!((told(&status, "Stalled"), told(&status, "Ready")), (("True", "DeletionGuard"), ("False", "DeletionGuard")));
        let mut status = synced();
        update(&mut status, &Err(InvalidSpec("bad".into())), 1, Some(1), NOW);
        assert_eq!((told(&status, "Stalled"), told(&status, "Ready")), (("True", "InvalidSpec"), ("False", "InvalidSpec")));
    }
}
