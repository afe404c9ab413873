//! Movers that do not end: on a lost node, or without progress. The attempt ends and gives its
//! slot back, but no other mover starts before the pod has terminated.

use super::deadline;
use super::failure;
use super::report;
use super::retry;
use crate::api::labels;
use crate::api::reason::Reason;
use crate::api::status::Run;
use crate::core::decision::Decision;
use crate::core::model::clock::seconds;
use crate::core::model::facts::{Job, Pod, Refresh, Role, Unreadable};
use crate::core::syntax::go_duration;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

/// A node that is slow may take so long over a pod's grace period.
const SLACK: SignedDuration = SignedDuration::from_mins(1);

/// When a pod that is being deleted is overdue.
fn overdue(pod: &Pod) -> Option<Timestamp> {
    pod.ends_by.map(|time| time.saturating_add(SLACK).unwrap_or(time))
}

/// Containers beside the mover's may take so long to end after it.
const SIDECARS: SignedDuration = SignedDuration::from_secs(10);

/// By this factor a mover whose log cannot be read may be silent for longer than one whose log stands still.
const UNSEEN: i32 = 6;

fn lost(pod: &Pod) -> String {
    let name = &pod.meta.name;
    let since = pod.ends_by.map_or_else(String::new, |time| format!(" by {time}"));
    format!(
        "Pod {name} should have terminated{since} but has not: its node may be lost. No other mover starts before it has terminated. \
         If its node is gone for good: kubectl delete pod {name} --force"
    )
}

/// Whether the mover succeeded, where it has ended: as its own container shows, as long as its pod is there. A container beside it that fails
/// makes its Job fail, and one that does not end keeps its Job from completing.
pub(super) fn ended(decision: &Decision<'_>, job: &Job, pod: Option<&Pod>) -> Option<bool> {
    // A Job does not complete before each of its containers has succeeded.
    let of_the_job = job.succeeded.map(|succeeded| succeeded || pod.is_some_and(|pod| pod.succeeded));
    of_the_job.or_else(|| pod.filter(|pod| is_kept(decision, pod) || pod.is_done()).map(|pod| pod.succeeded))
}

/// Whether only a container beside the mover's keeps this pod from ending. It ends with its Job, which is deleted once the result is recorded.
pub(super) fn is_kept(decision: &Decision<'_>, pod: &Pod) -> bool {
    !pod.ended && kept_until(decision, pod).is_some_and(|time| decision.now >= time)
}

/// When a container that keeps the pod from ending should have ended.
fn kept_until(decision: &Decision<'_>, pod: &Pod) -> Option<Timestamp> {
    pod.kept_by.as_ref()?;
    Some(deadline::after(pod.finished?.min(decision.now), SIDECARS))
}

/// Publishes that an injected container kept the pod running: each sync takes longer because of it.
pub(super) fn report_kept(decision: &mut Decision<'_>, pod: &Pod) {
    let Some(container) = pod.kept_by.as_ref().filter(|_| is_kept(decision, pod)) else { return };
    let note = format!(
        "Container {container} kept pod {} running after the mover had terminated; the pod is deleted. Disable the injection of that container for \
         the movers' pods, which have the label {}={}",
        pod.meta.name,
        labels::COMPONENT,
        Role::Mover.as_str()
    );
    decision.event(true, Reason::ContainerInjected, note, container);
}

/// The mover of this attempt runs. Ends the attempt if its pod does not go, or if it makes no progress.
pub(super) fn running(decision: &mut Decision<'_>, run: &Run, pod: &Pod) {
    let limit = decision.limits.stall_timeout;
    if let Some(time) = overdue(pod) {
        if decision.now >= time {
            return end(decision, run, lost(pod));
        }
        decision.plan.wake_at(time);
    }
    if let Some(time) = kept_until(decision, pod) {
        // Its mover has ended: it neither hangs nor has a log that goes on.
        return decision.plan.wake_at(time);
    }
    if let Some(unreadable) = &decision.facts.unreadable {
        return unseen(decision, run, pod, unreadable);
    }
    if !still_for_too_long(decision, run) {
        return;
    }
    let limit = go_duration::format(limit);
    let message = format!(
        "The mover in pod {} has made no progress for {limit} (stallTimeout in agent.yaml): it hangs, or its node is lost. It is deleted, \
         and no other mover starts before it has terminated",
        pod.meta.name
    );
    end(decision, run, message);
}

