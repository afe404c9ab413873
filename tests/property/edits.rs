//! Whatever changes while a sync runs: the spec, the claims that it names, the object itself, and children deleted by hand.

use crate::agent::{self, Look};
use crate::controllers::{self, Ending};
use crate::script::{self, Happening};
use crate::world::{Flavour, USERS_CLAIM, World};
use jiff::SignedDuration;
use rstest::rstest;
use scribe_agent::api::mover::MoverPod;
use scribe_agent::api::status::Phase;
use scribe_agent::core::model::facts::{Kind, Role};
use scribe_agent::core::model::plan::MoverTask;
use scribe_agent::core::model::retention::Retention;
use scribe_agent::core::model::spec::{Capture, ClaimShape, DestinationClaim, PushLayout, SnapshotClass, Volume};
use serde_json::json;

pub fn volume(
    world: &mut World,
    source: impl FnOnce(&mut Capture),
    destination: impl FnOnce(&mut DestinationClaim, &mut Option<SnapshotClass>),
) {
    world.edited = true;
    match &mut world.spec.volume {
        Volume::Source { capture, .. } => source(capture),
        Volume::Destination { claim, image, cleanup, .. } => {
            *cleanup = false;
            destination(claim, image);
        }
    }
}

/// All that a spec can say of the mover's pod.
fn movers_pod() -> MoverPod {
    let fields = json!({
        "moverResources": { "limits": { "memory": "1Gi" } },
        "moverSecurityContext": { "runAsUser": 1000 },
        "moverServiceAccount": "other",
        "moverPodLabels": { "team": "storage" },
        "moverAffinity": { "nodeAffinity": {} },
        "customCA": { "secretName": "ca", "key": "ca.crt" },
        "moverVolumes": [{ "mountPath": "keys", "volumeSource": { "secret": { "secretName": "keys" } } }],
    });
    serde_json::from_value(fields).unwrap()
}

/// Short steps of an undisturbed sync.
pub fn step(world: &mut World, number: usize) {
    match number % 5 {
        0 | 1 => agent::look(world, &Look::default()),
        2 => controllers::start_pods(world),
        3 => controllers::end_movers(world, Ending::Good),
        _ => controllers::let_the_cluster_work(world),
    }
}

/// Any field, at any moment of a sync: the next sync is one of the new spec, and nothing is left of the old one.
#[rstest]
#[case::path(|w: &mut World| w.spec.remote.path = "elsewhere".into())]
#[case::secret(|w: &mut World| w.spec.remote.secret = "other".into())]
#[case::section(|w: &mut World| w.spec.remote.section = "other".into())]
#[case::guard(|w: &mut World| w.spec.guard.percent = 10)]
#[case::layout(|w: &mut World| w.spec.layout = PushLayout::Packs { retain: None })]
#[case::retained_revisions(|w: &mut World| w.spec.layout = PushLayout::Packs { retain: Some(Box::new(Retention::last(3))) })]
#[case::exclude(|w: &mut World| w.spec.exclude = vec!["*.tmp".into()])]
#[case::pinned_revision(|w: &mut World| script::play(w, &Happening::Pin(1)))]
#[case::pinned_time(|w: &mut World| script::play(w, &Happening::Pin(4)))]
#[case::the_movers_pod(|w: &mut World| w.spec.pod = movers_pod())]
#[case::schedule(|w: &mut World| w.spec.trigger.wait_for_schedule = false)]
#[case::in_place(|w: &mut World| volume(w, |c| *c = Capture::Direct, |_, image| *image = None))]
#[case::by_snapshot(|w: &mut World| volume(w, |c| *c = Capture::Snapshot(SnapshotClass(Some("other".into()))), |_, image| *image = Some(SnapshotClass(None))))]
#[case::by_clone(|w: &mut World| volume(w, |c| *c = Capture::Clone, |_, _| ()))]
#[case::into_an_existing_claim(|w: &mut World| volume(w, |_| (), |claim, _| *claim = DestinationClaim::Existing(USERS_CLAIM.into())))]
#[case::into_a_claim_of_its_own(|w: &mut World| volume(w, |_| (), |claim, _| *claim = DestinationClaim::Private(ClaimShape { size: Some(1 << 31), ..ClaimShape::default() })))]
fn an_edit_at_any_moment_is_followed(#[case] edit: impl Fn(&mut World)) {
    for flavour in Flavour::ALL {
        for moment in 0..25 {
            let mut world = World::new(flavour);
            for number in 0..moment {
                step(&mut world, number);
            }
            script::edit(&mut world, &edit);
            for number in 0..10 {
                step(&mut world, number);
            }
            script::recover(&mut world);
            world.assert_settled();
            assert_eq!(world.paths().last(), Some(&world.spec.remote.path.as_str()), "{flavour:?} at {moment}");

            script::edit(&mut world, |w| w.spec.trigger.manual = Some("another".into()));
            script::recover(&mut world);
            let mover = world.movers.last().unwrap();
            assert_eq!((&mover.remote, &mover.guard), (&world.spec.remote, &world.spec.guard), "{flavour:?} at {moment}");
            if let MoverTask::Push { layout, exclude, .. } = &mover.work {
                assert_eq!((layout, exclude), (&world.spec.layout, &world.spec.exclude), "{flavour:?} at {moment}");
            }
            if let MoverTask::Pull { pin, .. } = &mover.work {
                let asked = [world.spec.pin.clone(), world.wanted()];
                assert!(asked.contains(pin), "{flavour:?} at {moment}: {pin:?}");
            }
            assert_eq!(mover.pod, world.spec.pod, "{flavour:?} at {moment}");
        }
    }
}

