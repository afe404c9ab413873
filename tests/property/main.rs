//! The decisions, driven by random scripts through a fake world that crashes anywhere.
//!
//! `world` is the cluster, `agent` looks at it and carries plans out, `controllers` are what the cluster does of itself, `script` is what happens; the invariants stand where they are checked.

#![allow(clippy::unwrap_used, clippy::panic, clippy::expect_used, reason = "a test")]

mod aborted;
mod agent;
mod annotations;
mod cleanup;
mod controllers;
mod copies;
mod copy_notes;
mod copy_trigger;
mod deadlines;
mod diagram;
mod disrupted;
mod edits;
mod endings;
mod failing;
mod first_push;
mod images;
mod kept;
mod missing;
mod old_crd;
mod packs;
mod pinned;
mod placement;
mod published;
mod queue;
mod ready;
mod refused;
mod script;
mod search;
mod shared;
mod silence;
mod slow;
mod stuck;
mod subject;
mod suspended;
mod sync_now;
mod time;
mod triggers;
mod volumes;
mod waking;
mod world;

use proptest::prelude::*;
use proptest::test_runner::Config;
use script::{Happening, happenings};
use world::{Flavour, World};

/// Scripts in `make test`; `make soak` sets PROPTEST_CASES.
pub fn config() -> Config {
    let cases = std::env::var("PROPTEST_CASES").ok().and_then(|n| n.parse().ok()).unwrap_or(150);
    Config { cases, max_shrink_iters: 20_000, failure_persistence: None, ..Config::default() }
}

proptest! {
    #![proptest_config(config())]

    /// Whatever happens, in whatever order: the invariants hold, and once things go well again the sync is done and nothing is left over.
    #[test]
    fn every_script_ends_well(flavour in any::<Flavour>(), script in happenings()) {
        let mut world = World::new(flavour);
        for happening in script {
            script::play(&mut world, &happening);
        }
        script::recover(&mut world);
        world.assert_settled();
    }

    /// Whatever happened, and whatever keeps an object from going on: it says so within hours, and takes no place from others meanwhile.
    #[test]
    fn nothing_waits_in_silence(flavour in any::<Flavour>(), script in happenings()) {
        let mut world = World::new(flavour);
        for happening in script {
            script::play(&mut world, &happening);
        }
        silence::assert_reported(world);
    }

    /// The same where no new tag asks for a sync: what was synced last is what the spec names, whatever it named before, and a
    /// verification or sync that was asked for is done.
    #[test]
    fn every_script_ends_with_the_present_spec(flavour in any::<Flavour>(), script in happenings()) {
        let mut world = World::new(flavour);
        for happening in script {
            script::play(&mut world, &happening);
        }
        script::calm_down(&mut world);
        world.assert_settled_without_a_tag();
        let aborted = world.status.aborted.clone();
        let handled = |handled: &Option<String>, asked: &Option<String>, aborted: Option<String>| handled == asked || aborted.is_some() && aborted == *asked;
        let (syncs, verifies) = (aborted.clone().and_then(|aborted| aborted.sync_now), aborted.and_then(|aborted| aborted.verify_now));
        prop_assert!(handled(&world.status.last_handled_sync_now, &world.object.sync_now, syncs), "{:#?}", world.status);
        prop_assert!(handled(&world.status.last_handled_verify_now, &world.object.verify_now, verifies), "{:#?}", world.status);
    }

    /// Nothing is written while nothing changes: no self-made noise.
    #[test]
    fn a_quiet_world_sees_no_write(flavour in any::<Flavour>(), script in happenings()) {
        let mut world = World::new(flavour);
        for happening in script {
            script::play(&mut world, &happening);
        }
        // Every step that can be taken without the world's help is taken within a few looks.
        for _ in 0..6 {
            agent::look(&mut world, &agent::Look::default());
        }
        let writes = world.writes;
        for _ in 0..3 {
            agent::look(&mut world, &agent::Look::default());
        }
        prop_assert_eq!(world.writes, writes);
    }
}

/// A crash after every single write of an undisturbed sync, one at a time.
#[test]
fn a_crash_after_any_write_is_healed() {
    for flavour in Flavour::ALL {
        for crash_after in 0..12 {
            let mut world = World::new(flavour);
            script::play(&mut world, &Happening::Tag);
            let before = world.writes;
            let mut crashed = false;
            for _ in 0..20 {
                let done = world.writes - before;
                let crash_at = (!crashed).then(|| crash_after - done);
                agent::look(&mut world, &agent::Look { crash_at, ..agent::Look::default() });
                crashed = crashed || world.writes - before == crash_after;
                script::play(&mut world, &Happening::PodStarts);
                controllers::let_the_cluster_work(&mut world);
                script::play(&mut world, &Happening::MoverEnds(controllers::Ending::Good));
                controllers::let_the_cluster_work(&mut world);
            }
            script::recover(&mut world);
            world.assert_settled();
        }
    }
}
