//! Copies that are made on request: nothing is captured before the user asks for it, and once for each value.

use crate::agent::{self, Look};
use crate::controllers::{self, Ending};
use crate::script::{self, Happening};
use crate::search::Turns;
use crate::waking::{attempt, next_attempt, refuse};
use crate::world::{Flavour, World};
use jiff::SignedDuration;
use proptest::prelude::*;
use rstest::rstest;
use scribe_agent::api::reason::Reason;
use scribe_agent::api::status::Phase;
use scribe_agent::core::decide::decide;
use scribe_agent::core::model::copy::{CopyBy, CopyStatus};
use scribe_agent::core::model::facts::{Role, Slot};
use scribe_agent::core::model::plan::Step;
use scribe_agent::core::schedule::queue;

pub const COPIED: [Flavour; 2] = [Flavour::SourceSnapshot, Flavour::SourceClone];

/// A sync that waits to be asked for its copy.
pub fn waiting(flavour: Flavour) -> World {
    let mut world = World::new(flavour);
    world.use_copy_trigger(true);
    looks(&mut world);
    assert_eq!(told(&world), Some(CopyStatus::WaitingForTrigger), "{flavour:?}");
    world
}

pub fn looks(world: &mut World) {
    for _ in 0..3 {
        agent::look(world, &Look::default());
    }
}

pub fn told(world: &World) -> Option<CopyStatus> {
    world.source_claim().unwrap().copy.status
}

pub fn latest(world: &World) -> Option<&str> {
    world.source_claim().unwrap().copy.latest.as_deref()
}

pub fn phase(world: &World) -> Phase {
    world.status.run.as_ref().unwrap().phase
}

pub fn copies(world: &World) -> usize {
    let claims = world.claims.iter().map(|c| &c.meta).chain(world.snapshots.iter().map(|s| &s.meta));
    claims.filter(|meta| meta.role == Some(Role::Capture) && !meta.deleting).count()
}

pub fn message(world: &World) -> &str {
    &world.status.conditions.iter().find(|c| c.type_ == "Synchronizing").unwrap().message
}

/// However long: and others may use its slot. Once asked it makes its copy at once, whoever has the slots.
#[rstest]
fn a_copy_is_made_when_it_is_asked_for(#[values(0, 1)] flavour: usize) {
    let mut world = World::new(COPIED[flavour]);
    world.use_copy_trigger(true);
    world.slot = Slot::Taken;
    looks(&mut world);
    assert_eq!(told(&world), Some(CopyStatus::WaitingForTrigger), "it waits without a slot");
    assert!(!queue::under_way(&world.status) && phase(&world) == Phase::WaitingForSnapshot);
    assert!(message(&world).contains("scribe.backube/copy-trigger"), "{}", message(&world));
    assert!(world.source_claim().unwrap().copy.waiting_since.is_some());
    world.now += SignedDuration::from_mins(5);
    looks(&mut world);
    assert_eq!((copies(&world), latest(&world)), (0, None));
    let (begun, asked) = (world.status.run.clone().unwrap().start_time.0, world.now);
    world.ask_for_a_copy("one");
    looks(&mut world);
    assert_eq!((copies(&world), told(&world), latest(&world)), (1, Some(CopyStatus::InProgress), None));
    controllers::let_the_cluster_work(&mut world);
    looks(&mut world);
    assert_eq!((told(&world), latest(&world)), (Some(CopyStatus::Completed), Some("one")));
    assert_eq!(world.source_claim().unwrap().copy.waiting_since, None);
    assert!(world.movers.is_empty() && world.status.waiting_since.is_some(), "it moves data when it has a slot");
    let start = world.status.run.as_ref().unwrap().start_time.0;
    assert!(start > begun && start >= asked, "the wait is no part of the sync");
    script::recover(&mut world);
    world.assert_settled();
    let events: Vec<_> = world.events.iter().map(|event| event.reason).collect();
    assert!(events.contains(&Reason::WaitingForCopyTrigger) && events.contains(&Reason::CopyCompleted), "{events:?}");
}

