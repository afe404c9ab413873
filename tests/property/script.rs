//! What happens in the fake world: looks of the agent, the cluster at work, users, failures, and the clock; and how all goes well again.

use crate::agent::{self, Look};
use crate::controllers::{self, Ending};
use crate::world::{OTHER_CLAIM, USERS_CLAIM, World};
use jiff::SignedDuration;
use proptest::prelude::*;
use scribe_agent::core::model::facts::{Kind, Meta, Object, Role, Slot};
use scribe_agent::core::model::retention::Retention;
use scribe_agent::core::model::spec::{Capture, DestinationClaim, SnapshotClass, Volume};

/// One thing that happens.
#[derive(Clone, Debug)]
pub enum Happening {
    Look(Look),
    /// All that the cluster has to do.
    Cluster,
    /// A pod of the current Job starts.
    PodStarts,
    /// A mover ends, in this way.
    MoverEnds(Ending),
    Clock(i64),
    /// A new manual tag.
    Tag,
    /// The spec changes: the copy method of a source, or just its generation.
    Edit,
    Pause(bool),
    /// The remote path changes, to one of three.
    Path(usize),
    /// The claim that a source pushes changes, to one of two.
    Claim(bool),
    /// The user asks for a sync; the values come back.
    SyncNow(u8),
    /// The user asks for a verification; the values come back.
    Verify(u8),
    /// The user lets a source take its path over, or no longer.
    Adopt(bool),
    /// The spec becomes invalid, or is mended.
    Invalid(bool),
    /// The source has something new.
    Push,
    /// The path keeps older revisions no longer.
    Forget,
    /// The spec pins the destination: to nothing, to one of three revisions, or to one of as many times.
    Pin(u8),
    /// The node of the movers is gone: their pods are Terminating and do not end.
    LoseNode,
    /// Movers make no progress any more.
    Hang,
    /// Logs of movers cannot be read any more.
    Hide,
    /// Creates are answered 5xx, or no longer.
    Webhook(bool),
    /// Snapshots do not become ready and claims are not bound, or are again.
    Slow(bool),
    /// The gate opens or shuts.
    Slot(bool),
    /// The user permits a deletion.
    Permit(u8),
    /// More room is asked for; the storage class gives it or does not.
    Grow(bool),
    /// The object is deleted and made again under its name.
    Rebirth,
    /// Somebody deletes the destination's claim between two looks, and makes another of that name.
    Swap,
    /// A claim is being made from the latest image, or no longer.
    Restore(bool),
    /// Somebody wants to keep the latest image.
    Keep,
    /// How many images are to be kept.
    Retain(usize),
    /// Another destination of the same claim goes first, or no longer.
    Rival(bool),
    /// A source pushes the claim to the path that is pulled, or is paused.
    Pushes(bool),
    /// A destination begins to pull what a source pushes into its claim, or has finished.
    Pulled(bool),
    /// Another source of the claim does what it can do next, or is gone.
    AnotherSource(bool),
    /// The API server makes a copy whose create it answered 5xx.
    LateCopy,
    /// The user ends the sync that runs, or one that does not.
    Abort(bool),
    /// Somebody deletes children by hand.
    HandDelete(Role),
    /// Copies of a source's claim are made on request, or no longer.
    UseCopyTrigger(bool),
    /// The user asks for a copy; the values come back.
    AskForCopy(u8),
}

/// Remote paths that a spec may name.
pub const PATHS: [&str; 3] = ["p", "elsewhere", "moved"];

