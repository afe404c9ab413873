//! What a history has in store for one sync: how far each of its steps gets.

use fastrand::Rng;
use scribe_mover::error::Failure;
use scribe_mover::store::{Class, StoreError};

use crate::faults::Fault;
use crate::objects::Name;

/// In how many steps a push looks at claim and commit at most, where listings have no sums.
pub const LOOK: usize = 8;
/// The same of layout Files.
pub const LOOK_OF_FILES: usize = 4;

/// What happens to a sync, and what it has done.
#[derive(Debug)]
pub struct Fate {
    pub faults: Vec<(u32, Fault)>,
    pub rng: Rng,
    pub steps: u32,
    pub writes: u32,
    pub dead: bool,
    /// How many answers were not true.
    pub lies: u32,
    /// The numbers of its first and its last steps, among those of all syncs.
    pub first: u64,
    pub last: [u64; LOOK],
    /// What no read of this sync finds, and what no listing shows.
    pub hidden: Option<Name>,
    pub unlisted: Option<Name>,
}

impl Fate {
    pub fn new(faults: Vec<(u32, Fault)>, seed: u64) -> Self {
        Self {
            faults,
            rng: Rng::with_seed(seed),
            steps: 0,
            writes: 0,
            dead: false,
            lies: 0,
            first: 0,
            last: [0; LOOK],
            hidden: None,
            unlisted: None,
        }
    }

    /// What becomes of the next step.
    pub fn next(&mut self, step: &Step) -> Outcome {
        self.steps += 1;
        let now = self.steps;
        let Some(at) = self.faults.iter().position(|(at, fault)| *at <= now && fault.fits(step)) else { return Outcome::Done };
        let (_, fault) = self.faults[at];
        self.faults.remove(at);
        let unreachable = || StoreError::new(Class::Unreachable, "no answer");
        let (whole, partly, error) = match fault {
            Fault::Before => (false, false, killed()),
            Fault::After => (true, false, killed()),
            Fault::During => (false, true, killed()),
            Fault::Refused => (false, false, unreachable()),
            Fault::Lost => (true, false, unreachable()),
            Fault::Stopped(after) => {
                return Outcome::Stops(after.into());
            }
            lie => {
                self.lies += 1;
                return Outcome::Lie(lie);
            }
        };
        self.dead = matches!(fault, Fault::Before | Fault::After | Fault::During);
        Outcome::Error { whole, partly, error }
    }
}

/// What a step does: reads can be lied about.
pub enum Step<'a> {
    Read,
    List,
    Write(&'a [u8]),
    /// A write that the server makes of what it has.
    Copy(&'a [u8]),
}

/// How far a step gets.
pub enum Outcome {
    Done,
    /// An answer that is not true.
    Lie(Fault),
    /// The sync is stopped so many steps of its own later.
    Stops(u64),
    /// It has its effect, or a part of it, and this error.
    Error {
        whole: bool,
        partly: bool,
        error: StoreError,
    },
}

pub fn killed() -> StoreError {
    Failure::killed().into()
}
