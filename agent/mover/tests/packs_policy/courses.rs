//! The courses that are played: those of the table, and those with readers, rivals and wrong clocks.

use std::collections::VecDeque;
use std::sync::Mutex;

use jiff::SignedDuration;
use jiff::tz::TimeZone;
use scribe_mover::packs::policy::compaction::Compaction;
use scribe_mover::retention::Retention;

use crate::case::Case;
use crate::clocks::Clocks;
use crate::cost::Cost;
use crate::draw::Spread::{self, Uniform, Zipf};
use crate::world::World;

/// How many blocks change from push to push, and how.
const CHANGES: [(&str, usize, Spread); 8] = [
    ("5 uniform", 5, Uniform),
    ("5 zipf", 5, Zipf),
    ("100 uniform", 100, Uniform),
    ("100 zipf", 100, Zipf),
    ("1,000 uniform", 1_000, Uniform),
    ("1,000 zipf", 1_000, Zipf),
    ("5,000 uniform", 5_000, Uniform),
    ("5,000 zipf", 5_000, Zipf),
];

/// Unless the environment says how many pushes there are.
fn pushes(default: u64) -> u64 {
    std::env::var("PACKS_PUSHES").map_or(default, |value| value.parse().unwrap())
}

pub fn play(case: Case) -> World {
    let mut world = World::new(case);
    for _ in 0..world.case.pushes {
        world.push();
    }
    world
}

/// The same, until shortly after something was found.
pub fn play_until_found(case: Case) -> World {
    let (mut world, mut left) = (World::new(case), 40);
    while world.manifest.generation <= world.case.pushes && left > 0 {
        world.push();
        left -= i32::from(!world.found.0.is_empty());
    }
    world
}

/// All of them, as many at a time as there are processors, in their order.
fn play_all(cases: Vec<Case>) -> Vec<World> {
    let count = cases.len();
    // Those that take long begin first.
    let open: Mutex<VecDeque<(usize, Case)>> = Mutex::new(cases.into_iter().enumerate().rev().collect());
    let played: Mutex<Vec<(usize, World)>> = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                loop {
                    let Some((at, case)) = open.lock().unwrap().pop_front() else { return };
                    let world = play(case);
                    played.lock().unwrap().push((at, world));
                }
            });
        }
    });
    let mut played = played.into_inner().unwrap();
    played.sort_by_key(|(at, _)| *at);
    assert_eq!(played.len(), count);
    played.into_iter().map(|(_, world)| world).collect()
}

fn found_nothing(world: &World) {
    assert!(world.found.0.is_empty(), "{}: {:#?}", world.case.name, world.found);
}

/// What PACKS.md aims at, and by how much less a site that is one behind is to fetch than the push has sent.
#[test]
fn the_aims_are_met() {
    let pushes = pushes(40);
    let played = play_all(CHANGES.iter().map(|(name, changed, spread)| Case::of(name, *changed, *spread, pushes)).collect());
    println!("{}", Cost::HEAD);
    for world in &played {
        println!("{}", world.cost.row(world.case.name));
    }
    for world in &played {
        let (case, cost) = (&world.case, &world.cost);
        found_nothing(world);
        let upload = if case.changed * 100 < case.blocks { 3.2 } else { 2.0 };
        assert!(cost.upload() <= upload, "{}: {:.2} times the data is sent", case.name, cost.upload());
        assert!(cost.packs_share <= 1.0, "{}: {} packs", case.name, cost.most_packs);
        assert!(cost.space <= 1.5, "{}: the packs are {:.3} times the live bytes", case.name, cost.space);
        cost.check_pulls(case.name);
    }
}

/// The rule that the default was chosen over, for comparison: half of all bytes live, and no merging.
#[test]
fn another_rule_is_dearer() {
    let rules = Compaction { share: (1, 2), small_packs: usize::MAX, ..Compaction::default() };
    let other = |(name, changed, spread): &(&'static str, usize, Spread)| Case { rules, ..Case::of(name, *changed, *spread, pushes(20)) };
    let played = play_all(CHANGES[..6].iter().map(other).collect());
    println!("half of all bytes live, no merging\n{}", Cost::HEAD);
    for world in &played {
        println!("{}", world.cost.row(world.case.name));
        found_nothing(world);
    }
    if pushes(20) >= 1_000 {
        assert!(played[0].cost.most_packs > 900, "small packs are to accumulate without merging");
        assert!(played[4].cost.space > 1.9, "space is to grow to twice the live bytes");
    }
}

/// Everything at once.
pub fn lively(name: &'static str, changed: usize, spread: Spread, pushes: u64) -> Case {
    let retention = Retention {
        last: 2,
        hourly: 12,
        daily: 7,
        weekly: 3,
        monthly: 0,
        max_age: Some(SignedDuration::from_hours(24 * 20)),
        zone: TimeZone::UTC,
    };
    Case { retention, clocks: Clocks::Wrong, readers: true, rivals: true, ..Case::of(name, changed, spread, pushes) }
}

/// A volume of a sixty-fourth, and of what changes.
pub fn small(case: Case) -> Case {
    Case { blocks: case.blocks / 64, changed: case.changed.div_ceil(64), ..case }
}

/// Each change, with everything at once.
fn play_lively(pushes: u64, size: fn(Case) -> Case) {
    let cases =
        CHANGES.iter().zip(1..).map(|((name, changed, spread), seed)| Case { seed, ..size(lively(name, *changed, *spread, pushes)) });
    let (mut late, mut given_up) = (0, 0);
    println!("with readers, rivals, wrong clocks and retained revisions\n{}", Cost::HEAD);
    for world in play_all(cases.collect()) {
        println!("{}", world.cost.row(world.case.name));
        found_nothing(&world);
        assert!(world.readers.pulls > world.case.pushes / 2, "{}: nobody has pulled", world.case.name);
        (late, given_up) = (late + world.rivals.late, given_up + world.rivals.given_up);
    }
    println!("{late} commits of rivals came late, {given_up} were given up");
    assert!(late > pushes / 20 && given_up > pushes / 20, "rivals have done nothing");
}

#[test]
fn readers_rivals_and_wrong_clocks_lose_nothing() {
    play_lively(pushes(400), small);
}

/// The same with as many blocks as those of the table.
#[test]
fn nor_do_they_of_a_whole_volume() {
    play_lively(pushes(20), |case| case);
}
