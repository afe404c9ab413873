//! A cluster that takes hours: what it makes is kept and waited for, without a place, and the status says what is waited for and why.

use crate::agent::{self, Look};
use crate::controllers::{self, Ending};
use crate::deadlines::{given_up, minutes};
use crate::endings::before_its_image;
use crate::script::{self, Happening};
use crate::search::Turns;
use crate::waking::next_attempt;
use crate::world::{Flavour, World};
use jiff::SignedDuration;
use rstest::rstest;
use scribe_agent::api::status::Phase;
use scribe_agent::core::model::facts::{Role, Slot};
use scribe_agent::core::model::spec::{Capture, DestinationClaim, Trigger, Volume};
use scribe_agent::core::schedule::queue;
use scribe_agent::core::syntax::cron::Schedule;
use std::collections::{BTreeMap, BTreeSet};

fn phase(world: &World) -> Option<Phase> {
    world.status.run.as_ref().map(|run| run.phase)
}

fn message(world: &World) -> &str {
    &world.status.conditions.iter().find(|c| c.type_ == "Synchronizing").unwrap().message
}

/// Until the first sync has succeeded, in a world where snapshots are ready and claims bound so many minutes after they were asked for.
/// Movers take no time. Gives the children that were asked for.
fn live(world: &mut World, takes: i64) -> BTreeSet<String> {
    let (mut asked, mut born) = (BTreeSet::new(), BTreeMap::new());
    for _ in 0..3 * takes + 120 {
        for _ in 0..3 {
            agent::look(world, &Look::default());
            controllers::note_ended(world);
            controllers::stop_deleted(world);
            controllers::collect(world);
        }
        if world.status.last_sync_time.is_some() {
            return asked;
        }
        let now = world.now;
        let mut done = |uid: &str| {
            asked.insert(uid.to_owned());
            now.duration_since(*born.entry(uid.to_owned()).or_insert(now)) >= SignedDuration::from_mins(takes)
        };
        world.snapshots.iter_mut().filter(|s| !s.ready).for_each(|snapshot| snapshot.ready = done(&snapshot.meta.uid));
        world.claims.iter_mut().filter(|c| !c.bound).for_each(|claim| claim.bound = done(&claim.meta.uid));
        world.cluster.slow = world.claims.iter().any(|claim| !claim.bound);
        controllers::start_pods(world);
        if !world.cluster.slow {
            controllers::end_movers(world, Ending::Good);
        }
        world.past.clear();
        world.now += SignedDuration::from_secs(60);
    }
    panic!("no sync: {asked:?} {:#?}", world.status);
}

/// Whatever it takes, and however often a slot comes meanwhile: each child is asked for once.
#[rstest]
#[case::a_snapshot_and_a_volume_from_it(Flavour::SourceSnapshot, 2)]
#[case::a_clone(Flavour::SourceClone, 1)]
#[case::a_volume_and_its_image(Flavour::DestinationImage, 2)]
fn what_takes_hours_is_waited_for(#[case] flavour: Flavour, #[case] children: usize, #[values(20, 100, 200, 500)] takes: i64) {
    let mut world = World::new(flavour);
    world.cluster.warning = None;
    world.spec.trigger = Trigger { schedule: Some(Schedule::parse("*/6 * * * *", None).unwrap()), ..Trigger::default() };
    let asked = live(&mut world, takes);
    assert_eq!(asked.len(), children, "{asked:?}");
}

