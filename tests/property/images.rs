//! The images of a destination: how many are kept, in which order, and what becomes of those that somebody takes away or wants.

use crate::agent::{self, Look};
use crate::controllers::{self, Ending};
use crate::script::{self, Happening};
use crate::world::{Flavour, World};
use jiff::{SignedDuration, Timestamp};
use scribe_agent::api::status::Phase;
use scribe_agent::core::decide::decide;
use scribe_agent::core::model::facts::{Facts, Role, Slot};
use scribe_agent::core::model::plan::Step;
use scribe_agent::core::model::retention::Retention;
use scribe_agent::core::model::spec::Volume;

/// One sync of a new tag. Gives the name of the latest image afterwards.
fn sync(world: &mut World) -> String {
    script::play(world, &Happening::Tag);
    finish(world)
}

fn finish(world: &mut World) -> String {
    for _ in 0..6 {
        agent::look(world, &Look::default());
        controllers::let_the_cluster_work(world);
        controllers::start_pods(world);
        controllers::end_movers(world, Ending::Good);
        controllers::let_the_cluster_work(world);
    }
    assert!(world.status.run.is_none(), "{:#?}", world.status.run);
    world.past.clear();
    script::play(world, &Happening::Clock(60));
    world.status.latest_image.as_ref().unwrap().name.clone()
}

fn listed(world: &World) -> Vec<String> {
    world.status.images.iter().map(|i| i.name.clone()).collect()
}

fn there(world: &World) -> Vec<String> {
    let mut names: Vec<_> = world.snapshots().into_iter().filter(|s| s.meta.role == Some(Role::Image)).map(|s| s.meta.name).collect();
    names.reverse();
    names
}

/// Those of them that nobody has deleted.
fn staying(world: &World) -> Vec<String> {
    let is_deleted = |name: &String| world.snapshots.iter().any(|s| s.meta.name == *name && s.meta.deleting);
    there(world).into_iter().filter(|name| !is_deleted(name)).collect()
}

/// A push and a pull of it, so often. Gives the images that were made, the last one first.
fn syncs(world: &mut World, count: usize) -> Vec<String> {
    let mut made = Vec::new();
    for _ in 0..count {
        script::play(world, &Happening::Push);
        made.insert(0, sync(world));
    }
    made
}

#[test]
fn the_newest_are_kept() {
    let mut world = World::new(Flavour::DestinationImages);
    let made = syncs(&mut world, 5);
    assert_eq!(listed(&world), made[..3]);
    assert_eq!(there(&world), made[..3]);
    let newest = &world.status.images[0];
    assert_eq!(newest.revision.as_deref(), Some("r6"));
    assert!(newest.ready_time.is_some());
    script::play(&mut world, &Happening::Retain(1));
    finish(&mut world);
    assert_eq!((listed(&world), there(&world)), (made[..1].to_vec(), made[..1].to_vec()));
}

/// A clock set back by a year does not make the newest image the oldest.
#[test]
fn the_order_is_that_of_publishing() {
    let mut world = World::new(Flavour::DestinationImages);
    let mut made = syncs(&mut world, 2);
    script::play(&mut world, &Happening::Clock(-365 * 86_400));
    made.splice(0..0, syncs(&mut world, 2));
    assert_eq!(listed(&world), made[..3]);
    assert!(made[0] < made[2], "the clock was set back: {made:?}");
    assert_eq!(world.status.latest_image.as_ref().unwrap().name, made[0]);
}

/// Nothing new makes no image, unless there is none of it any more.
#[test]
fn an_image_deleted_by_hand_is_made_again() {
    for flavour in [Flavour::DestinationImage, Flavour::DestinationImages, Flavour::DestinationExisting] {
        let mut world = World::new(flavour);
        let first = syncs(&mut world, 1).remove(0);
        assert_eq!(sync(&mut world), first, "nothing new");
        script::play(&mut world, &Happening::HandDelete(Role::Image));
        controllers::let_the_cluster_work(&mut world);
        agent::look(&mut world, &Look::default());
        assert!(world.status.images.is_empty() && world.status.latest_image.is_none(), "{:#?}", world.status);
        let second = sync(&mut world);
        assert_ne!(first, second);
        assert_eq!(there(&world), [second]);
    }
}

/// The one before holds other data: it does not stand in for a latest image that is gone.
#[test]
fn the_one_before_does_not_become_the_latest() {
    let mut world = World::new(Flavour::DestinationImages);
    let made = syncs(&mut world, 3);
    script::play(&mut world, &Happening::HandDelete(Role::Image));
    controllers::let_the_cluster_work(&mut world);
    world.slot = Slot::Taken;
    agent::look(&mut world, &Look::default());
    assert_eq!(listed(&world), made[1..]);
    assert_eq!(world.status.latest_image, None);
}

