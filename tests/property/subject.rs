//! What a sync is of: a spec that names other data than were synced last is due at once, whenever it was edited, and what an earlier
//! spec brought is neither published nor recorded under the new one.

use crate::agent::{self, Look};
use crate::controllers::{self, Ending};
use crate::edits::{step, with_a_mover};
use crate::script::{self, Happening, PATHS};
use crate::world::{Flavour, OTHER_CLAIM, World};
use rstest::rstest;
use scribe_agent::api::status::Phase;
use scribe_agent::core::model::facts::Kind;
use scribe_agent::core::model::plan::MoverTask;
use scribe_agent::core::model::retention::Retention;
use scribe_agent::core::model::spec::{DestinationClaim, PushLayout, SnapshotClass, Volume};
use scribe_agent::core::schedule::due::needs_new_sync;
use scribe_agent::core::syntax::cron::Schedule;

fn path(world: &mut World) {
    world.spec.remote.path = PATHS[1].into();
}

fn claim(world: &mut World) {
    match &mut world.spec.volume {
        Volume::Source { claim, .. } => *claim = OTHER_CLAIM.into(),
        Volume::Destination { claim, cleanup, .. } => {
            *claim = DestinationClaim::Existing(OTHER_CLAIM.into());
            *cleanup = false;
        }
    }
}

/// The volume instead of a snapshot of it, or the other way round, and then it may go once the snapshot is there.
fn published(world: &mut World) {
    if let Volume::Destination { claim, image, cleanup, .. } = &mut world.spec.volume {
        *image = if image.is_some() { None } else { Some(SnapshotClass(None)) };
        *cleanup = image.is_some() && matches!(claim, DestinationClaim::Private(_));
    }
}

/// No schedule, no new tag, nothing that fails: the edit alone makes a sync due. Whenever it comes: before the first sync, in every phase
/// of it, and long after it; and where the spec is paused meanwhile.
#[rstest]
#[case::path(path)]
#[case::section(|w: &mut World| w.spec.remote.section = "other".into())]
#[case::claim(claim)]
#[case::path_and_claim(|w: &mut World| { path(w); claim(w); })]
#[case::layout(|w: &mut World| match &mut w.spec.volume {
    Volume::Source { .. } => w.spec.layout = PushLayout::Packs { retain: None },
    Volume::Destination { plain, .. } => *plain = true,
})]
#[case::revision(|w: &mut World| script::play(w, &Happening::Pin(1)))]
#[case::time(|w: &mut World| script::play(w, &Happening::Pin(4)))]
#[case::published(published)]
fn an_edited_subject_is_synced_by_itself(#[case] edit: impl Fn(&mut World), #[values(false, true)] paused: bool) {
    for flavour in Flavour::ALL {
        for moment in 0..30 {
            let mut world = World::new(flavour);
            for number in 0..moment {
                step(&mut world, number);
            }
            script::edit(&mut world, |world| {
                edit(world);
                world.spec.paused = paused;
                world.edited = true;
            });
            if paused {
                for number in 0..20 {
                    step(&mut world, number);
                }
            }
            script::calm_down(&mut world);
            world.assert_settled_without_a_tag();
        }
    }
}

/// There and back: what counts in the end is what the spec names then, and revisions of the one path are never taken for the other's.
#[test]
fn a_path_edited_back_is_synced_again() {
    for flavour in Flavour::ALL {
        for there in 0..16 {
            for back in [0, 1, 3, 4, 6, 9] {
                let mut world = World::new(flavour);
                for number in 0..there {
                    step(&mut world, number);
                }
                script::play(&mut world, &Happening::Path(1));
                for number in 0..back {
                    step(&mut world, number);
                }
                script::play(&mut world, &Happening::Path(0));
                script::calm_down(&mut world);
                world.assert_settled_without_a_tag();
                assert_eq!(world.paths().last(), Some(&PATHS[0]));
            }
        }
    }
}

/// A world that was synced, and has a schedule and no tag.
fn idle(flavour: Flavour) -> World {
    idle_world(World::new(flavour))
}

fn idle_world(mut world: World) -> World {
    script::edit(&mut world, |world| world.spec.trigger.schedule = Some(Schedule::parse("@yearly", None).unwrap()));
    script::calm_down(&mut world);
    world.assert_settled();
    world.past.clear();
    world
}

fn ready(world: &World) -> (&str, Option<i64>, &str) {
    let ready = world.status.conditions.iter().find(|c| c.type_ == "Ready").unwrap();
    (&ready.status, ready.observed_generation, &ready.message)
}

