//! What is written on a claim of copies that are made on request, where something comes between: the agent's death, another source, an edit of
//! the annotations, a spec that is invalid, an API server that takes no write.

use crate::agent::{self, Look};
use crate::controllers::{self, Ending};
use crate::copy_trigger::{COPIED, copies, latest, looks, message, phase, told, waiting};
use crate::script::{self, Happening};
use crate::search::Turns;
use crate::waking::next_attempt;
use crate::world::{Flavour, World};
use jiff::SignedDuration;
use rstest::rstest;
use scribe_agent::api::reason::Reason;
use scribe_agent::api::status::Phase;
use scribe_agent::core::model::copy::CopyStatus;
use scribe_agent::core::model::facts::Slot;
use scribe_agent::core::model::plan::Step;

/// A script waits to be told of the other's copy: an outsider saw the second source take the next value over the first one's copy.
#[test]
fn the_copy_of_another_source_is_not_written_over() {
    let mut world = World::new(Flavour::SourceSnapshot);
    world.use_copy_trigger(true);
    world.ask_for_a_copy("one");
    world.another_source();
    assert_eq!(told(&world), Some(CopyStatus::InProgress));
    world.ask_for_a_copy("two");
    looks(&mut world);
    assert_eq!((copies(&world), told(&world)), (0, Some(CopyStatus::InProgress)), "the other's");
    let named = "ReplicationSource \"other\"";
    assert!(message(&world).contains(named), "{}", message(&world));
    world.now += SignedDuration::from_mins(11);
    looks(&mut world);
    let error = world.status.last_error.clone().unwrap();
    assert!(error.reason == "CopyTriggerTimeout" && error.message.contains(named), "{error:?}");
    world.another_source();
    assert_eq!((told(&world), latest(&world)), (Some(CopyStatus::Completed), Some("one")));
    looks(&mut world);
    assert_eq!((copies(&world), told(&world)), (1, Some(CopyStatus::InProgress)), "its own turn");
    script::recover(&mut world);
    world.assert_settled();
}

/// Whatever the claim says by then: nothing, where there is no slot yet, or where the agent died before it wrote there.
#[rstest]
fn a_wait_that_is_not_needed_any_more_is_no_failure(#[values(false, true)] died: bool, #[values(0, 1)] flavour: usize) {
    let mut world = World::new(COPIED[flavour]);
    world.use_copy_trigger(true);
    if died {
        agent::look(&mut world, &Look { crash_at: Some(1), ..Look::default() });
    } else {
        looks(&mut world);
    }
    assert_eq!((phase(&world), told(&world).is_none()), (Phase::WaitingForSnapshot, died));
    world.use_copy_trigger(false);
    world.slot = Slot::Taken;
    looks(&mut world);
    assert_eq!((told(&world), copies(&world)), (None, 0));
    world.slot = Slot::Free;
    looks(&mut world);
    assert_eq!((copies(&world), &world.status.last_error), (1, &None));
    script::recover(&mut world);
    world.assert_settled();
}

/// What the search does not see, where the annotation always stays.
pub fn turns_of_a_wait_that_is_not_needed_any_more() -> Turns {
    let mut world = waiting(Flavour::SourceSnapshot);
    world.use_copy_trigger(false);
    let before = phase(&world);
    agent::look(&mut world, &Look::default());
    Turns::from([(Some(before), Some(phase(&world)))])
}

/// A cache that does not show the annotation yet.
#[rstest]
fn a_copy_that_nobody_asked_for_is_not_made(#[values(0, 1)] flavour: usize, #[values(false, true)] begun: bool) {
    let mut world = World::new(COPIED[flavour]);
    if begun {
        // Its status is written, and its copy is not made.
        agent::look(&mut world, &Look { crash_at: Some(1), ..Look::default() });
    }
    world.past.push(world.facts().into());
    world.use_copy_trigger(true);
    for _ in 0..3 {
        agent::look(&mut world, &Look { behind: 1, ..Look::default() });
    }
    assert_eq!(copies(&world), 0);
    looks(&mut world);
    assert_eq!(told(&world), Some(CopyStatus::WaitingForTrigger));
    script::recover(&mut world);
    world.assert_settled();
}

fn completes(step: &Step) -> bool {
    matches!(step, Step::NoteCopy(note) if note.status == Some(CopyStatus::Completed))
}