/// In a status that nobody has to ask for: what is waited for, after a quarter of a minute, and the cluster's reason.
#[test]
fn what_is_waited_for_stands_in_the_status() {
    let waits = |world: &mut World, error: Option<&str>| {
        world.snapshots.iter_mut().for_each(|snapshot| snapshot.error = error.map(str::to_owned));
        let (quiet, begun) = (message(world).to_owned(), world.status.run.as_ref().unwrap().phase_time.0);
        world.now = begun + SignedDuration::from_secs(14);
        agent::look(world, &Look::default());
        assert_eq!(message(world), quiet, "most waits are over by then");
        world.now = begun + SignedDuration::from_secs(15);
        agent::look(world, &Look::default());
        message(world).to_owned()
    };
    let mut world = World::new(Flavour::SourceSnapshot);
    agent::look(&mut world, &Look::default());
    assert_eq!(waits(&mut world, None), "Waiting for VolumeSnapshot scribe-src-db to be ready: words");
    world.snapshots[0].error = Some("no such class".into());
    agent::look(&mut world, &Look::default());
    assert_eq!(message(&world), "Waiting for VolumeSnapshot scribe-src-db to be ready: no such class");

    let mut world = before_its_image();
    agent::look(&mut world, &Look::default());
    assert!(waits(&mut world, Some("busy")).ends_with(" to be ready: busy"), "{}", message(&world));

    for (flavour, bound, pod, said) in [
        (Flavour::DestinationImage, false, true, "Waiting for PVC scribe-dest-db to get its volume: words"),
        (Flavour::SourceDirect, true, false, "Waiting for the pod of Job scribe-rclone-src-db: words"),
        (Flavour::SourceDirect, true, true, "Waiting for pod scribe-rclone-src-db-pod to start: words"),
    ] {
        let mut world = World::new(flavour);
        for _ in 0..3 {
            agent::look(&mut world, &Look::default());
        }
        world.claims.iter_mut().for_each(|claim| claim.bound = bound);
        if pod {
            controllers::start_pods(&mut world);
            world.pods[0].started = false;
        }
        assert_eq!(waits(&mut world, None), said);
        controllers::start_pods(&mut world);
        world.pods[0].started = true;
        agent::look(&mut world, &Look::default());
        assert_eq!(message(&world), "Moving data");
    }
}

/// The reason of a failure stands there until it is known to be untrue, that is until a sync succeeds.
#[test]
fn the_last_error_is_kept_while_the_next_attempt_runs() {
    let mut world = World::new(Flavour::SourceDirect);
    crate::waking::attempt(&mut world, Ending::WithoutReport);
    controllers::let_the_cluster_work(&mut world);
    world.now = next_attempt(&world);
    agent::look(&mut world, &Look::default());
    assert_eq!(phase(&world), Some(Phase::Transferring));
    let error = world.status.last_error.clone().unwrap().message;
    assert_eq!(message(&world), format!("Moving data; the last error: {error}"));
}

/// A place is for those that work: after two minutes another sync may start, and the mover needs a place of its own.
#[test]
fn a_snapshot_that_takes_long_holds_no_slot() {
    let mut world = World::new(Flavour::SourceSnapshot);
    agent::look(&mut world, &Look::default());
    assert!(queue::under_way(&world.status));
    world.now = minutes(&world, 2);
    agent::look(&mut world, &Look::default());
    assert_eq!((phase(&world), queue::under_way(&world.status)), (Some(Phase::WaitingForSnapshot), false));
    world.slot = Slot::Taken;
    world.snapshots[0].ready = true;
    let writes = world.writes;
    for _ in 0..3 {
        agent::look(&mut world, &Look::default());
        world.now += SignedDuration::from_secs(60);
    }
    assert_eq!((phase(&world), world.writes), (Some(Phase::WaitingForSnapshot), writes + 1));
    assert!(world.status.waiting_since.is_some() && message(&world).contains("maxConcurrentSyncs"));
    world.slot = Slot::Free;
    agent::look(&mut world, &Look::default());
    assert_eq!(phase(&world), Some(Phase::Transferring));
}

/// Somebody deletes it meanwhile: another one is made.
#[test]
fn a_snapshot_that_is_deleted_while_it_is_waited_for() {
    let mut world = World::new(Flavour::SourceSnapshot);
    agent::look(&mut world, &Look::default());
    world.now = minutes(&world, 2);
    agent::look(&mut world, &Look::default());
    script::play(&mut world, &Happening::HandDelete(Role::Capture));
    controllers::collect(&mut world);
    agent::look(&mut world, &Look::default());
    assert_eq!((phase(&world), world.status.attempts, world.snapshots.len()), (Some(Phase::Capturing), None, 1));
    script::recover(&mut world);
    world.assert_settled();
}

