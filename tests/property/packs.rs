//! What the status says of a path in layout Packs: what the last push sent, and what the path stores.

use crate::script::{self, Happening};
use crate::world::{Flavour, World};
use scribe_agent::core::model::spec::PushLayout;
use scribe_mover::report::PacksReport;

fn push(world: &mut World, packs: Option<PacksReport>, anything_new: bool) -> (Option<i64>, Option<i64>) {
    world.packs = packs;
    if anything_new {
        script::play(world, &Happening::Push);
    }
    script::play(world, &Happening::Tag);
    script::calm_down(world);
    world.assert_settled();
    (world.status.sent, world.status.stored)
}

#[test]
fn bytes_sent_and_stored_are_those_of_the_last_push() {
    let packs = |sent, stored| Some(PacksReport { stored, live: stored / 2, sent });
    let mut world = World::new(Flavour::SourceDirect);
    assert_eq!(push(&mut world, None, true), (None, None), "layout Files");
    script::edit(&mut world, |world| world.spec.layout = PushLayout::Packs { retain: None });
    assert_eq!(push(&mut world, packs(100, 100), true), (Some(100), Some(100)));
    assert_eq!(push(&mut world, packs(7, 107), true), (Some(7), Some(107)));
    // Whether or not one that finds nothing new says so.
    assert_eq!(push(&mut world, packs(0, 90), false), (Some(0), Some(90)));
    assert_eq!(push(&mut world, None, false), (Some(0), Some(90)));
    script::edit(&mut world, |world| world.spec.layout = PushLayout::Files);
    assert_eq!(push(&mut world, None, true), (None, None), "there are no packs any more");
}
