//! A CRD that is older than the agent drops fields of its status: what it can never keep is not written again and again.

use crate::agent::{self, Look};
use crate::controllers::{self, Ending};
use crate::edits::with_a_mover;
use crate::script;
use crate::world::{Flavour, World};
use scribe_agent::core::decide::decide;
use scribe_agent::core::model::facts::Facts;
use scribe_agent::core::model::plan::Step;
use std::collections::BTreeSet;

fn writes(facts: &Facts, world: &World) -> bool {
    decide(facts, &World::limits(), world.now).steps.iter().any(|step| matches!(step, Step::WriteStatus(_)))
}

#[test]
fn what_the_crd_drops_is_not_written_again() {
    for flavour in Flavour::ALL {
        let mut world = with_a_mover(flavour);
        for _ in 0..2 {
            agent::look(&mut world, &Look::default());
        }
        assert!(!writes(&world.facts(), &world), "{flavour:?}");
        let mut facts = world.facts();
        (facts.status.trigger, facts.status.reason, facts.status.message) = (None, None, None);
        assert!(writes(&facts, &world), "{flavour:?}: it is not known that the CRD drops them");
        facts.undeclared = BTreeSet::from(["trigger", "reason", "message"].map(str::to_owned));
        assert!(!writes(&facts, &world), "{flavour:?}");
        facts.object.generation += 1;
        assert!(writes(&facts, &world), "{flavour:?}: another field has changed");
    }
}

/// What it drops of the items of a list as well.
#[test]
fn nor_what_it_drops_within_a_list() {
    let mut world = World::new(Flavour::DestinationImages);
    script::recover(&mut world);
    assert!(!writes(&world.facts(), &world));
    let mut facts = world.facts();
    facts.status.conditions.iter_mut().for_each(|condition| condition.observed_generation = None);
    assert!(writes(&facts, &world), "it is not known that the CRD drops them");
    facts.undeclared = BTreeSet::from(["conditions.observedGeneration".to_owned()]);
    assert!(!writes(&facts, &world));
}

/// Nor does a sync wait for what is never kept.
#[test]
fn a_pull_that_no_status_shows_comes_to_an_end() {
    for flavour in [Flavour::DestinationImage, Flavour::DestinationDirect, Flavour::DestinationExisting] {
        let mut world = World::new(flavour);
        for _ in 0..20 {
            agent::look(&mut world, &Look::default());
            world.pulling.clear();
            world.status.unfinished_pulls.clear();
            controllers::start_pods(&mut world);
            controllers::end_movers(&mut world, Ending::Good);
            controllers::let_the_cluster_work(&mut world);
        }
        world.assert_settled();
    }
}
