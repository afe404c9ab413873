//! What is deleted once a sync has ended, in which order, and what is read afresh before.

use crate::agent::{self, Look, plan};
use crate::controllers::{self, Ending};
use crate::edits::with_a_mover;
use crate::script;
use crate::world::{Flavour, World};
use jiff::SignedDuration;
use rstest::rstest;
use scribe_agent::api::status::Phase;
use scribe_agent::core::model::facts::{Refresh, Role};
use scribe_agent::core::model::plan::{ChildKind, Plan, Step};

fn deleted(plan: &Plan) -> Vec<ChildKind> {
    let kinds = plan.steps.iter().filter_map(|step| match step {
        Step::Delete(target) => Some(target.kind),
        _ => None,
    });
    kinds.collect()
}

/// A driver that does not delete a snapshot: syncs go on, and the image that stays is reported with what holds it.
#[test]
fn an_image_that_does_not_go_is_reported() {
    let mut world = World::new(Flavour::DestinationImage);
    script::recover(&mut world);
    let mut stuck = world.snapshots.iter().find(|s| s.meta.role == Some(Role::Image)).unwrap().clone();
    stuck.meta.name = stuck.meta.name.replace("-2026", "-2025");
    stuck.meta.uid = "older".into();
    (stuck.meta.deleting, stuck.meta.deleting_since) = (true, Some(world.now));
    stuck.meta.held_by = vec!["snapshot.storage.kubernetes.io/volumesnapshot-bound-protection".into()];
    world.snapshots.push(stuck);
    let reconciled = |world: &World| world.status.conditions.iter().find(|c| c.type_ == "Reconciled").unwrap().clone();
    for (minutes, reported) in [(0, false), (59, false), (60, true), (24 * 60, true)] {
        let mut world = world.clone();
        world.now += SignedDuration::from_mins(minutes);
        for _ in 0..3 {
            agent::look(&mut world, &Look::default());
        }
        let condition = reconciled(&world);
        assert_eq!(condition.status == "False", reported, "{minutes}: {}", condition.message);
        let named = ["VolumeSnapshot scribe-dest-", "-2025", "has been terminating since", "held by snapshot.storage.kubernetes.io"];
        assert!(!reported || named.iter().all(|words| condition.message.contains(words)), "{}", condition.message);
    }
}

/// A source whose sync has just been closed; of its children nothing is deleted yet.
fn closed() -> World {
    let mut world = with_a_mover(Flavour::SourceSnapshot);
    controllers::end_movers(&mut world, Ending::Good);
    controllers::note_ended(&mut world);
    agent::look(&mut world, &Look { crash_at: Some(1), ..Look::default() });
    assert!(world.status.run.is_none() && world.status.last_sync_time.is_some());
    world
}

/// Job and claim go at once, though the pod that has ended is still there; the snapshot when no claim made from it is left.
#[test]
fn a_claim_goes_before_its_snapshot() {
    let mut world = closed();
    assert_eq!(deleted(&plan(&world)), [ChildKind::Job, ChildKind::Claim]);
    agent::look(&mut world, &Look::default());
    assert_eq!(deleted(&plan(&world)), [], "the claim is being deleted");
    world.claims.retain(|claim| claim.meta.role != Some(Role::Capture));
    assert_eq!(deleted(&plan(&world)), [ChildKind::Snapshot]);
}

/// A mover that is known to have ended holds no claim; else its pod may just have started.
#[test]
fn pods_are_read_afresh_where_a_mover_may_have_started() {
    let mut world = closed();
    assert!(!plan(&world).needs.contains(&Refresh::Pods));
    world.jobs[0].succeeded = None;
    assert!(!plan(&world).needs.contains(&Refresh::Pods), "its container has ended");
    world.pods[0].finished = None;
    assert!(plan(&world).needs.contains(&Refresh::Pods));
    world.jobs[0].succeeded = Some(false);
    assert!(plan(&world).needs.contains(&Refresh::Pods));
    world.jobs[0].succeeded = Some(true);
    world.jobs[0].meta.run = Some("another".into());
    assert!(plan(&world).needs.contains(&Refresh::Pods));
}