/// A world whose first sync has come as far as its mover.
pub fn with_a_mover(flavour: Flavour) -> World {
    let mut world = World::new(flavour);
    script::begin(&mut world);
    controllers::start_pods(&mut world);
    world
}

/// A pod that cannot start because of what the edit mends is not waited for.
#[test]
fn an_edit_does_not_wait_for_a_pod_that_does_not_start() {
    for flavour in Flavour::ALL {
        let mut world = with_a_mover(flavour);
        world.pods[0].started = false;
        let run = world.status.run.clone().unwrap().id;
        script::edit(&mut world, |w| w.spec.remote.path = "elsewhere".into());
        for _ in 0..8 {
            agent::look(&mut world, &Look::default());
            controllers::let_the_cluster_work(&mut world);
        }
        assert_ne!(world.status.run.clone().unwrap().id, run, "{flavour:?}");
        assert_eq!(world.paths(), ["p", "elsewhere"], "{flavour:?}");
    }
}

/// A volume that was never bound is made anew as the edited spec says; a bound one stays.
#[test]
fn an_unbound_volume_is_made_as_the_spec_now_says() {
    for bound in [false, true] {
        let mut world = World::new(Flavour::DestinationImage);
        for _ in 0..2 {
            agent::look(&mut world, &Look::default());
        }
        let first = world.claims.last().unwrap().meta.uid.clone();
        world.claims.last_mut().unwrap().bound = bound;
        script::edit(&mut world, |w| {
            if let Volume::Destination { claim: DestinationClaim::Private(shape), .. } = &mut w.spec.volume {
                shape.storage_class = Some("fast".into());
            }
        });
        for _ in 0..4 {
            agent::look(&mut world, &Look::default());
            let claims = world.claims.clone();
            controllers::let_the_cluster_work(&mut world);
            for (claim, before) in world.claims.iter_mut().filter(|c| c.meta.role.is_some()).zip(claims) {
                claim.bound = before.bound;
            }
        }
        let claim = world.claims.iter().find(|c| c.meta.role == Some(Role::Volume)).unwrap();
        assert_eq!(claim.meta.uid == first, bound);
        assert_eq!(claim.shape.storage_class.as_deref(), (!bound).then_some("fast"));
    }
}

