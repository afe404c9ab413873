//! One open run, from its first child to its mover: what each phase waits for and does. How it ends is in `ending`.

mod advice;
mod copy_trigger;
mod deadline;
mod ending;
pub(super) mod failure;
mod missing;
mod obstacles;
mod placing;
mod report;
mod retry;
mod stuck;
mod superseding;
mod unfinished;
mod waiting;

pub(super) use superseding::superseded_by;

use crate::api::reason::Reason;
use crate::api::status::{Phase, Run};
use crate::core::adoption;
use crate::core::children::{self, copies, revision, sharing};
use crate::core::decision::Decision;
use crate::core::model::facts::{Facts, Job, Pod, Refresh, Role};
use crate::core::model::place::Place;
use crate::core::model::plan::{Child, Origin, Step};
use crate::core::model::spec::{Capture, Spec, Volume};
use crate::core::schedule::due;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, Time};
use scribe_mover::report::Outcome;

/// The phase that a run, or an attempt without a capture, begins with.
pub(super) fn first_phase(facts: &Facts, spec: &Spec) -> Phase {
    match &spec.volume {
        _ if copies::on_request(facts, spec).is_some() => Phase::WaitingForSnapshot,
        Volume::Source { capture: Capture::Snapshot(_), .. } => Phase::Capturing,
        _ => Phase::Transferring,
    }
}

/// The first children of a run or attempt that has just begun, as far as they can be made without waiting.
pub(super) fn begin(decision: &mut Decision<'_>, spec: &Spec, run: &Run) {
    if missing::claim(decision, spec, run) {
        return;
    }
    // One that may not use its volume is never seen to do so: an object that is at work goes first.
    let refused = sharing::refused(decision.facts, spec).or_else(|| revision::refused(spec, &decision.status, decision.now));
    if let Some((reason, problem)) = refused {
        return failure::give_up(decision, run, reason, problem, None);
    }
    match run.phase {
        Phase::Capturing => {
            if let Some(step) = children::capture_snapshot(decision.facts, spec, run, None) {
                // Whether it is to be made on request by now.
                decision.plan.needs.insert(Refresh::Claims);
                decision.plan.steps.push(step);
            }
        }
        Phase::WaitingForSnapshot if !copies::exists(decision.facts, spec, &run.id) => copy_trigger::wait(decision, spec, run),
        Phase::Transferring => mover(decision, spec, run),
        _ => {}
    }
}

/// Takes the run as far as the facts allow.
pub(super) fn advance(decision: &mut Decision<'_>, spec: &Spec, run: &Run) {
    if let Some(refusal) = &decision.facts.refusal
        && !matches!(run.phase, Phase::Backoff | Phase::WaitingForFirstPush)
    {
        return failure::give_up(decision, run, refusal.reason, refusal.message.clone(), None);
    }
    if spec.paused && superseding::is_outdated(decision.facts, spec, run) {
        decision.plan.needs.extend([Refresh::Claims, Refresh::Snapshots, Refresh::Jobs, Refresh::Pods]);
        return failure::hold(decision);
    }
    match run.phase {
        Phase::Capturing | Phase::WaitingForSnapshot => capturing(decision, spec, run),
        Phase::Transferring => transferring(decision, spec, run),
        Phase::Publishing => ending::publishing(decision, spec, run),
        Phase::Backoff | Phase::WaitingForFirstPush => retry(decision, spec, run),
    }
}

/// The next attempt, once its time has come. What the run has captured is used again.
fn retry(decision: &mut Decision<'_>, spec: &Spec, run: &Run) {
    missing::appeared(decision, spec);
    let (object, status) = (&decision.facts.object, &decision.status);
    let asked = object.has_new_approvals(status, run) || due::asked_to_verify(object.verify_now.as_deref(), run, status);
    let alive = decision.facts.living_mover();
    if spec.paused || (!asked || alive.is_some()) && retry::waits(decision) {
        return;
    }
    if let Some(pod) = alive {
        return stuck::before_the_next_attempt(decision, run, pod);
    }
    let facts = decision.facts;
    // One that waits for a person takes no slot, and is to be seen doing so.
    let on_request = copies::on_request(facts, spec).is_some() && !copies::exists(facts, spec, &run.id);
    if !on_request && !decision.facts.lacks_claim() && !decision.may_start() {
        return;
    }
    if asked {
        // A user who approves or requests something has seen the failure: as after a changed spec, failures count anew.
        decision.status.attempts = None;
    }
    adoption::bind_annotations(decision, spec);
    if run.phase == Phase::WaitingForFirstPush {
        // The waiting is not part of the sync.
        let now = decision.now;
        decision.status.last_sync_start_time = Some(Time(now));
        if let Some(run) = decision.status.run.as_mut() {
            run.start_time = MicroTime(now);
        }
    }
    decision.status.next_attempt_time = None;
    let captured = match &spec.volume {
        Volume::Source { capture: Capture::Clone, .. } => copies::exists(facts, spec, &run.id),
        _ => facts.snapshots_as(Role::Capture).any(|s| s.meta.serves(&run.id) && s.ready),
    };
    decision.enter(if captured { Phase::Transferring } else { first_phase(facts, spec) });
    if let Some(run) = decision.status.run.clone() {
        begin(decision, spec, &run);
    }
}

