//! Which older revisions stay restorable.

use std::time::Duration;

use jiff::Timestamp;

use super::clock::Reading;
use crate::retention::Retention;

/// A revision, as the manifest lists those that are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retained {
    /// Which one.
    pub generation: u64,
    /// When its data was captured, by a clock that may have been wrong.
    pub data_time: Timestamp,
    /// What the meters showed when it was committed.
    pub committed: Reading,
}

/// Which of the revisions are kept, the newest of which comes first and always is: the one that is about to be committed. An age above
/// `maxAge` must be one by the meters as well as by the clock, so a jump of that drops none before its time but what is nearly of that age.
pub fn kept(revisions: &[Retained], rules: &Retention, clock: Timestamp, now: Reading) -> Vec<bool> {
    let is_old = |revision: &Retained| {
        rules.max_age.is_some_and(|age| {
            let by_meters = now.age.saturating_sub(revision.committed.age);
            clock.duration_since(revision.data_time) >= age && by_meters >= Duration::try_from(age).unwrap_or_default()
        })
    };
    let left: Vec<bool> = revisions.iter().enumerate().map(|(at, revision)| at == 0 || !is_old(revision)).collect();
    let times: Vec<_> = revisions.iter().zip(&left).filter(|(_, left)| **left).map(|(revision, _)| Some(revision.data_time)).collect();
    let mut kept = Retention { max_age: None, ..rules.clone() }.kept(&times, clock).into_iter();
    left.into_iter().map(|left| left && kept.next().unwrap_or(true)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::SignedDuration;

    fn revision(generation: u64, hours: i64) -> Retained {
        let age = Duration::from_secs(hours.unsigned_abs() * 3_600);
        let data_time = Timestamp::from_second(1_000_000_000).unwrap() + SignedDuration::from_hours(hours);
        Retained { generation, data_time, committed: Reading { age, ..Reading::default() } }
    }

    #[test]
    fn a_jump_of_the_clock_makes_no_revision_old() {
        let rules = Retention { max_age: Some(SignedDuration::from_hours(48)), ..Retention::last(3) };
        let revisions = [revision(4, 50), revision(3, 49), revision(2, 3), revision(1, 2)];
        let (now, later) = (revisions[0], revision(9, 100_000));
        assert_eq!(kept(&revisions, &rules, now.data_time, now.committed), [true, true, true, false]);
        assert_eq!(kept(&revisions[..3], &rules, later.data_time, now.committed), [true, true, true]);
        assert_eq!(kept(&revisions[..3], &rules, now.data_time, later.committed), [true, true, true]);
        assert_eq!(kept(&revisions[..3], &rules, later.data_time, later.committed), [true, false, false]);
        // The newest stays, whatever the clocks say, and one that is too old takes no place.
        let last = Retention { max_age: Some(SignedDuration::from_hours(48)), ..Retention::last(2) };
        let at = revision(5, 51);
        assert_eq!(kept(&[revision(0, 0), revision(1, 1), revision(4, 50)], &last, at.data_time, at.committed), [true, false, true]);
    }
}
