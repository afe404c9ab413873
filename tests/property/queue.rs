//! Many objects and one gate: never more than its places, nobody left out, and no noise while waiting.

use crate::agent::{self, Look};
use crate::controllers::{self, Ending};
use crate::script::{self, Happening};
use crate::world::{Flavour, World};
use jiff::SignedDuration;
use proptest::prelude::*;
use scribe_agent::api::Status;
use scribe_agent::api::status::{Phase, Run};
use scribe_agent::core::model::facts::Slot;
use scribe_agent::core::model::spec::Trigger;
use scribe_agent::core::schedule::queue::{self, Candidate, Movers, QueueEntry};

/// A world that would start at once, or at this second if it was synced before.
fn world(number: usize, flavour: Flavour, due: Option<i64>) -> World {
    let mut world = World::new(flavour);
    world.object.uid = format!("owner-{number}");
    world.spec.trigger = Trigger::default();
    if let Some(seconds) = due {
        let time = |offset: i64| world.now + SignedDuration::from_secs(offset);
        let stamp = |offset: i64| serde_json::to_value(time(offset).to_string()).unwrap();
        let status = serde_json::json!({
            "lastSyncStartTime": stamp(-100), "lastSyncTime": stamp(-90), "nextSyncTime": stamp(seconds), "observedGeneration": 1,
        });
        world.status = serde_json::from_value::<Status>(status).unwrap();
    }
    world
}

fn candidate(world: &World) -> Candidate {
    let mut live = world.pods.iter().filter(|pod| !pod.ended);
    let movers = match live.next() {
        None => Movers::None,
        Some(pod) if pod.meta.deleting => Movers::Leftover,
        Some(pod) if !pod.started => Movers::Pending,
        Some(_) => Movers::Running,
    };
    QueueEntry::of(&world.facts()).candidate(movers, world.now)
}

fn candidates(worlds: &[World]) -> Vec<Candidate> {
    worlds.iter().map(candidate).collect()
}

/// One look at one of them, with the gate's answer to it.
fn look(worlds: &mut [World], number: usize, places: usize, how: &Look) {
    let all = candidates(worlds);
    let world = &mut worlds[number];
    let facts = world.facts();
    let view = QueueEntry::of(&facts);
    let position = view.position(world.now).unwrap_or_else(|| view.position_since(world.now));
    world.slot = queue::slot(&position, &all, places);
    agent::look(world, how);
}

fn under_way(worlds: &[World]) -> usize {
    worlds.iter().filter(|w| queue::under_way(&w.status)).count()
}

fn work(world: &mut World, ending: Ending) {
    controllers::let_the_cluster_work(world);
    controllers::start_pods(world);
    controllers::end_movers(world, ending);
    controllers::let_the_cluster_work(world);
}

/// The claim that was pulled into went, and another one of its name was there before the attempt failed for that: the next one is due at once, and others
/// see that.
#[test]
fn a_claim_that_was_exchanged_is_due_at_once() {
    let mut world = World::new(Flavour::DestinationExisting);
    let look = || Happening::Look(Look::default());
    for happening in [look(), Happening::PodStarts, Happening::MoverEnds(controllers::Ending::Good), Happening::Swap, look()] {
        script::play(&mut world, &happening);
    }
    assert!(world.status.run.as_ref().is_some_and(|run| run.phase == Phase::Backoff), "{:#?}", world.status);
    assert!(asks_for_a_slot(&world) && is_queued(&world), "{:#?}", world.status);
    assert_eq!(QueueEntry { has_claim: false, ..QueueEntry::of(&world.facts()) }.due_since(world.now), None);
}

proptest! {
    #![proptest_config(crate::config())]

    /// In whatever order they are looked at, whatever fails and wherever the agent dies.
    #[test]
    fn never_more_than_there_are_slots_and_every_object_gets_one(
        objects in proptest::collection::vec((any::<Flavour>(), proptest::option::of(-80i64..0)), 1..7),
        places in 1usize..4,
        moves in proptest::collection::vec((any::<prop::sample::Index>(), 0u8..8, proptest::option::weighted(0.2, 0usize..5)), 0..80),
    ) {
        let mut worlds: Vec<_> = objects.iter().enumerate().map(|(n, (flavour, due))| world(n, *flavour, *due)).collect();
        for (index, what, crash_at) in moves {
            let number = index.index(worlds.len());
            match what {
                0 => work(&mut worlds[number], Ending::Failed),
                1 => work(&mut worlds[number], Ending::NothingPushedYet),
                2 => work(&mut worlds[number], Ending::Good),
                3 => {
                    for world in &mut worlds {
                        world.now += SignedDuration::from_secs(40);
                    }
                }
                _ => look(&mut worlds, number, places, &Look { crash_at, ..Look::default() }),
            }
            prop_assert!(under_way(&worlds) <= places);
        }
        for _ in 0..30 {
            for number in 0..worlds.len() {
                look(&mut worlds, number, places, &Look::default());
                prop_assert!(under_way(&worlds) <= places);
            }
            for world in &mut worlds {
                work(world, Ending::Good);
                world.now += SignedDuration::from_secs(40);
            }
        }
        let begun = worlds[0].now - SignedDuration::from_secs(30 * 40);
        for world in &worlds {
            prop_assert!(world.status.last_sync_time.as_ref().is_some_and(|t| t.0 > begun), "{:#?}", world.status);
        }
    }
}

