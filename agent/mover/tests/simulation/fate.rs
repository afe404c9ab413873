//! What a history has in store for one sync: how far each of its steps gets.

use fastrand::Rng;
use scribe_mover::error::Failure;
use scribe_mover::store::{Class, StoreError};

use crate::faults::Fault;
use crate::objects::Name;

/// What happens to a sync, and what it has done.
#[derive(Debug)]
pub struct Fate {
    pub faults: Vec<(u32, Fault)>,
    pub rng: Rng,
    pub steps: u32,
    pub writes: u32,
    pub dead: bool,
    /// What no read of this sync finds, and what no listing shows.
    pub hidden: Option<Name>,
    pub unlisted: Option<Name>,
}

impl Fate {
    pub fn new(faults: Vec<(u32, Fault)>, seed: u64) -> Self {
        Self { faults, rng: Rng::with_seed(seed), steps: 0, writes: 0, dead: false, hidden: None, unlisted: None }
    }

    /// What becomes of the next step.
    pub fn next(&mut self, step: &Step) -> Outcome {
        self.steps += 1;
        let now = self.steps;
        let Some(at) = self.faults.iter().position(|(at, _)| *at <= now) else { return Outcome::Done };
        let (_, fault) = self.faults[at];
        let fits = match step {
            Step::Read | Step::List => fault != Fault::Miscopied,
            Step::Write(_) => !fault.is_lie() && fault != Fault::Miscopied,
            Step::Copy(_) => !fault.is_lie(),
        };
        if !fits {
            return Outcome::Done;
        }
        self.faults.remove(at);
        let unreachable = || StoreError::new(Class::Unreachable, "no answer");
        let (whole, partly, error) = match fault {
            Fault::Before => (false, false, killed()),
            Fault::After => (true, false, killed()),
            Fault::During => (false, true, killed()),
            Fault::Refused => (false, false, unreachable()),
            Fault::Lost => (true, false, unreachable()),
            lie => return Outcome::Lie(lie),
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