/// The copy was pushed, and the claim could not be written to before: once the sync is closed, nothing would show that the copy was there.
#[rstest]
fn a_copy_is_reported_before_its_sync_is_closed(#[values(0, 1)] flavour: usize) {
    let mut world = waiting(COPIED[flavour]);
    world.ask_for_a_copy("one");
    world.cluster.refuses = Some(completes);
    for _ in 0..5 {
        looks(&mut world);
        controllers::start_pods(&mut world);
        controllers::end_movers(&mut world, Ending::Good);
        controllers::let_the_cluster_work(&mut world);
    }
    assert!(world.status.last_sync_time.is_none() && world.status.run.is_some(), "{:#?}", world.status);
    let reported = |world: &World| world.events.iter().any(|event| event.reason == Reason::CopyCompleted);
    assert!(told(&world) == Some(CopyStatus::InProgress) && !reported(&world), "the event comes after the note");
    world.cluster.refuses = None;
    looks(&mut world);
    assert_eq!((told(&world), latest(&world)), (Some(CopyStatus::Completed), Some("one")));
    assert!(world.status.last_sync_time.is_some() && reported(&world));
    script::recover(&mut world);
    world.assert_settled();
}

/// The same plan deletes it: it is no copy that anybody has.
#[rstest]
fn a_copy_that_is_given_up_is_not_reported(#[values("invalid", "aborted")] why: &str, #[values(0, 1)] flavour: usize) {
    let mut world = waiting(COPIED[flavour]);
    world.ask_for_a_copy("one");
    looks(&mut world);
    assert_eq!((told(&world), copies(&world)), (Some(CopyStatus::InProgress), 1));
    controllers::let_the_cluster_work(&mut world);
    script::play(&mut world, &if why == "invalid" { Happening::Invalid(true) } else { Happening::Abort(true) });
    looks(&mut world);
    assert_eq!((told(&world), latest(&world), copies(&world)), (None, None, 0));
    assert!(world.events.iter().all(|event| event.reason != Reason::CopyCompleted), "{:?}", world.events);
    script::recover(&mut world);
    world.assert_settled();
}

/// The create was answered 5xx, the attempt failed, and the API server makes the copy after all: before the next value is taken or after it.
#[rstest]
fn a_copy_that_comes_too_late_is_not_used(#[values("in between", "waits", "asked")] when: &str, #[values(0, 1)] flavour: usize) {
    let mut world = waiting(COPIED[flavour]);
    world.cluster.webhook_down = true;
    world.ask_for_a_copy("one");
    looks(&mut world);
    assert_eq!((told(&world), copies(&world)), (Some(CopyStatus::InProgress), 0));
    world.now += SignedDuration::from_mins(20);
    looks(&mut world);
    assert_eq!((phase(&world), told(&world)), (Phase::Backoff, None));
    if when != "in between" {
        world.now = next_attempt(&world);
        looks(&mut world);
        assert_eq!(told(&world), Some(CopyStatus::WaitingForTrigger));
    }
    if when == "asked" {
        let before = world.requests.late.clone();
        world.ask_for_a_copy("two");
        looks(&mut world);
        assert_eq!(told(&world), Some(CopyStatus::InProgress));
        world.requests.late = before;
    }
    world.make_the_late_copy();
    assert_eq!((copies(&world), world.requests.unasked.len()), (1, 1));
    controllers::let_the_cluster_work(&mut world);
    world.cluster.webhook_down = false;
    if when == "in between" {
        world.now = next_attempt(&world);
    }
    looks(&mut world);
    assert_eq!((world.movers.len(), latest(&world)), (0, None));
    script::recover(&mut world);
    world.assert_settled();
    assert_ne!(latest(&world), Some("one"));
}

/// Somebody forgot to ask: Ready says so, and that no attempt has failed.
#[test]
fn a_wait_that_lasts_is_no_failed_attempt() {
    let mut world = waiting(Flavour::SourceSnapshot);
    script::recover(&mut world);
    script::play(&mut world, &Happening::SyncNow(1));
    for _ in 0..3 {
        looks(&mut world);
        world.now += SignedDuration::from_mins(11);
    }
    assert_eq!((world.status.last_error.as_ref().unwrap().reason.as_str(), world.status.attempts), ("CopyTriggerTimeout", None));
    let ready = world.status.conditions.iter().find(|c| c.type_ == "Ready").unwrap();
    assert!(ready.message.contains("the next one waits: PVC data has") && !ready.message.contains("failed"), "{}", ready.message);
}
