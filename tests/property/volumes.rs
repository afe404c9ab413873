//! Which volume a mover gets, and what it is told of it.

use crate::agent::{self, Look};
use crate::controllers::{self, Ending};
use crate::script;
use crate::world::{Flavour, USERS_CLAIM, World};
use rstest::rstest;
use scribe_agent::api::status::Phase;
use scribe_agent::core::model::facts::{Growth, Role};
use scribe_agent::core::model::plan::MoverTask;
use scribe_agent::core::model::spec::{ClaimShape, DestinationClaim, Volume};

fn last_error(world: &World) -> Option<&str> {
    world.status.last_error.as_ref().map(|error| error.reason.as_str())
}

#[rstest]
#[case(Flavour::SourceSnapshot)]
#[case(Flavour::SourceDirect)]
#[case(Flavour::DestinationExisting)]
fn a_raw_block_volume_is_refused(#[case] flavour: Flavour) {
    let mut world = World::new(flavour);
    world.claims[0].block = true;
    script::begin(&mut world);
    assert_eq!(last_error(&world), Some("InvalidSpec"));
    assert!(world.movers.is_empty());
}

/// With `Direct` no temporary claim is made, so nobody is in the way of its name.
#[test]
fn a_strangers_claim_is_not_in_the_way_of_a_direct_push() {
    let mut world = World::new(Flavour::SourceDirect);
    world.put_claim("scribe-src-db", false);
    script::begin(&mut world);
    assert_eq!((last_error(&world), world.movers[0].claim.as_str()), (None, USERS_CLAIM));
}

/// What a namesake left under another name has no part in this.
#[test]
fn only_a_namesakes_claim_of_the_same_name_is_waited_for() {
    for (name, waits) in [("scribe-src-db", true), ("scribe-src-other", false)] {
        let mut world = World::new(Flavour::SourceSnapshot);
        world.put_claim(name, true);
        for _ in 0..4 {
            agent::look(&mut world, &Look::default());
            world.snapshots.iter_mut().for_each(|snapshot| snapshot.ready = true);
        }
        assert_eq!(world.movers.is_empty(), waits, "{name}");
    }
}

fn shape(size: u64, mode: &str, class: &str) -> ClaimShape {
    ClaimShape { size: Some(size), access_modes: Some(vec![mode.into()]), storage_class: Some(class.into()) }
}

fn made(world: &World, role: Role) -> ClaimShape {
    world.claims.iter().find(|c| c.meta.role == Some(role)).unwrap().shape.clone()
}

/// As the source is, unless the spec says otherwise, and as large as any of them needs.
#[test]
fn a_temporary_claim_is_like_its_source() {
    for (wanted, expected) in
        [(ClaimShape::default(), shape(7, "ReadWriteMany", "slow")), (shape(9, "ReadWriteOnce", "fast"), shape(9, "ReadWriteOnce", "fast"))]
    {
        let mut world = World::new(Flavour::SourceSnapshot);
        world.claims[0].shape = shape(5, "ReadWriteMany", "slow");
        if let Volume::Source { temporary, .. } = &mut world.spec.volume {
            *temporary = wanted;
        }
        agent::look(&mut world, &Look::default());
        world.snapshots[0].restore_size = Some(7);
        script::begin(&mut world);
        assert_eq!(made(&world, Role::Capture), expected);
    }
}

#[test]
fn a_volume_is_made_as_the_spec_says() {
    for (wanted, modes) in [(None, "ReadWriteOnce"), (Some("ReadWriteMany"), "ReadWriteMany")] {
        let mut world = World::new(Flavour::DestinationImage);
        if let Volume::Destination { claim: DestinationClaim::Private(shape), .. } = &mut world.spec.volume {
            *shape = ClaimShape { size: Some(3), access_modes: wanted.map(|mode| vec![mode.into()]), storage_class: Some("fast".into()) };
        }
        script::begin(&mut world);
        assert_eq!(made(&world, Role::Volume), shape(3, modes, "fast"));
    }
}

/// Where it is certain; and only there.
#[rstest]
#[case(Flavour::DestinationImage, Some("r1"))]
#[case(Flavour::DestinationCleanup, Some("r1"))]
#[case(Flavour::DestinationDirect, None)]
#[case(Flavour::DestinationExisting, None)]
fn a_pull_is_told_what_the_volume_holds(#[case] flavour: Flavour, #[case] expected: Option<&str>) {
    let mut world = World::new(flavour);
    script::recover(&mut world);
    script::edit(&mut world, |world| world.spec.trigger.manual = Some("again".into()));
    script::begin(&mut world);
    let told = |number: usize| match &world.movers[number].work {
        MoverTask::Pull { applied, private, .. } => (applied.as_deref(), *private),
        MoverTask::Push { .. } => panic!("a push"),
    };
    let private = flavour != Flavour::DestinationExisting;
    assert_eq!(told(0), (None, private));
    assert_eq!(told(world.movers.len() - 1), (expected, private));
}

