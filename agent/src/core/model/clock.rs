//! Stored times that lie in the future: the clock that they were read from was ahead, and has been set since.
//!
//! A time that is compared with the present counts as the present then. Otherwise a phase that began under such a clock would have no
//! deadline until the wrong time comes.

use crate::api::Status;
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, Time};

/// Sets every time of the past that lies after `now` to `now`.
///
/// `nextSyncTime` and `nextAttemptTime` may lie ahead; `due` and `retry` bound them by what could be planned now. `lastSyncTime` stays: it
/// is part of the identity of the next run. Neither it nor `lastSyncStartTime` is compared with the present.
pub fn not_ahead(status: &mut Status, now: Timestamp) {
    if let Some(run) = status.run.as_mut() {
        for time in [&mut run.phase_time, &mut run.start_time] {
            if time.0 > now {
                *time = MicroTime(now);
            }
        }
    }
    let first_push = status.first_push.as_mut().map(|wait| &mut wait.since);
    let error = status.last_error.as_mut().map(|error| &mut error.time);
    for time in status.waiting_since.as_mut().into_iter().chain(error).chain(first_push) {
        if time.0 > now {
            *time = Time(now);
        }
    }
}

/// Kubernetes' times hold whole seconds; anything finer would look like a change at the next read.
pub fn seconds(time: Timestamp) -> Timestamp {
    Timestamp::from_second(time.as_second()).unwrap_or(time)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_lies_ahead_is_moved() {
        let status = |second: i64| -> Status {
            let time = Timestamp::from_second(second).unwrap();
            let run = serde_json::json!({
                "id": "r", "phase": "Capturing", "attempt": 1, "generation": 1, "startTime": MicroTime(time), "phaseTime": MicroTime(time),
            });
            let error = serde_json::json!({ "reason": "Unreachable", "message": "", "time": Time(time) });
            serde_json::from_value(serde_json::json!({
                "run": run, "lastError": error, "waitingSince": Time(time), "lastSyncTime": Time(time),
            }))
            .unwrap()
        };
        let now = Timestamp::from_second(100).unwrap();
        for (second, expected) in [(99, 99), (100, 100), (101, 100), (10_000_000, 100)] {
            let mut moved = status(second);
            not_ahead(&mut moved, now);
            let expected = Status { last_sync_time: moved.last_sync_time.clone(), ..status(expected) };
            assert_eq!(moved, expected, "{second}");
        }
    }
}