fn capturing(decision: &mut Decision<'_>, spec: &Spec, run: &Run) {
    let facts = decision.facts;
    if let Some((reason, problem)) = children::volume_problem(facts, spec) {
        decision.plan.needs.insert(Refresh::Claims);
        return failure::give_up(decision, run, reason, problem, None);
    }
    let made = copies::exists(facts, spec, &run.id);
    if !made && copies::on_request(facts, spec).is_some() {
        return copy_trigger::wait(decision, spec, run);
    }
    let waited = run.phase == Phase::WaitingForSnapshot && !made;
    if waited {
        // A clone needs none.
        if !facts.snapshots_known && matches!(spec.volume, Volume::Source { capture: Capture::Snapshot(_), .. }) {
            return snapshots_unknown(decision, run);
        }
        decision.plan.needs.extend(copies::FACTS);
    }
    if matches!(spec.volume, Volume::Source { capture: Capture::Clone, .. }) || waited {
        // A clone that is there, or a copy that is made on request no more, or was deleted while the run waited for it.
        if decision.may_start() {
            decision.enter(if made { Phase::Transferring } else { first_phase(facts, spec) });
            if let Some(run) = decision.status.run.clone() {
                begin(decision, spec, &run);
            }
        }
        return;
    }
    match facts.snapshots_as(Role::Capture).find(|s| s.meta.serves(&run.id)) {
        None => {
            if !waiting::hindered(decision, run, decision.limits.snapshot_timeout, Reason::SnapshotNotReady) {
                begin(decision, spec, run);
            }
        }
        // A run that gave its slot back while it waited needs another one.
        Some(snapshot) if snapshot.ready && !decision.may_start() => {}
        Some(snapshot) if snapshot.ready => {
            decision.enter(Phase::Transferring);
            if let Some(run) = decision.status.run.clone() {
                mover(decision, spec, &run);
            }
        }
        Some(snapshot) => waiting::for_snapshot(decision, run, snapshot),
    }
}

fn snapshot_gone(decision: &mut Decision<'_>, run: &Run) {
    if !decision.facts.snapshots_known {
        return snapshots_unknown(decision, run);
    }
    decision.plan.needs.extend([Refresh::Snapshots, Refresh::Claims]);
    let gone = "The temporary snapshot was deleted".to_owned();
    failure::give_up(decision, run, Reason::SnapshotNotReady, gone, None);
}

fn transferring(decision: &mut Decision<'_>, spec: &Spec, run: &Run) {
    let facts = decision.facts;
    let (job, pod) = facts.mover_of(run);
    match job {
        None => {
            takes_its_slot(decision);
            if let Some((reason, problem)) = children::volume_problem(facts, spec) {
                decision.plan.needs.insert(Refresh::Claims);
                return failure::give_up(decision, run, reason, problem, None);
            }
            if let Some((reason, problem)) = revision::refused(spec, &decision.status, decision.now) {
                return failure::give_up(decision, run, reason, problem, None);
            }
            let cloned = matches!(spec.volume, Volume::Source { capture: Capture::Clone, .. });
            if cloned && copies::on_request(facts, spec).is_some() && !copies::exists(facts, spec, &run.id) {
                return copy_trigger::wait(decision, spec, run);
            }
            if matches!(&spec.volume, Volume::Source { capture: Capture::Snapshot(_), .. })
                && !facts.claims_as(Role::Capture).any(|c| c.meta.serves(&run.id))
            {
                match facts.snapshots_as(Role::Capture).find(|s| s.meta.serves(&run.id)) {
                    None => return snapshot_gone(decision, run),
                    Some(snapshot) if !snapshot.ready => {
                        decision.plan.needs.insert(Refresh::Snapshots);
                        return decision.enter(Phase::Capturing);
                    }
                    Some(_) => {}
                }
            }
            // While the volume that got none is on its way out, the next one is still not to be created as that one was.
            let unbound = decision.status.failed_for(Reason::VolumeNotBound);
            let reason = if unbound { Reason::VolumeNotBound } else { Reason::PodPending };
            if !waiting::hindered(decision, run, decision.limits.pod_start_timeout, reason) && !placing::waits(decision, spec, run) {
                mover(decision, spec, run);
            }
        }
        Some(job) => {
            // An earlier agent has not recorded it, or an older CRD has dropped it.
            if let Some(place) = children::place(facts, spec, run, Some(job)) {
                unfinished::begins(decision, run, place);
            }
            match stuck::ended(decision, job, pod) {
                None => mover_running(decision, run, job, pod),
                Some(succeeded) => match working_mover(decision, run) {
                    Some(alive) => stuck::running(decision, run, alive),
                    None => ending::of_the_mover(decision, spec, run, job, pod, succeeded),
                },
            }
        }
    }
}

