//! A destination that is pinned: the revision of a time is found once, whatever happens then; one that is gone is told and replaced by no
//! other; and without a pin it follows the newest again.

use crate::agent::{self, Look};
use crate::controllers::{self, Ending};
use crate::edits::step;
use crate::script::{self, Happening};
use crate::world::{Flavour, World};
use jiff::SignedDuration;
use rstest::rstest;
use scribe_agent::api::pin::PinSpec;
use scribe_agent::core::model::plan::MoverTask;

const DESTINATIONS: [Flavour; 5] = [
    Flavour::DestinationImage,
    Flavour::DestinationImages,
    Flavour::DestinationCleanup,
    Flavour::DestinationDirect,
    Flavour::DestinationExisting,
];

/// A destination that has pulled the newest of three revisions.
fn at_the_newest(flavour: Flavour) -> World {
    let mut world = World::new(flavour);
    world.remote = Some(3);
    script::recover(&mut world);
    world.assert_settled();
    world
}

/// What the movers since the first `before` were sent for.
fn asked(world: &World, before: usize) -> Vec<Option<PinSpec>> {
    let pin = |work: &MoverTask| if let MoverTask::Pull { pin, .. } = work { pin.clone() } else { panic!("{work:?}") };
    world.movers[before..].iter().map(|mover| pin(&mover.work)).collect()
}

fn condition<'a>(world: &'a World, name: &str) -> (&'a str, &'a str, &'a str) {
    let condition = world.status.conditions.iter().find(|c| c.type_ == name).unwrap();
    (&condition.status, &condition.reason, &condition.message)
}

#[test]
fn a_time_becomes_a_revision_at_the_first_pull() {
    for flavour in DESTINATIONS {
        let mut world = at_the_newest(flavour);
        let before = world.movers.len();
        let as_of = World::pin_as_of(World::time_of(2));
        script::edit(&mut world, |world| world.spec.pin = Some(as_of.clone()));
        script::calm_down(&mut world);
        world.assert_settled();
        let pinned = world.status.pinned.clone().unwrap();
        assert_eq!(
            (pinned.revision.as_str(), &pinned.as_of, world.status.revision.as_deref()),
            ("r2", &as_of.as_of, Some("r2")),
            "{flavour:?}"
        );
        // By the time alone, another one would be found from now on.
        (world.remote, world.oldest) = (Some(4), 1);
        script::edit(&mut world, |world| world.spec.trigger.manual = Some("again".into()));
        script::calm_down(&mut world);
        assert_eq!(asked(&world, before), [Some(as_of), Some(world.pin_to(2))], "{flavour:?}");
        if flavour == Flavour::DestinationImage {
            // Nothing of the volume has to be compared: it is certain to hold it.
            assert!(matches!(&world.movers.last().unwrap().work, MoverTask::Pull { applied: Some(applied), .. } if applied == "r2"));
        }
        script::play(&mut world, &Happening::Pin(0));
        script::calm_down(&mut world);
        world.assert_settled();
        assert_eq!((world.status.revision.as_deref(), &world.status.pinned), (Some("r4"), &None), "{flavour:?}");
    }
}

/// The agent dies before any of its writes, and meanwhile the path comes to have another revision of that time. What was published stays, and what
/// the status has told once does.
#[test]
fn a_crash_before_any_write_leaves_one_revision() {
    for flavour in DESTINATIONS {
        for crash_at in 0..14 {
            let mut world = at_the_newest(flavour);
            script::edit(&mut world, |world| world.spec.pin = Some(World::pin_as_of(World::time_of(2) + SignedDuration::from_mins(1))));
            let (writes, mut crashed) = (world.writes, false);
            for _ in 0..12 {
                let left = crash_at - (world.writes - writes).min(crash_at);
                agent::look(&mut world, &Look { crash_at: (!crashed).then_some(left), ..Look::default() });
                crashed |= world.writes - writes >= crash_at;
                if crashed {
                    // The world holds every later status against what was known.
                    world.oldest = 3;
                }
                controllers::start_pods(&mut world);
                controllers::let_the_cluster_work(&mut world);
                controllers::end_movers(&mut world, Ending::Good);
                controllers::let_the_cluster_work(&mut world);
            }
            let known = world.status.pinned.clone();
            assert!(known.as_ref().is_none_or(|pinned| pinned.revision == "r2"), "{flavour:?} at {crash_at}: {known:?}");
            world.oldest = 1;
            script::recover(&mut world);
            world.assert_settled();
            assert_eq!(world.status.revision.as_deref(), Some("r2"), "{flavour:?} at {crash_at}");
        }
    }
}

/// What a mover has reported is kept before an image is made of it: an image that fails is made again of the same revision.
#[test]
fn a_revision_is_known_before_its_image() {
    let mut world = at_the_newest(Flavour::DestinationImage);
    script::play(&mut world, &Happening::Pin(5));
    script::begin(&mut world);
    controllers::start_pods(&mut world);
    controllers::end_movers(&mut world, Ending::Good);
    controllers::let_the_cluster_work(&mut world);
    agent::look(&mut world, &Look { crash_at: Some(1), ..Look::default() });
    assert_eq!(world.status.pinned.as_ref().map(|pinned| pinned.revision.as_str()), Some("r2"));
    assert_eq!(world.status.revision.as_deref(), Some("r3"), "not published yet");
}

