//! What `kubectl get` shows of a status: one reason, its message, and when something starts next.

use crate::api::Status;
use crate::api::reason::Reason;
use crate::api::status::Phase;
use crate::core::model::spec::{InvalidSpec, Spec};
use crate::core::model::subject::Named;
use crate::core::schedule::due;
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

/// Sets them, after the conditions.
pub(super) fn set(status: &mut Status, spec: &Result<Spec, InvalidSpec>, now: Timestamp) {
    let stalled = status.conditions.iter().find(|c| c.type_ == "Stalled" && c.status == "True");
    let shown = stalled.or_else(|| status.conditions.iter().find(|c| c.type_ == "Synchronizing"));
    (status.reason, status.message) = shown.map(|c| (c.reason.clone(), c.message.clone())).unzip();
    // That the next attempt is waited for says nothing of what to do before it.
    if let Some(error) = status.present_error().filter(|_| status.reason.as_deref() == Some(Reason::Backoff.as_str())) {
        let reason = error.reason.clone();
        status.reason = Some(reason);
    }
    let spec = spec.as_ref().ok().filter(|spec| !spec.paused);
    let next = spec.and_then(|spec| next(status).into_iter().chain(republishes(spec, status, now)).min());
    status.next_start_time = next.filter(|time| *time > now).map(Time);
}

/// When a sync starts that publishes again what is gone.
fn republishes(spec: &Spec, status: &Status, now: Timestamp) -> Option<Timestamp> {
    let idle = status.run.is_none() && !due::waits_for_a_trigger(status);
    due::republishes(&Named::by(spec), status).filter(|_| idle).map(|time| due::possible(time, now))
}

/// The next attempt of a run that waits for one, or the next scheduled time if that starts it sooner; otherwise the next sync.
fn next(status: &Status) -> Option<Timestamp> {
    let slot = status.next_sync_time.as_ref().map(|t| t.0);
    let waits = status.run.as_ref().is_some_and(|run| matches!(run.phase, Phase::Backoff | Phase::WaitingForFirstPush));
    let attempt = status.next_attempt_time.as_ref().map(|t| t.0).filter(|_| waits);
    match attempt {
        Some(attempt) => Some(slot.filter(|slot| !due::schedule_waits(status) && *slot < attempt).unwrap_or(attempt)),
        None => slot,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::status::LastError;
    use crate::core::model::spec::{Capture, ClaimShape, Remote, Volume};

    fn at(second: i64) -> Time {
        Time(Timestamp::from_second(second).unwrap())
    }

    fn shown(slot: i64, attempt: Option<i64>, reason: Option<&str>, now: i64) -> Option<i64> {
        let volume = Volume::Source { claim: "data".into(), capture: Capture::Direct, temporary: ClaimShape::default() };
        let spec = Spec::new(Remote { secret: "s".into(), section: "r".into(), path: "p".into() }, volume);
        let run = attempt.map(|_| {
            let time = "1970-01-01T00:00:00.000000Z";
            serde_json::json!({ "id": "r", "phase": "Backoff", "startTime": time, "attempt": 2, "phaseTime": time, "generation": 1 })
        });
        let mut status = Status {
            run: run.map(|run| serde_json::from_value(run).unwrap()),
            next_sync_time: Some(at(slot)),
            next_attempt_time: attempt.map(at),
            last_error: reason.map(|reason| LastError { reason: reason.into(), message: String::new(), time: at(0), generation: None }),
            ..Status::default()
        };
        set(&mut status, &Ok(spec), Timestamp::from_second(now).unwrap());
        status.next_start_time.map(|time| time.0.as_second())
    }

    /// The outsider's typing errors all looked alike in `kubectl get`.
    #[test]
    fn what_waits_for_its_next_attempt_says_why() {
        let reason = |kind: &str, holds: &str, of_condition: &str, error: Option<&str>| {
            let condition = |kind: &str, holds: &str, reason: &str| serde_json::json!({ "type": kind, "status": holds, "reason": reason, "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z" });
            let conditions = [condition(kind, holds, of_condition)];
            let mut status: Status = serde_json::from_value(serde_json::json!({ "conditions": conditions })).unwrap();
            status.last_error =
                error.map(|reason| LastError { reason: reason.into(), message: String::new(), time: at(0), generation: None });
            set(&mut status, &Err(InvalidSpec(String::new())), at(1).0);
            status.reason
        };
        assert_eq!(reason("Synchronizing", "False", "Backoff", Some("SourcePVCMissing")).as_deref(), Some("SourcePVCMissing"));
        assert_eq!(reason("Synchronizing", "False", "Backoff", None).as_deref(), Some("Backoff"));
        assert_eq!(reason("Synchronizing", "True", "SyncInProgress", Some("Unreachable")).as_deref(), Some("SyncInProgress"));
        assert_eq!(reason("Stalled", "True", "AccessDenied", Some("AccessDenied")).as_deref(), Some("AccessDenied"));
    }

    #[test]
    fn the_next_start_is_never_in_the_past() {
        assert_eq!(shown(100, None, None, 50), Some(100));
        assert_eq!(shown(100, None, None, 100), None, "it waits for a slot, or is being started");
        // What is stalled is tried at its next attempt, not at the scheduled time that has passed.
        assert_eq!(shown(100, Some(170), Some("DeletionGuard"), 150), Some(170));
        assert_eq!(shown(160, Some(170), Some("DeletionGuard"), 150), Some(170));
        assert_eq!(shown(160, Some(170), Some("Unreachable"), 150), Some(160));
    }
}
