//! Objects that are listed and in no manifest: of a push that died, or of one that is under way.

use jiff::{SignedDuration, Timestamp};

/// A push is given so long from its first object to its commit.
pub const UNDER_WAY: SignedDuration = SignedDuration::from_hours(7 * 24);

/// Which of the listed objects may go, for one that has committed: those that `is_known` does not know, and that were written a week
/// before its claim. Both dates are the server's; what has none stays, and without one of the claim everything does.
pub fn strangers<Id: Copy>(listed: &[(Id, Option<Timestamp>)], claimed: Option<Timestamp>, is_known: impl Fn(Id) -> bool) -> Vec<Id> {
    let Some(claimed) = claimed else { return Vec::new() };
    let is_old = |date: &Option<Timestamp>| date.is_some_and(|date| claimed.duration_since(date) >= UNDER_WAY);
    listed.iter().filter(|(id, date)| is_old(date) && !is_known(*id)).map(|(id, _)| *id).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_unknown_and_a_week_old_goes() {
        let day = |day: i64| Some(Timestamp::from_second(1_000_000_000 + day * 86_400).unwrap());
        let listed = [("known", day(0)), ("old", day(1)), ("new", day(2)), ("undated", None), ("later", day(9))];
        assert_eq!(strangers(&listed, day(8), |id| id == "known"), ["old"]);
        assert_eq!(strangers(&listed, None, |_| false), Vec::<&str>::new());
    }
}
