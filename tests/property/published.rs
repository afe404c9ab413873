//! What is published is there: latestImage names what the last sync pulled, or the object is not Ready and pulls again.

use crate::agent::{self, Look};
use crate::controllers::{self, Ending};
use crate::script::{self, Happening};
use crate::world::{Flavour, World};
use jiff::SignedDuration;
use scribe_agent::core::model::facts::{Refresh, Role, Slot};
use scribe_agent::core::model::spec::Trigger;
use scribe_agent::core::syntax::cron::Schedule;

fn ready(world: &World) -> (String, String, String) {
    let condition = world.status.conditions.iter().find(|c| c.type_ == "Ready").unwrap();
    (condition.status.clone(), condition.reason.clone(), condition.message.clone())
}

/// Synced, and nothing is due for a long time.
fn synced(flavour: Flavour) -> World {
    let mut world = World::new(flavour);
    script::recover(&mut world);
    script::edit(&mut world, |w| {
        w.spec.trigger = Trigger { schedule: Some(Schedule::parse("@yearly", None).unwrap()), ..Trigger::default() }
    });
    script::calm_down(&mut world);
    world.assert_published();
    world
}

/// Somebody deletes the volume that latestImage names, or replaces it by an empty one.
#[test]
fn a_direct_volume_that_is_gone_is_not_ready_and_pulled_again() {
    for happening in [Happening::HandDelete(Role::Volume), Happening::Swap] {
        let mut world = synced(Flavour::DestinationDirect);
        script::play(&mut world, &happening);
        controllers::let_the_cluster_work(&mut world);
        world.slot = Slot::Taken;
        agent::look(&mut world, &Look::default());
        assert_eq!(world.status.latest_image, None, "{happening:?}");
        let (status, reason, message) = ready(&world);
        assert_eq!((status.as_str(), reason.as_str()), ("False", "NotPublished"), "{message}");
        assert!(message.contains("PVC") && message.contains("a sync follows"), "{message}");
        script::all_goes_well(&mut world, 5);
        world.assert_published();
        assert_eq!(ready(&world).0, "True");
    }
}

/// That a volume has gone is concluded from a list that was asked for, whether or not its UID is known; of one that is there none is.
#[test]
fn a_direct_volume_is_missed_on_a_fresh_list_alone() {
    let asks = |world: &World| agent::plan(world).needs.contains(&Refresh::Claims);
    assert!(!asks(&synced(Flavour::DestinationDirect)));
    for known in [true, false] {
        let mut world = synced(Flavour::DestinationDirect);
        world.status.latest_image_uid = world.status.latest_image_uid.filter(|_| known);
        script::play(&mut world, &Happening::HandDelete(Role::Volume));
        controllers::let_the_cluster_work(&mut world);
        world.slot = Slot::Taken;
        assert!(asks(&world), "{known}");
    }
}

/// The volume is made anew, and the remote cannot be reached for a day: an empty volume is not what was synced.
#[test]
fn a_direct_volume_made_anew_is_not_ready_while_it_is_empty() {
    let mut world = synced(Flavour::DestinationDirect);
    script::play(&mut world, &Happening::HandDelete(Role::Volume));
    controllers::let_the_cluster_work(&mut world);
    world.past.clear();
    for _ in 0..24 * 60 {
        agent::look(&mut world, &Look::default());
        controllers::let_the_cluster_work(&mut world);
        controllers::start_pods(&mut world);
        controllers::end_movers(&mut world, Ending::Failed);
        controllers::let_the_cluster_work(&mut world);
        world.now += SignedDuration::from_mins(1);
        world.past.clear();
    }
    assert!(world.status.last_error.is_some() && world.claims.iter().any(|c| c.meta.role == Some(Role::Volume)));
    let (status, reason, message) = ready(&world);
    assert_eq!((status.as_str(), reason.as_str(), &world.status.latest_image), ("False", "NotPublished", &None), "{message}");
}

