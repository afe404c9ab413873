//! A source whose clock is set back: which revision is that of a time.

use jiff::{SignedDuration, Timestamp};
use scribe_mover::pull::{Wanted, pull_wanted};
use scribe_mover::push::{PushOptions, push_packs};
use scribe_mover::report::Reason;
use scribe_mover::retention::Retention;

use crate::behind::{options as pull_options, pulled};
use crate::support::{fresh, options, remote};

/// Of all revisions whose data was captured by then, as their pushes say, the last one that was pushed: the order of pushes is known, and that of
/// their clocks is not. Of two captured at the same moment that is the later one, too.
#[test]
fn of_a_time_it_is_the_last_that_was_pushed_of_those_captured_by_then() {
    let (objects, source) = fresh();
    let start: Timestamp = "2026-11-01T00:00:00Z".parse().unwrap();
    let at = |minutes: i64| start + SignedDuration::from_mins(minutes);
    let mut revisions = Vec::new();
    // The clock is set back between the third and the fourth, and the fifth is of the same moment as the second.
    for (number, minutes) in [10, 20, 30, 15, 20, 40].into_iter().enumerate() {
        std::fs::write(source.path().join("number"), number.to_string()).unwrap();
        let seconds = 200 * i64::try_from(number).unwrap();
        let push = PushOptions { data_time: at(minutes), retention: Retention::last(6), ..options(source.path(), seconds) };
        revisions.push(push_packs(&remote(&objects), &push).unwrap().revision);
    }
    let dest = assert_fs::TempDir::new_in("/dev/shm").unwrap();
    let pull = |minutes| pull_wanted(&remote(&objects), &pull_options(dest.path(), None), None, &Wanted::AsOf(at(minutes)));
    for (minutes, number) in [(10, 0), (14, 0), (15, 3), (19, 3), (20, 4), (29, 4), (30, 4), (39, 4), (40, 5), (99, 5)] {
        assert_eq!(pulled(pull(minutes)).revision, revisions[number], "{minutes}");
        assert_eq!(std::fs::read_to_string(dest.path().join("number")).unwrap(), number.to_string());
    }
    let failure = pull(9).unwrap_err();
    let nearest = format!("the nearest one after it is {} of {}", revisions[0], at(10));
    assert!(failure.reason == Reason::RevisionMissing && failure.message.contains(&nearest), "{failure}");
    // The nearest by time is not the oldest that is kept.
    for number in 6..8 {
        std::fs::write(source.path().join("number"), number.to_string()).unwrap();
        let seconds = 200 * i64::from(number);
        let push = PushOptions { data_time: at(50), retention: Retention::last(6), ..options(source.path(), seconds) };
        push_packs(&remote(&objects), &push).unwrap();
    }
    let failure = pull(9).unwrap_err();
    let nearest = format!("the nearest one after it is {} of {}", revisions[3], at(15));
    assert!(failure.reason == Reason::RevisionMissing && failure.message.contains(&nearest), "{failure}");
}
