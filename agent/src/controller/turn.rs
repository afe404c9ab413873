//! Whose turn it is: how urgent the requests of a reconcile are, and whether it has to read anything.

use crate::api::Status;
use crate::api::status::Phase;
use crate::cluster::priority::Priority;
use crate::core::model::plan::{Plan, Step};

/// Whether a sync is under way: its mover's result must not wait for others' failures.
pub(super) fn is_under_way(status: &Status) -> bool {
    status.run.as_ref().is_some_and(|run| !matches!(run.phase, Phase::Backoff | Phase::WaitingForFirstPush))
}

/// How urgent the plan of an object with this status is.
pub(super) fn of(status: &Status, plan: &Plan) -> Priority {
    let written = plan.steps.iter().find_map(|step| if let Step::WriteStatus(status) = step { Some(status) } else { None });
    match written {
        _ if is_under_way(status) => Priority::UnderWay,
        // Nothing comes of it.
        Some(written) if !is_under_way(written) => Priority::Report,
        _ => Priority::Due,
    }
}

/// Whether the plan does nothing before it has written a status, onto the very version of the object that it was decided on.
pub(super) fn begins_with_its_status(plan: &Plan) -> bool {
    matches!(plan.steps.first(), Some(Step::WriteStatus(_)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::reason::Reason;
    use crate::core::model::plan::Event;
    use serde_json::json;

    fn status(phase: Option<&str>) -> Status {
        let time = "2026-01-01T00:00:00.000000Z";
        let run =
            phase.map(|phase| json!({ "id": "r", "phase": phase, "startTime": time, "attempt": 1, "phaseTime": time, "generation": 1 }));
        serde_json::from_value(json!({ "run": run })).unwrap()
    }

    fn writes(phase: Option<&str>) -> Plan {
        Plan { steps: vec![Step::WriteStatus(Box::new(status(phase)))], ..Plan::default() }
    }

    #[test]
    fn results_go_first_and_reports_last() {
        for (before, plan, expected) in [
            (Some("Transferring"), writes(None), Priority::UnderWay),
            (Some("Publishing"), writes(None), Priority::UnderWay),
            (Some("Transferring"), writes(Some("Backoff")), Priority::UnderWay),
            (None, writes(Some("Capturing")), Priority::Due),
            (Some("Backoff"), writes(Some("Transferring")), Priority::Due),
            (None, Plan::default(), Priority::Due),
            (Some("Backoff"), writes(Some("Backoff")), Priority::Report),
            (None, writes(None), Priority::Report),
        ] {
            assert_eq!(of(&status(before), &plan), expected, "{before:?}");
        }
    }

    #[test]
    fn what_is_done_before_the_status_is_not_guarded_by_it() {
        let publish = Step::Publish(Event { warning: false, reason: Reason::CopyCompleted, note: String::new(), key: String::new() });
        let plan = |mut steps: Vec<Step>, last: Step| {
            steps.push(last);
            Plan { steps, ..Plan::default() }
        };
        let status = writes(None).steps;
        assert!(begins_with_its_status(&plan(status.clone(), publish.clone())) && !begins_with_its_status(&Plan::default()));
        assert!(!begins_with_its_status(&plan(vec![publish], status[0].clone())));
    }
}
