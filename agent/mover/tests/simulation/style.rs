//! What a history is mostly made of. What takes several events in a row to show is met sooner where there is less of all else: fewer names,
//! fewer kinds of faults, more of one kind of syncs.

use fastrand::Rng;

use crate::faults::{Fault, KINDS};
use crate::history::{Layout, Who};
use crate::volume::NAMES;

#[derive(Debug)]
pub struct Style {
    pub names: Vec<&'static str>,
    /// Files differ in content, and hardly in time or size.
    pub alike: bool,
    /// Files have blocks, and there are folders that make for large runs.
    pub blocks: bool,
    pub many: bool,
    /// One of how many epochs begins with something that others do.
    pub hands: u8,
    faults: Vec<u8>,
    syncs: Syncs,
}

#[derive(Clone, Copy, Debug)]
enum Syncs {
    All,
    /// Mostly one after another, some of two sources.
    Pushes,
    /// Several pushes at the same time.
    Rivals,
    Pulls,
}

const PUSH: &[Who] = &[Who::Push(0)];
const PULL: &[Who] = &[Who::Pull(0)];

impl Style {
    pub fn any(rng: &mut Rng, layout: Layout) -> Self {
        let mut names = NAMES.to_vec();
        let mut faults: Vec<u8> = (0..KINDS).collect();
        if rng.bool() {
            rng.shuffle(&mut names);
            names.truncate(rng.usize(1..4));
        }
        if rng.bool() {
            rng.shuffle(&mut faults);
            faults.truncate(rng.usize(2..5));
        }
        let syncs = [Syncs::All, Syncs::All, Syncs::Pushes, Syncs::Rivals, Syncs::Pulls][rng.usize(0..5)];
        let (alike, hands) = (rng.u8(0..3) == 0, if rng.u8(0..3) == 0 { 2 } else { 6 });
        let blocks = layout == Layout::Packs && rng.u8(0..6) > 0;
        let many = layout == Layout::Packs && rng.u8(0..8) == 0;
        Self { names, alike, blocks, many, hands, faults, syncs }
    }

    pub fn fault(&self, rng: &mut Rng) -> Fault {
        Fault::of(self.faults[rng.usize(0..self.faults.len())], rng)
    }

    pub fn whos(&self, rng: &mut Rng) -> &'static [Who] {
        match (self.syncs, rng.u8(0..20)) {
            (Syncs::All, 0..9) | (Syncs::Pushes, 0..14) | (Syncs::Rivals, 0..6) | (Syncs::Pulls, 0..7) => PUSH,
            (Syncs::All, 9..11) | (Syncs::Pulls, 7..14) => PULL,
            (Syncs::All, 11) => &[Who::Pull(1)],
            (Syncs::All, 12..16) | (Syncs::Pulls, 14..17) => &[Who::Push(0), Who::Pull(0)],
            (Syncs::All, 16) | (Syncs::Pulls, _) => &[Who::Push(0), Who::Pull(0), Who::Pull(1)],
            (Syncs::All, 17) | (Syncs::Pushes, _) => &[Who::Push(1)],
            (Syncs::All, 18) | (Syncs::Rivals, 6..8) => &[Who::Push(0), Who::Push(1)],
            (Syncs::Rivals, 8..18) => &[Who::Push(0), Who::Push(0)],
            _ => &[Who::Push(0), Who::Push(0), Who::Pull(0)],
        }
    }
}