/// Before the capture a missing source is told; after it, and while a mover reads it, the sync goes on.
#[test]
fn a_source_claim_deleted_in_mid_run() {
    let mut world = World::new(Flavour::SourceSnapshot);
    world.claims.clear();
    for _ in 0..2 {
        agent::look(&mut world, &Look::default());
    }
    assert_eq!(world.status.last_error.as_ref().unwrap().reason, "SourcePVCMissing");

    for flavour in [Flavour::SourceSnapshot, Flavour::SourceDirect] {
        let mut world = with_a_mover(flavour);
        world.claims[0].meta.deleting = true; // held by the pod, with Direct
        agent::look(&mut world, &Look::default());
        controllers::end_movers(&mut world, Ending::Good);
        controllers::let_the_cluster_work(&mut world);
        agent::look(&mut world, &Look::default());
        assert_eq!(world.status.last_manual_sync.as_deref(), Some("0"), "{flavour:?}: {:#?}", world.status);
    }
}

/// The temporary claim is as large as the source is by then.
#[test]
fn a_source_that_grew_gets_a_larger_temporary_claim() {
    for flavour in [Flavour::SourceSnapshot, Flavour::SourceClone] {
        let mut world = World::new(flavour);
        if flavour == Flavour::SourceSnapshot {
            agent::look(&mut world, &Look::default());
        }
        world.claims[0].shape.size = Some(5 << 30);
        for _ in 0..4 {
            controllers::let_the_cluster_work(&mut world);
            agent::look(&mut world, &Look::default());
        }
        let temporary = world.claims.iter().find(|c| c.meta.role == Some(Role::Capture)).unwrap();
        assert_eq!(temporary.shape.size, Some(5 << 30));
    }
}

fn synced(flavour: Flavour) -> World {
    let mut world = World::new(flavour);
    script::recover(&mut world);
    world.assert_settled();
    world
}

fn reconciled(world: &World) -> (&str, &str) {
    let condition = world.status.conditions.iter().find(|c| c.type_ == "Reconciled").unwrap();
    (&condition.status, &condition.message)
}

#[test]
fn a_volume_grows_with_the_spec() {
    let mut world = synced(Flavour::DestinationImage);
    script::play(&mut world, &Happening::Grow(true));
    for _ in 0..3 {
        agent::look(&mut world, &Look::default());
        assert_eq!(reconciled(&world).0, "True", "at every moment");
    }
    let size = world.claims.iter().find(|c| c.meta.role == Some(Role::Volume)).unwrap().shape.size;
    assert_eq!(size, Some((1 << 30) + 1));
}

/// Where the storage class does not allow it, that is asked once and told once, and syncs go on.
#[test]
fn a_volume_that_cannot_grow_is_reported() {
    let mut world = synced(Flavour::DestinationImage);
    script::play(&mut world, &Happening::Grow(false));
    for _ in 0..5 {
        agent::look(&mut world, &Look::default());
    }
    let writes = world.writes;
    for _ in 0..100 {
        agent::look(&mut world, &Look::default());
        world.now += SignedDuration::from_secs(30);
    }
    assert_eq!((world.refusals, world.writes), (1, writes), "it goes on writing");
    assert_eq!(reconciled(&world), ("False", "the storage class does not allow it"));
    assert_eq!(world.events.iter().filter(|e| e.reason.as_str() == "ResizeRefused").count(), 1);
    script::recover(&mut world);
    world.assert_settled();
    // A restarted agent asks once more and tells nothing new.
    world.refused_size = None;
    let writes = world.writes;
    for _ in 0..3 {
        agent::look(&mut world, &Look::default());
    }
    assert_eq!((world.refusals, world.writes), (2, writes));
    script::edit(&mut world, |w| {
        if let Volume::Destination { claim: DestinationClaim::Private(shape), .. } = &mut w.spec.volume {
            shape.size = Some(1 << 30);
        }
    });
    agent::look(&mut world, &Look::default());
    assert_eq!(reconciled(&world).0, "True");
}

/// A new object of an old name waits for what is left of the old one: its claims, and above all its mover.
#[test]
fn a_namesake_waits_for_the_old_mover() {
    for flavour in Flavour::ALL {
        let mut world = with_a_mover(flavour);
        script::play(&mut world, &Happening::Rebirth);
        for _ in 0..3 {
            // The world refuses a mover beside a live one.
            agent::look(&mut world, &Look::default());
            world.now += SignedDuration::from_secs(5);
        }
        assert!(world.status.last_error.is_none(), "{flavour:?}: {:#?}", world.status.last_error);
        controllers::end_movers(&mut world, Ending::Failed);
        world.pods.clear();
        controllers::let_the_cluster_work(&mut world);
        script::recover(&mut world);
        world.assert_settled();
    }
}

