//! Movers that do not end and creates that do not work: reported, without a place, and never with a second mover.

use crate::agent::{self, Look};
use crate::controllers::{self, Ending};
use crate::deadlines::minutes;
use crate::edits::with_a_mover;
use crate::script::{self, Happening};
use crate::world::{Flavour, World};
use jiff::SignedDuration;
use rstest::rstest;
use scribe_agent::api::reason::Reason;
use scribe_agent::api::status::Phase;
use scribe_agent::core::model::facts::{Meta, Pod, Role};
use scribe_agent::core::schedule::queue;

fn hours(world: &mut World, hours: i64) {
    for _ in 0..hours * 60 {
        agent::look(world, &Look::default());
        controllers::stop_deleted(world);
        controllers::collect(world);
        world.past.clear();
        world.now += SignedDuration::from_secs(60);
    }
}

fn error(world: &World) -> (&str, &str) {
    let error = world.status.last_error.as_ref().unwrap();
    (&error.reason, &error.message)
}

/// The node is gone: its pod is Terminating for ever. The world refuses a second mover.
#[test]
fn a_lost_node_is_reported_and_waited_for() {
    for flavour in Flavour::ALL {
        let mut world = with_a_mover(flavour);
        script::play(&mut world, &Happening::LoseNode);
        hours(&mut world, 72);
        let (reason, message) = error(&world);
        assert_eq!(reason, "MoverStalled");
        assert!(message.contains("-pod should have terminated by 2026-01-01T00:00:30") && message.contains("--force"), "{message}");
        assert!(!queue::under_way(&world.status) && world.status.attempts > Some(5));
        let condition = world.status.conditions.iter().find(|c| c.type_ == "Synchronizing").unwrap();
        assert!(condition.reason == "Backoff" && condition.message.contains(message), "{condition:?}");
        let told = |reason: &str| world.events.iter().filter(|e| e.reason.as_str() == reason).count();
        assert_eq!((told("MoverStalled"), told("Failing"), world.movers.len()), (1, 1, 1));
        script::recover(&mut world);
        world.assert_settled();
    }
}

/// A container that something has injected runs on, so that the Job never completes.
#[test]
fn the_result_of_a_mover_whose_pod_a_sidecar_keeps_running_counts() {
    for (flavour, ending) in Flavour::ALL.into_iter().flat_map(|flavour| [(flavour, Ending::Good), (flavour, Ending::Failed)]) {
        let mut world = with_a_mover(flavour);
        controllers::end_movers(&mut world, ending);
        for pod in &mut world.pods {
            (pod.kept_by, pod.ended, pod.succeeded) = (Some("istio-proxy".into()), false, ending == Ending::Good);
        }
        world.now += SignedDuration::from_secs(9);
        agent::look(&mut world, &Look::default());
        assert!(world.status.run.as_ref().is_some_and(|run| run.phase == Phase::Transferring), "it may end by itself");
        world.now += SignedDuration::from_secs(2);
        for _ in 0..4 {
            agent::look(&mut world, &Look::default());
            world.snapshots.iter_mut().for_each(|snapshot| snapshot.ready = true);
        }
        let (synced, failed) = (world.status.last_sync_time.is_some(), world.status.last_error.is_some());
        assert_eq!((synced, failed), (ending == Ending::Good, ending == Ending::Failed), "{flavour:?}: {:#?}", world.status);
        assert!(world.jobs.iter().all(|job| job.meta.deleting), "{flavour:?}: what ends the pod");
        let told: Vec<_> = world.events.iter().filter(|event| event.reason == Reason::ContainerInjected).collect();
        assert!(told.len() == 1 && told[0].note.contains("istio-proxy") && told[0].note.contains("injection"), "{told:#?}");
        // No other mover starts before the pod has ended.
        script::edit(&mut world, |world| world.spec.trigger.manual = Some("next".into()));
        let movers = world.movers.len();
        for _ in 0..10 {
            agent::look(&mut world, &Look::default());
            world.jobs.clear();
            world.now += SignedDuration::from_secs(60);
        }
        assert_eq!(world.movers.len(), movers, "{flavour:?}");
        world.pods.clear();
        script::recover(&mut world);
        world.assert_settled();
    }
}

