//! What an edit cannot change, what a volume that goes after each sync is created from, and which syncs are no news.

use crate::agent::{self, Look};
use crate::controllers::{self, Ending};
use crate::deadlines::minutes;
use crate::script;
use crate::world::{Flavour, USERS_CLAIM, World};
use jiff::SignedDuration;
use scribe_agent::api::reason::Reason;
use scribe_agent::core::model::facts::Role;
use scribe_agent::core::model::plan::MoverTask;
use scribe_agent::core::model::spec::{ClaimShape, DestinationClaim, Trigger, Volume};

fn reconciled(world: &World) -> (&str, &str) {
    let condition = world.status.conditions.iter().find(|c| c.type_ == "Reconciled").unwrap();
    (&condition.status, &condition.message)
}

fn synced(flavour: Flavour) -> World {
    let mut world = World::new(flavour);
    script::recover(&mut world);
    world
}

fn reshape(world: &mut World, change: impl FnOnce(&mut ClaimShape)) {
    script::edit(world, |world| {
        if let Volume::Destination { claim: DestinationClaim::Private(shape), .. } = &mut world.spec.volume {
            change(shape);
        }
    });
    for _ in 0..3 {
        agent::look(world, &Look::default());
    }
}

/// An edit of what a PVC cannot change is reported as long as it is there.
#[test]
fn what_cannot_be_changed_is_reported() {
    let mut world = synced(Flavour::DestinationImage);
    for claim in world.claims.iter_mut().filter(|claim| claim.meta.role == Some(Role::Volume)) {
        claim.shape.storage_class = Some("slow".into());
    }
    assert_eq!(reconciled(&world), ("True", "Reconcile complete"));
    reshape(&mut world, |shape| {
        (shape.storage_class, shape.access_modes) = (Some("fast".into()), Some(vec!["ReadWriteMany".into(), "ReadOnlyMany".into()]));
    });
    let (status, message) = reconciled(&world);
    let named =
        ["PVC scribe-dest-db", "storageClassName \"fast\" (it has \"slow\")", "[ReadWriteMany, ReadOnlyMany] (it has [ReadWriteOnce])"];
    assert!(status == "False" && named.iter().all(|words| message.contains(words)), "{message}");
    reshape(&mut world, |shape| (shape.storage_class, shape.access_modes) = (Some("slow".into()), None));
    assert_eq!(reconciled(&world), ("True", "Reconcile complete"));
}

/// A volume that is not used any more, and fields without an effect: nothing fails because of them.
#[test]
fn what_is_left_over_is_named() {
    let mut world = synced(Flavour::DestinationImage);
    script::edit(&mut world, |world| {
        if let Volume::Destination { claim, .. } = &mut world.spec.volume {
            *claim = DestinationClaim::Existing(USERS_CLAIM.into());
        }
        world.spec.unused = vec!["capacity"];
    });
    world.edited = true;
    script::calm_down(&mut world);
    let (status, message) = reconciled(&world);
    assert!(status == "True" && message.contains("PVC scribe-dest-db was created for this object and is not used"), "{message}");
    assert!(message.contains("capacity in spec.rclone: no effect beside destinationPVC"), "{message}");
    world.claims.retain(|claim| claim.meta.role.is_none());
    agent::look(&mut world, &Look::default());
    assert!(!reconciled(&world).1.contains("scribe-dest-db"));
}

/// An outsider counted 60 full downloads and 60 images an hour of one unchanged revision.
#[test]
fn an_unchanged_revision_is_not_pulled_again() {
    let mut world = synced(Flavour::DestinationCleanup);
    let images = world.status.images.clone();
    for number in 0..3 {
        script::edit(&mut world, |world| world.spec.trigger.manual = Some(format!("again-{number}")));
        script::calm_down(&mut world);
        world.assert_settled_without_a_tag();
        assert_eq!(world.status.images, images);
        let MoverTask::Pull { applied, .. } = &world.movers.last().unwrap().work else { panic!("a push") };
        assert_eq!(applied.as_deref(), Some("r1"));
    }
    world.remote = Some(2);
    script::recover(&mut world);
    world.assert_settled();
}

/// An image that cannot be restored keeps no sync from pulling everything.
#[test]
fn an_image_that_cannot_be_restored_is_done_without() {
    let mut world = synced(Flavour::DestinationCleanup);
    script::edit(&mut world, |world| world.spec.trigger.manual = Some("again".into()));
    world.cluster.slow = true;
    for _ in 0..150 {
        agent::look(&mut world, &Look::default());
        controllers::start_pods(&mut world);
        controllers::stop_deleted(&mut world);
        controllers::collect(&mut world);
        world.past.clear();
        world.now += SignedDuration::from_secs(60);
        let from_nothing = world.claims.iter().any(|claim| claim.meta.role == Some(Role::Volume) && claim.made_from.is_none());
        if from_nothing {
            script::calm_down(&mut world);
            return world.assert_settled_without_a_tag();
        }
    }
    panic!("it waits for ever: {:#?}", world.status);
}