/// The last sync ended under a clock that was a year ahead.
#[test]
fn what_is_gone_is_published_again_after_a_clock_was_set_back() {
    for (flavour, role) in [(Flavour::DestinationImage, Role::Image), (Flavour::DestinationDirect, Role::Volume)] {
        let mut world = synced(flavour);
        script::play(&mut world, &Happening::Clock(-365 * 86_400));
        script::all_goes_well(&mut world, 5);
        script::play(&mut world, &Happening::HandDelete(role));
        script::all_goes_well(&mut world, 30);
        world.assert_published();
        assert_eq!(ready(&world).0, "True", "{flavour:?}: {:?}", ready(&world));
    }
}

/// A status of an agent that did not record which volume it published: what is replaced from then on is noticed.
#[test]
fn the_uid_of_a_volume_that_was_published_before_is_learnt() {
    let mut world = synced(Flavour::DestinationDirect);
    world.status.latest_image_uid = None;
    script::all_goes_well(&mut world, 5);
    script::play(&mut world, &Happening::Swap);
    world.slot = Slot::Taken;
    agent::look(&mut world, &Look::default());
    assert_eq!((ready(&world).0.as_str(), &world.status.latest_image), ("False", &None));
}

/// Nor did it record what it synced.
#[test]
fn an_image_of_an_earlier_agent_that_is_gone_is_not_ready() {
    let mut world = synced(Flavour::DestinationImage);
    world.status.synced = None;
    script::all_goes_well(&mut world, 5);
    script::play(&mut world, &Happening::HandDelete(Role::Image));
    script::all_goes_well(&mut world, 30);
    world.assert_published();
}

/// The PV of a published PVC is gone: the PVC keeps its UID, and is bound no more.
#[test]
fn a_direct_volume_that_is_lost_is_not_ready() {
    let mut world = synced(Flavour::DestinationDirect);
    world.cluster.slow = true; // It is not bound again.
    for claim in world.claims.iter_mut().filter(|claim| claim.meta.role == Some(Role::Volume)) {
        claim.bound = false;
    }
    agent::look(&mut world, &Look::default());
    let (status, reason, message) = ready(&world);
    assert_eq!((status.as_str(), reason.as_str(), &world.status.latest_image), ("False", "NotPublished", &None), "{message}");
}

/// The only image is deleted, or released to be kept: the next one is made of the volume without waiting for the schedule.
#[test]
fn an_image_that_is_gone_is_made_again_without_being_asked() {
    for flavour in [Flavour::DestinationImage, Flavour::DestinationImages, Flavour::DestinationExisting, Flavour::DestinationCleanup] {
        for happening in [Happening::Keep, Happening::HandDelete(Role::Image)] {
            let mut world = synced(flavour);
            script::play(&mut world, &happening);
            controllers::let_the_cluster_work(&mut world);
            world.slot = Slot::Taken;
            agent::look(&mut world, &Look::default());
            let (status, reason, message) = ready(&world);
            assert_eq!((status.as_str(), reason.as_str()), ("False", "NotPublished"), "{flavour:?} {happening:?}: {message}");
            script::all_goes_well(&mut world, 5);
            world.assert_published();
            assert_eq!(ready(&world).0, "True", "{flavour:?} {happening:?}");
        }
    }
}

/// With more than one image an earlier one is kept and listed, but is not the latest: a restore from it would give other data than the status
/// says, those of another path even. The image is made again at once, however short a time ago it was.
#[test]
fn older_data_is_never_published_in_the_place_of_newer() {
    for moved in [false, true] {
        let mut world = synced(Flavour::DestinationImages);
        for tag in ["x", "y"] {
            script::play(&mut world, &Happening::Push);
            script::edit(&mut world, |w| {
                w.spec.trigger.manual = Some(tag.into());
                w.spec.remote.path = if moved && tag == "y" { "moved" } else { "p" }.into();
            });
            script::begin(&mut world);
            controllers::start_pods(&mut world);
            controllers::end_movers(&mut world, Ending::Good);
            script::begin(&mut world);
            world.now += SignedDuration::from_mins(1);
        }
        let (newest, revision) = (world.status.latest_image.clone(), world.status.revision.clone());
        script::play(&mut world, &Happening::Keep);
        world.slot = Slot::Taken;
        agent::look(&mut world, &Look::default());
        assert_eq!(world.status.images[0].revision.as_deref(), Some("r2"), "it is kept");
        let (status, reason, message) = ready(&world);
        assert_eq!((status.as_str(), reason.as_str(), &world.status.latest_image), ("False", "NotPublished", &None), "{message}");
        assert_eq!(world.status.reason.as_deref(), Some("WaitingForSlot"), "at once");
        script::all_goes_well(&mut world, 3);
        world.assert_published();
        assert_eq!((&world.status.images[0].revision, ready(&world).2.as_str()), (&revision, "The last sync succeeded"));
        assert_ne!(world.status.latest_image, newest);
    }
}

