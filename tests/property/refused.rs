//! Writes that the API server refuses, and children that are not what they seem: what is reported of them.

use crate::agent::{self, Look};
use crate::controllers::{self, Ending};
use crate::script::{self, Happening};
use crate::world::{Flavour, World};
use jiff::SignedDuration;
use rstest::rstest;
use scribe_agent::core::model::facts::{Facts, Meta, Snapshot};
use scribe_agent::core::model::plan::Step;
use scribe_agent::core::model::spec::Trigger;
use scribe_agent::core::syntax::cron::Schedule;

fn every(text: &str) -> Trigger {
    Trigger { schedule: Some(Schedule::parse(text, None).unwrap()), ..Trigger::default() }
}

/// One sync or attempt, and a minute.
fn attempt(world: &mut World, ending: Ending) {
    for _ in 0..3 {
        agent::look(world, &Look::default());
        controllers::let_the_cluster_work(world);
    }
    controllers::start_pods(world);
    controllers::end_movers(world, ending);
    controllers::let_the_cluster_work(world);
    agent::look(world, &Look::default());
    world.past.clear();
    world.now += SignedDuration::from_secs(60);
}

/// The status holds a failure once it is written, and no later decision reports it again.
#[rstest]
#[case::resize(|step: &Step| matches!(step, Step::Resize(..)))]
#[case::delete(|step: &Step| matches!(step, Step::Delete(_)))]
fn a_write_that_does_not_work_costs_no_event(#[case] refuses: fn(&Step) -> bool) {
    let mut world = World::new(Flavour::DestinationImage);
    world.spec.trigger = every("*/6 * * * *");
    attempt(&mut world, Ending::Good);
    script::play(&mut world, &Happening::Grow(true));
    world.cluster.refuses = Some(refuses);
    let before = world.events.len();
    for _ in 0..60 {
        attempt(&mut world, Ending::Failed);
    }
    let error = world.status.last_error.clone().unwrap();
    let told: Vec<_> = world.events[before..].iter().filter(|event| event.warning).collect();
    assert!(told.iter().any(|event| event.reason.as_str() == error.reason), "{error:?}: {told:?}");
}

/// It has the labels of one of ours, and its owner reference was taken off: neither used, nor waited for in silence.
#[test]
fn a_snapshot_that_is_not_owned_is_in_the_way() {
    let mut world = World::new(Flavour::SourceSnapshot);
    let meta = Meta { name: "scribe-src-db".into(), uid: "x".into(), ..Meta::default() };
    let not_ours = Snapshot { meta, ready: true, ..Snapshot::default() };
    for _ in 0..20 {
        let mut facts = world.all_fresh();
        facts.snapshots.push(not_ours.clone());
        carry_out(&mut world, &facts);
        world.now += SignedDuration::from_secs(60);
    }
    let error = world.status.last_error.unwrap();
    assert_eq!(error.reason, "InvalidSpec");
    assert!(error.message.contains("\"scribe-src-db\" is not owned by this object"), "{}", error.message);
}

pub fn carry_out(world: &mut World, facts: &Facts) {
    let plan = scribe_agent::core::decide::decide(facts, &World::limits(), world.now);
    for step in &plan.steps {
        if !world.apply(&facts.object, step) {
            return;
        }
    }
}

/// A permission that is missing, a CRD that is too old.
#[test]
fn what_does_not_work_stands_in_reconciled_until_it_does() {
    let mut world = World::new(Flavour::SourceDirect);
    attempt(&mut world, Ending::Good);
    let reconciled = |world: &World| {
        let condition = world.status.conditions.iter().find(|c| c.type_ == "Reconciled").unwrap();
        (condition.status.clone(), condition.message.clone())
    };
    for (troubles, expected) in [(vec!["a", "b"], ("False", "a; b")), (vec![], ("True", "Reconcile complete"))] {
        let troubles = troubles.into_iter().map(str::to_owned).collect();
        let facts = Facts { troubles, ..world.all_fresh() };
        carry_out(&mut world, &facts);
        let (status, message) = reconciled(&world);
        assert_eq!((status.as_str(), message.as_str()), expected);
    }
}
