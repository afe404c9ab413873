//! Movers whose pods the cluster ends for reasons of its own: drain, preemption, eviction. The next attempt follows at once and uncounted.

use crate::agent::{self, Look};
use crate::controllers::{self, Ending};
use crate::edits::with_a_mover;
use crate::script;
use crate::waking::next_attempt;
use crate::world::{Flavour, World};
use jiff::SignedDuration;
use scribe_agent::api::status::Phase;
use scribe_agent::core::model::facts::{Meta, Pod, Role};
use scribe_mover::report::{Outcome, Reason, Report};

/// The mover ends like this, and the next attempt has its mover where the time that passes is none.
fn end(world: &mut World, ending: Ending) {
    controllers::end_movers(world, ending);
    controllers::let_the_cluster_work(world);
    script::begin(world);
    controllers::start_pods(world);
}

/// Run, attempt, disruptions, failures in a row, and whether an error is reported.
fn told(world: &World) -> (String, i64, Option<i64>, Option<i64>, bool) {
    let run = world.status.run.as_ref().unwrap();
    (run.id.clone(), run.attempt, run.disruptions, world.status.attempts, world.status.last_error.is_some())
}

/// The same run goes on with what it captured, whether or not the pod can still be seen; and all is well in the end.
#[test]
fn the_next_attempt_follows_at_once_and_uncounted() {
    for flavour in Flavour::ALL {
        for ending in [Ending::Disrupted, Ending::Evicted] {
            let mut world = with_a_mover(flavour);
            let (run, ..) = told(&world);
            let captures = |world: &World| -> Vec<String> {
                let claims = world.claims.iter().map(|claim| &claim.meta);
                let all = claims.chain(world.snapshots.iter().map(|snapshot| &snapshot.meta));
                all.filter(|meta| meta.role == Some(Role::Capture)).map(|meta| meta.uid.clone()).collect()
            };
            let captured = captures(&world);
            for disruptions in 1..=3 {
                end(&mut world, ending);
                assert_eq!(told(&world), (run.clone(), disruptions + 1, Some(disruptions), None, false), "{flavour:?} {ending:?}");
                assert_eq!(world.movers.last().unwrap().attempt, disruptions + 1, "{flavour:?} {ending:?}: no mover at once");
                assert_eq!(captures(&world), captured, "{flavour:?} {ending:?}");
            }
            let events = world.events.iter().filter(|event| event.reason.as_str() == "MoverDisrupted" && !event.warning);
            assert_eq!(events.count(), 3, "{flavour:?} {ending:?}");
            controllers::end_movers(&mut world, Ending::Good);
            controllers::let_the_cluster_work(&mut world);
            script::calm_down(&mut world);
            world.assert_settled();
            assert_eq!(world.movers.len(), 4, "{flavour:?} {ending:?}");
        }
    }
}

/// The fourth one is a failure like any other, and is waited after.
#[test]
fn more_than_three_of_a_run_count() {
    let mut world = with_a_mover(Flavour::SourceSnapshot);
    for _ in 0..4 {
        end(&mut world, Ending::Evicted);
    }
    let (_, attempt, disruptions, failures, _) = told(&world);
    assert_eq!((attempt, disruptions, failures, world.movers.len()), (5, Some(3), Some(1), 4));
    assert_eq!(world.status.last_error.as_ref().unwrap().reason, "MoverKilled");
    assert!(world.status.run.as_ref().unwrap().phase == Phase::Backoff && next_attempt(&world) > world.now);
}

/// An older CRD drops the number: nothing would ever count.
#[test]
fn one_that_cannot_be_counted_is_a_failure() {
    let mut world = with_a_mover(Flavour::SourceDirect);
    controllers::end_movers(&mut world, Ending::Evicted);
    controllers::note_ended(&mut world);
    let mut facts = world.all_fresh();
    facts.undeclared.insert("run.disruptions".into());
    let plan = scribe_agent::core::decide::decide(&facts, &World::limits(), world.now);
    for step in &plan.steps {
        world.apply(&facts.object, step);
    }
    let reason = world.status.last_error.as_ref().map(|error| error.reason.as_str());
    assert_eq!((world.status.attempts, reason), (Some(1), Some("MoverKilled")));
}

/// What the mover had found out before its pod was ended is its result.
#[test]
fn a_failure_that_the_mover_reports_counts() {
    let mut world = with_a_mover(Flavour::SourceDirect);
    controllers::end_movers(&mut world, Ending::Stalled);
    world.pods[0].disrupted = true;
    controllers::let_the_cluster_work(&mut world);
    agent::look(&mut world, &Look::default());
    assert_eq!(world.status.last_error.as_ref().unwrap().reason, "DeletionGuard");
}

/// A Job may have made another pod: what became of the first is over.
#[test]
fn the_newest_pod_of_a_job_is_looked_at() {
    let mut world = with_a_mover(Flavour::SourceDirect);
    controllers::end_movers(&mut world, Ending::Disrupted);
    let (first, now) = (world.pods[0].clone(), world.now);
    world.now += SignedDuration::from_secs(5);
    let meta = Meta { name: "second".into(), uid: "second".into(), created: Some(world.now), ..first.meta.clone() };
    // It runs: the first one has not ended the attempt, and is not what hangs, either.
    let second = Pod { meta, started: true, ended: false, disrupted: false, report: None, ..first };
    world.pods[0].meta.created = Some(now);
    world.pods.push(second);
    agent::look(&mut world, &Look::default());
    let run = world.status.run.clone().unwrap();
    assert_eq!((run.phase, run.attempt), (Phase::Transferring, 1));
    assert_eq!(world.facts().pod_of(&run).unwrap().meta.name, "second");

    // It fails by itself, and that is what counts.
    let mut report: Report = serde_json::from_str(world.pods[0].report.as_ref().unwrap()).unwrap();
    (report.result, report.reason) = (Outcome::Failed, Some(Reason::AccessDenied));
    world.pods[1].ended = true;
    world.pods[1].report = Some(serde_json::to_string(&report).unwrap());
    world.jobs[0].succeeded = Some(false);
    agent::look(&mut world, &Look::default());
    assert_eq!(world.status.last_error.as_ref().map(|error| error.reason.as_str()), Some("AccessDenied"));
}
