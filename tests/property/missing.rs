//! The claim that the spec names is not there: what that costs, and what follows once it is.

use crate::agent::{self, Look};
use crate::controllers::{self, Ending};
use crate::script;
use crate::world::{Flavour, USERS_CLAIM, World};
use jiff::SignedDuration;
use rstest::rstest;
use scribe_agent::api::reason::Reason;
use scribe_agent::api::status::Phase;
use scribe_agent::core::model::facts::{Refresh, Slot};
use scribe_agent::core::model::plan::Step;
use scribe_agent::core::schedule::queue::QueueEntry;
use scribe_agent::core::syntax::cron::Schedule;

fn without_claim(flavour: Flavour) -> World {
    let mut world = World::new(flavour);
    world.claims.retain(|claim| claim.meta.name != USERS_CLAIM);
    world
}

fn phase(world: &World) -> Option<Phase> {
    world.status.run.as_ref().map(|run| run.phase)
}

/// It takes no slot, and is reported in one write and one event.
#[rstest]
#[case(Flavour::SourceSnapshot, Reason::SourcePVCMissing)]
#[case(Flavour::SourceClone, Reason::SourcePVCMissing)]
#[case(Flavour::SourceDirect, Reason::SourcePVCMissing)]
#[case(Flavour::DestinationExisting, Reason::DestinationPVCMissing)]
fn it_is_reported_at_once(#[case] flavour: Flavour, #[case] reason: Reason) {
    let mut world = without_claim(flavour);
    world.slot = Slot::Taken;
    assert_eq!(QueueEntry::of(&world.facts()).due_since(world.now), None, "it keeps others waiting");
    agent::look(&mut world, &Look::default());
    assert_eq!((phase(&world), world.status.attempts), (Some(Phase::Backoff), Some(1)));
    assert_eq!(world.status.last_error.as_ref().map(|e| e.reason.as_str()), Some(reason.as_str()));
    assert_eq!((world.writes, world.events.len()), (2, 1), "{:#?}", world.events);
}

/// While nothing changes, the cache suffices: a status with its counters, without a read and without an event.
#[rstest]
#[case(Flavour::SourceSnapshot)]
#[case(Flavour::DestinationExisting)]
fn later_attempts_read_nothing_and_publish_nothing(#[case] flavour: Flavour) {
    let mut world = without_claim(flavour);
    world.spec.trigger.manual = None;
    world.spec.trigger.schedule = Some(Schedule::parse("* * * * *", None).unwrap());
    world.spec.trigger.wait_for_schedule = false;
    world.slot = Slot::Taken;
    agent::look(&mut world, &Look::default());
    let mut written = 0;
    for _ in 0..3600 / 10 {
        world.now += SignedDuration::from_secs(10);
        let plan = agent::plan(&world);
        assert!(plan.needs.is_empty(), "{:?}", plan.needs);
        let statuses = plan.steps.iter().filter(|step| matches!(step, Step::WriteStatus(_))).count();
        let others = plan.steps.iter().filter(|step| !matches!(step, Step::WriteStatus(_) | Step::Publish(_))).count();
        written += statuses;
        assert_eq!(others, 0, "{:#?}", plan.steps);
        agent::look(&mut world, &Look::default());
        world.past.clear();
    }
    // After 10, 20, 40 and 80 seconds, and then every quarter of an hour at most.
    assert!((7..=10).contains(&written), "{written} statuses in an hour");
    let told = |reason: Reason| world.events.iter().filter(|event| event.reason == reason).count();
    let missing = told(Reason::SourcePVCMissing) + told(Reason::DestinationPVCMissing);
    assert_eq!((missing, told(Reason::Failing), world.events.len()), (1, 1, 2), "{:#?}", world.events);
}

/// The cache may only be behind the first time, or for long where a watch fails.
#[test]
fn what_the_cache_does_not_show_is_read() {
    let mut world = without_claim(Flavour::SourceSnapshot);
    assert!(agent::plan(&world).needs.contains(&Refresh::Claims));
    agent::look(&mut world, &Look::default());
    world.now += SignedDuration::from_secs(60);
    let mut facts = world.facts();
    assert!(!scribe_agent::core::decide::decide(&facts, &World::limits(), world.now).needs.contains(&Refresh::Claims));
    facts.troubles = vec!["The agent cannot watch persistentvolumeclaims".into()];
    assert!(scribe_agent::core::decide::decide(&facts, &World::limits(), world.now).needs.contains(&Refresh::Claims));
}

fn terminates(world: &mut World) {
    let now = world.now;
    for claim in world.claims.iter_mut().filter(|claim| claim.meta.name == USERS_CLAIM) {
        (claim.meta.deleting, claim.meta.deleting_since) = (true, Some(now));
        claim.meta.held_by = vec!["kubernetes.io/pvc-protection".into()];
    }
}