/// At the next look, not at the next scheduled time; and Ready says what the last sync was of until the new one is done.
#[test]
fn an_edit_while_idle_is_due_at_once() {
    for flavour in Flavour::ALL {
        let mut world = idle(flavour);
        let synced = world.object.generation;
        assert!(!needs_new_sync(&world.spec, &world.status));
        script::play(&mut world, &Happening::Path(1));
        assert!(needs_new_sync(&world.spec, &world.status));
        agent::look(&mut world, &Look::default());
        assert!(world.status.run.is_some(), "{flavour:?}");
        let expected = "The last successful sync used an earlier spec (r:p); a sync of the current spec follows";
        assert_eq!(ready(&world), ("True", Some(synced), expected));
        script::calm_down(&mut world);
        assert_eq!(ready(&world).2, "The last sync succeeded");
        assert_eq!(world.status.synced.as_ref().unwrap().remote, "r:elsewhere");
    }
}

#[test]
fn a_paused_edit_is_due_when_it_is_paused_no_more() {
    let mut world = idle(Flavour::SourceSnapshot);
    script::edit(&mut world, |world| {
        world.spec.paused = true;
        world.spec.remote.path = PATHS[1].into();
    });
    for _ in 0..3 {
        agent::look(&mut world, &Look::default());
        world.past.clear();
    }
    assert!(world.status.run.is_none() && world.status.waiting_since.is_none());
    assert!(ready(&world).2.ends_with("a sync of the current spec follows once spec.paused is false"), "{}", ready(&world).2);
    script::play(&mut world, &Happening::Pause(false));
    agent::look(&mut world, &Look::default());
    assert!(world.status.run.is_some());
}

/// It waits for its turn as any other sync does, and says so once.
#[test]
fn an_edit_waits_for_a_slot() {
    let mut world = idle(Flavour::DestinationImage);
    script::play(&mut world, &Happening::Slot(false));
    script::play(&mut world, &Happening::Path(1));
    let writes = world.writes;
    for _ in 0..5 {
        agent::look(&mut world, &Look::default());
    }
    assert!(world.status.run.is_none() && world.status.waiting_since.is_some());
    assert_eq!(world.writes, writes + 1);
}

/// Nothing has to be done again for an edit that was taken back before anything came of it, or that names the same data.
#[test]
fn an_edit_that_names_the_same_data_is_not_due() {
    for flavour in Flavour::ALL {
        let mut world = World::new(flavour);
        world.spec.layout = PushLayout::Packs { retain: None };
        let mut world = idle_world(world);
        script::play(&mut world, &Happening::Path(1));
        script::play(&mut world, &Happening::Path(0));
        script::edit(&mut world, |world| world.spec.remote.path = "p/".into());
        script::edit(&mut world, |world| world.spec.remote.secret = "other".into());
        script::play(&mut world, &Happening::Retain(3));
        if let PushLayout::Packs { retain } = &mut world.spec.layout {
            *retain = Some(Box::new(Retention::last(3))); // at the path, as of images
        }
        world.object.generation += 1;
        let movers = world.movers.len();
        for _ in 0..3 {
            agent::look(&mut world, &Look::default());
        }
        assert!(world.status.run.is_none() && world.movers.len() == movers, "{flavour:?}");
    }
}

/// The status of an older agent does not say what was synced: that alone makes nothing due.
#[test]
fn what_an_older_agent_synced_is_not_synced_again() {
    for flavour in Flavour::ALL {
        let mut world = idle(flavour);
        world.status.synced = None;
        agent::look(&mut world, &Look::default());
        assert!(world.status.run.is_none(), "{flavour:?}");
    }
}

/// Jobs and runs of an older agent do not say what they are of: a pull is believed as long as the spec has not been edited since.
#[test]
fn a_mover_that_an_older_agent_started() {
    for (flavour, edited) in [Flavour::SourceSnapshot, Flavour::DestinationImage].into_iter().flat_map(|f| [(f, false), (f, true)]) {
        let mut world = with_a_mover(flavour);
        world.status.run.as_mut().unwrap().subject = None;
        world.jobs[0].subject = None;
        if edited {
            script::play(&mut world, &Happening::Path(1));
        }
        controllers::end_movers(&mut world, Ending::Good);
        controllers::let_the_cluster_work(&mut world);
        let first = world.status.run.clone().unwrap().id;
        let run = |world: &World| world.status.run.as_ref().map(|run| run.id.clone());
        if edited && flavour == Flavour::DestinationImage {
            agent::look(&mut world, &Look::default());
            assert!(run(&world).is_some_and(|id| id != first));
        }
        if edited && flavour == Flavour::SourceSnapshot {
            // The world knows what it was of, and the agent does not: not to be asked.
            let facts = world.facts();
            let plan = scribe_agent::core::decide::decide(&facts, &World::limits(), world.now);
            let status = plan.steps.iter().find_map(|step| match step {
                scribe_agent::core::model::plan::Step::WriteStatus(status) => Some(status),
                _ => None,
            });
            assert_eq!(status.unwrap().synced, None);
            continue;
        }
        script::calm_down(&mut world);
        world.assert_settled_without_a_tag();
    }
}

