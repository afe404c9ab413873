//! What becomes of a mover's work once it has ended: believed or not, published or dropped.

use crate::agent::{self, Look};
use crate::controllers::{self, Ending};
use crate::edits::{volume, with_a_mover};
use crate::script::{self, Happening};
use crate::world::{Flavour, USERS_CLAIM, World};
use jiff::SignedDuration;
use scribe_agent::api::status::Phase;
use scribe_agent::core::model::spec::DestinationClaim;

fn run(world: &World) -> String {
    world.status.run.as_ref().unwrap().id.clone()
}

/// A world whose pull has just ended, which no agent has seen yet.
fn pulled() -> World {
    let mut world = with_a_mover(Flavour::DestinationImage);
    controllers::end_movers(&mut world, Ending::Good);
    controllers::let_the_cluster_work(&mut world);
    world
}

/// What was pulled into another volume than the new spec names is of no use: nothing is published of it.
#[test]
fn a_finished_pull_is_dropped_when_the_volume_is_another_one() {
    let mut world = pulled();
    let pulled = run(&world);
    script::edit(&mut world, |w| volume(w, |_| (), |claim, _| *claim = DestinationClaim::Existing(USERS_CLAIM.into())));
    agent::look(&mut world, &Look::default());
    assert_ne!(run(&world), pulled);
    assert!(world.snapshots.is_empty());
}

/// An edit of how or when is waited with until the image is there.
#[test]
fn an_edit_that_names_the_same_data_waits_for_the_image() {
    let mut world = pulled();
    agent::look(&mut world, &Look::default());
    let pulled = run(&world);
    assert_eq!(world.status.run.as_ref().unwrap().phase, Phase::Publishing);
    script::edit(&mut world, |w| w.spec.guard.percent = 10);
    agent::look(&mut world, &Look::default());
    assert_eq!(run(&world), pulled);
    for _ in 0..3 {
        controllers::let_the_cluster_work(&mut world);
        agent::look(&mut world, &Look::default());
    }
    assert!(world.status.latest_image.is_some());
}

/// What was pulled from another path than the spec names by now is not published, and its unfinished image goes.
#[test]
fn an_image_of_another_path_is_dropped() {
    for (paused, ready) in [(false, false), (false, true), (true, false), (true, true)] {
        let mut world = pulled();
        agent::look(&mut world, &Look::default());
        let (pulled, image) = (run(&world), world.snapshots[0].meta.uid.clone());
        world.snapshots[0].ready = ready;
        script::edit(&mut world, |w| {
            w.spec.paused = paused;
            w.spec.remote.path = "elsewhere".into();
        });
        agent::look(&mut world, &Look::default());
        assert!(world.status.latest_image.is_none() && world.snapshots[0].meta.deleting, "paused: {paused}, ready: {ready}");
        assert_eq!(run(&world) == pulled, paused, "another run begins at once, unless it is paused");
        controllers::let_the_cluster_work(&mut world);
        script::calm_down(&mut world);
        world.assert_settled_without_a_tag();
        assert!(world.snapshots.iter().all(|s| s.meta.uid != image));
        assert_eq!(world.paths(), ["p", "elsewhere"]);
    }
}

/// A world whose pull has just ended, seen by an agent that died before it asked for the image.
pub fn before_its_image() -> World {
    let mut world = pulled();
    agent::look(&mut world, &Look { crash_at: Some(1), ..Look::default() });
    assert_eq!((world.status.run.as_ref().unwrap().phase, world.snapshots.len()), (Phase::Publishing, 0));
    world
}

#[test]
fn an_image_is_made_of_the_claim_that_was_pulled_into_or_of_none() {
    for swapped in [false, true] {
        let mut world = before_its_image();
        if swapped {
            world.pods.iter_mut().for_each(|pod| pod.ended = true);
            script::play(&mut world, &Happening::Swap);
        }
        agent::look(&mut world, &Look::default());
        let error = world.status.last_error.as_ref().map(|error| error.reason.as_str());
        assert_eq!((world.snapshots.len(), error), if swapped { (0, Some("DestinationPVCMissing")) } else { (1, None) });
    }
}

#[test]
fn no_image_is_made_where_none_is_wanted_any_more() {
    let mut world = before_its_image();
    script::edit(&mut world, |w| volume(w, |_| (), |_, image| *image = None));
    agent::look(&mut world, &Look::default());
    let latest = world.status.latest_image.clone().unwrap();
    assert_eq!((latest.kind.as_str(), latest.name.as_str()), ("PersistentVolumeClaim", "scribe-dest-db"));
    assert!(world.snapshots.is_empty() && world.status.run.is_none());
}

/// A Job that failed and a report that says otherwise: neither is believed.
#[test]
fn a_report_of_success_is_not_believed_of_a_failed_job() {
    let mut world = with_a_mover(Flavour::SourceDirect);
    controllers::end_movers(&mut world, Ending::Good);
    controllers::note_ended(&mut world);
    world.jobs[0].succeeded = Some(false);
    world.pods.iter_mut().for_each(|pod| pod.succeeded = false);
    agent::look(&mut world, &Look::default());
    assert_eq!((world.status.last_sync_time.clone(), world.status.attempts), (None, Some(1)));
}

