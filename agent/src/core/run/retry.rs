//! When the next attempt is made: kept as data in `status.attempts` and `status.nextAttemptTime`, so that a restarted agent waits no
//! longer and no shorter.

use crate::api::status::Phase;
use crate::core::decision::Decision;
use crate::core::model::clock::seconds;
use crate::core::schedule::backoff;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

/// Factor by which the delay is longer after an error that requires action.
const PATIENCE: i32 = 6;

/// Sets the time of the next attempt of the run, which has just begun to wait.
pub(super) fn schedule(decision: &mut Decision<'_>) {
    let time = latest(decision);
    decision.status.next_attempt_time = Some(Time(time));
    decision.plan.wake_at(time);
    decision.wake_for_next_sync();
}

/// Whether the waiting run must keep waiting; then the plan wakes at its next attempt.
pub(super) fn waits(decision: &mut Decision<'_>) -> bool {
    let latest = latest(decision);
    let time = decision.status.next_attempt_time.as_ref().map_or(latest, |t| t.0);
    if time <= decision.now {
        return false;
    }
    // A clock set back must not stretch the wait: it never exceeds its own length from now.
    let time = time.min(latest);
    decision.status.next_attempt_time = Some(Time(time));
    decision.wake_for_next_sync();
    decision.plan.wake_at(time);
    true
}

/// Whether the time of the next attempt is known and lies ahead.
pub(super) fn too_early(decision: &Decision<'_>) -> bool {
    decision.status.next_attempt_time.as_ref().is_some_and(|t| t.0 > decision.now)
}

/// The latest time that the next attempt of the waiting run may be due, seen from now.
pub(super) fn latest(decision: &Decision<'_>) -> Timestamp {
    decision.now.saturating_add(delay(decision)).map_or(decision.now, seconds)
}

fn delay(decision: &Decision<'_>) -> SignedDuration {
    let (status, limits, seed) = (&decision.status, decision.limits, decision.facts.object.uid.as_str());
    let waits_for_first_push = status.run.as_ref().filter(|run| run.phase == Phase::WaitingForFirstPush);
    if let Some(run) = waits_for_first_push {
        return backoff::first_push_delay(run.attempt - 1, seed);
    }
    let failures = status.attempts.unwrap_or(1);
    let initial = match () {
        () if failures >= limits.max_attempts => limits.retry_cap,
        () if status.stalling_error().is_some() => limits.retry_initial.checked_mul(PATIENCE).unwrap_or(limits.retry_cap),
        () => limits.retry_initial,
    };
    backoff::delay(initial, limits.retry_cap, failures, seed).max(SignedDuration::from_secs(1))
}