/// A push that has ended is closed as what it is, and the next one begins; `--pushed-revision` is of the path that is pushed to.
#[test]
fn a_push_that_an_edit_overtakes_is_closed_as_what_it_was() {
    let mut world = with_a_mover(Flavour::SourceSnapshot);
    script::play(&mut world, &Happening::Path(1));
    controllers::end_movers(&mut world, Ending::Good);
    controllers::let_the_cluster_work(&mut world);
    agent::look(&mut world, &Look::default());
    assert_eq!(world.status.synced.as_ref().unwrap().remote, "r:p");
    assert_eq!((world.status.revision.as_deref(), world.status.last_manual_sync.as_deref()), (Some("r1"), Some("0")));
    script::calm_down(&mut world);
    script::play(&mut world, &Happening::Path(0));
    script::calm_down(&mut world);
    let pushed = world.movers.iter().map(|mover| match &mover.work {
        MoverTask::Push { pushed, .. } => (mover.remote.path.as_str(), pushed.clone()),
        work @ MoverTask::Pull { .. } => panic!("{work:?}"),
    });
    assert_eq!(pushed.collect::<Vec<_>>(), [("p", None), ("elsewhere", None), ("p", None)]);
    script::play(&mut world, &Happening::Tag);
    script::calm_down(&mut world);
    assert!(matches!(&world.movers[3].work, MoverTask::Push { pushed: Some(revision), .. } if revision == "r1"));
}

/// A pull that an edit overtakes leaves its traces in the volume: after it, nothing is believed of what the volume held.
#[test]
fn a_volume_that_a_pull_from_elsewhere_has_touched_is_compared_again() {
    let mut world = idle(Flavour::DestinationImage);
    let image = world.status.latest_image.clone();
    script::play(&mut world, &Happening::Path(1));
    script::begin(&mut world);
    controllers::start_pods(&mut world);
    controllers::end_movers(&mut world, Ending::WithoutReport);
    controllers::let_the_cluster_work(&mut world);
    script::play(&mut world, &Happening::Path(0));
    assert_eq!(world.status.latest_image, image, "the image of before stays until there is another one");
    script::calm_down(&mut world);
    world.assert_settled();
    let applied = world.movers.iter().map(|mover| match &mover.work {
        MoverTask::Pull { applied, .. } => (mover.remote.path.as_str(), applied.clone()),
        work @ MoverTask::Push { .. } => panic!("{work:?}"),
    });
    assert_eq!(applied.collect::<Vec<_>>(), [("p", None), ("elsewhere", None), ("p", None)]);
    script::play(&mut world, &Happening::Tag);
    script::calm_down(&mut world);
    assert!(matches!(&world.movers[3].work, MoverTask::Pull { applied: Some(revision), .. } if revision == "r1"));
}

/// Images of the path before are older images: they go by `retain`, and not before there is one of the new path.
#[test]
fn images_of_the_path_before_stay_until_they_are_replaced() {
    let mut world = idle(Flavour::DestinationImages);
    let before = world.status.images.clone();
    script::play(&mut world, &Happening::Path(1));
    script::begin(&mut world);
    assert_eq!(world.status.images, before);
    script::calm_down(&mut world);
    let revisions: Vec<_> = world.status.images.iter().map(|image| image.revision.clone().unwrap()).collect();
    assert_eq!(revisions, ["r:elsewhere-r1", "r1"]);
}

/// What a paused run captured is not what the spec names by now: it is neither pushed nor does it keep its place.
#[test]
fn a_paused_run_does_not_push_what_it_captured_of_another_claim() {
    let mut world = World::new(Flavour::SourceSnapshot);
    agent::look(&mut world, &Look::default());
    assert_eq!(world.status.run.as_ref().unwrap().phase, Phase::Capturing);
    script::edit(&mut world, |world| {
        claim(world);
        world.spec.paused = true;
    });
    for number in 0..20 {
        step(&mut world, number);
    }
    assert_eq!((world.movers.len(), world.status.run.as_ref().unwrap().phase), (0, Phase::Backoff));
    let synchronizing = world.status.conditions.iter().find(|c| c.type_ == "Synchronizing").unwrap();
    assert_eq!(synchronizing.reason, "Paused");
    assert!(synchronizing.message.starts_with("Paused: the spec has changed"), "{}", synchronizing.message);
    assert!(world.object.kind == Kind::Source && world.status.attempts.is_none() && world.status.last_error.is_none());
    script::calm_down(&mut world);
    world.assert_settled_without_a_tag();
    assert_eq!(world.movers.last().unwrap().subject.claim.as_deref(), Some(OTHER_CLAIM));
}

/// One that is paused, and whose edit changes nothing of what it captured, finishes.
#[test]
fn a_paused_run_of_the_same_subject_finishes() {
    let mut world = World::new(Flavour::SourceSnapshot);
    agent::look(&mut world, &Look::default());
    script::play(&mut world, &Happening::Pause(true));
    for number in 0..20 {
        step(&mut world, number);
    }
    assert!(world.status.run.is_none() && world.status.last_sync_time.is_some());
}