/// Temporary children deleted by hand before the mover starts: the attempt fails, the next one captures afresh.
#[test]
fn children_deleted_by_hand_are_made_again() {
    for flavour in [Flavour::SourceSnapshot, Flavour::SourceClone] {
        for looks in 1..5 {
            let mut world = World::new(flavour);
            for _ in 0..looks {
                agent::look(&mut world, &Look::default());
                controllers::let_the_cluster_work(&mut world);
            }
            script::play(&mut world, &Happening::HandDelete(Role::Capture));
            script::recover(&mut world);
            world.assert_settled();
        }
    }
}

/// A claim of a stranger with the name that ours would get is told at once, and never used.
#[test]
fn a_strangers_claim_is_not_used() {
    for (flavour, name) in [(Flavour::SourceSnapshot, "scribe-src-db"), (Flavour::DestinationImage, "scribe-dest-db")] {
        let mut world = World::new(flavour);
        world.put_claim(name, false);
        for _ in 0..3 {
            agent::look(&mut world, &Look::default());
        }
        assert_eq!(world.status.last_error.as_ref().unwrap().reason, "InvalidSpec");
        assert_eq!(world.status.run.as_ref().unwrap().phase, Phase::Backoff);
        assert!(world.jobs.is_empty() && world.object.kind == if name.contains("src") { Kind::Source } else { Kind::Destination });
    }
}

/// A pod that starts just as its run is given up for an edit: its claim stays until it has stopped.
#[test]
fn a_claim_outlives_a_mover_that_started_late() {
    let mut world = World::new(Flavour::SourceSnapshot);
    agent::look(&mut world, &Look::default());
    script::play(&mut world, &Happening::Cluster);
    agent::look(&mut world, &Look::default());
    script::play(&mut world, &Happening::Pause(false));
    agent::look(&mut world, &Look { behind: 2, ..Look::default() });
    script::play(&mut world, &Happening::PodStarts);
    // The world does not let the claim of a live mover go.
    agent::look(&mut world, &Look::default());
    assert!(world.jobs.iter().all(|j| j.meta.deleting), "{:?}", world.jobs);
    script::recover(&mut world);
    world.assert_settled();
}

/// What has not reached its mover goes no further; a mover that lives is left to end. Once the spec is mended, all goes on.
#[test]
fn an_invalid_spec_starts_nothing() {
    for flavour in Flavour::ALL {
        for moment in 0..15 {
            let mut world = World::new(flavour);
            for number in 0..moment {
                step(&mut world, number);
            }
            script::edit(&mut world, |world| world.invalid = Some("bad".into()));
            let (lived, movers) = (world.pods.iter().any(|pod| !pod.ended), world.movers.len());
            agent::look(&mut world, &Look::default());
            let goes_on = |world: &World| world.status.run.as_ref().is_some_and(|run| run.phase != Phase::Backoff);
            assert!(lived || !goes_on(&world), "{flavour:?} at {moment}");
            let is_ahead = world.status.next_sync_time.as_ref().is_some_and(|time| time.0 > world.now);
            assert!(world.status.next_attempt_time.is_none() && !is_ahead);
            assert_eq!(world.events.iter().filter(|event| event.reason.as_str() == "InvalidSpec").count(), 1);
            for number in 0..20 {
                step(&mut world, number);
            }
            assert!(!goes_on(&world) && world.movers.len() == movers, "{flavour:?} at {moment}");
            let captures = world.claims.iter().map(|c| &c.meta).chain(world.snapshots.iter().map(|s| &s.meta));
            assert!(captures.filter(|meta| meta.role == Some(Role::Capture)).all(|meta| meta.deleting), "{flavour:?} at {moment}");
            script::edit(&mut world, |world| world.invalid = None);
            script::recover(&mut world);
            world.assert_settled();
        }
    }
}