/// The container beside the mover's is killed for want of memory, or exits with an error: pod and Job are Failed.
#[test]
fn the_movers_own_exit_code_counts_whatever_a_sidecar_does() {
    for flavour in Flavour::ALL {
        let mut world = with_a_mover(flavour);
        controllers::end_movers(&mut world, Ending::Good);
        controllers::note_ended(&mut world);
        world.jobs[0].succeeded = Some(false);
        world.pods.iter_mut().for_each(|pod| pod.succeeded = true);
        for _ in 0..4 {
            agent::look(&mut world, &Look::default());
            world.snapshots.iter_mut().for_each(|snapshot| snapshot.ready = true);
        }
        let status = &world.status;
        assert_eq!((status.last_sync_time.is_some(), status.last_error.is_some()), (true, false), "{flavour:?}: {status:#?}");
    }
}

/// A sidecar kept the pod, so that the run went on to its image; then the sidecar fails, and the Job with it.
#[test]
fn a_job_that_fails_while_its_image_is_made_changes_nothing() {
    let mut world = before_its_image();
    world.jobs[0].succeeded = Some(false);
    world.pods.iter_mut().for_each(|pod| pod.succeeded = true);
    for _ in 0..4 {
        agent::look(&mut world, &Look::default());
        world.snapshots.iter_mut().for_each(|snapshot| snapshot.ready = true);
    }
    assert!(world.status.latest_image.is_some() && world.status.last_error.is_none(), "{:#?}", world.status);
}

/// Whatever the reason: a run whose mover is not known to have succeeded does not wait for its image for ever.
#[test]
fn an_image_that_cannot_be_asked_for_is_given_up() {
    for (verdict, reason) in [(Some(false), "MoverKilled"), (None, "MoverStalled")] {
        let mut world = before_its_image();
        world.jobs[0].succeeded = verdict;
        world.pods.iter_mut().for_each(|pod| pod.succeeded = false);
        world.cluster.hangs_since = Some(world.now);
        agent::look(&mut world, &Look::default());
        assert_eq!(world.status.run.as_ref().unwrap().phase, Phase::Publishing);
        world.now += SignedDuration::from_hours(24);
        agent::look(&mut world, &Look::default());
        let error = world.status.last_error.as_ref().map(|error| error.reason.as_str());
        assert_eq!((error, world.status.run.as_ref().unwrap().phase), (Some(reason), Phase::Backoff), "{verdict:?}");
        assert!(world.snapshots.is_empty());
    }
}

/// The Job may be told of its end before the pod has stopped.
#[test]
fn a_mover_that_still_lives_has_not_ended() {
    let mut world = with_a_mover(Flavour::SourceDirect);
    world.jobs[0].succeeded = Some(false);
    agent::look(&mut world, &Look::default());
    assert_eq!(world.status.attempts, None);
    assert_eq!(world.status.run.as_ref().unwrap().phase, Phase::Transferring);
}

/// An image that an attempt made before its report was lost is of what that attempt pulled. It is not published as what a later one pulled.
#[test]
fn an_image_is_published_as_what_it_holds() {
    let mut world = before_its_image();
    agent::look(&mut world, &Look::default());
    script::play(&mut world, &Happening::HandDelete(scribe_agent::core::model::facts::Role::Mover));
    controllers::stop_deleted(&mut world);
    agent::look(&mut world, &Look::default());
    assert_eq!(world.status.last_error.as_ref().unwrap().reason, "MoverKilled");
    script::play(&mut world, &Happening::Push);
    world.now = crate::waking::next_attempt(&world);
    // The same run goes on: no edit, no new tag.
    for _ in 0..3 {
        script::begin(&mut world);
        controllers::start_pods(&mut world);
        controllers::end_movers(&mut world, Ending::Good);
    }
    // The revision of the latest image is held against the remote's.
    world.assert_settled();
    let held: Vec<_> = world.snapshots.iter().map(|image| image.revision.as_deref()).collect();
    assert_eq!(held, [Some("r2")]);
}

/// A typing error in the bucket's name looks like success: the event names the bucket that was created, also where the push failed after that.
#[test]
fn a_bucket_that_a_push_created_is_reported() {
    for ending in [Ending::Good, Ending::Failed] {
        for made in [true, false] {
            let mut world = World::new(Flavour::SourceDirect);
            script::begin(&mut world);
            controllers::start_pods(&mut world);
            controllers::end_movers(&mut world, ending);
            for pod in &mut world.pods {
                let mut report = pod.report().unwrap();
                report.made_bucket = made.then(|| "scribe-tset".to_owned());
                pod.report = Some(serde_json::to_string(&report).unwrap());
            }
            script::begin(&mut world);
            let told: Vec<_> = world.events.iter().filter(|event| event.reason.as_str() == "BucketCreated").collect();
            assert_eq!(told.len(), usize::from(made), "{ending:?}");
            assert!(told.iter().all(|event| event.note.contains("The bucket scribe-tset did not exist")), "{told:?}");
        }
    }
}