/// There, back, and elsewhere, at every moment of a sync.
#[test]
fn a_pin_may_be_edited_at_any_moment() {
    for flavour in DESTINATIONS {
        for moment in 0..12 {
            for (first, then) in [(5, 0), (5, 4), (2, 5)] {
                let mut world = at_the_newest(flavour);
                script::play(&mut world, &Happening::Pin(first));
                for number in 0..moment {
                    step(&mut world, number);
                }
                script::play(&mut world, &Happening::Pin(then));
                script::calm_down(&mut world);
                world.assert_settled();
                let expected = ["r3", "r1", "r2", "r3", "r1", "r2"][usize::from(then)];
                assert_eq!(world.status.revision.as_deref(), Some(expected), "{flavour:?}: {first}, at {moment} {then}");
            }
        }
    }
}

/// At another path, the same time is another revision.
#[test]
fn another_path_is_asked_again() {
    let mut world = at_the_newest(Flavour::DestinationImage);
    script::play(&mut world, &Happening::Pin(5));
    script::calm_down(&mut world);
    script::play(&mut world, &Happening::Path(1));
    script::calm_down(&mut world);
    world.assert_settled();
    let pinned = world.status.pinned.unwrap();
    assert_eq!((pinned.revision.as_str(), pinned.remote.as_str()), ("r:elsewhere-r2", "r:elsewhere"));
}

/// Whether it was never there, or is so no more.
#[rstest]
#[case::by_name(2, true)]
#[case::by_time(5, true)]
#[case::never_there(2, false)]
fn one_that_is_gone_is_told_and_replaced_by_no_other(#[case] pin: u8, #[case] pulled_before: bool) {
    for flavour in DESTINATIONS {
        let mut world = at_the_newest(flavour);
        if pulled_before {
            script::play(&mut world, &Happening::Pin(pin));
            script::calm_down(&mut world);
            world.assert_settled();
        }
        script::play(&mut world, &Happening::Forget);
        if !pulled_before {
            script::play(&mut world, &Happening::Pin(pin));
        }
        script::edit(&mut world, |world| world.spec.trigger.manual = Some("again".into()));
        let (revision, before) = (world.status.revision.clone(), world.movers.len());
        for number in 0..40 {
            step(&mut world, number);
        }
        let told = ("True", "RevisionMissing", "the nearest are others");
        assert_eq!(condition(&world, "Stalled"), told, "{flavour:?}");
        assert_eq!((condition(&world, "Ready").0, &world.status.revision), ("False", &revision), "{flavour:?}");
        assert_eq!(asked(&world, before), [Some(world.pin_to(2))], "no attempt follows at once");
        script::play(&mut world, &Happening::Pin(0));
        script::calm_down(&mut world);
        world.assert_settled();
        assert_eq!(world.status.revision.as_deref(), Some("r3"), "{flavour:?}");
    }
}

#[test]
fn a_time_that_has_not_come_is_waited_for_without_a_mover() {
    for flavour in DESTINATIONS {
        let mut world = at_the_newest(flavour);
        let movers = world.movers.len();
        script::edit(&mut world, |world| world.spec.pin = Some(World::pin_as_of(world.now + SignedDuration::from_mins(5))));
        for number in 0..20 {
            step(&mut world, number);
        }
        let (status, reason, message) = condition(&world, "Stalled");
        assert_eq!((status, reason), ("True", "InvalidSpec"), "{flavour:?}");
        assert!(message.starts_with("spec.rclone.pin.asOf 2026-01-01T") && message.contains("has not passed"), "{message}");
        assert_eq!(world.movers.len(), movers);
        world.now += SignedDuration::from_mins(5);
        script::calm_down(&mut world);
        world.assert_settled();
        assert_eq!(world.status.pinned.as_ref().map(|pinned| pinned.revision.as_str()), Some("r3"), "{flavour:?}");
        // A clock that is set back later changes nothing.
        world.now -= SignedDuration::from_hours(1);
        script::edit(&mut world, |world| world.spec.trigger.manual = Some("again".into()));
        script::calm_down(&mut world);
        world.assert_settled();
    }
}

/// Whatever went wrong in the mover: another revision than was asked for is not published.
#[test]
fn another_revision_is_not_published() {
    for flavour in DESTINATIONS {
        let mut world = at_the_newest(flavour);
        script::play(&mut world, &Happening::Pin(2));
        script::begin(&mut world);
        controllers::start_pods(&mut world);
        controllers::end_movers(&mut world, Ending::Good);
        for pod in &mut world.pods {
            pod.report = pod.report.take().map(|report| report.replace("\"r2\"", "\"r1\""));
        }
        controllers::let_the_cluster_work(&mut world);
        agent::look(&mut world, &Look::default());
        let error = world.status.last_error.clone().unwrap();
        assert_eq!(error.reason, "RevisionMissing", "{flavour:?}");
        assert!(error.message.contains("pulled revision r1") && error.message.contains("asks for r2"), "{}", error.message);
        assert_eq!(world.status.revision.as_deref(), Some("r3"));
        script::calm_down(&mut world);
        world.assert_settled();
        assert_eq!(world.status.revision.as_deref(), Some("r2"), "{flavour:?}");
    }
}
