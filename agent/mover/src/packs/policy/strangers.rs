//! Objects that are listed and in no manifest: of a push that died, of one that is under way, or of revisions that a path has lost because somebody
//! has put an older commit back.
//!
//! All dates are the server's. A commit that was put back knows no later date than its own, so that what was written after it is no older than a look
//! of the pushes that follow it.

use jiff::{SignedDuration, Timestamp};

/// A push is given so long from its first object to its commit.
pub const UNDER_WAY: SignedDuration = SignedDuration::from_hours(7 * 24);

/// When a push of this line of revisions looked at the path, for the commit to say: `before`, as the commit before says, until a week has passed
/// since; then `now`, the date of what this push has written. Nothing where the server tells no dates.
pub fn since(before: Option<Timestamp>, now: Option<Timestamp>) -> Option<Timestamp> {
    let is_due = |before: &Timestamp, now: Timestamp| !(SignedDuration::ZERO..UNDER_WAY).contains(&now.duration_since(*before));
    match (before, now) {
        (Some(before), Some(now)) if !is_due(&before, now) => Some(before),
        (_, now) => now,
    }
}

/// Which of the listed objects may go, for one that has committed: those that `is_known` does not know, and that are no newer than the look
/// that the commit before tells of, if that was a week before `now`. What has no date stays.
pub fn strangers<Id: Copy>(
    listed: &[(Id, Option<Timestamp>)],
    (before, now): (Option<Timestamp>, Option<Timestamp>),
    is_known: impl Fn(Id) -> bool,
) -> Vec<Id> {
    let Some(looked) = before.filter(|before| now.is_some_and(|now| now.duration_since(*before) >= UNDER_WAY)) else { return Vec::new() };
    let is_old = |date: &Option<Timestamp>| date.is_some_and(|date| date <= looked);
    listed.iter().filter(|(id, date)| is_old(date) && !is_known(*id)).map(|(id, _)| *id).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn day(day: i64) -> Option<Timestamp> {
        Timestamp::from_second(1_000_000_000 + day * 86_400).ok()
    }

    #[test]
    fn only_what_is_unknown_and_was_there_at_a_look_a_week_ago_goes() {
        let listed = [("known", day(0)), ("old", day(1)), ("new", day(2)), ("undated", None), ("later", day(9))];
        let gone = |before, now| strangers(&listed, (before, now), |id| id == "known");
        assert_eq!(gone(day(1), day(8)), ["old"]);
        for (before, now) in [(day(1), day(7)), (day(8), day(8)), (day(9), day(1)), (day(1), None), (None, day(8))] {
            assert_eq!(gone(before, now), Vec::<&str>::new(), "{before:?} {now:?}");
        }
    }

    #[test]
    fn a_look_counts_for_a_week_and_then_the_next_one_does() {
        assert_eq!(since(None, day(3)), day(3));
        assert_eq!(since(day(3), day(9)), day(3));
        assert_eq!(since(day(3), day(10)), day(10));
        // The server's clock was ahead.
        assert_eq!(since(day(3_000), day(10)), day(10));
        assert_eq!(since(day(3), None), None);
    }
}
