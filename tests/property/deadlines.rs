//! What takes too long is given up, at its deadline and not before, and the message has the cluster's own words.

use crate::agent::{self, Look};
use crate::controllers::{self, Ending};
use crate::endings::before_its_image;
use crate::script;
use crate::waking::{attempt, next_attempt, refuse, wake};
use crate::world::{Flavour, World};
use jiff::{SignedDuration, Timestamp};
use scribe_agent::api::status::Phase;
use scribe_agent::core::model::facts::{Meta, Snapshot};

/// Nothing of it has happened a second before; then it is given up, for this reason. Gives the message.
pub fn given_up(world: &mut World, deadline: Timestamp, reason: &str) -> String {
    // What is waited for, and why, stands in the status by now.
    for passed in [15, 120] {
        world.now = world.status.run.as_ref().unwrap().phase_time.0 + SignedDuration::from_secs(passed);
        if world.now < deadline {
            agent::look(world, &Look::default());
        }
    }
    let writes = world.writes;
    world.now = deadline - SignedDuration::from_secs(1);
    agent::look(world, &Look::default());
    assert_eq!(world.writes, writes, "{:#?}", world.status);
    assert_eq!(wake(world), Some(deadline));
    world.now = deadline;
    agent::look(world, &Look::default());
    let run = world.status.run.as_ref().unwrap();
    assert_eq!((run.phase, run.attempt, world.status.attempts), (Phase::Backoff, 2, Some(1)));
    let error = world.status.last_error.clone().unwrap();
    assert_eq!(error.reason, reason);
    error.message
}

pub fn minutes(world: &World, count: i64) -> Timestamp {
    world.status.run.as_ref().unwrap().phase_time.0 + SignedDuration::from_mins(count)
}

fn ten_minutes(world: &World) -> Timestamp {
    minutes(world, 10)
}

/// Only one that the driver failed to take is replaced: after ten minutes, in which the driver has tried again by itself.
#[test]
fn a_snapshot_that_is_never_ready() {
    for (error, taken, after, said) in [
        (None, false, 120, "scribe-src-db is still not ready after 2h0m0s, longer than snapshotTimeout in agent.yaml: words"),
        (Some("busy"), true, 120, "scribe-src-db is still not ready after 2h0m0s, longer than snapshotTimeout in agent.yaml: busy"),
        (Some("no such class"), false, 10, "scribe-src-db failed and is created again: not ready after 10m0s: no such class"),
    ] {
        let mut world = World::new(Flavour::SourceSnapshot);
        agent::look(&mut world, &Look::default());
        (world.snapshots[0].error, world.snapshots[0].taken) = (error.map(str::to_owned), taken);
        let deadline = minutes(&world, after);
        let message = given_up(&mut world, deadline, "SnapshotNotReady");
        assert!(message.contains(said), "{message}");
        assert_eq!(world.snapshots[0].meta.deleting, error.is_some() && !taken, "{error:?}, {taken}");
    }
}

/// A world whose Job is there; the pod it has, if it has one, does not start.
fn with_a_job(bound: bool, pod: bool) -> World {
    let mut world = World::new(Flavour::DestinationImage);
    for _ in 0..3 {
        agent::look(&mut world, &Look::default());
    }
    world.claims.iter_mut().for_each(|claim| claim.bound = bound);
    if pod {
        controllers::start_pods(&mut world);
        world.pods[0].started = false;
    }
    world
}

#[test]
fn a_pod_that_never_starts() {
    let refused = "ProvisioningFailed: storageclass \"fast\" not found";
    let at_work = "ProvisioningFailed: rpc error: code = DeadlineExceeded desc = cloning";
    let setting = "longer than podStartTimeout in agent.yaml";
    for (bound, pod, warning, after, reason, said) in [
        (false, true, None, 60, "VolumeNotBound", format!("PVC scribe-dest-db has no volume after 1h0m0s, {setting}: the cluster")),
        (false, true, Some(at_work), 60, "VolumeNotBound", format!("no volume after 1h0m0s, {setting}: {at_work}. It is kept")),
        (false, true, Some("words"), 10, "VolumeNotBound", "PVC scribe-dest-db has no volume after 10m0s: words. It is kept".into()),
        (
            false,
            true,
            Some(refused),
            1,
            "VolumeNotBound",
            format!("has no volume after 1m0s: {refused}. The next attempt creates a new one"),
        ),
        (true, false, None, 60, "PodRejected", format!("Job scribe-rclone-dest-db has no pod after 1h0m0s, {setting}: the cluster")),
        (true, false, Some("FailedCreate: quota"), 1, "PodRejected", "has no pod after 1m0s: FailedCreate: quota".into()),
        (
            true,
            false,
            Some("FailedCreate: pods \"a\" is forbidden: violates PodSecurity \"restricted:latest\""),
            1,
            "PodRejected",
            "latest\"; kustomize/components/restricted runs movers without root".into(),
        ),
        (true, true, None, 60, "PodPending", format!("The mover's pod has not started after 1h0m0s, {setting}: the cluster")),
        (true, true, Some("words"), 10, "PodPending", "The mover's pod has not started after 10m0s: words".into()),
    ] {
        let mut world = with_a_job(bound, pod);
        world.cluster.warning = warning.map(str::to_owned);
        let deadline = minutes(&world, after);
        let message = given_up(&mut world, deadline, reason);
        assert!(message.contains(&said), "{message}");
        let volume = world.claims.iter().find(|claim| claim.meta.name == "scribe-dest-db").unwrap();
        assert_eq!(volume.meta.deleting, warning == Some(refused), "only one that cannot get a volume is made anew: {warning:?}");
    }
}

