//! Which files a push reads although their hints did not change: each one once within an interval, spread over it.
//!
//! A file is due at a moment of its own, which its path decides, once in every interval. The commit says up to when all that was due has
//! been read. Moving that time costs a write of the commit, so it is moved a slice at a time, or when a commit is written anyway.

use jiff::{SignedDuration, Timestamp};
use sha2::{Digest as _, Sha256};

use crate::clock::past;
use crate::volume::path::RelPath;

/// Slices of the interval. With twelve hours each, as by default, a source that is synced as often as one likes pays for moving the time
/// less than one request a sync on average: what is synced rarely has its commit written by a verification anyway.
const SLICES: i128 = 14;

/// What is to be read again by one push.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Rehash {
    /// What was due up to then has been read.
    from: Timestamp,
    /// What is due up to then is going to be read.
    to: Timestamp,
    /// In nanoseconds.
    interval: i128,
}

impl Rehash {
    /// For the capture `captured` of a volume whose files were read as they came due until `last`. `writes` says that the commit is going
    /// to be written in any case.
    pub(super) fn new(last: Timestamp, interval: SignedDuration, captured: Timestamp, writes: bool) -> Self {
        let interval = interval.as_nanos().max(0);
        // A time in the future means that the clock was ahead. Whatever was due by that clock has been read, so nothing is overdue: the
        // time is put right, and every file comes due within an interval from now.
        let from = past(last, captured).unwrap_or(captured);
        let age = captured.as_nanosecond() - from.as_nanosecond();
        let moves = last > captured || writes || age >= interval / SLICES;
        Self { from, to: if moves { captured } else { from }, interval }
    }

    /// For a volume all of whose content is read.
    pub(super) fn of_all(captured: Timestamp) -> Self {
        Self { from: captured, to: captured, interval: 1 }
    }

    /// Whether the file is to be read.
    pub(super) fn is_due(&self, path: &RelPath) -> bool {
        let (from, to) = (self.from.as_nanosecond(), self.to.as_nanosecond());
        if to - from >= self.interval {
            return true;
        }
        if from == to {
            return false;
        }
        let phase = phase(path, self.interval);
        (to - phase).div_euclid(self.interval) > (from - phase).div_euclid(self.interval)
    }

    /// Up to when all that was due has been read, once this push is done.
    pub(super) fn done(&self) -> Timestamp {
        self.to
    }
}

/// When the file is due, from the beginning of an interval.
fn phase(path: &RelPath, interval: i128) -> i128 {
    let digest = Sha256::digest(path.as_bytes());
    let mut bytes = [0; 8];
    bytes.copy_from_slice(&digest[..8]);
    // 32 bits are fine enough, and the product of an interval with more could be too large.
    (i128::from(u64::from_be_bytes(bytes) >> 32) * interval) >> 32
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const WEEK: SignedDuration = SignedDuration::from_hours(168);

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn path(n: usize) -> RelPath {
        RelPath::new(format!("d/{n}").as_bytes()).unwrap()
    }

    fn due(rehash: &Rehash) -> usize {
        (0..1000).filter(|n| rehash.is_due(&path(*n))).count()
    }

    proptest! {
        /// Whatever the interval and however irregular the pushes, no file goes unread for longer than the interval and the gap to the
        /// push that follows; and nothing is read twice as often as need be.
        #[test]
        fn every_file_is_read_within_the_interval(interval in 1_i64..1_000_000, gaps in prop::collection::vec(1_i64..300_000, 1..120), file in 0_usize..1000, verifies in prop::collection::vec(any::<bool>(), 120)) {
            let file = path(file);
            let (mut now, mut last, mut read) = (1_800_000_000_i64, at(1_800_000_000), 1_800_000_000_i64);
            for (gap, writes) in gaps.into_iter().zip(verifies) {
                now += gap;
                let rehash = Rehash::new(last, SignedDuration::from_secs(interval), at(now), writes);
                if rehash.is_due(&file) {
                    read = now;
                }
                // The slice that is not read yet is part of the bound.
                prop_assert!(now - read <= interval + interval / 14 + 1, "unread for {} s", now - read);
                last = rehash.done();
            }
        }

        #[test]
        fn a_clock_that_is_put_back_reads_nothing_at_once_and_forgets_nothing(ahead in 1_i64..4_000_000_000) {
            let now = 1_800_000_000;
            let rehash = Rehash::new(at(now + ahead), WEEK, at(now), false);
            prop_assert_eq!((due(&rehash), rehash.done()), (0, at(now)));
            let week_later = Rehash::new(rehash.done(), WEEK, at(now + 604_800), false);
            prop_assert_eq!(due(&week_later), 1000);
        }
    }

    #[test]
    fn a_slice_is_a_small_part_and_the_time_is_moved_a_slice_at_a_time() {
        let hour = 3600;
        let pushed = |hours: i64, writes| Rehash::new(at(0), WEEK, at(hours * hour), writes);
        assert_eq!((due(&pushed(11, false)), pushed(11, false).done()), (0, at(0)), "the commit need not be written");
        assert_eq!(pushed(12, false).done(), at(12 * hour));
        assert!((40..110).contains(&due(&pushed(12, false))), "{}", due(&pushed(12, false)));
        assert!((1..20).contains(&due(&pushed(1, true))), "it is written anyway");
        assert_eq!(due(&pushed(168, false)), 1000);
        assert_eq!(due(&Rehash::new(at(0), SignedDuration::ZERO, at(0), false)), 1000, "always");
        assert_eq!(due(&Rehash::of_all(at(9))), 0, "all of it is read anyway");
    }
}
