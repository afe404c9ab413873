//! How far a long transfer has come: read from the mover's log and shown in `status.run`; and when it last moved on, for `core::stuck`.
//!
//! A sync that is over within [`INTERVAL`] costs no request for it.

use super::Context;
use super::memory::{Followed, recall, remember};
use crate::api::recorded;
use crate::api::status::{Phase, Run};
use crate::cluster::pace::causes;
use crate::cluster::refusal::missing_permission;
use crate::core::model::facts::{Facts, Pod, Unreadable};
use crate::core::model::plan::{Plan, Step};
use jiff::{SignedDuration, Timestamp};
use kube::runtime::controller::Action;
use serde::Deserialize;
use std::time::{Duration, Instant};

/// The log is read, and the status written, no more often than this.
const INTERVAL: Duration = Duration::from_secs(10);

/// What the agent may not do, in [`Memory::denied`](super::Memory::denied).
const LOG: &str = "log";

/// Stands for the last line of a mover that has ended.
const ENDED: &str = "ended";

/// What a read that fails means.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Failed {
    /// From now on it is not known whether the mover moves on.
    Counts,
    /// Nothing: what was known before it still holds.
    Passes,
}

/// The line that the mover prints as it goes.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Line {
    bytes_done: i64,
    bytes_total: i64,
}

/// The mover of the run, once it has started.
fn started(facts: &Facts) -> Option<(&Run, &Pod)> {
    let run = facts.status.run.as_ref().filter(|run| run.phase == Phase::Transferring)?;
    facts.pod_of(run).filter(|pod| pod.started || pod.ended).map(|pod| (run, pod))
}

/// Notes when the mover moved on last; one that is seen for the first time, or that has ended, has just done so. The time is taken from a
/// clock that does not step.
pub(super) fn follow(context: &Context, facts: &mut Facts, now: Timestamp) {
    let pod = started(facts).map(|(_, pod)| (pod.meta.uid.clone(), pod.ended));
    let memory = remember(context, &facts.object.uid, |memory| {
        let known = memory.progress.take();
        memory.progress = pod.map(|(pod, ended)| {
            let mut followed = known.filter(|followed| followed.pod == pod).unwrap_or_else(|| Followed::new(pod));
            if ended {
                followed.see(ENDED);
                followed.unreadable = None;
            }
            followed
        });
        if memory.progress.is_none() {
            memory.denied.remove(LOG);
        }
    });
    let before = |then: Instant| now.checked_sub(SignedDuration::try_from(then.elapsed()).ok()?).ok();
    facts.progress = memory.progress.as_ref().and_then(|followed| before(followed.moved));
    let unreadable = memory.progress.and_then(|followed| followed.unreadable);
    facts.unreadable = unreadable.and_then(|(since, why)| Some(Unreadable { since: before(since)?, why }));
}

/// The mover that runs, if it has run for a while and its log is to be read again.
fn to_show<'a>(context: &Context, facts: &'a Facts, now: Timestamp) -> Option<(&'a Run, &'a Pod)> {
    // One that has ended has a result, which waits for no log.
    let (run, pod) = started(facts).filter(|(_, pod)| !pod.ended && pod.finished.is_none())?;
    let long = now.duration_since(run.phase_time.0) >= SignedDuration::try_from(INTERVAL).unwrap_or(SignedDuration::ZERO);
    let followed = recall(context, &facts.object.uid).progress;
    let looked = followed.and_then(|followed| followed.looked);
    (long && looked.is_none_or(|looked| looked.elapsed() >= INTERVAL)).then_some((run, pod))
}

/// A plan is about to be executed. The log is read first, whether or not that works, and whatever is written: a mover whose log is not read
/// seems to hang, and is given up.
pub(super) async fn before_the_plan(context: &Context, facts: &Facts, plan: &Plan) {
    let Some((run, pod)) = to_show(context, facts, Timestamp::now()) else { return };
    // What the log showed before counts for this plan: a log that can be read now and then must not put off its end for ever.
    let failed = match recall(context, &facts.object.uid).progress {
        Some(followed) if followed.unreadable.is_none() => Failed::Passes,
        _ => Failed::Counts,
    };
    if plan.steps.iter().any(|step| matches!(step, Step::WriteStatus(_))) {
        // Written twice, the status that was planned would meet with a conflict.
        read(context, facts, pod, failed).await;
    } else {
        show(context, facts, run, pod, failed).await;
    }
}

/// When to look at the object again, where that would be `otherwise`.
pub(super) fn next_look(facts: &Facts, otherwise: Duration) -> Duration {
    if is_transferring(facts) { otherwise.min(INTERVAL) } else { otherwise }
}

/// Nothing is to be done but to show how far a long transfer is.
pub(super) async fn while_the_mover_runs(context: &Context, facts: &Facts, otherwise: Duration) -> Action {
    if let Some((run, pod)) = to_show(context, facts, Timestamp::now()) {
        show(context, facts, run, pod, Failed::Counts).await;
    }
    Action::requeue(next_look(facts, otherwise))
}