/// The point in time of a snapshot is certain once the driver reports it: the rest may take hours.
#[test]
fn a_copy_is_completed_once_its_point_in_time_is_certain() {
    let mut world = waiting(Flavour::SourceSnapshot);
    world.ask_for_a_copy("one");
    looks(&mut world);
    world.snapshots[0].captured = Some(world.now);
    looks(&mut world);
    assert_eq!(told(&world), Some(CopyStatus::InProgress), "the time of the request says nothing");
    world.snapshots[0].taken = true;
    looks(&mut world);
    assert_eq!((told(&world), latest(&world)), (Some(CopyStatus::Completed), Some("one")));
    assert!(world.movers.is_empty());
}

/// Nor does a value that is set in advance wait for anything.
#[test]
fn a_value_is_good_once() {
    for flavour in COPIED {
        let mut world = World::new(flavour);
        world.use_copy_trigger(true);
        world.ask_for_a_copy("one");
        script::begin(&mut world);
        assert_eq!(latest(&world), Some("one"), "{flavour:?}");
        controllers::start_pods(&mut world);
        controllers::end_movers(&mut world, Ending::Good);
        controllers::let_the_cluster_work(&mut world);
        script::begin(&mut world);
        assert!(world.status.run.is_none(), "{flavour:?}");
        script::play(&mut world, &Happening::Tag);
        looks(&mut world);
        world.ask_for_a_copy("one");
        looks(&mut world);
        assert_eq!((told(&world), copies(&world)), (Some(CopyStatus::WaitingForTrigger), 0), "{flavour:?}: the same value");
        script::recover(&mut world);
        world.assert_settled();
    }
}

/// One whose copy has failed, and is gone.
fn failed() -> World {
    let mut world = waiting(Flavour::SourceSnapshot);
    world.ask_for_a_copy("one");
    looks(&mut world);
    world.snapshots[0].error = Some("no room".into());
    world.now += SignedDuration::from_mins(10);
    looks(&mut world);
    controllers::let_the_cluster_work(&mut world);
    looks(&mut world);
    world
}

/// What the search does not see with one trouble on a path.
pub fn turns_of_a_copy_that_failed() -> Turns {
    let mut world = failed();
    let before = phase(&world);
    world.now = next_attempt(&world);
    agent::look(&mut world, &Look::default());
    Turns::from([(Some(before), Some(phase(&world)))])
}

/// The application has gone on by then, for all that is known.
#[test]
fn a_copy_that_failed_is_asked_for_again() {
    let mut world = failed();
    assert_eq!((phase(&world), told(&world), latest(&world)), (Phase::Backoff, None, None), "nobody is kept waiting");
    world.now = next_attempt(&world);
    looks(&mut world);
    assert_eq!((told(&world), copies(&world)), (Some(CopyStatus::WaitingForTrigger), 0));
    world.ask_for_a_copy("two");
    looks(&mut world);
    assert_eq!(told(&world), Some(CopyStatus::InProgress));
    script::recover(&mut world);
    world.assert_settled();
}

/// The claim could not be written to, so that it still says that the copy is being made: the next attempt makes none all the same.
#[test]
fn the_next_attempt_does_not_take_the_value_over() {
    let mut world = waiting(Flavour::SourceSnapshot);
    world.ask_for_a_copy("one");
    looks(&mut world);
    world.snapshots[0].error = Some("no room".into());
    world.now += SignedDuration::from_mins(10);
    world.cluster.refuses = Some(|step| matches!(step, Step::NoteCopy(_)));
    agent::look(&mut world, &Look::default());
    world.cluster.refuses = None;
    controllers::collect(&mut world);
    assert_eq!((phase(&world), told(&world)), (Phase::Backoff, Some(CopyStatus::InProgress)));
    world.now = next_attempt(&world);
    looks(&mut world);
    assert_eq!((told(&world), copies(&world)), (Some(CopyStatus::WaitingForTrigger), 0));
}

/// It is there, and used again.
#[test]
fn a_failed_mover_needs_no_other_copy() {
    for flavour in COPIED {
        let mut world = waiting(flavour);
        world.ask_for_a_copy("one");
        attempt(&mut world, Ending::Failed);
        assert_eq!(phase(&world), Phase::Backoff);
        world.now = next_attempt(&world);
        attempt(&mut world, Ending::Good);
        assert!(world.status.run.is_none(), "{flavour:?}: {:#?}", world.status);
        assert_eq!((world.requests.copies, world.movers.len(), latest(&world)), (1, 2, Some("one")), "{flavour:?}");
    }
}