/// Scripts of up to 60 happenings.
pub fn happenings() -> impl Strategy<Value = Vec<Happening>> {
    let seldom = || proptest::bool::weighted(0.1);
    let look = (0usize..4, proptest::option::weighted(0.3, 0usize..8), seldom(), seldom())
        .prop_map(|(behind, crash_at, doubled, unlisted)| Happening::Look(Look { behind, crash_at, doubled, unlisted }));
    let ending = prop_oneof![
        4 => Just(Ending::Good),
        3 => Just(Ending::Terminated),
        2 => Just(Ending::Failed),
        1 => Just(Ending::Stalled),
        1 => Just(Ending::Foreign),
        1 => Just(Ending::WithoutReport),
        1 => Just(Ending::Disrupted),
        1 => Just(Ending::Evicted),
        1 => Just(Ending::NothingPushedYet)
    ];
    let one = prop_oneof![
        10 => look,
        6 => Just(Happening::Cluster),
        4 => Just(Happening::PodStarts),
        4 => ending.prop_map(Happening::MoverEnds),
        2 => (-120i64..1200).prop_map(Happening::Clock),
        1 => Just(Happening::Tag),
        1 => Just(Happening::Edit),
        1 => any::<bool>().prop_map(Happening::Pause),
        2 => (0usize..3).prop_map(Happening::Path),
        1 => any::<bool>().prop_map(Happening::Claim),
        1 => (0u8..3).prop_map(Happening::SyncNow),
        1 => (0u8..3).prop_map(Happening::Verify),
        1 => any::<bool>().prop_map(Happening::Adopt),
        1 => any::<bool>().prop_map(Happening::Invalid),
        1 => Just(Happening::Push),
        1 => Just(Happening::Forget),
        2 => (0u8..8).prop_map(Happening::Pin),
        1 => Just(Happening::LoseNode),
        1 => Just(Happening::Hang),
        1 => Just(Happening::Hide),
        1 => any::<bool>().prop_map(Happening::Webhook),
        1 => any::<bool>().prop_map(Happening::Slow),
        1 => any::<bool>().prop_map(Happening::Slot),
        1 => (0u8..3).prop_map(Happening::Permit),
        1 => Just(Happening::Swap),
        1 => any::<bool>().prop_map(Happening::Grow),
        1 => Just(Happening::Rebirth),
        1 => any::<bool>().prop_map(Happening::Restore),
        1 => Just(Happening::Keep),
        1 => (1usize..4).prop_map(Happening::Retain),
        1 => any::<bool>().prop_map(Happening::Rival),
        1 => any::<bool>().prop_map(Happening::Pushes),
        1 => any::<bool>().prop_map(Happening::Abort),
        1 => any::<bool>().prop_map(Happening::Pulled),
        1 => proptest::bool::weighted(0.8).prop_map(Happening::AnotherSource),
        1 => Just(Happening::LateCopy),
        1 => prop_oneof![Just(Role::Capture), Just(Role::Mover), Just(Role::Image), Just(Role::Volume)].prop_map(Happening::HandDelete),
        1 => any::<bool>().prop_map(Happening::UseCopyTrigger),
        2 => (0u8..3).prop_map(Happening::AskForCopy),
    ];
    proptest::collection::vec(one, 0..60)
}

