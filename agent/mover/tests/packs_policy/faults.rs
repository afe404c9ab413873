//! Each fault is found by the rule that is about it, and by no other.

use jiff::SignedDuration;
use scribe_mover::packs::policy::compaction::Compaction;
use scribe_mover::retention::Retention;

use crate::case::Case;
use crate::clocks::Clocks;
use crate::courses::{play, play_until_found, small};
use crate::draw::Spread::Uniform;
use crate::rules::{Fault, Rule};

fn plain(pushes: u64) -> Case {
    small(Case::of("a small volume", 1_600, Uniform, pushes))
}

fn hourly() -> Retention {
    Retention { hourly: 40, ..Retention::last(1) }
}

/// Where each fault does its work.
fn cases() -> Vec<(Fault, Rule, Case)> {
    let sites = Case { readers: true, ..plain(150) };
    let clocks = |clocks| Case { clocks, ..plain(1_500) };
    let quick = Case { rivals: true, changed: 600, ..plain(600) };
    vec![
        (Fault::NotReleased, Rule::Accounting, plain(150)),
        (Fault::MovedOther, Rule::Current, plain(150)),
        (Fault::RetainedIsBefore, Rule::Retained, Case { clocks: Clocks::Late, retention: hourly(), changed: 200, ..plain(800) }),
        (Fault::OnePushEarly, Rule::Grace, plain(400)),
        (Fault::Uncapped, Rule::Grace, clocks(Clocks::Ahead)),
        (Fault::BackCounts, Rule::Grace, clocks(Clocks::Wrong)),
        (Fault::NothingOwed, Rule::Grace, clocks(Clocks::Wrong)),
        (Fault::AgedWhileRetained, Rule::Readers, Case { readers: true, retention: hourly(), changed: 1, ..plain(2_000) }),
        (Fault::BornAgain, Rule::Born, sites.clone()),
        (Fault::BornBefore, Rule::Born, sites),
        (Fault::NoBudget, Rule::Budget, Case { rules: Compaction { budget: 1 << 19, ..Compaction::default() }, ..plain(300) }),
        (Fault::HighWater, Rule::Collected, clocks(Clocks::Ahead)),
        (Fault::OwnClock, Rule::Strangers, Case { rivals: true, clocks: Clocks::Wrong, ..plain(3_000) }),
        (Fault::HalfTheFullGrace, Rule::Late, quick),
    ]
}

#[test]
fn each_fault_is_found_by_its_rule_alone() {
    for (fault, rule, case) in cases() {
        let faulty = play_until_found(Case { fault: Some(fault), ..case.clone() });
        let sound = play(Case { pushes: faulty.manifest.generation, ..case });
        assert!(sound.found.0.is_empty(), "without {fault:?}: {:#?}", sound.found);
        let found = faulty.found;
        println!("{fault:?}: {found:?}");
        assert_eq!(found.0.keys().copied().collect::<Vec<_>>(), [rule], "{fault:?}: {found:#?}");
    }
}

/// A revision that is too old goes when it is: also by a clock that jumps, none before.
#[test]
fn what_is_retained_is_what_the_rules_say() {
    let retention = Retention { last: 30, max_age: Some(SignedDuration::from_hours(2)), ..Retention::last(1) };
    let world = play(Case { retention, ..plain(60) });
    // Those of the last two hours, one each six minutes, and not the thirty.
    assert_eq!(world.manifest.retained.len(), 20);
    assert!(world.found.0.is_empty(), "{:#?}", world.found);
}
