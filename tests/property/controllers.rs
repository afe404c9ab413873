//! What a cluster's controllers and nodes do in the fake world, and how movers end.

use crate::world::World;
use scribe_agent::core::model::facts::{Claim, Kind, Meta, Pod, Role};
use scribe_agent::core::model::plan::{MoverTask, NewJob};
use scribe_mover::report::{Outcome, Reason, Report};

/// How a mover ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    Good,
    /// The same, and the phase of its pod does not show it yet.
    Terminated,
    Failed,
    Stalled,
    /// The path is another's.
    Foreign,
    WithoutReport,
    NothingPushedYet,
    /// The cluster ends its pod: it reports that it was stopped.
    Disrupted,
    /// The same, and the pod is gone when the Job shows it.
    Evicted,
}

/// Snapshots become ready, claims bind, Jobs learn of their pods, and what is being deleted goes when nothing holds it.
pub fn let_the_cluster_work(world: &mut World) {
    let now = world.now;
    for snapshot in world.snapshots.iter_mut().filter(|s| !s.ready && !world.cluster.slow) {
        snapshot.ready = true;
        snapshot.captured = Some(now);
    }
    for claim in world.claims.iter_mut().filter(|_| !world.cluster.slow) {
        claim.bound = true;
    }
    note_ended(world);
    stop_deleted(world);
    collect(world);
}

/// Whether each of its containers has terminated, be it by its phase or not.
pub fn has_terminated(pod: &Pod) -> bool {
    pod.finished.is_some() && pod.kept_by.is_none()
}

/// Jobs learn that their pods have ended.
pub fn note_ended(world: &mut World) {
    let lost = &world.cluster.lost;
    world.pods.iter_mut().filter(|p| has_terminated(p) && !lost.contains(&p.meta.uid)).for_each(|pod| pod.ended = true);
    for job in world.jobs.iter_mut().filter(|j| !j.meta.deleting) {
        let pod = world.pods.iter().find(|p| p.meta.run == job.meta.run && p.meta.attempt == job.meta.attempt);
        if let Some(pod) = pod.filter(|p| p.ended) {
            job.succeeded = Some(pod.report.as_deref().is_some_and(|r| !r.contains("\"Failed\"")));
            job.disrupted = pod.disrupted;
        }
    }
    // Without its report: one that was deleted and has ended goes as soon as its Job has counted it.
    world.pods.retain(|pod| !(pod.disrupted && pod.meta.deleting && pod.ended));
}

/// Jobs that are being deleted go, their pods before them; and pods whose Job has gone with the object that it belonged to.
pub fn stop_deleted(world: &mut World) {
    let lost: Vec<_> = world.pods.iter().filter(|p| world.cluster.lost.contains(&p.meta.uid)).cloned().collect();
    world.jobs.retain(|j| !j.meta.deleting || lost.iter().any(|p| p.meta.run == j.meta.run && p.meta.attempt == j.meta.attempt));
    let (jobs, lost) = (&world.jobs, &world.cluster.lost);
    let of_a_job = |p: &Pod| jobs.iter().any(|j| p.meta.run == j.meta.run && p.meta.attempt == j.meta.attempt);
    world.pods.retain(|p| of_a_job(p) || lost.contains(&p.meta.uid));
}

/// Snapshots and claims that are being deleted go when nothing holds them.
pub fn collect(world: &mut World) {
    let pods_live = world.pods.iter().any(|p| !p.ended);
    world.claims.retain(|c| !(c.meta.deleting || c.meta.namesake) || pods_live);
    world.snapshots.retain(|s| !s.meta.deleting);
    if world.applied.as_ref().is_some_and(|(uid, _)| !world.claims.iter().any(|c| c.meta.uid == *uid)) {
        world.applied = None;
    }
}

pub fn start_pods(world: &mut World) {
    if !world.cluster.slow {
        world.pods.iter_mut().for_each(|pod| pod.started = true);
    }
    let jobs: Vec<_> = world.jobs.iter().filter(|j| !j.meta.deleting && j.succeeded.is_none()).map(|j| j.meta.clone()).collect();
    for job in jobs {
        if !world.pods.iter().any(|p| p.meta.run == job.run && p.meta.attempt == job.attempt) {
            let uid = world.uid_of("pod");
            let meta = Meta { name: format!("{}-pod", job.name), uid, ..job };
            // It waits for its volume.
            world.pods.push(Pod { meta, started: !world.cluster.slow, ..Pod::default() });
        }
    }
}