/// The kubelet takes two seconds longer over the phase of a pod than over its container's end.
#[test]
fn a_sync_goes_on_as_soon_as_its_container_has_terminated() {
    for flavour in Flavour::ALL {
        let mut world = with_a_mover(flavour);
        controllers::end_movers(&mut world, Ending::Terminated);
        let disturbed = {
            let mut world = world.clone();
            world.pods.iter_mut().for_each(|pod| pod.disrupted = true);
            agent::look(&mut world, &Look::default());
            world
        };
        for _ in 0..5 {
            agent::look(&mut world, &Look::default());
            world.snapshots.iter_mut().for_each(|snapshot| snapshot.ready = true);
        }
        assert!(world.status.last_sync_time.is_some(), "{flavour:?}: {:#?}", world.status);
        assert!(disturbed.status.last_sync_time.is_none(), "{flavour:?}: another pod may follow");
        // No other mover starts before the pod has ended.
        script::edit(&mut world, |world| world.spec.trigger.manual = Some("next".into()));
        let movers = world.movers.len();
        for _ in 0..5 {
            agent::look(&mut world, &Look::default());
            world.snapshots.iter_mut().for_each(|snapshot| snapshot.ready = true);
        }
        assert_eq!(world.movers.len(), movers, "{flavour:?}");
        script::recover(&mut world);
        world.assert_settled();
    }
}

/// Also where the spec is invalid by then.
#[test]
fn a_sidecar_keeps_no_suspended_run() {
    let mut world = with_a_mover(Flavour::SourceDirect);
    controllers::end_movers(&mut world, Ending::Good);
    for pod in &mut world.pods {
        (pod.kept_by, pod.ended, pod.succeeded) = (Some("istio-proxy".into()), false, true);
    }
    script::edit(&mut world, |world| world.invalid = Some("bad".into()));
    world.now += SignedDuration::from_secs(11);
    agent::look(&mut world, &Look::default());
    assert!(!queue::under_way(&world.status) && world.jobs.iter().all(|job| job.meta.deleting), "{:#?}", world.status);
}

/// Nor does it keep its place where the spec is invalid by then, and it is reported.
#[rstest]
fn with_an_invalid_spec_a_mover_that_does_not_end_is_reported_as_well(#[values(false, true)] lost: bool) {
    for flavour in Flavour::ALL {
        let mut world = with_a_mover(flavour);
        world.cluster.hangs_since = Some(world.now);
        if lost {
            script::play(&mut world, &Happening::LoseNode);
        }
        script::edit(&mut world, |world| world.invalid = Some("bad".into()));
        for _ in 0..72 * 60 {
            agent::look(&mut world, &Look::default());
            world.past.clear();
            world.now += SignedDuration::from_secs(60);
        }
        assert_eq!(error(&world).0, "MoverStalled", "{flavour:?}");
        assert!(!queue::under_way(&world.status) && world.movers.len() == 1, "{flavour:?}");
        script::recover(&mut world);
        world.assert_settled();
    }
}

/// Within its grace period a pod may take its time, and so may the node.
#[test]
fn a_pod_that_is_being_deleted_gets_its_grace() {
    let mut world = with_a_mover(Flavour::SourceDirect);
    script::play(&mut world, &Happening::LoseNode);
    world.now += SignedDuration::from_secs(89);
    agent::look(&mut world, &Look::default());
    assert!(world.status.last_error.is_none());
    assert_eq!(agent::plan(&world).wake, Some(world.now + SignedDuration::from_secs(1)));
    world.now += SignedDuration::from_secs(1);
    agent::look(&mut world, &Look::default());
    assert_eq!(error(&world).0, "MoverStalled");
}

/// It is stopped, and the next one starts when it has ended.
#[test]
fn a_mover_without_progress_is_stopped() {
    for flavour in Flavour::ALL {
        let mut world = with_a_mover(flavour);
        hours(&mut world, 10);
        assert!(world.status.last_error.is_none(), "one that makes progress may run for ever");
        world.cluster.hangs_since = Some(world.now);
        world.now += SignedDuration::from_secs(30 * 60 - 1);
        agent::look(&mut world, &Look::default());
        assert!(world.status.last_error.is_none(), "{flavour:?}");
        world.now += SignedDuration::from_secs(1);
        agent::look(&mut world, &Look::default());
        let (reason, message) = error(&world);
        assert!(reason == "MoverStalled" && message.contains("30m0s (stallTimeout in agent.yaml)"), "{reason}: {message}");
        assert!(world.jobs.iter().all(|job| job.meta.deleting) && !queue::under_way(&world.status));
        world.cluster.hangs_since = None;
        script::recover(&mut world);
        world.assert_settled();
    }
}

