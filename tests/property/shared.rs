//! Two destinations of one PVC: only one of them writes to it.

use crate::agent::{self, Look};
use crate::controllers::{self, Ending};
use crate::script::{self, Happening};
use crate::world::{Flavour, OTHER_CLAIM, World};
use jiff::SignedDuration;
use scribe_agent::core::decide::decide;
use scribe_agent::core::model::facts::{Facts, Kind, Refresh};
use scribe_agent::core::model::plan::MoverTask;
use scribe_agent::core::model::spec::{DestinationClaim, Volume};
use scribe_agent::core::schedule::queue;
use std::collections::BTreeSet;

const DESTINATIONS: [Flavour; 3] = [Flavour::DestinationImage, Flavour::DestinationDirect, Flavour::DestinationExisting];

/// The one that comes second starts no mover, says why, and takes no slot from others; once it is alone it goes on by itself.
#[test]
fn only_the_first_one_writes() {
    for flavour in DESTINATIONS {
        let mut world = World::new(flavour);
        world.others.rival = Some("other".into());
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
        world.others.rival = None;
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
        world.others.rival = Some("other".into());
        assert_eq!(world.sharing().rival, None, "it writes");
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

/// Only a destination whose mover may write asks what others do, and a source that begins.
#[test]
fn only_one_that_writes_asks_about_others() {
    let asks = |world: &World| agent::plan(world).needs.contains(&Refresh::Sharing);
    for flavour in Flavour::ALL {
        let mut world = World::new(flavour);
        // It does not write yet, and will.
        let plan = decide(&Facts { fresh: BTreeSet::new(), ..world.all_fresh() }, &World::limits(), world.now);
        assert!(plan.needs.contains(&Refresh::Sharing), "{flavour:?}");
        script::begin(&mut world);
        controllers::start_pods(&mut world);
        assert_eq!(asks(&world), world.writes() && world.object.kind == Kind::Destination, "{flavour:?}");
        script::calm_down(&mut world);
        assert!(!asks(&world), "{flavour:?}");
    }
}

/// Two that have begun, as under an agent that let both start: neither publishes the mixture, and each compares the whole volume next time.
#[test]
fn what_two_have_pulled_is_not_published() {
    for flavour in DESTINATIONS {
        for looks in 0..5 {
            let mut world = World::new(flavour);
            script::begin(&mut world);
            controllers::start_pods(&mut world);
            controllers::end_movers(&mut world, Ending::Good);
            for _ in 0..looks {
                agent::look(&mut world, &Look::default());
            }
            if world.status.run.is_none() {
                continue; // nothing else is to be published
            }
            world.others.mixed = Some("other".into());
            for _ in 0..5 {
                agent::look(&mut world, &Look::default());
                controllers::let_the_cluster_work(&mut world);
            }
            let status = &world.status;
            assert_eq!((&status.latest_image, &status.last_sync_time, status.volume_touched), (&None, &None, true), "{flavour:?}");
            assert_eq!(status.last_error.as_ref().map(|e| e.reason.as_str()), Some("InvalidSpec"), "{flavour:?}");
            assert!(world.snapshots().is_empty(), "{flavour:?}: an image of the mixture");
            world.others.mixed = None;
            script::calm_down(&mut world);
            world.assert_settled();
            assert_eq!(world.movers.len(), 2, "{flavour:?}");
        }
    }
}

/// A Job of another destination that has no pod yet, and cannot be deleted: its pod may come at any time.
#[test]
fn a_job_of_another_counts_as_a_writer() {
    for flavour in DESTINATIONS {
        let mut world = World::new(flavour);
        world.foreign_jobs = vec!["scribe-rclone-dest-other".into()];
        for _ in 0..60 {
            agent::look(&mut world, &Look::default());
            world.past.clear();
            world.now += SignedDuration::from_mins(1);
        }
        assert!(world.movers.is_empty(), "{flavour:?}");
        let error = world.status.last_error.clone().map(|e| e.message).unwrap_or_default();
        assert!(error.contains("Job scribe-rclone-dest-other of another destination"), "{error}");
        world.foreign_jobs.clear();
        script::calm_down(&mut world);
        world.assert_settled();
    }
}

fn idle(flavour: Flavour) -> World {
    let mut world = World::new(flavour);
    script::recover(&mut world);
    world.past.clear();
    world
}

fn is_trusted(world: &World) -> bool {
    match &world.movers.last().unwrap().work {
        MoverTask::Pull { applied, .. } => applied.is_some(),
        MoverTask::Push { .. } => panic!("a push"),
    }
}

/// The volume had another claimant meanwhile: it is pulled again at once, whatever the trigger, and compared as a whole.
#[test]
fn a_volume_that_another_was_given_is_pulled_again() {
    for flavour in DESTINATIONS {
        let mut world = idle(flavour);
        let movers = world.movers.len();
        world.others.touched = true;
        agent::look(&mut world, &Look::default());
        assert!(world.status.volume_touched, "{flavour:?}");
        world.others.touched = false;
        script::all_goes_well(&mut world, 60);
        assert_eq!(world.movers.len(), movers + 1, "{flavour:?}");
        assert!(!is_trusted(&world) && !world.status.volume_touched, "{flavour:?}");
        world.assert_settled();
    }
}

/// A destination that names another PVC for a moment leaves its own to others: paused, or with an invalid spec, no sync of that other one
/// comes between.
#[test]
fn a_volume_that_was_left_and_taken_again_is_pulled_again() {
    let point_at = |world: &mut World, new: &DestinationClaim| {
        if let Volume::Destination { claim, .. } = &mut world.spec.volume {
            claim.clone_from(new);
        }
        let DestinationClaim::Existing(name) = new else { return world.object.destination_pvc = None };
        world.object.destination_pvc = Some(name.clone());
    };
    for flavour in DESTINATIONS {
        for invalid in [false, true] {
            let mut world = idle(flavour);
            let Volume::Destination { claim: own, .. } = world.spec.volume.clone() else { panic!("a source") };
            let movers = world.movers.len();
            script::edit(&mut world, |world| {
                (world.spec.paused, world.invalid) = (!invalid, invalid.then(|| "a mistake".into()));
                point_at(world, &DestinationClaim::Existing(OTHER_CLAIM.into()));
            });
            agent::look(&mut world, &Look::default());
            script::edit(&mut world, |world| {
                (world.spec.paused, world.invalid) = (true, None);
                point_at(world, &own);
            });
            agent::look(&mut world, &Look::default());
            let ready = world.status.conditions.iter().find(|c| c.type_ == "Ready").unwrap();
            assert!(ready.message.contains("Another destination may have pulled into the PVC"), "{}", ready.message);
            assert_eq!(ready.status == "False", flavour == Flavour::DestinationDirect, "an image is what it was: {flavour:?}");
            script::edit(&mut world, |world| world.spec.paused = false);
            script::all_goes_well(&mut world, 60);
            assert_eq!(world.movers.len(), movers + 1, "{flavour:?}, invalid: {invalid}");
            assert!(!is_trusted(&world), "{flavour:?}, invalid: {invalid}");
            world.assert_settled();
        }
    }
}

/// What reads one PVC may be many.
#[test]
fn sources_have_no_rivals() {
    let mut world = World::new(Flavour::SourceDirect);
    world.others.rival = Some("other".into());
    script::recover(&mut world);
    world.assert_settled();
}

/// A pull into the PVC that a source pushes to the same path deletes what was written there since: it is refused, naming the source, also to
/// one that has pulled before, until the source is paused.
#[test]
fn what_a_source_pushes_is_not_pulled_back_into_it() {
    for flavour in DESTINATIONS {
        for synced in [false, true] {
            let mut world = World::new(flavour);
            if synced {
                script::calm_down(&mut world);
                script::play(&mut world, &Happening::Tag);
            }
            let before = world.movers.len();
            world.others.pushed_by = Some("app".into());
            for _ in 0..60 {
                agent::look(&mut world, &Look::default());
                controllers::let_the_cluster_work(&mut world);
                world.past.clear();
                world.now += SignedDuration::from_mins(1);
            }
            assert_eq!((world.movers.len(), world.jobs.len()), (before, 0), "{flavour:?}");
            for (kind, status) in [("Stalled", "True"), ("Ready", "False")] {
                let condition = world.status.conditions.iter().find(|c| c.type_ == kind).unwrap();
                assert_eq!((condition.status.as_str(), condition.reason.as_str()), (status, "InvalidSpec"), "{flavour:?}");
                let message = &condition.message;
                assert!(kind == "Ready" && synced || message.contains("ReplicationSource \"app\" pushes PVC"), "{message}");
            }
            world.others.pushed_by = None;
            script::calm_down(&mut world);
            world.assert_settled_without_a_tag();
        }
    }
}

const SOURCES: [Flavour; 3] = [Flavour::SourceSnapshot, Flavour::SourceClone, Flavour::SourceDirect];

/// A source that is resumed while its last push is being restored would push what has been restored so far over it: it waits, names the
/// destination, or its Job once the destination is no more, and goes on by itself.
#[test]
fn what_is_half_pulled_is_not_pushed() {
    let named = [("ReplicationDestination \"back\" pulls r:p into PVC", true), ("Job scribe-rclone-dest-back of a destination", false)];
    for ((flavour, synced), (words, there)) in SOURCES.into_iter().flat_map(|f| [(f, false), (f, true)]).flat_map(|c| named.map(|n| (c, n)))
    {
        let mut world = World::new(flavour);
        if synced {
            script::calm_down(&mut world);
            script::play(&mut world, &Happening::Tag);
        }
        let before = world.movers.len();
        if there {
            world.others.pulled_by = Some("back".into());
        } else {
            world.foreign_jobs = vec!["scribe-rclone-dest-back".into()];
        }
        for _ in 0..60 {
            agent::look(&mut world, &Look::default());
            controllers::let_the_cluster_work(&mut world);
            world.past.clear();
            world.now += SignedDuration::from_mins(1);
        }
        assert_eq!((world.movers.len(), world.snapshots().len()), (before, 0), "{flavour:?}");
        let stalled = world.status.conditions.iter().find(|c| c.type_ == "Stalled").unwrap();
        assert_eq!((stalled.status.as_str(), stalled.reason.as_str()), ("True", "InvalidSpec"), "{flavour:?}");
        assert!(stalled.message.contains(words), "{}", stalled.message);
        world.foreign_jobs.clear();
        world.others.pulled_by = None;
        script::calm_down(&mut world);
        world.assert_settled_without_a_tag();
    }
}

/// One whose copy is made on request takes no value for a push that it would not make: the application goes on with the next one.
#[test]
fn no_copy_is_asked_for_while_another_pulls() {
    for flavour in [Flavour::SourceSnapshot, Flavour::SourceClone] {
        let mut world = World::new(flavour);
        world.use_copy_trigger(true);
        world.ask_for_a_copy("one");
        world.others.pulled_by = Some("back".into());
        for _ in 0..5 {
            agent::look(&mut world, &Look::default());
        }
        assert_eq!(world.source_claim().unwrap().copy.status, None, "{flavour:?}");
        script::recover(&mut world);
        world.assert_settled();
    }
}

/// Between the attempts of a pull that failed, and when the spec names another path by then, the volume holds a part of it; where nothing was pushed
/// yet, a first push replaces nothing.
#[test]
fn a_pull_that_has_not_succeeded_is_known() {
    for flavour in DESTINATIONS {
        for ending in [Ending::Failed, Ending::WithoutReport, Ending::NothingPushedYet] {
            let mut world = World::new(flavour);
            script::begin(&mut world);
            let first = world.subject().remote;
            let unfinished = |world: &World| world.status.unfinished_pulls.iter().filter(|pull| pull.remote == first).count();
            assert_eq!(unfinished(&world), 1, "{flavour:?}");
            controllers::start_pods(&mut world);
            controllers::end_movers(&mut world, ending);
            controllers::note_ended(&mut world);
            for _ in 0..3 {
                agent::look(&mut world, &Look::default());
            }
            let left = usize::from(ending != Ending::NothingPushedYet);
            assert_eq!(unfinished(&world), left, "{flavour:?} {ending:?}");
            script::edit(&mut world, |world| world.spec.remote.path = script::PATHS[1].into());
            for _ in 0..3 {
                agent::look(&mut world, &Look::default());
            }
            assert_eq!(unfinished(&world), left, "{flavour:?} {ending:?}: the edit has mended nothing");
            script::calm_down(&mut world);
            world.assert_settled_without_a_tag();
        }
    }
}
