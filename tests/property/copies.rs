//! Somebody copies the manifest of one of our children, labels and owner included, under a name of their own: it is theirs.

use crate::agent::{self, Look};
use crate::controllers::{self, Ending};
use crate::edits::with_a_mover;
use crate::script;
use crate::world::{Flavour, World};
use rstest::rstest;
use scribe_agent::core::model::facts::Meta;

fn copied(meta: &Meta) -> Meta {
    Meta { name: "copy".into(), uid: format!("copy of {}", meta.uid), ..meta.clone() }
}

/// Before the first of ours in every list, which is what a search for any would find.
fn copy_children(world: &mut World) {
    let claims: Vec<_> = world.claims.iter().filter(|claim| claim.meta.role.is_some()).cloned().collect();
    for mut claim in claims {
        claim.meta = copied(&claim.meta);
        world.claims.insert(0, claim);
    }
    let snapshots = world.snapshots.clone();
    for mut snapshot in snapshots {
        snapshot.meta = copied(&snapshot.meta);
        world.snapshots.insert(0, snapshot);
    }
}

/// At every moment of a sync. The world does not let an image be made of another volume than the one that was pulled into.
#[rstest]
fn a_copy_is_neither_used_nor_deleted(#[values(0, 1, 2, 3, 4, 5, 6, 8, 10, 12)] moment: usize) {
    for flavour in Flavour::ALL {
        let mut world = World::new(flavour);
        for number in 0..moment {
            crate::edits::step(&mut world, number);
        }
        copy_children(&mut world);
        let copies = |world: &World| {
            let claims = world.claims.iter().map(|c| &c.meta).chain(world.snapshots.iter().map(|s| &s.meta));
            claims.filter(|meta| meta.name == "copy" && !meta.deleting).count()
        };
        let count = copies(&world);
        script::edit(&mut world, |world| world.spec.trigger.manual = Some("again".into()));
        world.remote = Some(2);
        script::all_goes_well(&mut world, 30);
        agent::look(&mut world, &Look::default());
        assert_eq!(world.status.last_manual_sync.as_deref(), Some("again"), "{flavour:?} at {moment}: {:#?}", world.status);
        assert_eq!(copies(&world), count, "{flavour:?} at {moment}");
    }
}

/// Made by hand from the mover's own, to debug it: that it failed says nothing of the sync, and it is not the agent's to delete.
#[test]
fn a_copy_of_the_movers_job_is_left_alone() {
    for flavour in Flavour::ALL {
        let mut world = with_a_mover(flavour);
        let mut copy = world.jobs[0].clone();
        (copy.meta.name, copy.meta.uid, copy.succeeded) = ("debug".into(), "copy".into(), Some(false));
        world.jobs.insert(0, copy);
        agent::look(&mut world, &Look::default());
        assert!(world.status.last_error.is_none(), "{:#?}", world.status);
        controllers::end_movers(&mut world, Ending::Good);
        controllers::note_ended(&mut world);
        script::calm_down(&mut world);
        assert!(world.status.last_sync_time.is_some() && world.status.run.is_none(), "{:#?}", world.status);
        assert!(world.jobs.iter().any(|job| job.meta.name == "debug" && !job.meta.deleting));
    }
}