/// What the search cannot see with one trouble on a path: snapshots that take longer than two waits, and such as fail.
pub fn turns_of_slow_snapshots() -> Turns {
    let mut turns = Turns::new();
    let mut look = |world: &mut World| {
        let before = phase(world);
        agent::look(world, &Look::default());
        if before != phase(world) {
            turns.insert((before, phase(world)));
        }
    };
    for takes in [3, 200] {
        let mut world = World::new(Flavour::SourceSnapshot);
        for _ in 0..600 {
            look(&mut world);
            live_on(&mut world, takes);
        }
    }
    for mut world in [World::new(Flavour::SourceSnapshot), before_its_image()] {
        look(&mut world);
        world.snapshots[0].error = Some("no such class".into());
        world.now = minutes(&world, 10);
        look(&mut world);
    }
    turns
}

fn live_on(world: &mut World, takes: i64) {
    let ready = world.now - SignedDuration::from_mins(takes);
    let begun = world.status.last_sync_start_time.as_ref().is_some_and(|start| start.0 <= ready);
    world.snapshots.iter_mut().for_each(|snapshot| snapshot.ready |= begun);
    world.claims.iter_mut().for_each(|claim| claim.bound = true);
    world.past.clear();
    world.now += SignedDuration::from_secs(60);
}

/// An image that is late is reported, again and again; what was pulled is not pulled again, and the image is published in the end.
#[test]
fn an_image_that_is_late_is_published_in_the_end() {
    let mut world = before_its_image();
    agent::look(&mut world, &Look::default());
    let (image, movers) = (world.snapshots[0].meta.uid.clone(), world.movers.len());
    for reports in 1..=5 {
        world.now = minutes(&world, 120);
        for _ in 0..2 {
            agent::look(&mut world, &Look::default());
        }
        let error = world.status.last_error.as_ref().unwrap();
        assert_eq!((error.reason.as_str(), world.status.attempts), ("SnapshotNotReady", Some(reports)));
        assert!(error.message.contains("still not ready") && error.message.contains("snapshotTimeout"), "{}", error.message);
        assert!(!queue::under_way(&world.status) && phase(&world) == Some(Phase::Publishing));
    }
    let told = |reason: &str| world.events.iter().filter(|event| event.reason.as_str() == reason).count();
    assert_eq!((told("SnapshotNotReady"), told("Failing")), (1, 1));
    controllers::let_the_cluster_work(&mut world);
    agent::look(&mut world, &Look::default());
    assert!(world.status.latest_image.is_some() && world.status.last_error.is_none());
    assert_eq!((world.snapshots[0].meta.uid.as_str(), world.movers.len()), (image.as_str(), movers));
}

/// Until it is late, an edit waits for it (`endings`); after that it helps.
#[test]
fn an_edit_supersedes_an_image_that_is_late() {
    let mut world = before_its_image();
    agent::look(&mut world, &Look::default());
    world.now = minutes(&world, 120);
    agent::look(&mut world, &Look::default());
    let run = world.status.run.clone().unwrap().id;
    script::edit(&mut world, |w| w.spec.remote.path = "elsewhere".into());
    agent::look(&mut world, &Look::default());
    assert_ne!(world.status.run.as_ref().unwrap().id, run);
    script::recover(&mut world);
    world.assert_settled();
}

/// The attempts after the first only give a provisioner its pod, for two minutes each.
#[test]
fn an_unbound_volume_takes_a_slot_for_minutes_only() {
    let mut world = World::new(Flavour::DestinationImage);
    world.cluster.warning = None;
    for _ in 0..3 {
        agent::look(&mut world, &Look::default());
    }
    let first = minutes(&world, 60);
    given_up(&mut world, first, "VolumeNotBound");
    controllers::stop_deleted(&mut world);
    world.now = next_attempt(&world);
    agent::look(&mut world, &Look::default());
    assert!(queue::under_way(&world.status));
    world.now = minutes(&world, 2);
    agent::look(&mut world, &Look::default());
    assert_eq!((phase(&world), world.status.attempts), (Some(Phase::Backoff), Some(2)));
    assert_eq!(world.claims.iter().filter(|c| c.meta.role == Some(Role::Volume) && !c.meta.deleting).count(), 1);
}

