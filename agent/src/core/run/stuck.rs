//! Movers that do not come to their end: on a node that is lost, or without any progress. An attempt ends all the same and gives its
//! place back; but no other mover starts before the pod has ended.

use super::deadline;
use super::failure;
use super::report;
use super::retry;
use crate::api::reason::Reason;
use crate::api::status::Run;
use crate::core::decision::Draft;
use crate::core::model::clock::seconds;
use crate::core::model::facts::{Fresh, Job, Pod};
use crate::core::syntax::go_duration;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

/// A node that is slow may take so long over a pod's grace period.
const SLACK: SignedDuration = SignedDuration::from_mins(1);

/// When a pod that is being deleted is overdue.
fn overdue(pod: &Pod) -> Option<Timestamp> {
    pod.ends_by.map(|time| time.saturating_add(SLACK).unwrap_or(time))
}

fn lost(pod: &Pod) -> String {
    let name = &pod.meta.name;
    let since = pod.ends_by.map_or_else(String::new, |time| format!(" by {time}"));
    format!(
        "Pod {name} should have ended{since} and has not: its node may be lost. No other mover starts before it has ended. \
         If its node is gone for good: kubectl delete pod {name} --force"
    )
}

/// The mover of this attempt runs. Ends the attempt if its pod does not go, or if it makes no progress.
pub(super) fn running(draft: &mut Draft<'_>, run: &Run, pod: &Pod) {
    let limit = draft.limits.stall_timeout;
    if let Some(time) = overdue(pod) {
        if draft.now >= time {
            return end(draft, run, lost(pod));
        }
        draft.plan.wake_at(time);
    }
    if !still_for_too_long(draft, run) {
        return;
    }
    let limit = go_duration::format(limit);
    let message = format!(
        "The mover in pod {} has made no progress for {limit} (stallTimeout in agent.yaml): it hangs, or its node is lost. It is stopped, \
         and no other mover starts before it has ended",
        pod.meta.name
    );
    end(draft, run, message);
}

/// Whether nothing has moved for so long; looks again when that will be so.
fn still_for_too_long(draft: &mut Draft<'_>, run: &Run) -> bool {
    let began = run.phase_time.0;
    let moved = draft.facts.progress.unwrap_or(began).max(began).min(draft.now);
    let stalled = moved.saturating_add(draft.limits.stall_timeout).unwrap_or(Timestamp::MAX);
    if draft.now < stalled {
        draft.plan.wake_at(stalled);
    }
    draft.now >= stalled
}

/// The pod has ended, and its Job does not show that yet: nothing is concluded from the pod alone.
pub(super) fn unnoticed(draft: &mut Draft<'_>, run: &Run, job: &Job, pod: &Pod) {
    if still_for_too_long(draft, run) {
        let (pod, job) = (&pod.meta.name, &job.meta.name);
        end(draft, run, format!("Pod {pod} has ended, but Job {job} does not show it: is the cluster's Job controller running?"));
    }
}

fn end(draft: &mut Draft<'_>, run: &Run, message: String) {
    draft.plan.needs.extend([Fresh::Jobs, Fresh::Pods]);
    failure::give_up(draft, run, Reason::MoverStalled, message, None);
}

/// An older mover keeps this attempt from starting its own. Ends the attempt where that lasts too long, and returns whether it did.
pub(super) fn hinders(draft: &mut Draft<'_>, run: &Run, pod: &Pod, limit: SignedDuration) -> bool {
    let deadline = deadline::deadline(run, limit);
    let deadline = overdue(pod).map_or(deadline, |time| time.min(deadline));
    if draft.now >= deadline {
        end(draft, run, older(draft, pod));
        return true;
    }
    draft.plan.wake_at(deadline);
    report::report(draft, run, &format!("pod {} of an earlier attempt to end", pod.meta.name), None);
    false
}

fn older(draft: &Draft<'_>, pod: &Pod) -> String {
    if overdue(pod).is_some_and(|time| time <= draft.now) {
        return lost(pod);
    }
    format!("Pod {} of an earlier attempt has not ended, and no other mover starts before it has", pod.meta.name)
}

/// The next attempt is due and an older mover still lives: waits on without a place, and reports it again where the pod is overdue.
pub(super) fn before_the_next_attempt(draft: &mut Draft<'_>, run: &Run, pod: &Pod) {
    draft.plan.needs.insert(Fresh::Pods);
    let ends = overdue(pod).unwrap_or_else(|| deadline::deadline(run, report::TROUBLED));
    if draft.now >= ends {
        return end(draft, run, older(draft, pod));
    }
    let ahead = draft.status.next_attempt_time.as_ref().map(|t| t.0).filter(|t| *t > draft.now);
    let time = ahead.unwrap_or_else(|| seconds(ends).max(seconds(draft.now) + SignedDuration::from_secs(1)).min(retry::latest(draft)));
    draft.status.next_attempt_time = Some(Time(time));
    draft.plan.wake_at(time);
}