pub fn play(world: &mut World, happening: &Happening) {
    match happening {
        Happening::Look(how) => agent::look(world, how),
        Happening::Cluster => controllers::let_the_cluster_work(world),
        Happening::PodStarts => controllers::start_pods(world),
        Happening::MoverEnds(ending) => controllers::end_movers(world, *ending),
        Happening::Clock(seconds) => world.now += SignedDuration::from_secs(*seconds),
        Happening::Tag => {
            let next = world.spec.trigger.manual.as_ref().map_or(0, |t| t.parse::<u32>().unwrap()) + 1;
            // Tags come back: three different ones are enough.
            edit(world, |world| world.spec.trigger.manual = Some((next % 3).to_string()));
        }
        Happening::Edit => edit(world, |world| {
            if let Volume::Source { capture, .. } = &mut world.spec.volume {
                *capture = if *capture == Capture::Clone { Capture::Snapshot(SnapshotClass(None)) } else { Capture::Clone };
            }
        }),
        Happening::Path(number) => edit(world, |world| {
            world.spec.remote.path = PATHS[*number].into();
            world.bound = None;
        }),
        Happening::Claim(other) => edit(world, |world| {
            if let Volume::Source { claim, .. } = &mut world.spec.volume {
                *claim = if *other { OTHER_CLAIM } else { USERS_CLAIM }.into();
            }
        }),
        Happening::SyncNow(value) => annotate(world, |object| object.sync_now = Some(value.to_string())),
        Happening::Verify(value) => annotate(world, |object| object.verify_now = Some(value.to_string())),
        Happening::Adopt(adopt) => {
            let path = adopt.then(|| format!("{}/", world.spec.remote.path));
            if path != world.object.adopt_path {
                (world.adopted, world.bound) = (false, None);
            }
            annotate(world, |object| object.adopt_path = path);
        }
        Happening::Pause(paused) => edit(world, |world| world.spec.paused = *paused),
        Happening::Invalid(invalid) => edit(world, |world| world.invalid = invalid.then(|| "bad".into())),
        Happening::Slot(free) => world.slot = if *free { Slot::Free } else { Slot::Taken },
        Happening::LoseNode => lose_node(world),
        Happening::Hang => world.cluster.hangs_since = Some(world.now),
        Happening::Hide => world.cluster.hidden_since = Some(world.now),
        Happening::Webhook(down) => world.cluster.webhook_down = *down,
        Happening::Slow(slow) => world.cluster.slow = *slow,
        Happening::Push => world.remote = world.remote.map(|r| r + 1),
        Happening::Forget => world.oldest = world.remote.unwrap_or(1),
        Happening::Pin(number) => pin(world, *number),
        Happening::Permit(token) => annotate(world, |object| object.allow_deletions = Some(token.to_string())),
        Happening::Swap => swap(world),
        Happening::Grow(grows) => {
            world.grows = *grows;
            edit(world, |world| {
                if let Volume::Destination { claim: DestinationClaim::Private(shape), .. } = &mut world.spec.volume {
                    shape.size = shape.size.map(|size| size + 1);
                }
            });
        }
        Happening::Rebirth => rebirth(world),
        Happening::Restore(true) => world.in_use.extend(latest(world)),
        Happening::Restore(false) => world.in_use.clear(),
        Happening::Keep => {
            let latest = latest(world);
            for image in world.snapshots.iter_mut().filter(|s| Some(&s.meta.name) == latest.as_ref()) {
                image.keep = true;
            }
        }
        Happening::Retain(count) => edit(world, |world| {
            if let Volume::Destination { retain, .. } = &mut world.spec.volume {
                *retain = Retention::last(*count);
            }
        }),
        Happening::Pushes(pushes) => world.others.pushed_by = pushes.then(|| "app".into()),
        Happening::Rival(first) => world.others.rival = first.then(|| "other".into()),
        // It does not while a sync of the source runs.
        Happening::Pulled(begins) => world.others.pulled_by = begins.then(|| "back".into()).filter(|_| !world.pushes()),
        Happening::AnotherSource(true) => world.another_source(),
        Happening::AnotherSource(false) => world.requests.another_source = false,
        Happening::LateCopy => world.make_the_late_copy(),
        Happening::Abort(current) => {
            let run = world.status.run.as_ref().filter(|_| *current).map_or_else(|| "another".to_owned(), |run| run.id.clone());
            annotate(world, |object| object.abort = Some(run));
        }
        Happening::HandDelete(role) => hand_delete(world, *role),
        Happening::UseCopyTrigger(used) => world.use_copy_trigger(*used),
        Happening::AskForCopy(value) => world.ask_for_a_copy(&value.to_string()),
    }
}

pub fn edit(world: &mut World, change: impl FnOnce(&mut World)) {
    change(world);
    world.object.generation += 1;
    world.writes += 1;
    world.object.resource_version = format!("edit-{}", world.writes);
}

/// Sets or removes annotations: they do not move the generation.
pub fn annotate(world: &mut World, change: impl FnOnce(&mut Object)) {
    let generation = world.object.generation;
    edit(world, |world| {
        change(&mut world.object);
        if world.object.kind == Kind::Destination {
            world.object.verify_now = None; // as it is read
        }
    });
    world.object.generation = generation;
}

fn lose_node(world: &mut World) {
    for pod in world.pods.iter_mut().filter(|p| !p.ended) {
        pod.meta.deleting = true;
        pod.ends_by = Some(world.now + SignedDuration::from_secs(30));
        world.cluster.lost.insert(pod.meta.uid.clone());
    }
}

fn pin(world: &mut World, number: u8) {
    if world.object.kind == Kind::Destination {
        let pin = match number {
            0 => None,
            1..=3 => Some(world.pin_to(number.into())),
            4..=6 => Some(World::pin_as_of(World::time_of(u32::from(number) - 3))),
            _ => Some(World::pin_as_of(world.now + SignedDuration::from_mins(10))),
        };
        edit(world, |world| world.spec.pin = pin);
    }
}