/// As an earlier agent let one stand in; another image of the same revision may.
#[test]
fn the_latest_image_holds_the_revision_of_the_status() {
    for (held, stays) in [("r1", false), ("r2", true)] {
        let mut world = synced(Flavour::DestinationImages);
        script::play(&mut world, &Happening::Push);
        script::play(&mut world, &Happening::Tag);
        script::calm_down(&mut world);
        let older = world.status.images[1].name.clone();
        world.status.images.iter_mut().filter(|i| i.name == older).for_each(|i| i.revision = Some(held.into()));
        world.snapshots.iter_mut().filter(|s| s.meta.name == older).for_each(|s| s.revision = Some(held.into()));
        script::play(&mut world, &Happening::HandDelete(Role::Image));
        controllers::let_the_cluster_work(&mut world);
        if !stays {
            world.status.latest_image.as_mut().unwrap().name.clone_from(&older);
        }
        world.slot = Slot::Taken;
        world.past.clear();
        agent::look(&mut world, &Look::default());
        let latest = world.status.latest_image.as_ref().map(|latest| latest.name.clone());
        assert_eq!(latest, stays.then_some(older), "{held}");
        assert_eq!(ready(&world).0, if stays { "True" } else { "False" }, "{held}");
    }
}

/// The image that was made again is taken away as well: the next one waits, and the status says until when.
#[test]
fn a_second_one_says_when_it_is_made() {
    let mut world = synced(Flavour::DestinationImage);
    script::play(&mut world, &Happening::Keep);
    script::all_goes_well(&mut world, 3);
    world.assert_published();
    script::play(&mut world, &Happening::Keep);
    agent::look(&mut world, &Look::default());
    let time = world.status.next_start_time.clone().unwrap();
    let wait = time.0.duration_since(world.now);
    assert!(wait > SignedDuration::from_mins(5) && wait <= SignedDuration::from_mins(10), "{wait}");
    let (status, reason, message) = ready(&world);
    assert!(status == "False" && reason == "NotPublished" && message.contains(&time.0.to_string()), "{message}");
    script::all_goes_well(&mut world, 12);
    world.assert_published();
}

/// A policy that takes every image away does not make a new one every second.
#[test]
fn images_that_are_taken_away_at_once_cost_one_in_ten_minutes() {
    for happening in [Happening::Keep, Happening::HandDelete(Role::Image)] {
        let mut world = synced(Flavour::DestinationImage);
        let before = world.movers.len();
        for _ in 0..24 * 60 {
            script::play(&mut world, &happening);
            script::all_goes_well(&mut world, 1);
        }
        let syncs = world.movers.len() - before;
        assert!((100..=145).contains(&syncs), "{syncs} syncs in a day");
    }
}

/// Nor does a paused object make one.
#[test]
fn a_paused_destination_makes_none() {
    let mut world = synced(Flavour::DestinationImage);
    let before = world.movers.len();
    script::play(&mut world, &Happening::Pause(true));
    script::play(&mut world, &Happening::HandDelete(Role::Image));
    for _ in 0..60 {
        controllers::let_the_cluster_work(&mut world);
        agent::look(&mut world, &Look::default());
        world.now += SignedDuration::from_mins(1);
    }
    assert_eq!(world.movers.len(), before);
    let (status, reason, message) = ready(&world);
    assert!(status == "False" && reason == "NotPublished" && message.contains("once spec.paused is false"), "{reason} {message}");
}