/// It exists, and whoever looks finds it; no mover's pod could mount it.
#[rstest]
#[case(Flavour::SourceSnapshot, Reason::SourcePVCMissing, "spec.sourcePVC")]
#[case(Flavour::SourceDirect, Reason::SourcePVCMissing, "spec.sourcePVC")]
#[case(Flavour::DestinationExisting, Reason::DestinationPVCMissing, "spec.rclone.destinationPVC")]
fn one_that_is_being_deleted_is_not_said_to_be_missing(#[case] flavour: Flavour, #[case] reason: Reason, #[case] field: &str) {
    let mut world = World::new(flavour);
    terminates(&mut world);
    agent::look(&mut world, &Look::default());
    let error = world.status.last_error.clone().unwrap();
    assert_eq!(error.reason, reason.as_str());
    for words in [USERS_CLAIM, field, "is being deleted since", "held by kubernetes.io/pvc-protection"] {
        assert!(error.message.contains(words), "{words}: {}", error.message);
    }
    assert!(!error.message.contains("There is no PVC"), "{}", error.message);
}

/// Whatever was said of the one before: the words of a failure decide nothing.
#[rstest]
#[case(Flavour::SourceSnapshot)]
#[case(Flavour::DestinationExisting)]
fn it_is_tried_as_soon_as_one_replaces_the_deleted_one(#[case] flavour: Flavour) {
    let mut world = World::new(flavour);
    terminates(&mut world);
    for _ in 0..20 {
        agent::look(&mut world, &Look::default());
        world.now += SignedDuration::from_secs(60);
    }
    agent::look(&mut world, &Look::default());
    let plan = agent::plan(&world);
    assert!(plan.needs.is_empty(), "{:?}", plan.needs);
    world.claims.retain(|claim| claim.meta.name != USERS_CLAIM);
    world.put_claim(USERS_CLAIM, false);
    agent::look(&mut world, &Look::default());
    assert!(matches!(phase(&world), Some(Phase::Capturing | Phase::Transferring)), "{:#?}", world.status);
}

/// An agent of another version may have worded it otherwise.
#[test]
fn it_is_tried_at_once_whatever_the_words() {
    let mut world = without_claim(Flavour::SourceDirect);
    agent::look(&mut world, &Look::default());
    world.status.last_error.as_mut().unwrap().message = "PVC data not found".into();
    world.put_claim(USERS_CLAIM, false);
    agent::look(&mut world, &Look::default());
    assert_eq!(phase(&world), Some(Phase::Transferring), "{:#?}", world.status);
}

/// As soon as there is a slot.
#[rstest]
#[case(Flavour::SourceSnapshot)]
#[case(Flavour::SourceDirect)]
#[case(Flavour::DestinationExisting)]
fn it_is_tried_as_soon_as_the_claim_is_there(#[case] flavour: Flavour) {
    let mut world = without_claim(flavour);
    for _ in 0..200 {
        agent::look(&mut world, &Look::default());
        world.now += SignedDuration::from_secs(60);
        world.past.clear();
    }
    agent::look(&mut world, &Look::default());
    world.put_claim(USERS_CLAIM, false);
    world.slot = Slot::Taken;
    for _ in 0..2 {
        agent::look(&mut world, &Look::default());
        assert!(world.status.waiting_since.is_some() && QueueEntry::of(&world.facts()).due_since(world.now).is_some());
    }
    world.slot = Slot::Free;
    agent::look(&mut world, &Look::default());
    assert!(matches!(phase(&world), Some(Phase::Capturing | Phase::Transferring)), "{:#?}", world.status);
    script::calm_down(&mut world);
    world.assert_settled_without_a_tag();
}

/// A failure of another kind waits for its own time, whatever claims come and go.
#[test]
fn another_failure_is_not_hastened() {
    let mut world = World::new(Flavour::SourceDirect);
    crate::waking::attempt(&mut world, Ending::Failed);
    let next = crate::waking::next_attempt(&world);
    world.put_claim("another", false);
    controllers::let_the_cluster_work(&mut world);
    agent::look(&mut world, &Look::default());
    assert_eq!((phase(&world), crate::waking::next_attempt(&world)), (Some(Phase::Backoff), next));
}

/// A failure that stays the same is published once, and one that changes each time it does.
#[test]
fn an_unchanged_failure_is_published_once() {
    let mut world = World::new(Flavour::SourceDirect);
    for attempts in 1..=3 {
        crate::waking::attempt(&mut world, Ending::Failed);
        assert_eq!(world.status.attempts, Some(attempts));
        world.now = crate::waking::next_attempt(&world);
    }
    let reason = world.status.last_error.as_ref().unwrap().reason.clone();
    let told = |world: &World| world.events.iter().filter(|event| event.reason.as_str() == reason).count();
    assert_eq!(told(&world), 1, "{:#?}", world.events);
    script::edit(&mut world, |world| world.spec.remote.path = "elsewhere".into());
    crate::waking::attempt(&mut world, Ending::Failed);
    assert_eq!(told(&world), 2, "an edited spec fails for the first time");
}
