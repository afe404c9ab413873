//! A spec that is invalid for a while: what the run has done until then is not forgotten.

use crate::agent::{self, Look};
use crate::controllers::{self, Ending};
use crate::script::{self, Happening};
use crate::world::{Flavour, World};
use rstest::rstest;
use scribe_agent::core::model::plan::MoverTask;
use scribe_agent::core::model::spec::Volume;

fn look(world: &mut World) {
    agent::look(world, &Look::default());
}

/// A mover that is running.
fn start(world: &mut World) {
    script::begin(world);
    controllers::start_pods(world);
    look(world);
}

fn end(world: &mut World, ending: Ending) {
    controllers::end_movers(world, ending);
    controllers::let_the_cluster_work(world);
    look(world);
    controllers::let_the_cluster_work(world);
}

fn ready(world: &World) -> (&str, Option<i64>) {
    let ready = world.status.conditions.iter().find(|c| c.type_ == "Ready").unwrap();
    (&ready.status, ready.observed_generation)
}

/// The path is edited, the pull of it ends while the spec is invalid, and then the path is put back: nothing that was asked for differs
/// from what was synced, but the volume holds something else.
#[rstest]
fn a_volume_that_holds_another_path_is_pulled_again(
    #[values(Flavour::DestinationDirect, Flavour::DestinationExisting, Flavour::DestinationImage)] flavour: Flavour,
    #[values(Ending::Good, Ending::Failed)] ending: Ending,
) {
    let mut world = World::new(flavour);
    if let (Flavour::DestinationExisting, Volume::Destination { image, .. }) = (flavour, &mut world.spec.volume) {
        *image = None;
    }
    script::recover(&mut world);
    script::play(&mut world, &Happening::Path(1));
    start(&mut world);
    script::play(&mut world, &Happening::Invalid(true));
    look(&mut world);
    end(&mut world, ending);
    script::edit(&mut world, |world| (world.invalid, world.spec.remote.path) = (None, "p".into()));
    look(&mut world);
    assert_ne!(ready(&world), ("True", Some(world.object.generation)), "before it is pulled again");
    script::all_goes_well(&mut world, 30);
    assert_eq!(world.applied.as_ref().map(|(_, (remote, _))| remote.as_str()), Some("r:p"));
    assert!(world.status.run.is_none() && !world.status.volume_touched);
    assert_eq!(ready(&world), ("True", Some(world.object.generation)));
}

/// An edit fails and is taken back, with a mistake in between: its error goes with it.
#[rstest]
fn a_failure_of_what_is_not_asked_for_any_more_is_forgotten(#[values(Ending::Failed, Ending::Stalled)] ending: Ending) {
    let mut world = World::new(Flavour::SourceDirect);
    script::recover(&mut world);
    script::play(&mut world, &Happening::Path(1));
    start(&mut world);
    end(&mut world, ending);
    assert!(world.status.last_error.is_some());
    script::play(&mut world, &Happening::Invalid(true));
    look(&mut world);
    script::edit(&mut world, |world| (world.invalid, world.spec.remote.path) = (None, "p".into()));
    script::all_goes_well(&mut world, 30);
    assert_eq!((world.status.last_error.as_ref(), ready(&world)), (None, ("True", Some(world.object.generation))));
}

/// Whether each mover was to take the path over, and in which state.
fn adoptions(world: &World) -> Vec<(bool, Option<String>)> {
    let adoption = |work: &MoverTask| match work {
        MoverTask::Push { adopt, adopt_state, .. } => (*adopt, adopt_state.clone()),
        MoverTask::Pull { .. } => (false, None),
    };
    world.movers.iter().map(|mover| adoption(&mover.work)).collect()
}

#[rstest]
#[case::between_attempts(true)]
#[case::while_it_runs(false)]
fn an_adoption_stays_bound_to_what_it_saw(#[case] ended_before: bool) {
    let mut world = World::new(Flavour::SourceDirect);
    script::play(&mut world, &Happening::Adopt(true));
    start(&mut world);
    if ended_before {
        end(&mut world, Ending::Failed);
        script::play(&mut world, &Happening::Invalid(true));
        look(&mut world);
    } else {
        script::play(&mut world, &Happening::Invalid(true));
        look(&mut world);
        end(&mut world, Ending::Failed);
    }
    script::play(&mut world, &Happening::Invalid(false));
    script::all_goes_well(&mut world, 30);
    let adoptions = adoptions(&world);
    assert!(matches!(&adoptions[..], [(true, None), (true, Some(_))]), "{adoptions:?}");
}

#[test]
fn an_adoption_that_is_done_is_not_done_again() {
    let mut world = World::new(Flavour::SourceDirect);
    script::play(&mut world, &Happening::Adopt(true));
    start(&mut world);
    script::play(&mut world, &Happening::Invalid(true));
    look(&mut world);
    end(&mut world, Ending::Good);
    script::play(&mut world, &Happening::Invalid(false));
    script::all_goes_well(&mut world, 30);
    assert_eq!(adoptions(&world), [(true, None), (false, None)]);
    assert_eq!(world.status.adopted_path.as_deref(), Some("p"));
}
