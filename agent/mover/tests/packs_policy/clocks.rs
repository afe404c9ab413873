//! Time as it passes, and the clocks of the nodes, which jump, are put right again, and disagree.

use fastrand::Rng;
use jiff::Timestamp;

pub const HOUR: i64 = 3_600;
pub const DAY: i64 = 24 * HOUR;
/// When the first push was.
const BEGAN: i64 = 1_700_000_000;

/// What clocks do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Clocks {
    /// They are right, and pushes come every six minutes.
    Right,
    /// They are right; some pushes come hours or days late.
    Late,
    /// They jump by a day to ten years, forward or back, and are put right again; or two of them that disagree take turns.
    Wrong,
    /// One jumps ten years ahead and is put right again, each thousand pushes.
    Ahead,
}

pub struct Time {
    clocks: Clocks,
    /// Seconds since the first push.
    pub now: i64,
    skew: i64,
    /// Pushes that are left of a time in which two clocks take turns.
    turns: u32,
    /// Jumps by the number of their push: 1 is forward, -1 is back.
    jumps: Vec<(i64, i8)>,
}

impl Time {
    pub fn new(clocks: Clocks) -> Self {
        Self { clocks, now: 0, skew: 0, turns: 0, jumps: Vec::new() }
    }

    /// Until the next push.
    pub fn pass(&mut self, rng: &mut Rng, push: u64) {
        self.now += match (self.clocks, rng.u32(0..400)) {
            (Clocks::Late | Clocks::Wrong, 0) => rng.i64(HOUR..3 * DAY),
            (Clocks::Late | Clocks::Wrong, 1..4) => rng.i64(600..8 * HOUR),
            _ => 360,
        };
        let before = self.skew;
        match self.clocks {
            Clocks::Right | Clocks::Late => {}
            Clocks::Ahead => self.skew = if push % 1_000 == 100 { 3_650 * DAY } else { 0 },
            Clocks::Wrong if self.turns > 0 => {
                self.turns -= 1;
                self.skew = if self.turns % 2 == 1 { DAY } else { 0 };
            }
            Clocks::Wrong => match rng.u32(0..300) {
                0..3 if self.skew == 0 => self.skew = *rng.choice(&[DAY, 365 * DAY, 3_650 * DAY, -DAY, -365 * DAY]).unwrap(),
                0..10 => self.skew = 0,
                10 => self.turns = 60,
                _ => {}
            },
        }
        if self.skew != before {
            self.jumps.push((self.now, if self.skew > before { 1 } else { -1 }));
        }
    }

    /// By the clock of the node that pushes.
    pub fn clock(&self) -> Timestamp {
        Timestamp::from_second(BEGAN + self.now + self.skew).unwrap()
    }

    /// By the server's.
    pub fn server(at: i64) -> Timestamp {
        Timestamp::from_second(BEGAN + at).unwrap()
    }

    /// How many jumps forward since then were not made up for by one back before: what no clock can tell from time that passes.
    pub fn rise_since(&self, then: i64) -> i64 {
        let (mut height, mut lowest, mut rise) = (0_i64, 0_i64, 0_i64);
        for (_, jump) in self.jumps.iter().rev().take_while(|(at, _)| *at > then).collect::<Vec<_>>().into_iter().rev() {
            height += i64::from(*jump);
            lowest = lowest.min(height);
            rise = rise.max(height - lowest);
        }
        rise
    }

    pub fn jumps_back_since(&self, then: i64) -> i64 {
        let back = self.jumps.iter().rev().take_while(|(at, _)| *at > then).filter(|(_, jump)| *jump < 0).count();
        i64::try_from(back).unwrap()
    }
}