#[test]
fn an_image_to_keep_is_let_go_and_stays() {
    let mut world = World::new(Flavour::DestinationImage);
    let first = syncs(&mut world, 1).remove(0);
    script::play(&mut world, &Happening::Keep);
    agent::look(&mut world, &Look::default());
    assert!(there(&world).is_empty() && listed(&world).is_empty());
    let second = syncs(&mut world, 1).remove(0);
    assert_eq!(there(&world), [second]);
    assert!(world.snapshots.iter().any(|s| s.meta.name == first && !s.meta.deleting));
}

#[test]
fn an_image_in_use_stays_until_it_is_not() {
    let mut world = World::new(Flavour::DestinationImage);
    let first = syncs(&mut world, 1).remove(0);
    script::play(&mut world, &Happening::Restore(true));
    let second = syncs(&mut world, 1).remove(0);
    assert_eq!(there(&world), [second.clone(), first]);
    assert_eq!(listed(&world), std::slice::from_ref(&second));
    script::play(&mut world, &Happening::Restore(false));
    finish(&mut world);
    assert_eq!(there(&world), [second]);
}

/// The claim goes after each sync, and with it the knowledge of what it held.
#[test]
fn a_temporary_volume_goes_after_each_sync() {
    let mut world = World::new(Flavour::DestinationCleanup);
    let first = syncs(&mut world, 1).remove(0);
    let volumes = |world: &World| world.claims.iter().filter(|c| c.meta.role == Some(Role::Volume)).count();
    assert_eq!(volumes(&world), 0);
    // What is published already is not published again.
    assert_eq!((sync(&mut world), volumes(&world)), (first.clone(), 0));
    script::play(&mut world, &Happening::Push);
    let second = sync(&mut world);
    assert_ne!(first, second);
    script::calm_down(&mut world);
    assert_eq!((there(&world), volumes(&world)), (vec![second], 0));
}

/// A claim that was swapped after the mover had ended is not what it pulled: no image is taken of it.
#[test]
fn an_image_is_of_the_very_claim_that_was_pulled_into() {
    for flavour in [Flavour::DestinationImage, Flavour::DestinationExisting] {
        for nothing_new in [false, true] {
            let mut world = World::new(flavour);
            syncs(&mut world, 1);
            script::play(&mut world, if nothing_new { &Happening::Cluster } else { &Happening::Push });
            script::play(&mut world, &Happening::Tag);
            for _ in 0..2 {
                agent::look(&mut world, &Look::default());
                controllers::let_the_cluster_work(&mut world);
            }
            controllers::start_pods(&mut world);
            controllers::end_movers(&mut world, Ending::Good);
            script::play(&mut world, &Happening::Swap);
            controllers::let_the_cluster_work(&mut world);
            agent::look(&mut world, &Look::default());
            let error = world.status.last_error.as_ref().unwrap();
            assert_eq!(error.reason, "DestinationPVCMissing", "{flavour:?}");
            script::recover(&mut world);
            world.assert_settled();
        }
    }
}

/// A cache that does not know the newest image yet takes nothing from the list.
#[test]
fn what_is_published_is_not_taken_back_on_an_old_read() {
    let mut world = World::new(Flavour::DestinationImages);
    syncs(&mut world, 2);
    let (images, newest) = (listed(&world), world.snapshots.pop().unwrap());
    world.past = vec![world.facts().into(); 3];
    world.snapshots.push(newest);
    agent::look(&mut world, &Look { behind: 1, ..Look::default() });
    assert_eq!(listed(&world), images);
}

/// A list of snapshots that is answered 404 says nothing of them: whatever the sync is at, no image is taken from the list or deleted, and
/// no attempt fails.
#[test]
fn a_list_that_is_answered_404_is_not_an_empty_one() {
    for flavour in Flavour::ALL {
        let mut world = World::new(flavour);
        for _ in 0..3 {
            script::play(&mut world, &Happening::Push);
            script::play(&mut world, &Happening::Tag);
            for _ in 0..8 {
                let before = (world.status.images.clone(), world.status.latest_image.clone(), staying(&world));
                agent::look(&mut world, &Look { unlisted: true, ..Look::default() });
                let after = (&world.status.images, &world.status.latest_image);
                let published_meanwhile = flavour == Flavour::DestinationDirect;
                assert!(published_meanwhile || after == (&before.0, &before.1), "{flavour:?}: {before:#?} became {after:#?}");
                let there = staying(&world);
                assert!(before.2.iter().all(|name| there.contains(name)), "{flavour:?}: of {:?} only {there:?} are left", before.2);
                assert!(world.status.last_error.is_none(), "{flavour:?}: {:#?}", world.status.last_error);
                agent::look(&mut world, &Look::default());
                controllers::let_the_cluster_work(&mut world);
                controllers::start_pods(&mut world);
                controllers::end_movers(&mut world, Ending::Good);
                controllers::let_the_cluster_work(&mut world);
            }
            assert!(world.status.run.is_none(), "{flavour:?}: {:#?}", world.status.run);
        }
        script::recover(&mut world);
        world.assert_settled();
    }
}

