//! Movers of volumes that pods use at the same time: where they run, and what is reported where they cannot.

use crate::agent::{self, Look};
use crate::controllers::{self, Ending};
use crate::script;
use crate::waking::attempt;
use crate::world::{Flavour, World};
use jiff::SignedDuration;
use scribe_agent::api::status::Phase;
use scribe_agent::core::model::facts::{Kind, Role};
use scribe_agent::core::model::placement::Consumer;

/// Those whose mover mounts what pods of the user's may use.
const IN_PLACE: [Flavour; 3] = [Flavour::SourceDirect, Flavour::DestinationExisting, Flavour::DestinationDirect];

fn world(flavour: Flavour, mode: &str) -> World {
    let mut world = World::new(flavour);
    for claim in &mut world.claims {
        claim.shape.access_modes = Some(vec![mode.to_owned()]);
    }
    world
}

fn running(pod: &str, node: &str) -> Consumer {
    let toleration = serde_json::json!({ "key": node, "operator": "Exists" });
    Consumer { pod: pod.into(), node: Some(node.into()), running: true, tolerations: vec![toleration], ..Consumer::default() }
}

fn pending(pod: &str) -> Consumer {
    Consumer { pod: pod.into(), ..Consumer::default() }
}

/// Node and reason of the last mover.
fn pin(world: &World) -> Option<(String, String)> {
    world.movers.last().expect("a mover").pin.clone().map(|pin| (pin.node, pin.why))
}

fn told(world: &World) -> String {
    world.status.message.clone().unwrap_or_default()
}

/// As long as it takes for a wait to be worth a report.
fn wait(world: &mut World, seconds: i64) {
    world.now += SignedDuration::from_secs(seconds);
    world.past.clear();
    for _ in 0..3 {
        agent::look(world, &Look::default());
    }
}

#[test]
fn a_mover_runs_where_the_pod_runs_that_uses_its_volume() {
    for flavour in IN_PLACE {
        let mut world = world(flavour, "ReadWriteOnce");
        world.consumers = vec![running("app", "far")];
        script::begin(&mut world);
        // A volume of the agent's own takes its mode from the spec, ReadWriteOnce by default.
        let (node, why) = pin(&world).unwrap();
        assert!(node == "far" && why.starts_with("on node far, where pod app uses PVC "), "{flavour:?}: {why}");
        let pin = world.movers[0].pin.clone().unwrap();
        assert_eq!(pin.tolerations, world.consumers[0].tolerations);
        controllers::start_pods(&mut world);
        script::all_goes_well(&mut world, 3);
        assert!(world.status.last_sync_time.is_some(), "{flavour:?}");
        // It goes with the pod.
        world.consumers = vec![running("app", "near")];
        script::edit(&mut world, |world| world.spec.trigger.manual = Some("again".into()));
        script::begin(&mut world);
        assert_eq!(self::pin(&world).unwrap().0, "near", "{flavour:?}");
    }
}

/// Nothing is asked for whose answer changes nothing: other copy methods, volumes for any number of nodes, and syncs that do not start.
#[test]
fn pods_are_listed_only_where_they_matter() {
    for flavour in Flavour::ALL {
        for (mode, once) in [("ReadWriteOnce", true), ("ReadWriteOncePod", true), ("ReadWriteMany", false), ("ReadOnlyMany", false)] {
            let mut world = world(flavour, mode);
            let own = flavour == Flavour::DestinationDirect;
            if world.object.kind == Kind::Destination && mode == "ReadOnlyMany" && !own {
                continue; // refused
            }
            script::calm_down(&mut world);
            world.assert_settled();
            let expected = usize::from(own || once && IN_PLACE.contains(&flavour));
            assert_eq!(world.lists_of_pods, expected, "{flavour:?} {mode}");
            wait(&mut world, 60);
            assert_eq!(world.lists_of_pods, expected, "{flavour:?} {mode}");
        }
    }
}

/// Both run, so it is a volume that both nodes can use: the mover runs on one of them, always the same, and the status names both.
#[test]
fn pods_on_two_nodes_are_named() {
    let mut world = world(Flavour::SourceDirect, "ReadWriteOnce");
    world.consumers = vec![running("b", "two"), running("a", "one")];
    script::begin(&mut world);
    controllers::start_pods(&mut world);
    assert_eq!(pin(&world).unwrap().0, "one");
    wait(&mut world, 20);
    assert_eq!(told(&world), "Moving data on node one: PVC data is ReadWriteOnce, and pods on two nodes use it (a on one, b on two)");
}

/// The volume is where a pod runs, not where another waits for it; and it follows the pod that stays.
#[test]
fn the_pod_that_has_the_volume_decides() {
    let starting = |pod: &str, node: &str| Consumer { running: false, ..running(pod, node) };
    let leaving = |pod: &str, node: &str| Consumer { deleting: true, ..running(pod, node) };
    for (consumers, node) in [
        (vec![starting("new", "a"), running("old", "b")], "b"),
        (vec![leaving("old", "a"), starting("new", "b")], "b"),
        (vec![starting("new", "a"), pending("other")], "a"),
    ] {
        let mut world = world(Flavour::SourceDirect, "ReadWriteOnce");
        world.consumers = consumers;
        script::begin(&mut world);
        let (pinned, why) = pin(&world).unwrap();
        assert!(pinned == node && !why.contains("two nodes"), "{why}");
    }
}

