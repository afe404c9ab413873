//! Two destinations of one PVC: only one of them writes to it.

use crate::agent::{self, Look};
use crate::controllers::{self, Ending};
use crate::script;
use crate::world::{Flavour, World};
use jiff::SignedDuration;
use scribe_agent::core::schedule::queue;

const DESTINATIONS: [Flavour; 3] = [Flavour::DestinationImage, Flavour::DestinationDirect, Flavour::DestinationExisting];

/// The one that comes second starts no mover, says why, and takes no slot from others; once it is alone it goes on by itself.
#[test]
fn only_the_first_one_writes() {
    for flavour in DESTINATIONS {
        let mut world = World::new(flavour);
        world.rival = Some("other".into());
        for _ in 0..24 * 60 {
            agent::look(&mut world, &Look::default());
            assert!(!queue::under_way(&world.status), "{flavour:?}");
            controllers::let_the_cluster_work(&mut world);
            world.past.clear();
            world.now += SignedDuration::from_mins(1);
        }
        assert!(world.movers.is_empty() && world.jobs.is_empty(), "{flavour:?}");
        let condition = |kind: &str| world.status.conditions.iter().find(|c| c.type_ == kind).unwrap();
        for (kind, status) in [("Stalled", "True"), ("Ready", "False")] {
            let condition = condition(kind);
            assert_eq!((condition.status.as_str(), condition.reason.as_str()), (status, "InvalidSpec"), "{flavour:?}");
            assert!(condition.message.contains("ReplicationDestination \"other\" also pulls into PVC"), "{}", condition.message);
        }
        world.rival = None;
        script::calm_down(&mut world);
        world.assert_settled_without_a_tag();
    }
}

/// One that is at work keeps its right whatever comes, and its image is of what it pulled.
#[test]
fn one_that_has_begun_is_not_interrupted() {
    for flavour in DESTINATIONS {
        let mut world = World::new(flavour);
        script::begin(&mut world);
        controllers::start_pods(&mut world);
        world.rival = Some("other".into());
        assert_eq!(world.facts().rival, None, "it writes");
        for _ in 0..5 {
            agent::look(&mut world, &Look::default());
        }
        controllers::end_movers(&mut world, Ending::Good);
        for _ in 0..5 {
            controllers::let_the_cluster_work(&mut world);
            agent::look(&mut world, &Look::default());
        }
        world.assert_settled();
        let before = world.movers.len();
        script::all_goes_well(&mut world, 60);
        assert_eq!(world.movers.len(), before, "a second one, {flavour:?}");
    }
}

/// What reads one PVC may be many.
#[test]
fn sources_have_no_rivals() {
    let mut world = World::new(Flavour::SourceDirect);
    world.rival = Some("other".into());
    script::recover(&mut world);
    world.assert_settled();
}
