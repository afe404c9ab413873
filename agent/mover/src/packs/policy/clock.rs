//! Time as the pushes of a path count it, from one to the next, in the committed manifest. No clock is trusted for more than one step.
//!
//! Pushes run on different nodes, whose clocks may differ, jump and be set back. An age must then never grow faster than time passes by
//! more than one step a jump, however often two clocks that disagree take turns: what a clock takes back when it is behind the last push
//! is owed, and paid before any age grows again.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

/// How long things are kept after nothing refers to them any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Graces {
    /// `packGrace`: what was committed may be read for so long after another revision has taken its place.
    pub full: Duration,
    /// For dead packs beyond as many bytes as are live.
    pub brief: Duration,
}

impl Default for Graces {
    fn default() -> Self {
        Self { full: Duration::from_secs(24 * 3_600), brief: Duration::from_secs(3_600) }
    }
}

impl Graces {
    /// The shorter one: `packGrace` may be set to less than the brief one.
    pub fn shortest(&self) -> Duration {
        self.full.min(self.brief)
    }
}

/// A grace is counted in steps of at most a quarter of it, so a jump of the clock brings forward by a quarter at most.
const STEPS: u32 = 4;
/// Ages of revisions are counted in steps of so much: exact for a path that is pushed to each week.
const WEEK: Duration = Duration::from_secs(7 * 24 * 3_600);

/// One count of time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Meter {
    /// What has passed.
    pub counted: Duration,
    /// What has to pass before it counts again.
    pub owed: Duration,
}

impl Meter {
    /// After another push, which is this long after the last one by its clock: negative if that is behind.
    #[must_use]
    fn pushed(self, passed: SignedDuration, step: Duration) -> Self {
        if passed.is_negative() {
            // Bounded, so that a clock that was far ahead once delays a deletion by a grace, and not by years.
            return Self { owed: self.owed.saturating_add(passed.unsigned_abs()).min(step.saturating_mul(STEPS)), ..self };
        }
        let passed = passed.unsigned_abs().min(step);
        let paid = self.owed.min(passed);
        Self { counted: self.counted.saturating_add(passed.saturating_sub(paid)), owed: self.owed.saturating_sub(paid) }
    }
}

/// What the manifest says of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PushClock {
    /// When it was written, by the clock of its push: the last thing before the commit, or what happens during a long push would age
    /// before it has happened.
    pub at: Timestamp,
    /// Counts for the full grace.
    pub full: Meter,
    /// Counts for the brief grace.
    pub brief: Meter,
    /// Counts for the age of revisions.
    pub age: Meter,
}

/// What the meters show at one push. Only the difference of two has a meaning.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reading {
    /// Of the meter for the full grace.
    pub full: Duration,
    /// Of the one for the brief grace.
    pub brief: Duration,
    /// Of the one for the age of revisions.
    pub age: Duration,
}

impl PushClock {
    /// That of a first push.
    pub fn new(at: Timestamp) -> Self {
        Self { at, full: Meter::default(), brief: Meter::default(), age: Meter::default() }
    }

    /// That of the next push.
    #[must_use]
    pub fn pushed(&self, now: Timestamp, graces: &Graces) -> Self {
        let passed = now.duration_since(self.at);
        Self {
            at: now,
            full: self.full.pushed(passed, graces.full / STEPS),
            brief: self.brief.pushed(passed, graces.brief / STEPS),
            age: self.age.pushed(passed, WEEK),
        }
    }

    /// What the meters show.
    pub fn reading(&self) -> Reading {
        Reading { full: self.full.counted, brief: self.brief.counted, age: self.age.counted }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn after(steps: &[i64], graces: &Graces) -> Reading {
        let mut at = Timestamp::from_second(1_000_000_000).unwrap();
        let mut clock = PushClock::new(at);
        for step in steps {
            at += SignedDuration::from_secs(*step);
            clock = clock.pushed(at, graces);
        }
        clock.reading()
    }

    const HOUR: i64 = 3_600;
    const DAY: i64 = 24 * HOUR;

    #[test]
    fn a_jump_counts_for_one_step() {
        let ten_years = 3_650 * DAY;
        let hours = |hours: u64| Duration::from_secs(hours * 3_600);
        let jump = Reading { full: hours(6), brief: Duration::from_secs(60 * 15), age: hours(7 * 24) };
        assert_eq!(after(&[ten_years], &Graces::default()), jump);
        // And one back for nothing, not for less than nothing.
        assert_eq!(after(&[-ten_years], &Graces::default()), Reading::default());
        assert_eq!(after(&[HOUR, HOUR, HOUR], &Graces::default()).full, hours(3));
    }

    #[test]
    fn clocks_that_take_turns_count_one_step_in_all() {
        let turns: Vec<i64> = (0..1_000).flat_map(|_| [DAY + 360, -DAY + 360]).collect();
        assert_eq!(after(&turns, &Graces::default()).full, Duration::from_secs(6 * 3_600));
        // With less than a step between them, they count what passes.
        let near: Vec<i64> = (0..10).flat_map(|_| [HOUR + 360, -HOUR + 360]).collect();
        assert_eq!(after(&near, &Graces::default()).full, Duration::from_secs(60 * (20 * 6 + 54)));
    }

    proptest! {
        /// Clocks that are right again count again: whatever happened before, a grace ends after twice its time, in pushes that are not
        /// further apart than a step.
        #[test]
        fn no_clock_keeps_things_for_ever(wrong in prop::collection::vec(-400 * DAY..400 * DAY, 0..50), right in prop::collection::vec(1..=6 * HOUR, 1..200)) {
            let graces = Graces::default();
            let before = after(&wrong, &graces).full;
            let all: Vec<i64> = wrong.iter().chain(&right).copied().collect();
            let passed = Duration::from_secs(right.iter().sum::<i64>().unsigned_abs());
            prop_assert!(after(&all, &graces).full >= before + passed.saturating_sub(graces.full));
            prop_assert!(after(&all, &graces).full <= before + passed);
        }

        /// Nodes whose clocks are wrong by any constant: together they count no more than what passes and a step for each clock but one.
        #[test]
        fn wrong_clocks_count_a_step_each(skews in prop::collection::vec(-400 * DAY..400 * DAY, 1..4), pushes in prop::collection::vec((0..DAY, 0..4_usize), 1..300)) {
            let graces = Graces::default();
            let (mut now, mut clock, mut passed) = (Timestamp::from_second(1_000_000_000).unwrap(), None::<PushClock>, Duration::ZERO);
            for (later, node) in pushes {
                now += SignedDuration::from_secs(later);
                let by_node = now + SignedDuration::from_secs(skews[node % skews.len()]);
                passed += Duration::from_secs(later.unsigned_abs());
                clock = Some(clock.map_or_else(|| PushClock::new(by_node), |clock| clock.pushed(by_node, &graces)));
            }
            let steps = u32::try_from(skews.len() - 1).unwrap();
            prop_assert!(clock.unwrap().reading().full <= passed + graces.full / STEPS * steps);
        }
    }
}
