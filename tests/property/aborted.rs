//! The annotation `scribe.backube/abort`: ends the run that it names, and nothing else.

use crate::agent::{self, Look};
use crate::controllers::{self, Ending};
use crate::edits::{step, with_a_mover};
use crate::script::{self, Happening};
use crate::waking::attempt;
use crate::world::{Flavour, World};
use jiff::SignedDuration;
use scribe_agent::api::reason::Reason;
use scribe_agent::core::model::facts::{Kind, Role};
use scribe_agent::core::model::plan::MoverTask;
use scribe_agent::core::model::spec::Trigger;
use scribe_agent::core::syntax::cron::Schedule;

fn scheduled(schedule: &str) -> Trigger {
    Trigger { schedule: Some(Schedule::parse(schedule, None).unwrap()), ..Trigger::default() }
}

fn manual(tag: &str) -> Trigger {
    Trigger { manual: Some(tag.into()), ..Trigger::default() }
}

fn abort(world: &mut World, run: &str) {
    script::annotate(world, |object| object.abort = Some(run.to_owned()));
}

/// Aborts what runs, and lets the agent and the cluster do what follows.
fn abort_now(world: &mut World) -> String {
    let run = world.status.run.as_ref().expect("a run").id.clone();
    abort(world, &run);
    settle(world);
    assert!(world.status.run.is_none(), "{:#?}", world.status.run);
    run
}

fn settle(world: &mut World) {
    for _ in 0..6 {
        agent::look(world, &Look::default());
        controllers::let_the_cluster_work(world);
    }
}

fn idle(world: &mut World) {
    for _ in 0..3 {
        attempt(world, Ending::Good);
    }
}

fn events(world: &World, reason: Reason) -> usize {
    world.events.iter().filter(|event| event.reason == reason).count()
}

/// What starts the next sync by this trigger comes.
fn next(world: &mut World) {
    match &world.spec.trigger {
        Trigger { manual: Some(_), .. } => script::edit(world, |world| world.spec.trigger.manual = Some("next".into())),
        _ => world.now = world.status.next_sync_time.as_ref().unwrap().0,
    }
}

/// Whatever the sync is at, whatever started it, also where its mover does all of its work before it is stopped: it ends without a failure,
/// what it made goes, nothing follows by itself, and the next trigger starts a sync that is whole.
#[test]
fn a_sync_is_aborted_at_any_moment() {
    let (mut aborted, mut completed) = (0, 0);
    for flavour in Flavour::ALL {
        for trigger in [manual("first"), scheduled("@weekly"), Trigger::default()] {
            for (moment, late) in (0..25).flat_map(|moment| [(moment, false), (moment, true)]) {
                let of = format!("{flavour:?} {} at {moment}, late: {late}", trigger.kind());
                let mut world = World::new(flavour);
                world.spec.trigger = trigger.clone();
                for number in 0..moment {
                    step(&mut world, number);
                }
                let Some(run) = world.status.run.clone() else { continue };
                let movers = world.movers.len();
                abort(&mut world, &run.id);
                agent::look(&mut world, &Look::default());
                if late {
                    controllers::start_pods(&mut world);
                    controllers::end_movers(&mut world, Ending::Good);
                }
                settle(&mut world);
                let status = &world.status;
                assert!(status.run.is_none() && status.attempts.is_none() && status.last_error.is_none(), "{of}: {status:#?}");
                assert_eq!(status.last_handled_abort.as_ref(), Some(&run.id), "{of}");
                let ended = status.aborted.as_ref().is_some_and(|aborted| aborted.run == run.id);
                assert_eq!((ended, events(&world, Reason::SyncAborted)), if ended { (true, 1) } else { (false, 0) }, "{of}");
                assert_eq!(status.last_sync_time.is_some(), !ended, "{of}: completed, or aborted: {status:#?}");
                aborted += usize::from(ended);
                completed += usize::from(!ended);
                idle(&mut world);
                assert_eq!(world.movers.len(), movers, "{of}: something follows by itself");
                assert!(world.jobs.is_empty(), "{of}");
                let metas = world.claims.iter().map(|claim| &claim.meta).chain(world.snapshots.iter().map(|snapshot| &snapshot.meta));
                let left: Vec<_> = metas.filter(|meta| matches!(meta.role, Some(Role::Capture | Role::Image))).collect();
                assert!(!ended || left.is_empty(), "{of}: {left:?}");

                world.remote = Some(2);
                next(&mut world);
                for _ in 0..4 {
                    attempt(&mut world, Ending::Good);
                }
                script::all_goes_well(&mut world, 3);
                let status = &world.status;
                assert!(world.movers.len() > movers && status.last_sync_time.is_some() && status.aborted.is_none(), "{of}: {status:#?}");
                assert_eq!(status.revision.as_deref(), Some("r2"), "{of}");
                if world.object.kind == Kind::Destination {
                    world.assert_published();
                }
            }
        }
    }
    assert!(aborted > 250 && completed > 20, "{aborted} aborted, {completed} completed");
}