/// Whether the temporary snapshot is still there cannot be found out: waits for the API to be served again.
fn snapshots_unknown(decision: &mut Decision<'_>, run: &Run) {
    decision.plan.needs.insert(Refresh::Snapshots);
    let timeout = if run.phase == Phase::Transferring { decision.limits.pod_start_timeout } else { decision.limits.snapshot_timeout };
    let deadline = deadline::deadline(run, timeout);
    if decision.now < deadline {
        return decision.plan.wake_at(deadline);
    }
    let message = "The cluster no longer serves VolumeSnapshots: install the CSI snapshot CRDs and controller".to_owned();
    failure::give_up(decision, run, Reason::SnapshotsUnsupported, message, None);
}

/// Plans the mover's volume and Job, unless an older mover pod of the object has not ended.
fn mover(decision: &mut Decision<'_>, spec: &Spec, run: &Run) {
    if children::volume_problem(decision.facts, spec).is_some() {
        return; // the next reconcile reports it
    }
    decision.plan.needs.insert(Refresh::Pods);
    if matches!(spec.volume, Volume::Destination { .. }) {
        // Also those of others that pull into the same PVC.
        decision.plan.needs.insert(Refresh::Jobs);
    }
    if decision.facts.mover_lives() {
        return;
    }
    placing::ask(decision);
    let Ok(pin) = placing::pin(decision, spec, run) else { return };
    let steps = children::mover(decision.facts, spec, run, &decision.status, pin);
    for step in &steps {
        let Step::Create(Child::Claim(claim)) = step else { continue };
        match claim.from {
            Origin::Snapshot(_) => _ = decision.plan.needs.insert(Refresh::Snapshots),
            // Whether it is to be made on request by now.
            Origin::Claim(_) => _ = decision.plan.needs.insert(Refresh::Claims),
            Origin::Empty => {}
        }
    }
    if steps.iter().any(|step| matches!(step, Step::Create(Child::Job(_)))) {
        // The status is written before the Job.
        unfinished::begins(decision, run, Place::of(&decision.facts.object, spec));
    }
    decision.plan.steps.extend(steps);
    decision.plan.wake_at(deadline::deadline(run, decision.limits.pod_start_timeout));
}

/// The spec is invalid and no mover lives: the attempt ends here. Its mover may have done its work already; of that, what cannot be
/// found out by another one is kept.
pub(super) fn suspend(decision: &mut Decision<'_>, run: &Run) {
    if matches!(run.phase, Phase::Backoff | Phase::WaitingForFirstPush) {
        return;
    }
    decision.plan.needs.extend([Refresh::Snapshots, Refresh::Jobs, Refresh::Pods]);
    let (job, pod) = decision.facts.mover_of(run);
    if let Some(report) = pod.and_then(Pod::report) {
        adoption::bind(decision, &report);
        if report.result == Outcome::Successful && job.is_some_and(|job| stuck::ended(decision, job, pod) == Some(true)) {
            adoption::complete(decision, run);
        }
    }
    failure::hold(decision);
}

/// A mover pod that may still be writing. Where only an injected container keeps the pod of this attempt running,
/// or its phase alone does not show yet that it is done, it does not.
pub(super) fn working_mover<'a>(decision: &Decision<'a>, run: &Run) -> Option<&'a Pod> {
    let has_ended = |pod: &&Pod| pod.ended || pod.meta.is_of_attempt(run) && (stuck::is_kept(decision, pod) || pod.is_done());
    decision.facts.pods.iter().find(|pod| !has_ended(pod))
}

/// A mover lives although nothing goes on for this object, because its spec is invalid: its deadlines hold all the same.
pub(super) fn supervise(decision: &mut Decision<'_>, run: &Run, alive: &Pod) {
    match decision.facts.mover_of(run) {
        _ if run.phase != Phase::Transferring => {}
        (Some(job), pod) if job.succeeded.is_none() => mover_running(decision, run, job, pod),
        (Some(_), _) => stuck::running(decision, run, alive),
        (None, _) => {
            stuck::hinders(decision, run, alive, report::TROUBLED);
        }
    }
}

/// The run works again, or begins to: a slot that it gave back while nothing did is its own again, be there one or not.
fn takes_its_slot(decision: &mut Decision<'_>) {
    if let Some(run) = decision.status.run.as_mut() {
        run.waits_for_pod = false;
    }
}

fn mover_running(decision: &mut Decision<'_>, run: &Run, job: &Job, pod: Option<&Pod>) {
    if pod.is_some_and(|pod| pod.started || pod.ended) {
        takes_its_slot(decision);
    }
    match pod {
        Some(pod) if pod.ended => stuck::unnoticed(decision, run, job, pod),
        Some(pod) if pod.started => {
            if let Some(placement) = &job.placement {
                report::tell(decision, run, format!("Moving data {placement}"));
            }
            stuck::running(decision, run, pod);
        }
        _ => waiting::for_pod(decision, run, job, pod),
    }
}
