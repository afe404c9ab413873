//! What users ask for by annotations: a verification at once, and taking a path over.

use crate::agent::{self, Look};
use crate::controllers::{self, Ending};
use crate::edits::with_a_mover;
use crate::refused::carry_out;
use crate::script::{self, Happening};
use crate::waking::attempt;
use crate::world::{Flavour, World};
use scribe_agent::api::status::Phase;
use scribe_agent::core::decide::decide;
use scribe_agent::core::model::facts::{Facts, Kind};
use scribe_agent::core::model::plan::MoverTask;

fn synced(flavour: Flavour) -> World {
    let mut world = World::new(flavour);
    script::calm_down(&mut world);
    world.assert_settled();
    world
}

/// Which pushes were asked to verify.
fn verified(world: &World) -> Vec<bool> {
    world.movers.iter().map(|mover| matches!(mover.work, MoverTask::Push { verify_now: true, .. })).collect()
}

/// Which pushes were allowed to adopt, and bound to which state.
fn adopting(world: &World) -> Vec<(bool, Option<String>)> {
    let works = world.movers.iter().map(|mover| match &mover.work {
        MoverTask::Push { adopt, adopt_state, .. } => (*adopt, adopt_state.clone()),
        work @ MoverTask::Pull { .. } => panic!("{work:?}"),
    });
    works.collect()
}

fn adopt(world: &mut World, path: Option<&str>) {
    (world.adopted, world.bound) = (false, None);
    script::annotate(world, |object| object.adopt_path = path.map(str::to_owned));
}

fn ignored(world: &World) -> Vec<&str> {
    world.events.iter().filter(|e| e.reason.as_str() == "AnnotationIgnored").map(|e| e.note.as_str()).collect()
}

/// Once for each new value, beside whatever trigger, and never while paused.
#[test]
fn a_verification_is_done_at_once_and_once() {
    for flavour in Flavour::ALL.into_iter().filter(|flavour| World::new(*flavour).object.kind == Kind::Source) {
        let mut world = synced(flavour);
        script::play(&mut world, &Happening::Pause(true));
        script::play(&mut world, &Happening::Verify(1));
        for _ in 0..3 {
            agent::look(&mut world, &Look::default());
        }
        assert!(world.status.run.is_none(), "paused");
        script::play(&mut world, &Happening::Pause(false));
        agent::look(&mut world, &Look::default());
        assert_eq!(world.status.run.as_ref().unwrap().verify_now.as_deref(), Some("1"));
        script::calm_down(&mut world);
        assert_eq!(world.status.last_handled_verify_now.as_deref(), Some("1"));
        script::play(&mut world, &Happening::Tag);
        script::calm_down(&mut world);
        assert_eq!(verified(&world), [false, true, false], "{flavour:?}");
        script::play(&mut world, &Happening::Verify(2));
        script::calm_down(&mut world);
        assert_eq!(verified(&world), [false, true, false, true], "{flavour:?}");
    }
}

/// A push that runs already was started without it: another one follows.
#[test]
fn a_verification_that_comes_in_mid_push_follows_it() {
    let mut world = with_a_mover(Flavour::SourceDirect);
    script::play(&mut world, &Happening::Verify(1));
    controllers::end_movers(&mut world, Ending::Good);
    controllers::let_the_cluster_work(&mut world);
    agent::look(&mut world, &Look::default());
    assert_eq!(world.status.last_handled_verify_now, None);
    script::calm_down(&mut world);
    assert_eq!(verified(&world), [false, true]);
    assert_eq!(world.status.last_handled_verify_now.as_deref(), Some("1"));
}