/// Once, with what to do; and it goes on waiting.
#[test]
fn a_copy_that_nobody_asks_for_is_reported() {
    for (flavour, before) in COPIED.into_iter().flat_map(|flavour| [(flavour, None), (flavour, Some("old"))]) {
        let mut world = waiting(flavour);
        if let Some(value) = before {
            world.annotate_claim(|claim| (claim.copy.value, claim.copy.latest) = (Some(value.into()), Some(value.into())));
        }
        looks(&mut world);
        assert_eq!(agent::plan(&world).wake.map(|wake| wake.duration_since(world.now).as_secs()), Some(600));
        world.now += SignedDuration::from_secs(599);
        looks(&mut world);
        assert!(world.status.last_error.is_none());
        for _ in 0..3 {
            world.now += SignedDuration::from_mins(10);
            looks(&mut world);
        }
        let error = world.status.last_error.clone().unwrap();
        assert_eq!((error.reason.as_str(), world.status.attempts), ("CopyTriggerTimeout", None), "no attempt has failed");
        assert!(error.message.contains("Set scribe.backube/copy-trigger on the PVC"), "{}", error.message);
        assert_eq!(error.message.contains("\"old\" was used before"), before.is_some(), "{}", error.message);
        assert_eq!((told(&world), copies(&world)), (Some(CopyStatus::WaitingForTrigger), 0));
        let writes = world.writes;
        looks(&mut world);
        assert_eq!(world.writes, writes);
        script::recover(&mut world);
        world.assert_settled();
    }
}

/// What came while it waited is answered by its copy: no other one is asked for.
#[test]
fn what_was_asked_for_meanwhile_is_answered() {
    let mut world = waiting(Flavour::SourceSnapshot);
    script::play(&mut world, &Happening::SyncNow(1));
    script::play(&mut world, &Happening::Verify(1));
    looks(&mut world);
    script::all_goes_well(&mut world, 10);
    assert_eq!((world.status.last_handled_sync_now.as_deref(), world.status.last_handled_verify_now.as_deref()), (Some("1"), Some("1")));
    assert_eq!(world.requests.copies, 1);
}

/// No script stops an application for a sync that does not come.
#[rstest]
fn nobody_is_kept_waiting(#[values("paused", "aborted", "invalid", "not on request", "another claim")] why: &str) {
    for flavour in COPIED {
        let mut world = waiting(flavour);
        let claim = world.source_claim().unwrap().meta.uid.clone();
        match why {
            "paused" => script::play(&mut world, &Happening::Pause(true)),
            "aborted" => script::play(&mut world, &Happening::Abort(true)),
            "invalid" => script::play(&mut world, &Happening::Invalid(true)),
            "another claim" => script::play(&mut world, &Happening::Claim(true)),
            _ => world.use_copy_trigger(false),
        }
        looks(&mut world);
        let status = |world: &World| world.claims.iter().find(|c| c.meta.uid == claim).unwrap().copy.status;
        assert_eq!(status(&world), None, "{flavour:?}");
        let made = why == "not on request" || why == "another claim";
        assert_eq!(copies(&world), usize::from(made), "{flavour:?}");
        world.ask_for_a_copy("one");
        looks(&mut world);
        assert_eq!(copies(&world), usize::from(made), "{flavour:?}");
        script::recover(&mut world);
        world.assert_settled();
    }
}

/// Each value is for one of them; what one that is gone has left keeps nobody waiting, but its value is used up.
#[test]
fn two_sources_of_a_claim_take_turns() {
    let mut world = World::new(Flavour::SourceSnapshot);
    world.use_copy_trigger(true);
    world.ask_for_a_copy("one");
    let by = CopyBy { source: "other".into(), uid: "other".into(), run: "run".into(), attempt: 1, taken: Some("one".into()) };
    world.annotate_claim(|claim| (claim.copy.status, claim.copy.by) = (Some(CopyStatus::InProgress), Some(by.clone())));
    world.requests.another_source = true;
    looks(&mut world);
    assert_eq!((copies(&world), told(&world)), (0, Some(CopyStatus::InProgress)), "the other's");
    let mut gone = world.clone();
    gone.requests.another_source = false;
    looks(&mut gone);
    assert_eq!((copies(&gone), told(&gone)), (0, Some(CopyStatus::WaitingForTrigger)));
    world.annotate_claim(|claim| (claim.copy.status, claim.copy.latest) = (Some(CopyStatus::Completed), Some("one".into())));
    looks(&mut world);
    assert_eq!((copies(&world), told(&world)), (0, Some(CopyStatus::WaitingForTrigger)), "its own turn");
    for mut world in [world, gone] {
        world.ask_for_a_copy("two");
        looks(&mut world);
        assert_eq!((copies(&world), told(&world)), (1, Some(CopyStatus::InProgress)));
    }
}

