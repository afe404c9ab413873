//! How a run ends: what its mover reported, the image of what was pulled, and what is recorded of it.

use super::advice;
use super::deadline;
use super::failure;
use super::report;
use super::stuck;
use super::unfinished;
use super::waiting;
use crate::api::Status;
use crate::api::reason::Reason;
use crate::api::status::{MoverStatus, Phase, Run};
use crate::core::abort;
use crate::core::adoption;
use crate::core::children;
use crate::core::children::{images, revision, sharing};
use crate::core::decision::Decision;
use crate::core::model::clock::seconds;
use crate::core::model::facts::{Job, Pod, Refresh};
use crate::core::model::plan::Step;
use crate::core::model::spec::{Spec, Volume};
use crate::core::model::subject;
use crate::core::schedule::due;
use crate::core::syntax::go_duration;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use scribe_mover::report::{Outcome, Reason as MoverReason, Report};

pub(super) fn of_the_mover(decision: &mut Decision<'_>, spec: &Spec, run: &Run, job: &Job, pod: Option<&Pod>, succeeded: bool) {
    if let Some(pod) = pod {
        stuck::report_kept(decision, pod);
    }
    let report = pod.and_then(Pod::report);
    if let Some(bucket) = report.as_ref().and_then(|report| report.made_bucket.as_ref()) {
        let note = format!(
            "The bucket {bucket} did not exist, and this push created it: if it should have been there, check spec.rclone.rcloneDestPath for a typing error"
        );
        decision.event(false, Reason::BucketCreated, note, &format!("{}/{}", run.id, run.attempt));
    }
    if !succeeded && disrupted(decision, run, job, pod, report.as_ref()) {
        return;
    }
    match report {
        Some(report) if report.result == Outcome::Failed => {
            adoption::bind(decision, &report);
            let reason = report.reason.map_or(Reason::MoverFailed, Reason::from);
            let message = match reason {
                Reason::NoSpace => match advice::no_space(&decision.facts.object, spec, &report.message) {
                    Some(advice) => format!("{}. {advice}", report.message.trim_end_matches('.')),
                    None => report.message.clone(),
                },
                Reason::SecretMissing | Reason::SecretInvalid | Reason::AccessDenied => {
                    format!("{}. {}", report.message.trim_end_matches('.'), advice::MENDED)
                }
                Reason::PathNotOurs => match adoption::why_not(&decision.facts.object, spec, &decision.status) {
                    Some(why) => format!("{}. {why}", report.message),
                    None => report.message.clone(),
                },
                _ => report.message.clone(),
            };
            failure::give_up(decision, run, reason, message, Some(&report));
        }
        // The exit code and the report must tell the same story.
        Some(report) if succeeded && report.result == Outcome::WaitingForFirstPush => match pulled_before(&decision.status, job) {
            Some(remote) => {
                let message = format!(
                    "{remote} is empty, but a revision was pulled from it before. The volume and its images are kept. Check whether the bucket was emptied, and which path rcloneDestPath and rclone.conf name"
                );
                failure::give_up(decision, run, Reason::RemoteInconsistent, message, Some(&report));
            }
            None => failure::wait_for_first_push(decision, run, &report),
        },
        Some(report) if succeeded => complete(decision, spec, run, job, &report, pod),
        _ => {
            decision.plan.needs.extend([Refresh::Jobs, Refresh::Pods]);
            failure::no_report(decision, run, job, pod);
        }
    }
}

/// Whether the attempt ends, uncounted, because the cluster ended the mover's pod. What the mover itself had found before is its result.
fn disrupted(decision: &mut Decision<'_>, run: &Run, job: &Job, pod: Option<&Pod>, report: Option<&Report>) -> bool {
    let of_its_own = report.is_some_and(|report| report.result != Outcome::Failed || report.reason != Some(MoverReason::MoverKilled));
    if of_its_own || !(job.disrupted || pod.is_some_and(|pod| pod.disrupted)) {
        return false;
    }
    if let Some(report) = report {
        adoption::bind(decision, report);
    }
    decision.plan.needs.extend([Refresh::Jobs, Refresh::Pods]);
    failure::disrupted(decision, run, report)
}

/// The remote path of this Job, if the last successful sync was of that very path: what was there once is no first push to wait for.
/// After an agent that did not record what it pulled from, a revision that was pulled counts as one of this path.
fn pulled_before(status: &Status, job: &Job) -> Option<String> {
    let of = subject::parse(job.subject.as_ref()?)?;
    let same = match &status.synced {
        Some(synced) => of.remote == synced.remote && of.layout == synced.layout,
        None => status.revision.is_some(),
    };
    same.then_some(of.remote)
}