/// A failing push is tried at once; one that fails is not handled, and is tried again in its time.
#[test]
fn a_verification_does_not_wait_for_the_next_attempt() {
    let mut world = World::new(Flavour::SourceDirect);
    attempt(&mut world, Ending::Stalled);
    script::play(&mut world, &Happening::Verify(1));
    attempt(&mut world, Ending::Stalled);
    assert_eq!(verified(&world), [false, true]);
    assert_eq!((world.status.run.as_ref().unwrap().phase, world.status.attempts), (Phase::Backoff, Some(1)));
    agent::look(&mut world, &Look::default());
    assert_eq!(world.status.run.as_ref().unwrap().phase, Phase::Backoff, "in its time");
    assert_eq!(world.status.last_handled_verify_now, None);
    script::calm_down(&mut world);
    assert_eq!(world.status.last_handled_verify_now.as_deref(), Some("1"));
}

/// An adoption happens once, as long as the annotation stands there; taken away and set again, it is another one.
#[test]
fn an_adoption_wears_out() {
    let mut world = World::new(Flavour::SourceDirect);
    adopt(&mut world, Some("p/"));
    script::calm_down(&mut world);
    assert_eq!(world.status.adopted_path.as_deref(), Some("p"));
    script::play(&mut world, &Happening::Tag);
    script::calm_down(&mut world);
    adopt(&mut world, None);
    agent::look(&mut world, &Look::default());
    assert_eq!(world.status.adopted_path, None);
    adopt(&mut world, Some("p"));
    script::play(&mut world, &Happening::Tag);
    script::calm_down(&mut world);
    assert_eq!(adopting(&world), [(true, None), (false, None), (true, None)]);
    assert_eq!(ignored(&world), Vec::<&str>::new());
}

/// All attempts of an adoption act on the state that the first one saw, those of a run that takes the place of its run too.
#[test]
fn an_adoption_is_bound_to_the_state_that_it_saw() {
    let mut world = World::new(Flavour::SourceDirect);
    adopt(&mut world, Some("p"));
    attempt(&mut world, Ending::Failed);
    let state = world.status.run.as_ref().unwrap().adopted_state.clone();
    assert!(state.is_some());
    world.now = world.status.next_attempt_time.as_ref().unwrap().0;
    attempt(&mut world, Ending::Failed);
    script::play(&mut world, &Happening::Tag);
    attempt(&mut world, Ending::Failed);
    assert_eq!(adopting(&world), [(true, None), (true, state.clone()), (true, state)]);
    // Withdrawn, and set again: tried at once, and bound to what is there then.
    adopt(&mut world, None);
    agent::look(&mut world, &Look::default());
    adopt(&mut world, Some("p"));
    attempt(&mut world, Ending::Good);
    assert_eq!(adopting(&world)[3..], [(true, None)]);
}

/// An adoption that has worn out does not stand in the way of the next one: set again, it is tried at once.
#[test]
fn a_second_adoption_is_tried_at_once() {
    let mut world = World::new(Flavour::SourceDirect);
    adopt(&mut world, Some("p"));
    script::calm_down(&mut world);
    script::play(&mut world, &Happening::Tag);
    attempt(&mut world, Ending::Foreign);
    let message = world.status.last_error.clone().unwrap().message;
    assert!(message.contains("taken over once already") && message.contains("remove the annotation"), "{message}");
    adopt(&mut world, None);
    agent::look(&mut world, &Look::default());
    adopt(&mut world, Some("p"));
    attempt(&mut world, Ending::Good);
    assert_eq!(adopting(&world), [(true, None), (false, None), (true, None)]);
    assert!(world.status.run.is_none());
}