/// While a pod is replaced, a mover on its node would keep the volume there. If it does not go, the volume does not, either.
#[test]
fn a_pod_that_is_being_deleted_is_waited_for() {
    for replaced in [false, true] {
        let mut world = world(Flavour::SourceDirect, "ReadWriteOnce");
        world.consumers = vec![Consumer { deleting: true, ..running("old", "a") }, pending("new")];
        script::begin(&mut world);
        assert!(world.movers.is_empty());
        wait(&mut world, 20);
        assert!(told(&world).starts_with("Waiting for pod old, which uses PVC data, to be deleted"), "{}", told(&world));
        if replaced {
            world.consumers = vec![running("new", "b")];
        }
        wait(&mut world, if replaced { 60 } else { 110 });
        assert_eq!(pin(&world).unwrap().0, if replaced { "b" } else { "a" });
    }
}

/// Where it will run is not known yet. That is waited for, but not for ever: one that is never scheduled needs no volume.
#[test]
fn a_pod_without_a_node_is_waited_for() {
    for flavour in IN_PLACE {
        for placed in [false, true] {
            let mut world = world(flavour, "ReadWriteOnce");
            world.consumers = vec![pending("app")];
            script::begin(&mut world);
            assert!(world.movers.is_empty(), "{flavour:?}");
            wait(&mut world, 20);
            let expected = "Waiting for pod app, which uses PVC";
            assert!(told(&world).starts_with(expected) && world.status.attempts.is_none(), "{flavour:?}: {}", told(&world));
            if placed {
                world.consumers = vec![running("app", "far")];
            }
            wait(&mut world, if placed { 60 } else { 110 });
            assert_eq!(pin(&world).map(|(node, _)| node), placed.then(|| "far".to_owned()), "{flavour:?}");
            assert_eq!(world.status.attempts, None);
            script::all_goes_well(&mut world, 3);
            assert!(world.status.last_sync_time.is_some(), "{flavour:?}");
        }
    }
}

/// One that waits for something else than a node is not about to take the volume anywhere.
#[test]
fn a_gated_pod_is_not_waited_for() {
    let mut world = world(Flavour::SourceDirect, "ReadWriteOnce");
    world.consumers = vec![Consumer { gated: true, ..pending("app") }];
    script::begin(&mut world);
    assert_eq!(pin(&world), None);
}

/// No second pod can have it: that is said at once, the slot is given back soon, and the sync follows once the pod is gone.
#[test]
fn a_volume_for_one_pod_is_not_waited_for_with_a_pod() {
    for (flavour, instead) in [(Flavour::SourceDirect, "copyMethod Snapshot or Clone"), (Flavour::DestinationExisting, "destinationPVC")] {
        let mut world = world(flavour, "ReadWriteOncePod");
        world.consumers = vec![running("app", "far")];
        script::begin(&mut world);
        wait(&mut world, 20);
        let problem = "PVC data is ReadWriteOncePod and pod app uses it, so that no other pod can mount it. ";
        assert!(told(&world).starts_with(&format!("Waiting for the volume: {problem}")), "{}", told(&world));
        wait(&mut world, 60);
        let (run, error) = (world.status.run.clone().unwrap(), world.status.last_error.clone().unwrap());
        assert_eq!((run.phase, error.reason.as_str(), world.movers.len()), (Phase::Backoff, "VolumeInUse", 0));
        assert!(error.message.starts_with(problem) && error.message.contains(instead), "{}", error.message);
        world.consumers.clear();
        world.now = world.status.next_attempt_time.as_ref().unwrap().0;
        attempt(&mut world, Ending::Good);
        assert_eq!(pin(&world), None);
        script::all_goes_well(&mut world, 3);
        assert!(world.status.last_sync_time.is_some());
    }
}

/// What can never work is refused with what to use instead.
#[test]
fn volumes_without_files_or_that_cannot_be_written_are_refused() {
    let said = |world: &World| world.status.last_error.as_ref().map(|error| (error.reason.clone(), error.message.clone())).unwrap();
    for flavour in Flavour::ALL {
        let mut world = World::new(flavour);
        let users = world.spec.users_claim().is_some();
        world.claims.iter_mut().for_each(|claim| claim.block = true);
        for _ in 0..3 {
            attempt(&mut world, Ending::Good);
        }
        if users {
            let (reason, message) = said(&world);
            assert!(reason == "InvalidSpec" && message.contains("volumeMode Filesystem"), "{flavour:?}: {message}");
        }
    }
    let mut world = world(Flavour::DestinationExisting, "ReadOnlyMany");
    for _ in 0..3 {
        attempt(&mut world, Ending::Good);
    }
    let (reason, message) = said(&world);
    assert!(reason == "InvalidSpec" && message.contains("ReadWriteMany") && world.movers.is_empty(), "{message}");
}

/// A source that can only be read is only read: its temporary PVC as the source's own has it, unless the spec says otherwise.
#[test]
fn the_temporary_claim_of_a_read_only_source_is_read_only() {
    for flavour in [Flavour::SourceSnapshot, Flavour::SourceClone] {
        let mut world = world(flavour, "ReadOnlyMany");
        script::begin(&mut world);
        let claim = world.claims.iter().find(|claim| claim.meta.role == Some(Role::Capture)).unwrap();
        assert_eq!(claim.shape.access_modes, Some(vec!["ReadOnlyMany".to_owned()]));
        script::calm_down(&mut world);
        world.assert_settled();
    }
}