/// A kubelet that does not hand out logs: what is not known is reported, and ends, though later than a standstill that is seen.
#[test]
fn a_mover_whose_log_cannot_be_read_is_reported_and_ends() {
    for flavour in Flavour::ALL {
        let mut world = with_a_mover(flavour);
        (world.cluster.hangs_since, world.cluster.hidden_since) = (Some(world.now), Some(world.now));
        let begun = world.now;
        let doing = |world: &World| world.status.conditions.iter().find(|c| c.type_ == "Synchronizing").unwrap().message.clone();
        for (seconds, reported) in [(599, false), (600, true), (601, true), (31 * 60, true), (180 * 60 - 1, true)] {
            world.now = begun + SignedDuration::from_secs(seconds);
            let writes = world.writes;
            for _ in 0..3 {
                agent::look(&mut world, &Look::default());
            }
            let message = doing(&world);
            assert_eq!(message.contains("has been unreadable since 2026-01-01T00:0"), reported, "{flavour:?} {seconds}: {message}");
            assert!(!reported || message.contains("the kubelet does not answer"), "{message}");
            assert!(world.writes - writes <= 1 && world.status.last_error.is_none(), "{flavour:?} {seconds}");
            // Looked at again when there is something new to be reported, and not before.
            let (wake, next) = (agent::plan(&world).wake, begun + SignedDuration::from_mins(if reported { 180 } else { 10 }));
            assert!(wake.is_some_and(|wake| wake > world.now && wake <= next), "{flavour:?} {seconds}: {wake:?}");
        }
        world.now = begun + SignedDuration::from_mins(180);
        agent::look(&mut world, &Look::default());
        let (reason, message) = error(&world);
        assert!(reason == "MoverStalled" && message.contains("6 times stallTimeout (30m0s, agent.yaml)"), "{reason}: {message}");
        assert!(!queue::under_way(&world.status));
        script::recover(&mut world);
        world.assert_settled();
    }
}

/// Its Job has ended, or so the cluster says: as long as the pod lives nothing is concluded from that, but not for ever.
#[test]
fn a_pod_that_outlives_its_job_is_reported() {
    let mut world = with_a_mover(Flavour::SourceDirect);
    world.jobs[0].succeeded = Some(false);
    script::play(&mut world, &Happening::LoseNode);
    hours(&mut world, 1);
    assert_eq!((error(&world).0, world.movers.len()), ("MoverStalled", 1));
}

/// The mover of an object that is no more, under the name of this one's: whatever volume it uses.
#[test]
fn a_namesakes_mover_that_does_not_end_is_reported() {
    for ends_by in [None, Some(SignedDuration::from_secs(30))] {
        for flavour in Flavour::ALL {
            let mut world = World::new(flavour);
            let meta = Meta {
                name: "old-pod".into(),
                uid: "old".into(),
                role: Some(Role::Mover),
                run: Some("old".into()),
                attempt: Some(1),
                ..Meta::default()
            };
            let pod = Pod { meta, started: true, ends_by: ends_by.map(|after| world.now + after), ..Pod::default() };
            for _ in 0..24 * 60 {
                world.pods = vec![pod.clone()];
                world.snapshots.iter_mut().for_each(|snapshot| snapshot.ready = true);
                agent::look(&mut world, &Look::default());
                world.past.clear();
                world.now += SignedDuration::from_secs(60);
            }
            let (reason, message) = error(&world);
            assert!(reason == "MoverStalled" && message.contains("old-pod"), "{flavour:?} {reason}: {message}");
            assert!(!queue::under_way(&world.status) && world.movers.is_empty());
            world.pods.clear();
            script::recover(&mut world);
            world.assert_settled();
        }
    }
}

/// Waiting for it costs a write at each delay, not at each look.
#[test]
fn waiting_for_a_lost_node_is_quiet() {
    let mut world = with_a_mover(Flavour::SourceSnapshot);
    script::play(&mut world, &Happening::LoseNode);
    hours(&mut world, 2);
    let writes = world.writes;
    hours(&mut world, 1);
    assert!(world.writes - writes <= 8, "{} writes in an hour", world.writes - writes);
}