/// The agent dies between the status that opens a run and the first child, and is away for longer than any deadline.
#[test]
fn the_time_without_an_agent_does_not_count() {
    for flavour in Flavour::ALL {
        let mut world = World::new(flavour);
        agent::look(&mut world, &Look { crash_at: Some(1), ..Look::default() });
        assert!(world.status.run.is_some());
        world.past.clear();
        world.now += SignedDuration::from_hours(3);
        world.cluster.slow = true;
        for _ in 0..5 {
            agent::look(&mut world, &Look::default());
            controllers::let_the_cluster_work(&mut world);
            world.now += SignedDuration::from_secs(1);
        }
        assert!(world.status.last_error.is_none(), "{flavour:?}: {:#?}", world.status);
        world.cluster.slow = false;
        script::recover(&mut world);
        world.assert_settled();
    }
}

/// What the cluster says of a storage class that it does not have is no help to somebody who has set it long ago: the field is named, in the
/// report of the wait and in that of the failure.
#[test]
fn a_storage_class_that_is_not_there_is_named_with_its_field() {
    let not_found = |class: &str| Some(format!("ProvisioningFailed: storageclass.storage.k8s.io {class:?} not found"));
    for (flavour, own) in [(Flavour::SourceSnapshot, true), (Flavour::SourceSnapshot, false), (Flavour::DestinationImage, true)] {
        let mut world = World::new(flavour);
        let class = Some("nowhere".to_owned());
        match &mut world.spec.volume {
            Volume::Source { temporary: shape, .. } | Volume::Destination { claim: DestinationClaim::Private(shape), .. } if own => {
                shape.storage_class = class;
            }
            _ => world.claims[0].shape.storage_class = class,
        }
        world.cluster.warning = not_found("nowhere");
        agent::look(&mut world, &Look::default());
        world.snapshots.iter_mut().for_each(|snapshot| snapshot.ready = true);
        for _ in 0..3 {
            agent::look(&mut world, &Look::default());
        }
        world.cluster.slow = true;
        controllers::start_pods(&mut world);
        world.past.clear();
        world.now += SignedDuration::from_secs(20);
        agent::look(&mut world, &Look::default());
        let words =
            if own { "spec.rclone.storageClassName names the storage class \"nowhere\"" } else { "set spec.rclone.storageClassName" };
        assert!(message(&world).contains(words), "{flavour:?} {own}: {}", message(&world));
        world.now += SignedDuration::from_secs(60);
        agent::look(&mut world, &Look::default());
        let error = world.status.last_error.clone().unwrap();
        assert!(error.reason == "VolumeNotBound" && error.message.contains(words), "{error:?}");
    }
}