/// Whoever waits for the tag is not told that it was synced. It is not tried again, by whatever sync; another one is, and then it is again.
#[test]
fn a_tag_that_was_aborted_stays_unanswered() {
    let mut world = World::new(Flavour::SourceSnapshot);
    world.spec.trigger = Trigger { manual: Some("a".into()), ..scheduled("@hourly") };
    script::begin(&mut world);
    let run = abort_now(&mut world);
    let recorded = |world: &World| world.status.aborted.clone().and_then(|aborted| aborted.manual);
    assert_eq!((recorded(&world).as_deref(), world.status.last_manual_sync.as_deref()), (Some("a"), None));
    world.now = world.status.next_sync_time.as_ref().unwrap().0;
    script::begin(&mut world);
    let slot = world.status.run.clone().unwrap();
    assert!(slot.manual.is_none() && slot.id != run, "the sync of the next slot is not the tag's");
    attempt(&mut world, Ending::Good);
    settle(&mut world);
    let status = &world.status;
    assert!(status.run.is_none() && status.last_sync_time.is_some() && recorded(&world).as_deref() == Some("a"), "{status:#?}");
    let ready = status.conditions.iter().find(|condition| condition.type_ == "Ready").unwrap();
    assert_eq!(ready.status, "True");
    for tag in ["b", "a"] {
        script::edit(&mut world, |world| world.spec.trigger.manual = Some(tag.into()));
        for _ in 0..3 {
            attempt(&mut world, Ending::Good);
        }
        assert_eq!((world.status.last_manual_sync.as_deref(), recorded(&world)), (Some(tag), None));
    }
}

/// A tag that is aborted after a success does not make Ready speak of its generation.
#[test]
fn ready_does_not_speak_of_a_tag_that_was_aborted() {
    let mut world = World::new(Flavour::SourceDirect);
    script::calm_down(&mut world);
    let synced = world.object.generation;
    script::edit(&mut world, |world| world.spec.trigger.manual = Some("aborted".into()));
    script::begin(&mut world);
    abort_now(&mut world);
    let ready = world.status.conditions.iter().find(|condition| condition.type_ == "Ready").unwrap().clone();
    assert_eq!((ready.status.as_str(), ready.observed_generation), ("True", Some(synced)));
}

/// What annotations ask for is asked for once, and again with a new value.
#[test]
fn an_annotation_whose_sync_was_aborted_is_not_handled_again() {
    for happening in [Happening::SyncNow as fn(u8) -> Happening, Happening::Verify] {
        let mut world = World::new(Flavour::SourceDirect);
        script::calm_down(&mut world);
        script::play(&mut world, &happening(1));
        script::begin(&mut world);
        let movers = world.movers.len();
        abort_now(&mut world);
        idle(&mut world);
        assert_eq!(world.movers.len(), movers);
        // A sync for another reason is aborted as well: both stay aborted.
        script::play(&mut world, &Happening::Tag);
        script::begin(&mut world);
        abort_now(&mut world);
        idle(&mut world);
        assert_eq!(world.movers.len(), movers + 1);
        script::play(&mut world, &happening(2));
        script::all_goes_well(&mut world, 3);
        let (status, handled) = (&world.status, Some("2"));
        assert!(
            [&status.last_handled_sync_now, &status.last_handled_verify_now].iter().any(|value| value.as_deref() == handled),
            "{status:#?}"
        );
    }
}

/// A run that is not the current one, be it over, of another object, or misspelt: said once, and nothing else happens.
#[test]
fn a_run_that_does_not_run_is_acknowledged_once() {
    let mut world = with_a_mover(Flavour::SourceSnapshot);
    let run = world.status.run.clone();
    abort(&mut world, "another");
    settle(&mut world);
    assert_eq!((&world.status.run, world.status.last_handled_abort.as_deref()), (&run, Some("another")));
    assert_eq!((events(&world, Reason::AnnotationIgnored), world.jobs.len(), &world.status.aborted), (1, 1, &None));
    let ended = abort_now(&mut world);
    // Back to the one of before, and to the one that is over.
    for again in ["another", &ended] {
        abort(&mut world, again);
        settle(&mut world);
        assert_eq!(world.status.last_handled_abort.as_deref(), Some(again));
        assert_eq!(world.status.aborted.as_ref().unwrap().run, ended);
    }
    assert_eq!(events(&world, Reason::SyncAborted), 1);
}

