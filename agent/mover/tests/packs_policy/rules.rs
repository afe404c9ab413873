//! What holds after every push, and the faults that show that it is looked at.

use std::collections::BTreeMap;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rule {
    /// The table counts the live bytes of each pack as the map has them.
    Accounting,
    /// All that the current revision refers to is there, and is what the volume has.
    Current,
    /// The same of each retained one.
    Retained,
    /// Nothing goes before the revision that was the last to refer to it has been another's predecessor for the grace.
    Grace,
    /// A reader that began with a revision that was listed finds what it needs for as long as the grace is.
    Readers,
    /// A site at an older revision finds by `born` what has changed since, and nothing else.
    Born,
    /// Compaction moves no more than its budget, and nothing that was just written.
    Budget,
    /// What nothing refers to goes at last.
    Collected,
    /// An object of a push that may be under way stays.
    Strangers,
    /// A push that commits late, over another one's commit, commits a whole revision.
    Late,
}

/// One mistake in the work of a push.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// A block that is moved is not released in its old pack.
    NotReleased,
    /// What is moved is written with the content of the block before.
    MovedOther,
    /// A retained revision is taken for the one before it when garbage is looked for.
    RetainedIsBefore,
    /// What is to go with the next push goes with this one.
    OnePushEarly,
    /// A jump of the clock counts in full.
    Uncapped,
    /// A clock that is set back counts as if it had gone forward.
    BackCounts,
    /// Nothing is owed after a clock was set back.
    NothingOwed,
    /// The grace begins with the death of an object, although a retained revision refers to it.
    AgedWhileRetained,
    /// A block that is moved is said to be born in that push.
    BornAgain,
    /// A block that has changed is said to be as old as its former content.
    BornBefore,
    /// Compaction goes on without a budget.
    NoBudget,
    /// Time counts only beyond the latest that any clock has shown.
    HighWater,
    /// The week of an unknown object is that of the pusher's clock.
    OwnClock,
    /// A push may commit within half the full grace, where dead packs may go after the brief one.
    HalfTheFullGrace,
}

/// What was violated first of each rule, and how often.
#[derive(Debug, Default)]
pub struct Found(pub BTreeMap<Rule, (String, u64)>);

impl Found {
    pub fn check(&mut self, rule: Rule, holds: bool, message: impl FnOnce() -> String) {
        if !holds {
            self.0.entry(rule).or_insert_with(|| (message(), 0)).1 += 1;
        }
    }
}