/// The log of a mover that runs cannot be read: whether it hangs is unknown. That is reported, and does not last for ever: a mover that is
/// ended loses nothing that it has uploaded or staged, and one that hangs would keep its slot.
fn unseen(decision: &mut Decision<'_>, run: &Run, pod: &Pod, unreadable: &Unreadable) {
    let (limit, name) = (decision.limits.stall_timeout, &pod.meta.name);
    let since = unreadable.since.max(run.phase_time.0).min(decision.now);
    let ends = deadline::after(since, limit.saturating_mul(UNSEEN));
    if decision.now >= ends {
        let limit = go_duration::format(limit);
        let message = format!(
            "The log of pod {name} has been unreadable since {since}, for {UNSEEN} times stallTimeout ({limit}, agent.yaml), so that its mover \
             may hang: {}. It is deleted, and no other mover starts before it has terminated",
            unreadable.why
        );
        return end(decision, run, message);
    }
    let reported = deadline::after(since, limit.min(report::TROUBLED));
    if decision.now >= reported {
        let message = format!("Moving data; progress unknown: the log of pod {name} has been unreadable since {since}: {}", unreadable.why);
        decision.waiting = Some(message);
    }
    decision.plan.wake_at(if decision.now < reported { reported } else { ends });
}

/// Whether there was no progress for that long; wakes when that will be so.
fn still_for_too_long(decision: &mut Decision<'_>, run: &Run) -> bool {
    let began = run.phase_time.0;
    let moved = decision.facts.progress.unwrap_or(began).max(began).min(decision.now);
    let stalled = moved.saturating_add(decision.limits.stall_timeout).unwrap_or(Timestamp::MAX);
    if decision.now < stalled {
        decision.plan.wake_at(stalled);
    }
    decision.now >= stalled
}

/// The pod has ended, and its Job does not show that yet: nothing is concluded from the pod alone.
pub(super) fn unnoticed(decision: &mut Decision<'_>, run: &Run, job: &Job, pod: &Pod) {
    if still_for_too_long(decision, run) {
        let (pod, job) = (&pod.meta.name, &job.meta.name);
        end(
            decision,
            run,
            format!("Pod {pod} has terminated, but Job {job} does not show it: check that the cluster's Job controller is running"),
        );
    }
}

fn end(decision: &mut Decision<'_>, run: &Run, message: String) {
    decision.plan.needs.extend([Refresh::Jobs, Refresh::Pods]);
    failure::give_up(decision, run, Reason::MoverStalled, message, None);
}

/// An older mover keeps this attempt from starting its own. Ends the attempt where that lasts too long, and returns whether it did.
pub(super) fn hinders(decision: &mut Decision<'_>, run: &Run, pod: &Pod, limit: SignedDuration) -> bool {
    let deadline = deadline::deadline(run, limit);
    let deadline = overdue(pod).map_or(deadline, |time| time.min(deadline));
    if decision.now >= deadline {
        end(decision, run, older(decision, pod));
        return true;
    }
    decision.plan.wake_at(deadline);
    let why = undeleted(decision);
    report::report(decision, run, &format!("pod {} of an earlier mover to terminate", pod.meta.name), why.as_deref());
    false
}

fn older(decision: &Decision<'_>, pod: &Pod) -> String {
    if overdue(pod).is_some_and(|time| time <= decision.now) {
        return lost(pod);
    }
    let why = undeleted(decision).map_or_else(String::new, |why| format!(": {why}"));
    format!("Pod {} of an earlier mover has not terminated, and no other mover starts before it has{why}", pod.meta.name)
}

/// Why a mover that was to be deleted still runs, where that is its deletion.
fn undeleted(decision: &Decision<'_>) -> Option<String> {
    let left = decision.facts.movers().filter(|job| !job.meta.deleting);
    let answer = |job: &Job| decision.facts.undeleted.get(&job.meta.uid).map(|answer| format!("its Job could not be deleted: {answer}"));
    left.into_iter().find_map(answer)
}

/// The next attempt is due and an older mover still lives: keeps waiting without a slot, and reports it again if the pod is overdue.
pub(super) fn before_the_next_attempt(decision: &mut Decision<'_>, run: &Run, pod: &Pod) {
    decision.plan.needs.insert(Refresh::Pods);
    let ends = overdue(pod).unwrap_or_else(|| deadline::deadline(run, report::TROUBLED));
    if decision.now >= ends {
        return end(decision, run, older(decision, pod));
    }
    let ahead = decision.status.next_attempt_time.as_ref().map(|t| t.0).filter(|t| *t > decision.now);
    let time =
        ahead.unwrap_or_else(|| seconds(ends).max(seconds(decision.now) + SignedDuration::from_secs(1)).min(retry::latest(decision)));
    decision.status.next_attempt_time = Some(Time(time));
    decision.plan.wake_at(time);
}