fn is_transferring(facts: &Facts) -> bool {
    facts.status.run.as_ref().is_some_and(|run| run.phase == Phase::Transferring) && facts.mover_lives()
}

/// Reads how far the mover of `pod` is, and shows it if it has moved on.
async fn show(context: &Context, facts: &Facts, run: &Run, pod: &Pod, failed: Failed) {
    let Some(line) = read(context, facts, pod, failed).await else { return };
    let mut status = facts.status.clone();
    status.run = Some(Run { bytes_done: Some(line.bytes_done), bytes_total: Some(line.bytes_total), ..run.clone() });
    if recorded::same(&status, &facts.status, &facts.undeclared) {
        return;
    }
    match context.writer.status(&facts.object, &status).await {
        Ok(dropped) => {
            context.undeclared.sent(facts.object.kind, &status, &dropped, Instant::now());
        }
        // The object has changed, or is gone; another reconcile follows.
        Err(kube::Error::Api(answer)) if matches!(answer.code, 404 | 409) => {}
        Err(error) => tracing::warn!(name = facts.object.name, %error, "cannot report the mover's progress"),
    }
}

/// Reads the last line of progress of the mover of `pod`, and notes whether it has moved on.
async fn read(context: &Context, facts: &Facts, pod: &Pod, failed: Failed) -> Option<Line> {
    let name = facts.object.name.as_str();
    let change = |change: &dyn Fn(&mut Followed)| {
        remember(context, &facts.object.uid, |memory| memory.progress.iter_mut().for_each(change)).progress
    };
    let before = change(&|followed| followed.looked = Some(Instant::now()));
    let log = match context.reader.last_lines(&pod.meta.name).await {
        Ok(log) => log,
        Err(error) => {
            if before.is_some_and(|followed| followed.unreadable.is_none()) {
                tracing::warn!(name, error = causes(&error), "cannot read the mover's progress");
            }
            remember(context, &facts.object.uid, |memory| {
                if failed == Failed::Counts {
                    memory.progress.iter_mut().for_each(|followed| followed.hide(&causes(&error)));
                }
                if let Some(message) = missing_permission(&error) {
                    memory.denied.insert(LOG, message);
                }
            });
            return None;
        }
    };
    remember(context, &facts.object.uid, |memory| memory.denied.remove(LOG));
    change(&|followed| followed.unreadable = None);
    let (text, line) = last_line(&log)?;
    change(&|followed| followed.see(text));
    Some(line)
}

impl Followed {
    fn new(pod: String) -> Followed {
        Followed { pod, looked: None, line: String::new(), moved: Instant::now(), unreadable: None }
    }

    /// What cannot be read proves no standstill, nor that there was none: a line that is the same before and after proves it.
    fn hide(&mut self, why: &str) {
        self.unreadable.get_or_insert_with(|| (Instant::now(), why.to_owned()));
    }

    fn see(&mut self, line: &str) {
        if self.line != line {
            (self.line, self.moved) = (line.to_owned(), Instant::now());
        }
    }
}

/// Other log lines stand between them, so the last line of progress may not be the last line of all.
fn last_line(log: &str) -> Option<(&str, Line)> {
    log.lines().rev().find_map(|line| Some((line, serde_json::from_str(line).ok()?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_line_of_progress_counts() {
        let log = "{\"phase\":\"uploading\",\"bytesDone\":1,\"bytesTotal\":9}\n{\"phase\":\"uploading\",\"bytesDone\":5,\"bytesTotal\":9}\n{\"level\":\"INFO\"}\nx";
        let (text, line) = last_line(log).unwrap();
        assert_eq!((line.bytes_done, line.bytes_total), (5, 9));
        assert!(text.contains("uploading"));
        assert!(last_line("{}\n").is_none());
    }

    /// Hashing moves no bytes; the line that counts its steps changes all the same.
    #[test]
    fn any_other_line_is_progress() {
        let start = Instant::now();
        let Some(long_ago) = start.checked_sub(Duration::from_secs(60)) else { return };
        let mut followed = Followed { line: "a".into(), moved: long_ago, ..Followed::new("p".into()) };
        followed.see("a");
        assert_eq!(followed.moved, long_ago);
        followed.see("b");
        assert!(followed.moved >= start);
    }

    /// A mover that works for longer than stallTimeout was killed again and again where the kubelet did not hand out its log.
    #[test]
    fn an_unreadable_log_is_no_standstill() {
        let start = Instant::now();
        let Some(long_ago) = start.checked_sub(Duration::from_secs(60)) else { return };
        let mut followed = Followed { line: "a".into(), moved: long_ago, ..Followed::new("p".into()) };
        followed.hide("first");
        let first = followed.unreadable.clone();
        followed.hide("second");
        assert_eq!(followed.unreadable, first, "it counts from the first one");
        followed.see("a");
        assert_eq!(followed.moved, long_ago, "the line has not changed meanwhile");
    }
}
