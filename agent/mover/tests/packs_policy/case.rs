//! One course of pushes: what changes, by which rules, and who else is there.

use scribe_mover::packs::policy::compaction::Compaction;
use scribe_mover::retention::Retention;

use crate::clocks::Clocks;
use crate::draw::Spread;
use crate::rules::Fault;

#[derive(Clone, Debug)]
pub struct Case {
    pub name: &'static str,
    /// Blocks of 16 KiB.
    pub blocks: usize,
    /// Of them are changed between two pushes.
    pub changed: usize,
    pub spread: Spread,
    pub pushes: u64,
    pub rules: Compaction,
    pub retention: Retention,
    pub clocks: Clocks,
    /// Sites, slow readers and readers of retained revisions.
    pub readers: bool,
    /// Pushes of somebody else: that are under way, that die, and that commit late.
    pub rivals: bool,
    pub fault: Option<Fault>,
    pub seed: u64,
}

impl Case {
    /// A volume of 1 GiB, of which so many blocks change.
    pub fn of(name: &'static str, changed: usize, spread: Spread, pushes: u64) -> Self {
        Self {
            name,
            blocks: 65_536,
            changed,
            spread,
            pushes,
            rules: Compaction::default(),
            retention: Retention::last(1),
            clocks: Clocks::Right,
            readers: false,
            rivals: false,
            fault: None,
            seed: 1,
        }
    }

    pub fn is(&self, fault: Fault) -> bool {
        self.fault == Some(fault)
    }
}