/// One that has synced, whose next volume waits to be restored from the image.
fn restoring() -> World {
    let mut world = synced(Flavour::DestinationCleanup);
    script::edit(&mut world, |world| world.spec.trigger.manual = Some("again".into()));
    (world.cluster.slow, world.cluster.warning) = (true, None);
    for _ in 0..3 {
        agent::look(&mut world, &Look::default());
        controllers::start_pods(&mut world);
    }
    assert!(world.claims.iter().any(|claim| claim.made_from.is_some() && !claim.bound), "{:#?}", world.claims);
    world
}

fn to(world: &mut World, now: jiff::Timestamp) {
    world.now = now;
    agent::look(world, &Look::default());
}

/// Image, deadline, setting, and what follows: while it lasts, and once it is over.
#[test]
fn a_slow_restore_is_announced_and_explained() {
    let mut world = restoring();
    let (quarter, hour) = (minutes(&world, 15), minutes(&world, 60));
    let image = world.status.latest_image.clone().unwrap().name;
    to(&mut world, quarter);
    let message = world.status.conditions.iter().find(|c| c.type_ == "Synchronizing").unwrap().message.clone();
    let until = scribe_agent::core::model::clock::seconds(hour).to_string();
    for said in ["PVC scribe-dest-db", &image, &until, "podStartTimeout in agent.yaml", "everything is pulled"] {
        assert!(message.contains(said), "{said}: {message}");
    }
    to(&mut world, hour);
    let error = world.status.last_error.clone().unwrap();
    assert_eq!(error.reason, "VolumeNotBound");
    for said in ["PVC scribe-dest-db", &image, "1h0m0s", "podStartTimeout", "pulls everything", "cleanupTempPVC"] {
        assert!(error.message.contains(said), "{said}: {}", error.message);
    }
    // With a reason that lasts, sooner; the setting is not what ended it then.
    let mut world = restoring();
    world.cluster.warning = Some("FailedScheduling: 0/1 nodes are available".into());
    let ten = minutes(&world, 10);
    to(&mut world, ten);
    let message = world.status.last_error.clone().unwrap().message;
    assert!(!message.contains("longer than podStartTimeout") && message.contains("0/1 nodes"), "{message}");
}

/// Otherwise the next attempt would restore again, and be given up again, without end.
#[test]
fn a_slow_restore_is_not_tried_again_while_its_volume_does_not_go() {
    let mut world = restoring();
    let hour = minutes(&world, 60);
    to(&mut world, hour);
    // The driver keeps it for half an hour.
    for _ in 0..30 {
        controllers::stop_deleted(&mut world);
        let next = world.now + SignedDuration::from_secs(60);
        to(&mut world, next);
        world.past.clear();
    }
    assert!(world.claims.iter().any(|claim| claim.meta.deleting), "{:#?}", world.claims);
    assert!(world.status.attempts > Some(1), "{:#?}", world.status);
    controllers::collect(&mut world);
    for _ in 0..30 {
        let next = world.now + SignedDuration::from_secs(60);
        to(&mut world, next);
    }
    let volumes: Vec<_> = world.claims.iter().filter(|claim| claim.meta.role == Some(Role::Volume)).collect();
    assert!(matches!(volumes[..], [claim] if claim.made_from.is_none()), "{volumes:#?}");
    script::calm_down(&mut world);
    world.assert_settled_without_a_tag();
}

/// Without a trigger a sync a minute would bury everything else in `kubectl describe`.
#[test]
fn a_continuous_sync_without_news_publishes_nothing() {
    for flavour in Flavour::ALL {
        let mut world = World::new(flavour);
        world.spec.trigger = Trigger::default();
        script::calm_down(&mut world);
        let told = |world: &World, reason: Reason| world.events.iter().filter(|event| event.reason == reason).count();
        let first = world.events.len();
        assert_eq!((told(&world, Reason::SyncStarted), told(&world, Reason::SyncCompleted)), (1, 1), "{flavour:?}");
        let movers = world.movers.len();
        script::calm_down(&mut world);
        assert!(world.movers.len() > movers + 10, "{flavour:?}: it does not sync");
        assert_eq!(world.events.len(), first, "{flavour:?}: {:#?}", world.events.last());
        // What ends a failure is news.
        crate::waking::attempt(&mut world, Ending::Failed);
        let failed = world.events.len();
        script::calm_down(&mut world);
        assert!(world.events.len() > failed || world.status.attempts.is_none() && failed == first, "{flavour:?}");
    }
}