/// Its claim stays as long as it lives.
#[test]
fn the_claim_of_a_live_mover_stays() {
    let mut world = closed();
    world.pods[0].ended = false;
    assert_eq!(deleted(&plan(&world)), [ChildKind::Job, ChildKind::Claim], "its phase follows");
    world.pods[0].finished = None;
    assert_eq!(deleted(&plan(&world)), [ChildKind::Job]);
    world.pods[0].meta.run = Some("another".into());
    assert_eq!(deleted(&plan(&world)), [ChildKind::Job, ChildKind::Claim]);
}

/// Snapshots and clones for the source that may still be made at any moment, see `controller::uncut`.
fn uncut(world: &World) -> usize {
    let snapshots = world.snapshots.iter().filter(|s| !s.taken && !s.ready).map(|s| &s.meta);
    let clones = world.claims.iter().filter(|c| c.made_from.is_none() && !c.bound).map(|c| &c.meta);
    snapshots.chain(clones).filter(|meta| meta.role == Some(Role::Capture) && !meta.deleting).count()
}

/// A destination that restores the PVC of a paused source waits for a copy that may still be made, because it would show what was restored: no
/// longer than the attempt lasts, whose deadlines hold while it is paused. A resumed source captures afresh.
#[rstest]
#[case::of_a_snapshot(Flavour::SourceSnapshot)]
#[case::of_a_clone(Flavour::SourceClone)]
fn a_copy_that_never_comes_holds_a_restore_until_its_attempt_has_ended(#[case] flavour: Flavour) {
    let mut world = World::new(flavour);
    world.cluster.slow = true;
    script::begin(&mut world);
    script::edit(&mut world, |world| world.spec.paused = true);
    assert_eq!(uncut(&world), 1, "{:#?}", world.status.run);
    let limits = World::limits();
    let minutes = (limits.snapshot_timeout + limits.pod_start_timeout).as_secs() / 60 + 10;
    let mut ended = None;
    for minute in 0..minutes {
        for _ in 0..3 {
            agent::look(&mut world, &Look::default());
            controllers::start_pods(&mut world);
            controllers::note_ended(&mut world);
            controllers::stop_deleted(&mut world);
            controllers::collect(&mut world);
        }
        let waits = world.status.run.as_ref().is_some_and(|run| run.phase == Phase::Backoff);
        ended = ended.or(waits.then_some(minute));
        assert_eq!(uncut(&world), usize::from(!waits), "minute {minute}: {:#?}", world.status.run);
        world.past.clear();
        world.now += SignedDuration::from_mins(1);
    }
    assert!(ended.is_some(), "it captures for ever: {:#?}", world.status.run);
    world.cluster.slow = false;
    script::edit(&mut world, |world| world.spec.paused = false);
    script::all_goes_well(&mut world, 60);
    world.assert_settled();
}

/// One that is not paused goes on with what is only slow.
#[rstest]
#[case::of_a_snapshot(Flavour::SourceSnapshot)]
#[case::of_a_clone(Flavour::SourceClone)]
fn a_copy_that_is_slow_is_kept_for_the_next_attempt(#[case] flavour: Flavour) {
    let mut world = World::new(flavour);
    world.cluster.slow = true;
    script::begin(&mut world);
    let limits = World::limits();
    world.now += limits.snapshot_timeout + limits.pod_start_timeout + SignedDuration::from_secs(1);
    for _ in 0..5 {
        agent::look(&mut world, &Look::default());
        controllers::start_pods(&mut world);
    }
    assert_eq!((world.status.run.as_ref().unwrap().phase, uncut(&world)), (Phase::Backoff, 1));
}