pub fn end_movers(world: &mut World, ending: Ending) {
    if world.pods.iter().all(|pod| pod.ended) {
        return;
    }
    let now = world.now;
    // What each mover finds, by the time that it ends.
    let finds = world.clone();
    let destination = world.object.kind == Kind::Destination;
    let jobs = world.jobs.clone();
    let lost = &world.cluster.lost;
    // What has run had its volumes.
    let run: Vec<_> = world.pods.iter().filter(|p| !p.ended).map(|p| p.meta.run.clone()).collect();
    let used = |claim: &&mut Claim| run.iter().any(|run| claim.meta.run == *run || claim.meta.role == Some(Role::Volume));
    world.claims.iter_mut().filter(used).for_each(|claim| claim.bound = true);
    for pod in world.pods.iter_mut().filter(|p| !p.ended && !lost.contains(&p.meta.uid)) {
        pod.ended = true;
        if has_terminated(pod) {
            pod.disrupted |= ending == Ending::Disrupted;
            continue; // its phase follows
        }
        pod.finished = Some(now);
        let mut report = Report {
            checked_time: Some(now),
            result: Outcome::Successful,
            reason: None,
            message: String::new(),
            changed: false,
            took_over: false,
            adopted_state: None,
            made_bucket: None,
            revision: None,
            data_time: world.data_time,
            files: 1,
            bytes: 1,
            transferred: 0,
            packs: world.packs,
            hashed: 0,
            deleted: 0,
            skipped: std::collections::BTreeMap::default(),
            duration_ms: 1,
            logs: String::new(),
        };
        let job = jobs.iter().find(|j| j.meta.run == pod.meta.run && j.meta.attempt == pod.meta.attempt);
        let of_this = |mover: &&NewJob| Some(&mover.run) == pod.meta.run.as_ref() && Some(mover.attempt) == pod.meta.attempt;
        let mover = world.movers.iter().rev().find(of_this).unwrap();
        let (from, pin) = (mover.subject.remote.clone(), if let MoverTask::Pull { pin, .. } = &mover.work { pin.as_ref() } else { None });
        let found = finds.found(&from, pin);
        report.adopted_state = Some(format!("state at {now}"));
        if !matches!(ending, Ending::Good | Ending::Terminated) && world.applied.as_ref().is_some_and(|(_, (held, _))| *held != from) {
            world.applied = None; // a part of the one, and a part of the other
        }
        match ending {
            Ending::Good | Ending::Terminated if found.is_none() => {
                (report.result, report.reason) = (Outcome::Failed, Some(Reason::RevisionMissing));
                "the nearest are others".clone_into(&mut report.message);
            }
            Ending::Good | Ending::Terminated => {
                let remote = found.unwrap();
                (pod.ended, pod.succeeded) = (ending == Ending::Good, true);
                report.revision = Some(World::revision(&from, remote));
                let claim = job.and_then(|_| world.movers.iter().rev().find(of_this)).map(|mover| mover.claim.clone());
                world.pulling.retain(|(pulled, _), _| Some(pulled) != claim.as_ref()); // it holds all of one revision
                let applied = job.and_then(|j| j.claim_uid.clone()).map(|uid| (uid, (from, remote)));
                report.changed = world.applied != applied;
                world.applied = applied;
            }
            Ending::NothingPushedYet if destination => {
                report.message = format!("Nothing has been pushed to {from} yet");
                report.result = Outcome::WaitingForFirstPush;
                let this = (pod.meta.run.clone(), pod.meta.attempt);
                world.pulling.retain(|(_, path), (run, attempt)| *path != from || (Some(run.clone()), Some(*attempt)) != this);
            }
            Ending::Evicted => {
                (pod.disrupted, pod.meta.deleting) = (true, true);
                continue;
            }
            Ending::Disrupted => {
                (pod.disrupted, report.result, report.reason) = (true, Outcome::Failed, Some(Reason::MoverKilled));
            }
            Ending::Failed | Ending::Stalled | Ending::Foreign | Ending::NothingPushedYet => {
                report.result = Outcome::Failed;
                if matches!(ending, Ending::Stalled) {
                    "allow it once by the annotation scribe.backube/allow-deletions: token".clone_into(&mut report.message);
                }
                report.reason = Some(match ending {
                    Ending::Stalled => Reason::DeletionGuard,
                    Ending::Foreign => Reason::PathNotOurs,
                    _ => Reason::Unreachable,
                });
            }
            Ending::WithoutReport => continue,
        }
        pod.report = Some(serde_json::to_string(&report).unwrap());
    }
}