/// The pod of the last sync is not gone yet when the next one begins: what it pulled is in the status.
#[test]
fn a_pod_of_the_last_sync_is_no_lost_report() {
    let mut world = World::new(Flavour::DestinationImage);
    script::begin(&mut world);
    controllers::start_pods(&mut world);
    controllers::end_movers(&mut world, Ending::Good);
    let pods = world.pods.clone();
    script::recover(&mut world);
    world.pods = pods;
    script::edit(&mut world, |world| world.spec.trigger.manual = Some("again".into()));
    agent::look(&mut world, &Look::default());
    assert!(world.status.run.is_some() && !world.status.volume_touched, "{:#?}", world.status);
}

#[test]
fn a_mover_has_the_name_of_its_object() {
    for (flavour, name) in [(Flavour::SourceSnapshot, "scribe-rclone-src-db"), (Flavour::DestinationImage, "scribe-rclone-dest-db")] {
        let mut world = World::new(flavour);
        script::begin(&mut world);
        assert_eq!(world.movers[0].name, name);
    }
}

/// The annotation names the path that it is about.
#[test]
fn a_path_is_taken_over_only_by_its_name() {
    for (annotation, taken) in [(None, false), (Some("another"), false), (Some("p"), true), (Some("p/"), true)] {
        let mut world = World::new(Flavour::SourceSnapshot);
        world.object.adopt_path = annotation.map(str::to_owned);
        script::begin(&mut world);
        assert!(matches!(world.movers[0].work, MoverTask::Push { adopt, .. } if adopt == taken), "{annotation:?}");
    }
}

fn temporary_claims(world: &World) -> usize {
    world.claims.iter().filter(|claim| claim.meta.role == Some(Role::Capture)).count()
}

/// A source in its transfer, whose temporary claim was not made yet or is there.
fn transferring(with_claim: bool) -> World {
    let mut world = World::new(Flavour::SourceSnapshot);
    agent::look(&mut world, &Look::default());
    controllers::let_the_cluster_work(&mut world);
    // Dies before it makes the claim, or before it makes the Job.
    agent::look(&mut world, &Look { crash_at: Some(if with_claim { 2 } else { 1 }), ..Look::default() });
    assert_eq!(world.status.run.as_ref().unwrap().phase, Phase::Transferring);
    assert_eq!((temporary_claims(&world) == 1, world.movers.len()), (with_claim, 0));
    world
}

/// Once a claim was made from the snapshot, it has done its service.
#[test]
fn a_snapshot_that_vanishes_is_missed_only_before_its_claim_is_made() {
    for with_claim in [false, true] {
        let mut world = transferring(with_claim);
        world.snapshots.clear();
        agent::look(&mut world, &Look::default());
        assert_eq!((last_error(&world), world.movers.len()), if with_claim { (None, 1) } else { (Some("SnapshotNotReady"), 0) });
    }
}

#[test]
fn no_claim_is_made_of_a_snapshot_that_is_not_ready_again() {
    let mut world = transferring(false);
    world.snapshots[0].ready = false;
    agent::look(&mut world, &Look::default());
    assert_eq!((world.status.run.as_ref().unwrap().phase, temporary_claims(&world)), (Phase::Capturing, 0));
}

/// What an old pod reports was another run's.
#[test]
fn an_old_pod_is_not_taken_for_the_new_one() {
    let mut world = World::new(Flavour::SourceDirect);
    script::begin(&mut world);
    controllers::start_pods(&mut world);
    controllers::end_movers(&mut world, Ending::Good);
    controllers::note_ended(&mut world);
    let mut old = world.pods[0].clone();
    old.meta.run = Some("old".into());
    old.report = old.report.map(|report| report.replace("r1", "old"));
    world.pods.insert(0, old);
    agent::look(&mut world, &Look::default());
    assert_eq!(world.status.revision.as_deref(), Some("r1"));
}

/// The API server has accepted a larger request, and nothing in the cluster expands the volume.
#[test]
fn an_expansion_that_is_pending_is_said() {
    let mut world = World::new(Flavour::DestinationImage);
    script::recover(&mut world);
    let told = |world: &World, kind: &str| {
        let condition = world.status.conditions.iter().find(|c| c.type_ == kind).unwrap();
        (condition.status.clone(), condition.message.clone())
    };
    for (state, expected) in [(None, "check that the CSI driver has a resizer"), (Some("Resizing"), "is pending (Resizing)")] {
        let growth = Growth { from: "1Gi".into(), to: "2Gi".into(), state: state.map(str::to_owned) };
        world.claims.iter_mut().filter(|c| c.meta.role == Some(Role::Volume)).for_each(|c| c.growth = Some(growth.clone()));
        agent::look(&mut world, &Look::default());
        let (status, message) = told(&world, "Reconciled");
        assert!(status == "True" && message.contains("from 1Gi to 2Gi is pending") && message.contains(expected), "{message}");
        assert_eq!(told(&world, "Ready").0, "True");
    }
    world.claims.iter_mut().for_each(|c| c.growth = None);
    agent::look(&mut world, &Look::default());
    assert_eq!(told(&world, "Reconciled").1, "Reconcile complete");
}
