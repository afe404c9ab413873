//! What the conditions say, case by case.

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
    LastError { reason: reason.into(), message: "words".into(), time: Time(NOW), generation: None }
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
        waits_for_pod: false,
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
fn one_that_waits_for_a_slot_names_those_that_have_it() {
    let mut status = Status { waiting_since: Some(Time(NOW)), ..Status::default() };
    let holders = ["ReplicationDestination a".to_owned(), "ReplicationSource b".to_owned()];
    for (holders, expected) in [
        (&holders[..0], "or more wait for their pods to start"),
        (&holders, "; the longest: ReplicationDestination a, ReplicationSource b"),
    ] {
        set(&mut status, &Ok(spec(false)), Course { holders, ..Course::default() }, 1, &Limits::default(), NOW);
        let message = &condition(&status, "Synchronizing").message;
        assert!(message.ends_with(expected), "{message}");
    }
}

/// What the spec before failed with is not true of one that was not tried: Flux took a correction for a failure.
#[test]
fn a_corrected_spec_is_not_stalled_before_it_has_failed() {
    for (reason, attempts) in [("PathNotOurs", 1), ("Unreachable", 5)] {
        let failed = LastError { generation: Some(1), ..error(reason) };
        let mut status = Status {
            run: Some(run(Phase::Backoff, 1)),
            last_error: Some(failed.clone()),
            attempts: Some(attempts),
            observed_generation: Some(1),
            ..Status::default()
        };
        update(&mut status, &Ok(spec(false)), 1, None, NOW);
        assert_eq!((told(&status, "Stalled"), told(&status, "Ready")), (("True", reason), ("False", reason)));
        // Edited: it waits for a slot or for the mover before, it is paused, it runs, and fails.
        status.observed_generation = Some(2);
        for (phase, generation, paused, ready, shown) in [
            (Phase::Backoff, 1, false, "SyncInProgress", "Backoff"),
            (Phase::Backoff, 1, true, "Paused", "Paused"),
            (Phase::Transferring, 2, false, "SyncInProgress", "SyncInProgress"),
        ] {
            status.run = Some(run(phase, generation));
            update(&mut status, &Ok(spec(paused)), 2, None, NOW);
            let told = (told(&status, "Stalled"), told(&status, "Ready"), status.reason.as_deref());
            assert_eq!(told, (("False", "NotStalled"), ("False", ready), Some(shown)), "{phase:?}");
            assert_eq!(status.last_error.as_ref(), Some(&failed), "history");
        }
        status.last_error = Some(LastError { generation: Some(2), ..failed });
        update(&mut status, &Ok(spec(false)), 2, None, NOW);
        assert_eq!((told(&status, "Stalled"), told(&status, "Ready")), (("True", reason), ("False", reason)));
    }
}

/// It stood beside "create it or correct the name".
#[test]
fn what_is_not_stalled_does_not_deny_what_another_condition_asks_for() {
    let calm = "Nothing requires action";
    let overdue = FirstPush { since: Time(NOW), message: "nothing".into(), overdue: true };
    for (status, problem, expected) in [
        (Status::default(), None, calm),
        (Status { last_error: Some(error("SourcePVCMissing")), ..Status::default() }, None, "SourcePVCMissing"),
        (Status { first_push: Some(FirstPush { overdue: false, ..overdue.clone() }), ..Status::default() }, None, calm),
        (Status { first_push: Some(overdue), ..Status::default() }, None, "see Synchronizing"),
        (Status::default(), Some("restore the spec"), "see Reconciled"),
    ] {
        let mut status = status;
        set(&mut status, &Ok(spec(false)), Course { problem, ..Course::default() }, 1, &Limits::default(), NOW);
        assert_eq!(told(&status, "Stalled"), ("False", "NotStalled"));
        let message = &condition(&status, "Stalled").message;
        assert!(message.contains(expected) && (expected == calm) == message.contains(calm), "{message}");
    }
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