/// Nor is what the snapshot controller says of a snapshot class: within a minute the attempt has failed, naming the field, and once that is
/// corrected, the snapshot is made at once.
#[test]
fn a_snapshot_class_that_is_not_there_is_named_with_its_field() {
    let not_there = r#"Failed to get snapshot class with error volumesnapshotclass.snapshot.storage.k8s.io "nowhere" not found"#;
    let no_default = "Failed to set default snapshot class with error cannot find default snapshot class";
    for flavour in [Flavour::SourceSnapshot, Flavour::DestinationImage] {
        for (class, said, words) in [
            (Some("nowhere"), not_there, "spec.rclone.volumeSnapshotClassName names the VolumeSnapshotClass \"nowhere\""),
            (None, no_default, "set spec.rclone.volumeSnapshotClassName to one"),
        ] {
            for by_event in [false, true] {
                let mut world = if flavour == Flavour::SourceSnapshot { World::new(flavour) } else { before_its_image() };
                name_snapshot_class(&mut world, class);
                agent::look(&mut world, &Look::default());
                let snapshot = world.snapshots[0].meta.uid.clone();
                if by_event {
                    world.cluster.warning = Some(said.into());
                } else {
                    world.snapshots[0].error = Some(said.into());
                }
                world.now += SignedDuration::from_secs(20);
                agent::look(&mut world, &Look::default());
                assert!(message(&world).contains(said) && message(&world).contains(words), "{flavour:?}: {}", message(&world));
                world.now += SignedDuration::from_secs(40);
                agent::look(&mut world, &Look::default());
                let error = world.status.last_error.clone().unwrap();
                let told = error.message.contains(said) && error.message.contains(words) && !error.message.contains("snapshotTimeout");
                assert!(error.reason == "SnapshotNotReady" && told, "{flavour:?} {by_event}: {error:?}");
                assert_eq!(world.status.reason.as_deref(), Some("SnapshotNotReady"), "{flavour:?}");
                world.cluster.warning = None;
                script::edit(&mut world, |world| name_snapshot_class(world, Some("there")));
                script::recover(&mut world);
                world.assert_settled();
                assert!(world.snapshots.iter().all(|s| s.meta.uid != snapshot), "{flavour:?}: it is made anew");
            }
        }
    }
}

fn name_snapshot_class(world: &mut World, name: Option<&str>) {
    let (Volume::Source { capture: Capture::Snapshot(class), .. } | Volume::Destination { image: Some(class), .. }) =
        &mut world.spec.volume
    else {
        panic!("no snapshots");
    };
    class.0 = name.map(str::to_owned);
}

/// No node takes its pod, or its volume is not bound: a slot that nothing works in is another's. The pod stays, and what runs again has its slot, be
/// there one or not.
#[test]
fn a_pod_that_does_not_start_gives_its_slot_back() {
    for flavour in Flavour::ALL {
        for starts in [true, false] {
            let mut world = World::new(flavour);
            script::begin(&mut world);
            world.cluster.slow = true;
            controllers::start_pods(&mut world);
            agent::look(&mut world, &Look::default());
            assert!(phase(&world) == Some(Phase::Transferring) && queue::under_way(&world.status), "{flavour:?}");
            world.now += SignedDuration::from_secs(125);
            world.past.clear();
            for _ in 0..3 {
                agent::look(&mut world, &Look::default());
            }
            let mine = queue::QueueEntry::of(&world.facts()).candidate(queue::Movers::Pending, world.now);
            assert!(!queue::under_way(&world.status) && !mine.under_way && mine.position.is_none(), "{flavour:?}");
            assert!(phase(&world) == Some(Phase::Transferring) && !world.jobs[0].meta.deleting, "{flavour:?}: the pod is kept");
            world.slot = Slot::Taken;
            if starts {
                world.cluster.slow = false;
                controllers::start_pods(&mut world);
                world.past.clear();
                let seen = queue::QueueEntry::of(&world.facts()).candidate(queue::Movers::Running, world.now);
                assert!(seen.under_way, "{flavour:?}: before the status shows it");
                agent::look(&mut world, &Look::default());
                assert!(queue::under_way(&world.status), "{flavour:?}");
                script::calm_down(&mut world);
                assert_eq!((world.movers.len(), world.status.last_error.clone()), (1, None), "{flavour:?}");
            } else {
                // The attempt ends as ever, and the next one asks for a slot.
                for _ in 0..60 {
                    agent::look(&mut world, &Look::default());
                    controllers::stop_deleted(&mut world);
                    world.past.clear();
                    world.now += SignedDuration::from_mins(1);
                }
                assert!(world.status.last_error.is_some() && phase(&world) == Some(Phase::Backoff), "{flavour:?}");
                assert!(world.status.waiting_since.is_some(), "{flavour:?}");
                script::calm_down(&mut world);
                world.assert_settled_without_a_tag();
            }
        }
    }
}