/// Pods that no node takes give their slots back. What they wait for may come for all of them at once, as a node does.
#[test]
fn pods_that_wait_start_beside_no_more_than_as_many_others() {
    for places in 1..4 {
        let mut worlds: Vec<_> = (0..12).map(|n| world(n, Flavour::ALL[n % 8], Some(-30))).collect();
        for world in &mut worlds {
            world.cluster.slow = true;
            world.snapshots.iter_mut().for_each(|snapshot| snapshot.ready = true);
        }
        let mut most = 0;
        for _ in 0..15 {
            for number in 0..worlds.len() {
                look(&mut worlds, number, places, &Look::default());
            }
            for world in &mut worlds {
                world.snapshots.iter_mut().for_each(|snapshot| snapshot.ready = true);
                controllers::start_pods(world);
                world.now += SignedDuration::from_secs(30);
                world.past.clear();
            }
            let jobs = worlds.iter().filter(|w| !w.jobs.is_empty()).count();
            assert!(jobs <= 2 * places, "{jobs} movers with {places} slots");
            most = most.max(jobs);
        }
        assert_eq!(most, 2 * places, "a pod that does not start takes no slot from those that work");
        let begun = worlds[0].now;
        for _ in 0..60 {
            for number in 0..worlds.len() {
                look(&mut worlds, number, places, &Look::default());
            }
            for world in &mut worlds {
                world.cluster.slow = false;
                work(world, Ending::Good);
                world.now += SignedDuration::from_secs(40);
            }
        }
        let late: Vec<_> = worlds.iter().map(|w| &w.status).filter(|s| s.last_sync_time.as_ref().is_none_or(|t| t.0 < begun)).collect();
        assert!(late.is_empty(), "{late:#?}");
    }
}

/// The one that has been due longest goes first, new destinations before all; a restarted agent knows it from the statuses.
#[test]
fn the_order_is_fair() {
    let source = Flavour::SourceDirect;
    let mut worlds = vec![
        world(0, source, Some(-10)),
        world(1, source, Some(-30)),
        world(2, Flavour::DestinationDirect, None),
        world(3, source, None),
        world(4, source, Some(-20)),
    ];
    // The new source is as old as it is.
    worlds[3].object.created = Some(worlds[3].now - SignedDuration::from_secs(15));
    let mut order = Vec::new();
    for _ in 0..12 {
        for number in 0..worlds.len() {
            let before = queue::under_way(&worlds[number].status);
            look(&mut worlds, number, 1, &Look::default());
            if queue::under_way(&worlds[number].status) && !before {
                order.push(number);
            }
        }
        for world in &mut worlds {
            work(world, Ending::Good);
        }
    }
    assert_eq!(order, [2, 1, 4, 3, 0]);
}

/// Whoever waits writes that once.
#[test]
fn waiting_for_a_slot_is_quiet() {
    for flavour in Flavour::ALL {
        for due in [None, Some(-30)] {
            let mut world = world(0, flavour, due);
            world.slot = Slot::Taken;
            for _ in 0..100 {
                agent::look(&mut world, &Look::default());
                world.now += SignedDuration::from_secs(61);
            }
            let condition = world.status.conditions.iter().find(|c| c.type_ == "Synchronizing").unwrap();
            assert_eq!((condition.status.as_str(), condition.reason.as_str()), ("False", "WaitingForSlot"));
            assert_eq!(world.writes, 1, "{flavour:?} {due:?}");
            script::play(&mut world, &Happening::Slot(true));
            agent::look(&mut world, &Look::default());
            assert!(queue::under_way(&world.status) && world.status.waiting_since.is_none());
        }
    }
}

/// A run that waits for its snapshot has begun. Paused, it goes on as soon as there is a place, and writes once that it waits for one.
#[test]
fn a_paused_run_that_waits_for_its_snapshot_keeps_its_turn() {
    let mut world = world(0, Flavour::SourceSnapshot, None);
    agent::look(&mut world, &Look::default());
    world.cluster.slow = true;
    for _ in 0..5 {
        agent::look(&mut world, &Look::default());
        world.now += SignedDuration::from_secs(60);
    }
    assert_eq!(world.status.run.as_ref().map(|run| run.phase), Some(Phase::WaitingForSnapshot));
    script::edit(&mut world, |w| w.spec.paused = true);
    world.slot = Slot::Taken;
    world.cluster.slow = false;
    controllers::let_the_cluster_work(&mut world);
    agent::look(&mut world, &Look::default());
    let (writes, since) = (world.writes, QueueEntry::of(&world.facts()).due_since(world.now));
    assert!(since.is_some());
    for _ in 0..30 {
        world.now += SignedDuration::from_secs(60);
        agent::look(&mut world, &Look::default());
        assert_eq!(QueueEntry::of(&world.facts()).due_since(world.now), since);
    }
    assert_eq!(world.writes, writes);
    world.slot = Slot::Free;
    agent::look(&mut world, &Look::default());
    assert!(queue::under_way(&world.status), "{:#?}", world.status);
}