/// A mover did its work: closes the run, or makes the image first.
fn complete(decision: &mut Decision<'_>, spec: &Spec, run: &Run, job: &Job, report: &Report, pod: Option<&Pod>) {
    if !children::still_there(decision.facts, spec, job) {
        return volume_gone(decision, run);
    }
    if mixed(decision, spec, run) {
        return;
    }
    if let Err(why) = revision::keep(decision, spec, job, report) {
        return failure::discard(decision, run, None, why);
    }
    if let Some(place) = children::place(decision.facts, spec, run, Some(job)) {
        unfinished::is_whole(decision, &place.claim);
    }
    match &spec.volume {
        Volume::Destination { image: Some(_), .. } if !children::image_holds(decision.facts, spec, &decision.status, report) => {
            decision.enter(Phase::Publishing);
            image(decision, spec, run, report, pod);
        }
        Volume::Destination { claim, image: None, .. } => {
            let name = children::destination_claim(decision.facts, claim);
            images::publish_volume(decision, name, job.claim_uid.clone());
            close(decision, spec, run, job, report);
        }
        Volume::Destination { image: Some(_), .. } | Volume::Source { .. } => close(decision, spec, run, job, report),
    }
}

/// The mover's report is still in its pod: the Job stays until the run is closed.
pub(super) fn publishing(decision: &mut Decision<'_>, spec: &Spec, run: &Run) {
    let facts = decision.facts;
    let (job, pod) = facts.mover_of(run);
    let image_wanted = matches!(&spec.volume, Volume::Destination { image: Some(_), .. });
    let deadline = deadline::deadline(run, decision.limits.snapshot_timeout.min(report::TROUBLED));
    let (Some(job), Some(report)) = (job, pod.and_then(Pod::report)) else {
        decision.plan.needs.extend([Refresh::Jobs, Refresh::Pods]);
        let gone = "The mover's Job was deleted before its image was created; the volume is pulled again".to_owned();
        return failure::give_up(decision, run, Reason::MoverKilled, gone, None);
    };
    if mixed(decision, spec, run) {
        return;
    }
    let ended = stuck::ended(decision, job, pod);
    let succeeded = ended == Some(true);
    match children::image_of(facts, run, job, &report) {
        // The spec was edited, and an image is wanted no more.
        _ if !image_wanted => complete(decision, spec, run, job, &report, pod),
        None if !children::still_there(facts, spec, job) => volume_gone(decision, run),
        None if succeeded && decision.now < deadline => {
            image(decision, spec, run, &report, pod);
            decision.plan.wake_at(deadline);
            if let Some(blocked) = &facts.blocked {
                report::report(decision, run, "the image to be created", Some(blocked));
            }
        }
        // Its name may be taken by another object: the next attempt uses another name.
        None if succeeded => {
            decision.plan.needs.extend(Refresh::ALL);
            let waited = deadline::lasted(decision, run);
            let why = facts.blocked.clone().or_else(|| facts.warnings.clone()).unwrap_or_else(|| "its name may be taken".to_owned());
            let message =
                format!("The image of the new data could not be created in time, after {waited}: {why}. The volume is pulled again");
            failure::give_up(decision, run, Reason::SnapshotNotReady, message, None);
        }
        // The Job may not show yet that its mover has succeeded, but not for ever.
        None if ended.is_none() => pod.into_iter().for_each(|pod| stuck::unnoticed(decision, run, job, pod)),
        None if decision.now < deadline => decision.plan.wake_at(deadline),
        None => {
            decision.plan.needs.extend(Refresh::ALL);
            let waited = deadline::lasted(decision, run);
            let why = pod.and_then(|pod| pod.cause.clone()).unwrap_or_else(|| job.message.clone());
            let why = if why.is_empty() { format!("Job {} does not show it", job.meta.name) } else { why };
            let message = format!(
                "No image of the new data was created: after {waited} the mover is not known to have succeeded: {why}. The volume is pulled again"
            );
            failure::give_up(decision, run, Reason::MoverKilled, message, None);
        }
        Some(snapshot) if snapshot.ready => {
            images::publish(decision, snapshot, &report);
            close(decision, spec, run, job, &report);
            images::review(decision, Some(spec));
        }
        Some(snapshot) => waiting::for_snapshot(decision, run, snapshot),
    }
}

/// Ends the attempt if another destination writes to the same PVC, and returns whether it does.
fn mixed(decision: &mut Decision<'_>, spec: &Spec, run: &Run) -> bool {
    if matches!(spec.volume, Volume::Destination { .. }) {
        decision.plan.needs.insert(Refresh::Jobs);
    }
    let Some(why) = sharing::mixed(decision.facts, spec) else { return false };
    let place = children::place(decision.facts, spec, run, decision.facts.mover_of(run).0);
    failure::discard(decision, run, place, why);
    true
}