#[test]
fn an_obstacle_that_does_not_go() {
    let mut world = World::new(Flavour::SourceDirect);
    world.put_claim("scribe-src-db", true);
    agent::look(&mut world, &Look::default());
    let deadline = ten_minutes(&world);
    let message = given_up(&mut world, deadline, "PodPending");
    assert!(message.contains("could not be created for 10m0s: PVC scribe-src-db of an earlier object"), "{message}");
}

/// Only a snapshot that is ready is used again by the next attempt.
#[test]
fn the_next_attempt_waits_for_the_snapshot_of_the_last() {
    for ready in [false, true] {
        let mut world = World::new(Flavour::SourceSnapshot);
        agent::look(&mut world, &Look::default());
        refuse(&mut world);
        world.snapshots[0].ready = ready;
        world.now = next_attempt(&world);
        agent::look(&mut world, &Look::default());
        let phase = world.status.run.as_ref().unwrap().phase;
        assert_eq!(phase, if ready { Phase::Transferring } else { Phase::Capturing });
    }
}

/// A Job of an earlier run that is still being deleted tells nothing about this one.
#[test]
fn an_old_job_is_not_taken_for_the_new_one() {
    let mut world = World::new(Flavour::SourceDirect);
    attempt(&mut world, Ending::Failed);
    assert!(world.jobs[0].meta.deleting);
    world.jobs[0].meta.attempt = Some(1);
    script::edit(&mut world, |world| world.spec.remote.path = "elsewhere".into());
    for _ in 0..3 {
        agent::look(&mut world, &Look::default());
        assert_eq!((world.status.run.as_ref().unwrap().phase, world.status.attempts), (Phase::Transferring, None));
    }
    controllers::let_the_cluster_work(&mut world);
    agent::look(&mut world, &Look::default());
    assert_eq!(world.paths(), ["p", "elsewhere"]);
}

/// What keeps the next one from beginning is said to be on its way out, not to have been forgotten.
#[test]
fn an_old_job_that_does_not_go_is_named() {
    let mut world = World::new(Flavour::SourceDirect);
    attempt(&mut world, Ending::Failed);
    script::edit(&mut world, |world| world.spec.remote.path = "elsewhere".into());
    for _ in 0..30 {
        agent::look(&mut world, &Look::default());
        world.past.clear();
        world.now += SignedDuration::from_mins(1);
    }
    let message = world.status.last_error.clone().map(|e| e.message).unwrap_or_default();
    assert!(message.contains("of an earlier attempt is still being deleted"), "{message}");
}

/// Somebody else's snapshot has the name that the image would get.
#[test]
fn an_image_that_cannot_be_made() {
    let mut world = before_its_image();
    let name = format!("scribe-dest-db-{}", world.pods[0].finished.unwrap().strftime("%Y%m%d%H%M%S"));
    let meta = Meta { name, uid: world.uid(), ..Meta::default() };
    world.snapshots.push(Snapshot { meta, ready: true, ..Snapshot::default() });
    let deadline = ten_minutes(&world);
    let message = given_up(&mut world, deadline, "SnapshotNotReady");
    assert!(message.contains("could not be created in time, after 10m0s"), "{message}");
}

/// A Job of whose success the cache does not know yet is waited for, whatever the time.
#[test]
fn nothing_is_made_or_given_up_on_an_old_read_of_the_job() {
    let mut world = before_its_image();
    world.jobs[0].succeeded = None;
    world.pods.iter_mut().for_each(|pod| pod.succeeded = false);
    for _ in 0..2 {
        let writes = world.writes;
        agent::look(&mut world, &Look::default());
        assert_eq!(world.writes, writes);
        world.now = ten_minutes(&world);
    }
}