/// Nor does a cache that has never had a list of them: an agent started while the API is away.
#[test]
fn images_that_were_never_listed_stay_published() {
    let mut world = World::new(Flavour::DestinationImages);
    syncs(&mut world, 3);
    let unknown = Facts { snapshots: Vec::new(), snapshots_known: false, ..world.facts() };
    let plan = decide(&unknown, &World::limits(), world.now);
    assert!(plan.steps.is_empty(), "{:#?}", plan.steps);
}

/// Whether the temporary snapshot is still there cannot be found out for long: told as what it is.
#[test]
fn snapshots_that_are_no_longer_served_are_reported() {
    let mut world = World::new(Flavour::SourceSnapshot);
    script::play(&mut world, &Happening::Tag);
    agent::look(&mut world, &Look::default());
    controllers::let_the_cluster_work(&mut world);
    let run = world.status.run.as_mut().unwrap();
    run.phase = Phase::Transferring;
    let unknown = Facts { snapshots: Vec::new(), snapshots_known: false, ..world.facts() };
    let plan = decide(&unknown, &World::limits(), world.now);
    let waits = |step: &Step| matches!(step, Step::WriteStatus(status) if status.last_error.is_none() && status.run == world.status.run);
    assert!(plan.steps.iter().all(waits), "{plan:#?}");
    let late = world.now + World::limits().pod_start_timeout + jiff::SignedDuration::from_secs(1);
    let plan = decide(&unknown, &World::limits(), late);
    let Some(Step::WriteStatus(status)) = plan.steps.first() else { panic!("{plan:#?}") };
    assert_eq!(status.last_error.as_ref().unwrap().reason, "SnapshotsUnsupported");
}

/// Whether the rules count days or an age: what they do not keep goes, but for the latest image and those that somebody needs or wants.
#[test]
fn images_are_kept_by_the_age_of_their_data() {
    let mut world = World::new(Flavour::DestinationImages);
    let retain = |world: &mut World, rules: Retention| {
        script::edit(world, |world| {
            if let Volume::Destination { retain, .. } = &mut world.spec.volume {
                *retain = rules.clone();
            }
        });
    };
    retain(&mut world, Retention { daily: 3, ..Retention::last(1) });
    let mut last_of_days = Vec::new();
    for day in 0..5 {
        // All of them are published within the hour: what counts is when their data was captured.
        world.data_time = Some(world.now - SignedDuration::from_hours(24 * (10 - day)));
        last_of_days.insert(0, syncs(&mut world, 3).remove(0));
    }
    assert_eq!((listed(&world), there(&world)), (last_of_days[..3].to_vec(), last_of_days[..3].to_vec()));

    // A claim is being made from the oldest, and the age is up for all.
    world.in_use.insert(last_of_days[2].clone());
    retain(&mut world, Retention { daily: 3, max_age: Some(SignedDuration::from_hours(24 * 5)), ..Retention::last(3) });
    finish(&mut world);
    assert_eq!((listed(&world), there(&world)), (last_of_days[..1].to_vec(), vec![last_of_days[0].clone(), last_of_days[2].clone()]));
    script::play(&mut world, &Happening::Restore(false));
    finish(&mut world);
    assert_eq!(there(&world), last_of_days[..1]);
    assert_eq!(world.status.latest_image.as_ref().unwrap().name, last_of_days[0]);

    // One that is wanted is let go before its age is up.
    world.data_time = Some(world.now);
    let wanted = syncs(&mut world, 1).remove(0);
    script::play(&mut world, &Happening::Keep);
    syncs(&mut world, 1);
    script::play(&mut world, &Happening::Clock(6 * 86_400));
    finish(&mut world);
    assert!(world.snapshots.iter().any(|s| s.meta.name == wanted && !s.meta.deleting));
}

/// Neither a source whose clock is a little ahead, nor an agent's clock that jumps, lets images of a day go one after another.
#[test]
fn images_stay_in_their_day() {
    let mut world = World::new(Flavour::DestinationImages);
    script::edit(&mut world, |world| {
        if let Volume::Destination { retain, .. } = &mut world.spec.volume {
            *retain = Retention { daily: 7, max_age: Some(SignedDuration::from_hours(24 * 90)), ..Retention::last(1) };
        }
    });
    let start = world.now.duration_since(Timestamp::UNIX_EPOCH).as_hours() / 24;
    for day in 1..6 {
        world.now = Timestamp::UNIX_EPOCH + SignedDuration::from_hours((start + day) * 24) - SignedDuration::from_secs(90);
        for _ in 0..3 {
            world.data_time = Some(world.now + SignedDuration::from_secs(61));
            syncs(&mut world, 1);
        }
    }
    let kept = listed(&world);
    assert_eq!(kept.len(), 6, "five days, and the one that has just begun: {:?}", world.status.images);
    for hours in [-24 * 45, 24 * 200, -24 * 155] {
        script::play(&mut world, &Happening::Clock(hours * 3600));
        finish(&mut world);
        assert_eq!(listed(&world), kept, "{hours} hours later");
    }
}