/// Each run is one of its own, however often the same is asked for and aborted, and whatever the annotation names in between.
#[test]
fn no_aborted_run_is_opened_again() {
    let mut world = World::new(Flavour::SourceDirect);
    world.spec.trigger = Trigger::default();
    let mut runs = std::collections::BTreeSet::new();
    for _ in 0..4 {
        script::begin(&mut world);
        let run = abort_now(&mut world);
        assert!(runs.insert(run.clone()), "{run} twice: {runs:?}");
        abort(&mut world, runs.first().unwrap());
        settle(&mut world);
        // The cause and all else that runs are known by stays the same.
        script::edit(&mut world, |_| ());
        world.object.generation -= 1;
        world.status.aborted.as_mut().unwrap().generation = None;
    }
}

/// What had failed has failed, but nothing is tried again before the next trigger.
#[test]
fn a_failing_sync_is_aborted() {
    let mut world = World::new(Flavour::DestinationImage);
    attempt(&mut world, Ending::Failed);
    let failed = (world.status.attempts, world.status.last_error.clone());
    abort_now(&mut world);
    world.now += SignedDuration::from_hours(1);
    world.past.clear();
    idle(&mut world);
    assert_eq!((world.movers.len(), (world.status.attempts, world.status.last_error.clone())), (1, failed));
    script::recover(&mut world);
    world.assert_settled();
}

/// Neither a pause nor an invalid spec keeps it from being aborted.
#[test]
fn it_does_not_depend_on_the_spec() {
    for happening in [Happening::Pause(true), Happening::Invalid(true)] {
        for flavour in Flavour::ALL {
            let mut world = with_a_mover(flavour);
            script::play(&mut world, &happening);
            abort_now(&mut world);
            assert!(world.jobs.is_empty(), "{flavour:?}");
            script::recover(&mut world);
            world.assert_settled();
        }
    }
}

/// The first sync went to a wrong path: once that is corrected, one follows.
#[test]
fn an_edit_starts_what_the_spec_asks_for() {
    for flavour in Flavour::ALL {
        for synced in [false, true] {
            let mut world = World::new(flavour);
            world.spec.trigger = scheduled("@weekly");
            if synced {
                script::all_goes_well(&mut world, 3);
                script::edit(&mut world, |world| world.spec.remote.path = script::PATHS[2].into());
            }
            script::begin(&mut world);
            abort_now(&mut world);
            let movers = world.movers.len();
            idle(&mut world);
            assert_eq!(world.movers.len(), movers, "{flavour:?}");
            script::edit(&mut world, |world| world.spec.remote.path = script::PATHS[1].into());
            script::all_goes_well(&mut world, 3);
            assert_eq!(world.paths().last(), Some(&script::PATHS[1]), "{flavour:?}");
            world.assert_settled_without_a_tag();
        }
    }
}

/// The next push takes over what the aborted one had seen, and nothing that has come since; unless the user asks for that anew.
#[test]
fn an_adoption_stays_bound_to_what_it_saw() {
    for withdrawn in [false, true] {
        let mut world = World::new(Flavour::SourceDirect);
        script::play(&mut world, &Happening::Adopt(true));
        attempt(&mut world, Ending::Failed);
        let state = world.status.run.as_ref().unwrap().adopted_state.clone();
        assert!(state.is_some());
        abort_now(&mut world);
        if withdrawn {
            for adopt in [false, true] {
                script::play(&mut world, &Happening::Adopt(adopt));
                agent::look(&mut world, &Look::default());
            }
        }
        script::play(&mut world, &Happening::Tag);
        script::begin(&mut world);
        let MoverTask::Push { adopt, adopt_state, .. } = &world.movers.last().unwrap().work else { panic!("a push") };
        assert_eq!((*adopt, adopt_state), (true, if withdrawn { &None } else { &state }));
    }
}

/// The mover may apply all of a revision before it is stopped, and nobody reads its report. Then the path is put back to the revision of
/// the status: the volume does not hold that one.
#[test]
fn what_an_aborted_pull_has_done_is_not_forgotten() {
    for flavour in Flavour::ALL.into_iter().filter(|flavour| World::new(*flavour).object.kind == Kind::Destination) {
        let mut world = World::new(flavour);
        script::calm_down(&mut world);
        world.remote = Some(2);
        script::play(&mut world, &Happening::Tag);
        script::begin(&mut world);
        controllers::start_pods(&mut world);
        let run = world.status.run.as_ref().unwrap().id.clone();
        abort(&mut world, &run);
        agent::look(&mut world, &Look::default());
        controllers::end_movers(&mut world, Ending::Good);
        settle(&mut world);
        assert!(world.status.volume_touched && world.status.run.is_none(), "{flavour:?}");
        world.remote = Some(1);
        // What movers are started with is held against what the volume holds.
        script::recover(&mut world);
        world.assert_settled();
        world.assert_published();
    }
}
