//! The state diagram of `docs/development.md` is what the decisions do.

use crate::search::{self, Turns};
use crate::world::Flavour;
use scribe_agent::api::status::Phase;
use std::collections::BTreeSet;

fn name(phase: Option<Phase>) -> String {
    phase.map_or_else(|| "(no run)".to_owned(), |phase| format!("{phase:?}"))
}

/// The lines with an arrow: from where, and where to.
fn drawn() -> BTreeSet<(String, String)> {
    let guide = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/development.md")).unwrap();
    let turn = |line: &str| {
        let (left, right) = line.split_once('►')?;
        let to = right.trim().split("  ").next()?;
        Some((left.split("──").next()?.trim().to_owned(), to.to_owned()))
    };
    guide.lines().filter_map(turn).collect()
}

/// Nothing is done that is not drawn.
pub fn assert_drawn(turns: &Turns) {
    let (seen, drawn) = (named(turns), drawn());
    assert_eq!(seen.difference(&drawn).collect::<Vec<_>>(), Vec::<&(String, String)>::new(), "done, but not drawn");
}

fn named(turns: &Turns) -> BTreeSet<(String, String)> {
    turns.iter().map(|(from, to)| (name(*from), name(*to))).collect()
}

/// The other direction: everything that is drawn is done. One trouble on a path is enough to see it, but for snapshots that take long or fail.
#[test]
fn the_state_diagram_is_what_the_decisions_do() {
    let mut turns: Turns = Flavour::ALL.into_iter().flat_map(|flavour| search::search_all(flavour, 1).1).collect();
    turns.extend(crate::slow::turns_of_slow_snapshots());
    turns.extend([Flavour::SourceSnapshot, Flavour::SourceClone].into_iter().flat_map(|flavour| search::search_on_request(flavour, 1).1));
    turns.extend(crate::copy_trigger::turns_of_a_copy_that_failed());
    turns.extend(crate::copy_notes::turns_of_a_wait_that_is_not_needed_any_more());
    assert_drawn(&turns);
    let (seen, drawn) = (named(&turns), drawn());
    assert_eq!(drawn.difference(&seen).collect::<Vec<_>>(), Vec::<&(String, String)>::new(), "drawn, but never done");
}