/// What the old object had will be collected; the new one knows nothing.
fn rebirth(world: &mut World) {
    edit(world, |world| world.object.generation = 0);
    world.object.uid = world.uid();
    world.status = scribe_agent::api::Status::default();
    world.past.clear();
    world.applied = None;
    (world.adopted, world.bound, world.requests.late) = (false, None, None);
    world.pulling.clear();
    world.jobs.clear();
    for claim in world.claims.iter_mut().filter(|c| c.meta.role.is_some()) {
        claim.meta = Meta { role: None, run: None, namesake: true, ..claim.meta.clone() };
    }
    for snapshot in world.snapshots.iter_mut().filter(|s| s.meta.role.is_some()) {
        snapshot.meta = Meta { role: None, run: None, deleting: true, ..snapshot.meta.clone() };
    }
}

/// A claim is held as long as a pod uses it.
fn swap(world: &mut World) {
    if world.object.kind == Kind::Source || world.pods.iter().any(|p| !p.ended) {
        return;
    }
    let uid = world.uid();
    let existing = matches!(world.spec.volume, Volume::Destination { claim: DestinationClaim::Existing(_), .. });
    if let Some(claim) = world.claims.iter_mut().find(|c| if existing { c.meta.role.is_none() } else { c.meta.role == Some(Role::Volume) })
    {
        claim.meta.uid = uid;
        world.applied = None;
    }
}

fn latest(world: &World) -> Option<String> {
    world.status.latest_image.as_ref().map(|image| image.name.clone())
}

fn hand_delete(world: &mut World, role: Role) {
    match role {
        Role::Capture => {
            world.snapshots.iter_mut().filter(|s| s.meta.role == Some(role)).for_each(|s| s.meta.deleting = true);
            world.claims.iter_mut().filter(|c| c.meta.role == Some(role)).for_each(|c| c.meta.deleting = true);
        }
        Role::Image => {
            let latest = latest(world);
            world.snapshots.iter_mut().filter(|s| Some(&s.meta.name) == latest.as_ref()).for_each(|s| s.meta.deleting = true);
        }
        Role::Volume => world.claims.iter_mut().filter(|c| c.meta.role == Some(role)).for_each(|c| c.meta.deleting = true),
        Role::Mover => {
            for job in &mut world.jobs {
                job.meta.deleting = true;
            }
        }
    }
}

/// An undisturbed sync, as far as its mover.
pub fn begin(world: &mut World) {
    for _ in 0..4 {
        agent::look(world, &Look::default());
        controllers::let_the_cluster_work(world);
    }
}

/// From here on all goes well: nothing is paused, time passes, the cluster works and movers succeed. One more tag is to be synced.
pub fn recover(world: &mut World) {
    edit(world, |world| world.spec.trigger.manual = Some("last".into()));
    all_goes_well(world, 60);
}

/// The same without a new tag: nothing asks for a sync but what has happened.
pub fn calm_down(world: &mut World) {
    // A mover that has done its work comes first.
    for _ in 0..4 {
        agent::look(world, &Look::default());
    }
    if world.status.aborted.as_ref().is_some_and(|aborted| aborted.generation.is_some() || aborted.manual.is_some()) {
        // What was aborted is not asked for again, so that something else must: a tag that was never there.
        edit(world, |world| world.spec.trigger.manual = Some((100 + world.movers.len()).to_string()));
    }
    all_goes_well(world, 60);
}

/// So many minutes of it.
pub fn all_goes_well(world: &mut World, minutes: usize) {
    if world.spec.paused {
        play(world, &Happening::Pause(false));
    }
    if world.invalid.is_some() {
        play(world, &Happening::Invalid(false));
    }
    if world.asks_for_what_is_not_there() {
        play(world, &Happening::Pin(0));
    }
    for mended in [Happening::Slot(true), Happening::Restore(false), Happening::Webhook(false), Happening::Slow(false)] {
        play(world, &mended);
    }
    (world.others.pushed_by, world.others.pulled_by, world.requests.another_source) = (None, None, false);
    (world.others.rival, world.cluster.hangs_since, world.cluster.hidden_since) = (None, None, None);
    // What was on the lost node is given up by the cluster.
    let lost = std::mem::take(&mut world.cluster.lost);
    world.pods.retain(|pod| !lost.contains(&pod.meta.uid));
    world.past.clear();
    for _ in 0..minutes {
        agent::look(world, &Look::default());
        if world.answer() {
            agent::look(world, &Look::default());
        }
        controllers::start_pods(world);
        controllers::let_the_cluster_work(world);
        agent::look(world, &Look::default());
        controllers::end_movers(world, Ending::Good);
        controllers::let_the_cluster_work(world);
        world.now += SignedDuration::from_secs(60);
    }
}