/// It is read in place, and says so.
#[test]
fn nothing_is_waited_for_where_nothing_is_copied() {
    let mut world = World::new(Flavour::SourceDirect);
    world.use_copy_trigger(true);
    attempt(&mut world, Ending::Good);
    assert!(world.status.last_sync_time.is_some() && told(&world).is_none());
    let reconciled = world.status.conditions.iter().find(|c| c.type_ == "Reconciled").unwrap();
    assert!(reconciled.status == "True" && reconciled.message.contains("use-copy-trigger"), "{}", reconciled.message);
}

/// The API server does not let the agent write on the claim: nothing is captured, and the failure says why.
#[test]
fn a_claim_that_cannot_be_written_to_is_reported() {
    let mut world = World::new(Flavour::SourceSnapshot);
    world.use_copy_trigger(true);
    agent::look(&mut world, &Look { crash_at: Some(1), ..Look::default() });
    refuse(&mut world);
    assert_eq!((phase(&world), world.status.attempts, copies(&world)), (Phase::Backoff, Some(1), 0));
    script::recover(&mut world);
    world.assert_settled();
}

/// One at a time, after every single write; the agent that comes next makes no second copy.
#[test]
fn a_crash_after_any_write_is_healed() {
    for (flavour, crash_after) in COPIED.into_iter().flat_map(|flavour| (0..16).map(move |n| (flavour, n))) {
        let mut world = World::new(flavour);
        world.use_copy_trigger(true);
        let (before, mut crashed) = (world.writes, false);
        for _ in 0..20 {
            let done = world.writes - before;
            let crash_at = (!crashed).then(|| crash_after - done);
            agent::look(&mut world, &Look { crash_at, ..Look::default() });
            crashed = crashed || world.writes - before >= crash_after;
            world.answer();
            controllers::start_pods(&mut world);
            controllers::let_the_cluster_work(&mut world);
            controllers::end_movers(&mut world, Ending::Good);
            controllers::let_the_cluster_work(&mut world);
        }
        assert_eq!(world.requests.copies, 1, "{flavour:?} after {crash_after}");
        script::recover(&mut world);
        world.assert_settled();
    }
}

/// A stale cache shows neither the copy nor that its value was taken.
#[test]
fn a_stale_cache_makes_no_second_copy() {
    for (flavour, behind) in COPIED.into_iter().flat_map(|flavour| (1..6).map(move |n| (flavour, n))) {
        let mut world = waiting(flavour);
        world.ask_for_a_copy("one");
        for _ in 0..6 {
            agent::look(&mut world, &Look { behind, ..Look::default() });
            controllers::let_the_cluster_work(&mut world);
        }
        assert_eq!((world.requests.copies, latest(&world)), (1, Some("one")), "{flavour:?} {behind} behind");
    }
}

/// Nor does an edit make a second one of a value while the copy that it asked for is there.
#[test]
fn an_edit_of_the_copy_method_makes_no_second_copy() {
    for flavour in COPIED {
        let mut world = waiting(flavour);
        world.ask_for_a_copy("one");
        looks(&mut world);
        controllers::let_the_cluster_work(&mut world);
        for happening in [Happening::Edit, Happening::Pause(true)] {
            script::play(&mut world, &happening);
        }
        looks(&mut world);
        assert_eq!(world.requests.copies, 1, "{flavour:?}");
        script::recover(&mut world);
        world.assert_settled();
    }
}

proptest! {
    #![proptest_config(crate::config())]

    /// Whatever happens: the invariants of `world::copies` hold, and in the end each sync was asked for.
    #[test]
    fn every_script_on_request_ends_well(clone in any::<bool>(), script in script::happenings()) {
        let mut world = World::new(COPIED[usize::from(clone)]);
        world.use_copy_trigger(true);
        for happening in script {
            script::play(&mut world, &happening);
        }
        script::recover(&mut world);
        world.assert_settled();
        let plan = decide(&world.all_fresh(), &World::limits(), world.now);
        prop_assert!(plan.steps.is_empty(), "{:#?}", plan.steps);
    }
}