/// Its path is edited meanwhile, or its spec becomes invalid, so that it will never go on: it leaves the queue at once. `make soak` found that
/// it did not.
#[test]
fn a_paused_run_whose_subject_is_edited_leaves_the_queue() {
    for (edit, waits) in [(None, true), (Some("elsewhere"), false), (Some(""), false)] {
        let mut world = world(0, Flavour::SourceSnapshot, None);
        agent::look(&mut world, &Look::default());
        script::edit(&mut world, |w| w.spec.paused = true);
        world.slot = Slot::Taken;
        world.now += SignedDuration::from_secs(120);
        agent::look(&mut world, &Look::default());
        controllers::let_the_cluster_work(&mut world);
        agent::look(&mut world, &Look::default());
        assert_eq!(world.status.run.as_ref().map(|run| run.phase), Some(Phase::WaitingForSnapshot));
        script::edit(&mut world, |w| match edit {
            None => {}
            Some("") => w.invalid = Some("bad".into()),
            Some(path) => path.clone_into(&mut w.spec.remote.path),
        });
        assert_eq!(QueueEntry::of(&world.facts()).due_since(world.now).is_some(), waits, "{edit:?}");
    }
}

/// Its annotation is removed while the attempt runs, or once it has failed: that less is approved by now is no news to the queue.
#[test]
fn a_withdrawn_adoption_asks_for_no_slot() {
    for waits_already in [false, true] {
        let mut world = World::new(Flavour::SourceSnapshot);
        let look = || Happening::Look(Look::default());
        let begin = [Happening::Permit(0), Happening::Adopt(true), look(), Happening::Cluster];
        let fail = [look(), Happening::Clock(600), look()];
        let withdraw = [Happening::Adopt(false)];
        let (first, second): (&[_], &[_]) = if waits_already { (&fail, &withdraw) } else { (&withdraw, &fail) };
        for happening in begin.iter().chain(first).chain(second) {
            script::play(&mut world, happening);
        }
        let status = &world.status;
        assert!(status.run.as_ref().is_some_and(|run| run.phase == Phase::Backoff && run.adopt.is_some()), "{status:#?}");
        assert_eq!(QueueEntry::of(&world.facts()).due_since(world.now), None, "{waits_already}");
    }
}

/// A finalizer of somebody else's may keep an object for long after its deletion; its place is free once its mover has ended.
#[test]
fn what_is_being_deleted_holds_no_slot() {
    let mut world = world(0, Flavour::DestinationImage, None);
    script::begin(&mut world);
    controllers::start_pods(&mut world);
    world.object.deleting = true;
    assert!(candidate(&world).under_way);
    world.pods.clear();
    assert_eq!(candidate(&world), Candidate { uid: "owner-0".into(), under_way: false, waits_for_pod: false, position: None });
}

fn asks_for_a_slot(world: &World) -> bool {
    let needs = scribe_agent::core::decide::decide(&world.facts(), &World::limits(), world.now).needs;
    needs.contains(&scribe_agent::core::model::facts::Refresh::Slot)
}

fn is_queued(world: &World) -> bool {
    QueueEntry::of(&world.facts()).due_since(world.now).is_some()
}

proptest! {
    #![proptest_config(crate::config())]

    /// What the queue sees of an object agrees with what is decided: it waits for a slot exactly when a sync would start.
    #[test]
    fn the_queue_holds_those_that_would_start(flavour in any::<Flavour>(), script in script::happenings()) {
        let mut world = World::new(flavour);
        for happening in script {
            script::play(&mut world, &happening);
            let (asks, due) = (asks_for_a_slot(&world), is_queued(&world));
            // Statuses do not show whether a snapshot is ready or still there, nor what became of the volume that an image is made of, or of what
            // is published, nor that a pod which was waited for has come and done its work.
            let hides = |run: &Run| matches!(run.phase, Phase::WaitingForSnapshot | Phase::Publishing) || run.waits_for_pod;
            let unseen = world.status.run.as_ref().is_some_and(hides);
            // What has become of it is in the status after the next reconcile.
            let mut next = world.clone();
            agent::look(&mut next, &Look::default());
            let gone = world.status.latest_image != next.status.latest_image;
            // A run that is to be aborted leaves the queue by that.
            let aborted = world.status.last_handled_abort != next.status.last_handled_abort;
            // So does one whose copy is made on request: it waits for that without a slot.
            let on_request = world.source_claim().is_some_and(|claim| claim.copy.used);
            let mut later = next.clone();
            agent::look(&mut later, &Look::default());
            // An abort comes before what is due after it.
            let leaves = || !is_queued(&next) || asks_for_a_slot(&next) || on_request && !is_queued(&later);
            // An edit, or the next attempt, waits for an older mover to end; the agent takes it out of the queue meanwhile.
            prop_assert!(
                asks == due || due && world.facts().mover_lives() || asks && (unseen || gone) || due && (unseen || aborted || on_request) && leaves(),
                "{:#?}",
                world.status
            );
        }
    }
}