/// Every create is answered 5xx, from the first child or from a later one on.
#[rstest]
fn creates_that_do_not_work_are_reported(#[values(0, 1, 2, 3)] done: usize) {
    for flavour in Flavour::ALL {
        let mut world = World::new(flavour);
        for _ in 0..done {
            agent::look(&mut world, &Look::default());
            controllers::let_the_cluster_work(&mut world);
        }
        world.cluster.webhook_down = true;
        let children = |world: &World| (world.claims.len(), world.snapshots.len(), world.jobs.len());
        let mut had = children(&world);
        let mut blocked = false;
        for _ in 0..60 {
            agent::look(&mut world, &Look::default());
            blocked |= world.blocked.is_some();
            world.now += SignedDuration::from_secs(60);
            world.past.clear();
        }
        had = had.min(children(&world));
        if blocked {
            let (_, message) = error(&world);
            assert!(message.contains("the webhook is down"), "{flavour:?} {done}: {message}");
            assert!(world.status.attempts >= Some(2), "{flavour:?} {done} {had:?}");
            assert!(world.events.iter().any(|event| event.warning));
        }
        script::recover(&mut world);
        world.assert_settled();
    }
}

/// The image of what was pulled.
#[test]
fn an_image_that_cannot_be_created_is_reported() {
    let mut world = crate::endings::before_its_image();
    world.cluster.webhook_down = true;
    for _ in 0..20 {
        agent::look(&mut world, &Look::default());
        world.now += SignedDuration::from_secs(60);
    }
    let (reason, message) = error(&world);
    assert!(reason == "SnapshotNotReady" && message.contains("the webhook is down"), "{reason}: {message}");
    script::recover(&mut world);
    world.assert_settled();
}

/// While it lasts the status says so, and the attempt has ten minutes.
#[test]
fn a_create_that_does_not_work_is_tried_for_ten_minutes() {
    let mut world = World::new(Flavour::SourceDirect);
    world.cluster.webhook_down = true;
    agent::look(&mut world, &Look::default());
    world.now = minutes(&world, 1);
    agent::look(&mut world, &Look::default());
    let condition = world.status.conditions.iter().find(|c| c.type_ == "Synchronizing").unwrap();
    assert!(condition.message.contains("scribe-rclone-src-db cannot be created: the webhook is down"), "{condition:?}");
    world.now = minutes(&world, 10) - SignedDuration::from_secs(1);
    agent::look(&mut world, &Look::default());
    assert!(world.status.last_error.is_none());
    world.cluster.webhook_down = false;
    agent::look(&mut world, &Look::default());
    assert_eq!((world.movers.len(), world.blocked.clone()), (1, None));
    controllers::start_pods(&mut world);
    controllers::end_movers(&mut world, Ending::Good);
    controllers::let_the_cluster_work(&mut world);
    agent::look(&mut world, &Look::default());
    assert!(world.status.last_sync_time.is_some());
    assert_eq!(world.status.run.as_ref().map(|run| run.phase), None::<Phase>);
}

/// A mover hangs, and its deletion is answered 5xx: it runs on, and that is why.
#[test]
fn a_mover_that_cannot_be_deleted_is_named_with_the_answer() {
    let mut world = with_a_mover(Flavour::SourceDirect);
    world.cluster.hangs_since = Some(world.now);
    world.cluster.refuses = Some(|step| step.removes().is_some());
    hours(&mut world, 3);
    let (reason, message) = error(&world);
    assert!(reason == "MoverStalled" && message.contains("its Job could not be deleted: leader changed"), "{reason}: {message}");
    world.cluster.refuses = None;
    script::recover(&mut world);
    world.assert_settled();
}

/// Every deletion is answered 5xx: nothing says that what is left over is being deleted, and the rest of the plan is done all the same.
#[test]
fn what_cannot_be_deleted_is_named_with_the_answer() {
    for flavour in [Flavour::SourceSnapshot, Flavour::SourceDirect] {
        let mut world = World::new(flavour);
        script::begin(&mut world);
        world.cluster.refuses = Some(|step| step.removes().is_some());
        controllers::let_the_cluster_work(&mut world);
        script::all_goes_well(&mut world, 5);
        assert!(world.status.last_sync_time.is_some() && !world.undeleted.is_empty(), "{flavour:?}");
        script::edit(&mut world, |world| world.spec.trigger.manual = Some("next".into()));
        for _ in 0..15 {
            agent::look(&mut world, &Look::default());
            world.now += SignedDuration::from_secs(60);
            world.past.clear();
        }
        let (_, message) = error(&world);
        assert!(message.contains("of an earlier attempt could not be deleted: leader changed"), "{flavour:?}: {message}");
        world.cluster.refuses = None;
        script::recover(&mut world);
        world.assert_settled();
    }
}