/// An annotation that names another path is reported, with both of them, and only once.
#[test]
fn an_annotation_that_names_another_path_is_reported() {
    let mut world = World::new(Flavour::SourceDirect);
    adopt(&mut world, Some("q"));
    attempt(&mut world, Ending::Foreign);
    let message = world.status.last_error.clone().unwrap().message;
    assert!(message.contains(r#"names "q", and spec.rclone.rcloneDestPath is "p""#), "{message}");
    script::calm_down(&mut world);
    script::play(&mut world, &Happening::Tag);
    script::calm_down(&mut world);
    assert_eq!(ignored(&world).len(), 1, "{:?}", ignored(&world));
    assert!(adopting(&world).iter().all(|(adopt, _)| !adopt));
}

/// Nor is it reported again and again while the condition has something else to tell, or because of that.
#[test]
fn an_annotation_that_names_another_path_is_reported_once_beside_a_problem() {
    let mut world = synced(Flavour::SourceDirect);
    adopt(&mut world, Some("q"));
    for troubles in [vec![], vec!["a CRD is old."], vec!["a CRD is old.", "a permission is missing"], vec![]] {
        let troubles: Vec<_> = troubles.into_iter().map(str::to_owned).collect();
        for _ in 0..3 {
            let facts = Facts { troubles: troubles.clone(), ..world.all_fresh() };
            carry_out(&mut world, &facts);
        }
        let facts = Facts { troubles: troubles.clone(), ..world.all_fresh() };
        let again = decide(&facts, &World::limits(), world.now).steps;
        assert!(again.is_empty(), "{troubles:?}: {again:?}");
        assert_eq!(ignored(&world).len(), 1, "{troubles:?}: {:?}", ignored(&world));
        let condition = world.status.conditions.iter().find(|c| c.type_ == "Reconciled").unwrap();
        let told = condition.message.matches("The annotation scribe.backube/adopt-path names").count();
        assert_eq!((condition.status.as_str(), told), (if troubles.is_empty() { "True" } else { "False" }, 1), "{}", condition.message);
        assert!(troubles.iter().all(|trouble| condition.message.contains(trouble.trim_end_matches('.'))), "{}", condition.message);
        assert!(!condition.message.contains(".."), "{}", condition.message);
    }
}

/// Neither has a meaning on a destination.
#[test]
fn a_destination_has_nothing_to_adopt() {
    let mut world = World::new(Flavour::DestinationImage);
    adopt(&mut world, Some("q"));
    script::calm_down(&mut world);
    assert_eq!((world.status.adopted_path.clone(), ignored(&world).len()), (None, 0));
}

/// Both annotations are edited at once: the one that was withdrawn does not hide the one that was set.
#[test]
fn what_is_permitted_as_an_adoption_is_withdrawn_is_tried_at_once() {
    let mut world = World::new(Flavour::SourceDirect);
    script::play(&mut world, &Happening::Adopt(true));
    for _ in 0..6 {
        crate::waking::attempt(&mut world, Ending::Stalled);
        world.past.clear();
        world.now = world.status.next_attempt_time.as_ref().unwrap().0;
    }
    crate::waking::attempt(&mut world, Ending::Stalled);
    let movers = world.movers.len();
    script::annotate(&mut world, |object| (object.adopt_path, object.allow_deletions) = (None, Some("token".into())));
    script::begin(&mut world);
    assert_eq!(world.movers.len(), movers + 1);
    assert_eq!(world.movers[movers].allow_deletions.as_deref(), Some("token"));
}

/// It is reported when it is seen, be nothing due for a long time or the object paused, and once for each value.
#[test]
fn an_annotation_that_names_another_path_is_reported_on_an_idle_source() {
    for paused in [false, true] {
        let mut world = synced(Flavour::SourceDirect);
        script::play(&mut world, &Happening::Pause(paused));
        for (path, events) in [(Some("q"), 1), (Some("q2"), 2), (None, 2), (Some("p"), 2)] {
            adopt(&mut world, path);
            for _ in 0..3 {
                agent::look(&mut world, &Look::default());
            }
            assert_eq!((ignored(&world).len(), world.movers.len()), (events, 1), "{path:?} {:?}", ignored(&world));
            let reconciled = world.status.conditions.iter().find(|c| c.type_ == "Reconciled").unwrap();
            let told = path.is_some_and(|path| reconciled.message.contains(&format!("names {path:?}, and")));
            assert_eq!((reconciled.status.as_str(), told), ("True", path.is_some_and(|path| path != "p")), "{}", reconciled.message);
        }
        assert!(agent::plan(&world).steps.is_empty(), "nothing is left to be said");
    }
}