fn image(decision: &mut Decision<'_>, spec: &Spec, run: &Run, report: &Report, pod: Option<&Pod>) {
    // A snapshot of another claim of that name would be published as this revision.
    decision.plan.needs.insert(Refresh::Claims);
    let finished = pod.and_then(|p| p.finished).unwrap_or(decision.now);
    match children::image(decision.facts, spec, run, report, finished) {
        Some(snapshot) => decision.plan.steps.push(Step::Create(snapshot)),
        None => volume_gone(decision, run),
    }
}

fn volume_gone(decision: &mut Decision<'_>, run: &Run) {
    decision.plan.needs.insert(Refresh::Claims);
    let gone = "The PVC that was pulled into no longer exists: it was deleted, or replaced by another one of that name".to_owned();
    failure::give_up(decision, run, Reason::DestinationPVCMissing, gone, None);
}

/// Of a second, rounded down, for people.
fn to_tenths(duration: SignedDuration) -> SignedDuration {
    SignedDuration::from_millis(i64::try_from(duration.as_millis() / 100 * 100).unwrap_or(i64::MAX))
}

/// The run succeeded. Its result is written to the status before its children are deleted.
fn close(decision: &mut Decision<'_>, spec: &Spec, run: &Run, job: &Job, report: &Report) {
    let now: Timestamp = decision.now;
    adoption::complete(decision, run);
    // Of the mover's own spec: a push may have been finished after an edit.
    let synced = children::subject(decision.facts, spec, run, Some(job));
    // A continuous sync that finds nothing new, as the one before it, is no news.
    let before = (decision.status.last_sync_time.is_some(), decision.status.last_error.is_some());
    let asked = run.manual.is_some() || run.verify_now.is_some();
    let news = report.changed || !spec.trigger.continuous() || asked || before != (true, false);
    let status = &mut decision.status;
    let took = now.duration_since(run.start_time.0);
    status.run = None;
    status.last_error = None;
    status.first_push = None;
    status.attempts = None;
    status.next_attempt_time = None;
    status.last_sync_time = Some(Time(now));
    status.last_sync_duration = Some(go_duration::format(took));
    if run.manual.is_some() {
        status.last_manual_sync.clone_from(&run.manual);
    }
    if run.sync_now.is_some() {
        status.last_handled_sync_now.clone_from(&run.sync_now);
    }
    if run.verify_now.is_some() {
        status.last_handled_verify_now.clone_from(&run.verify_now);
    }
    let path = synced.as_ref().map_or_else(|| spec.remote.path.clone(), |synced| synced.remote.clone());
    (status.synced, status.volume_touched) = (synced, false);
    status.last_sync_generation = Some(run.generation);
    status.revision.clone_from(&report.revision);
    status.data_time = report.data_time.map(|t| Time(seconds(t)));
    // One in the future was written under a wrong clock.
    status.source_checked_time = report.checked_time.map(|t| Time(seconds(t.min(now))));
    status.transferred = i64::try_from(report.transferred).ok();
    status.files = i64::try_from(report.files).ok();
    status.bytes = i64::try_from(report.bytes).ok();
    // One that finds nothing new need not say what has not changed.
    let same = !report.changed && status.synced.as_ref().is_some_and(subject::is_in_packs);
    let before = status.stored.filter(|_| same);
    status.stored = report.packs.as_ref().map_or(before, |packs| i64::try_from(packs.stored).ok());
    status.sent = report.packs.as_ref().map_or(before.map(|_| 0), |packs| i64::try_from(packs.sent).ok());
    status.latest_mover_status = Some(MoverStatus { result: report.result.into(), logs: report.logs.clone() });
    status.next_sync_time = due::after_closing(&spec.trigger, status, decision.limits, now).map(Time);
    decision.wake_for_next_sync();
    let what = if report.changed { "new data" } else { "nothing new" };
    let left_out: Vec<_> = report.skipped.iter().map(|(kind, count)| format!("{count} {kind}")).collect();
    let left_out = if left_out.is_empty() { String::new() } else { format!("; not replicated: {}", left_out.join(", ")) };
    let duration = go_duration::format(to_tenths(took));
    let note = format!("Sync completed in {duration}: {what}, {} files, {} bytes{left_out}", report.files, report.bytes);
    if news {
        decision.event(false, Reason::SyncCompleted, note, &run.id);
    }
    abort::after_success(decision);
    if report.took_over {
        let note = format!("The path {path} belonged to another object; this object owns it now");
        decision.event(true, Reason::PathTakenOver, note, &run.id);
    }
}
