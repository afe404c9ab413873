//! What may befall one step of a sync: a step is one operation on one object, or one listing.

use fastrand::Rng;
use scribe_mover::format::names::COMMIT;

use crate::fate::Step;
use crate::world::control;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The mover is killed before the step.
    Before,
    /// Or after it.
    After,
    /// Or while it writes: of an object that is replaced in place, a part is left.
    During,
    /// The step is refused, without effect.
    Refused,
    /// It has its effect, and the answer is lost.
    Lost,
    /// A read answers that there is no such object, a listing that there is nothing; a write is not lied about, but the next read.
    Gone,
    /// A read gives half of the object, a listing leaves one name out.
    Half,
    /// A read gives an object, or a listing, of some time ago.
    Old(u8),
    /// From here on no read finds this object, although listings show it.
    Hidden,
    /// A copy on the server succeeds, and is another object than what was copied.
    Miscopied,
    /// From here on no listing shows one of the objects of this one, although reads find it.
    Unlisted(u8),
    /// The write of a commit is acknowledged, and has no effect.
    Ignored,
    /// The mover is stopped so many steps of its own after this one: while it hashes, or changes a volume.
    Stopped(u8),
}

/// How many kinds [`Fault::of`] knows.
pub const KINDS: u8 = 13;

impl Fault {
    pub fn of(kind: u8, rng: &mut Rng) -> Self {
        match kind {
            0 => Self::Before,
            1 => Self::After,
            2 => Self::During,
            3 => Self::Refused,
            4 => Self::Lost,
            5 => Self::Gone,
            6 => Self::Half,
            7 => Self::Hidden,
            8 => Self::Unlisted(rng.u8(..)),
            9 => Self::Miscopied,
            10 => Self::Ignored,
            11 => Self::Stopped(rng.u8(1..40)),
            _ => Self::Old(rng.u8(1..20)),
        }
    }

    /// Whether it ends the sync at some point in the middle.
    pub fn ends(self) -> bool {
        matches!(self, Self::Before | Self::After | Self::During | Self::Refused | Self::Lost | Self::Stopped(_))
    }

    /// Whether it can befall such a step.
    pub fn fits(self, step: &Step) -> bool {
        match (self, step) {
            (Self::Stopped(_), _) => true,
            (Self::Ignored, step) => matches!(step, Step::Write(name) if *name == control(COMMIT)),
            (Self::Miscopied, step) => matches!(step, Step::Copy(_)),
            (Self::Unlisted(_), step) => matches!(step, Step::List),
            (Self::Hidden, step) => matches!(step, Step::Read),
            (fault, Step::Write(_) | Step::Copy(_)) => !fault.is_lie(),
            (_, Step::Read | Step::List) => true,
        }
    }

    /// Whether it is an answer that is not true.
    pub fn is_lie(self) -> bool {
        matches!(self, Self::Gone | Self::Half | Self::Old(_) | Self::Hidden | Self::Unlisted(_))
    }
}
