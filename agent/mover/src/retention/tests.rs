use super::*;
use proptest::prelude::*;
use proptest::sample::select;
use std::collections::BTreeMap;

/// Zones that move by an hour, by half of one, never, and once by a day.
const ZONES: &[&str] =
    &["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu", "America/St_Johns", "Pacific/Apia"];
/// Shortly before summer, winter, a new year, and the day that Samoa left out.
const MOMENTS: &[&str] = &["2025-03-28T12:00:00Z", "2025-10-25T12:00:00Z", "2024-12-29T12:00:00Z", "2011-12-29T12:00:00Z"];

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn zone(name: &str) -> TimeZone {
    TimeZone::get(name).unwrap()
}

fn rules() -> impl Strategy<Value = Retention> {
    let counts = (0..4_usize, 0..5_usize, 0..4_usize, 0..3_usize, 0..3_usize);
    let age = prop::option::of((1..1000_i64).prop_map(SignedDuration::from_hours));
    (counts, age, select(ZONES)).prop_map(|((last, hourly, daily, weekly, monthly), max_age, name)| Retention {
        last,
        hourly,
        daily,
        weekly,
        monthly,
        max_age,
        zone: zone(name),
    })
}

/// Times of copies, the one that was made last first, and the time by now. Clocks go back, too, where that is wanted.
fn times(back: bool) -> impl Strategy<Value = (Vec<Option<Timestamp>>, Timestamp)> {
    let least = if back { -400_000 } else { 0 };
    let step = prop_oneof![4 => 0..7_200_i64, 2 => least..200_000_i64, 1 => least..3_000_000_i64];
    let known = prop::bool::weighted(if back { 0.9 } else { 1.0 });
    let steps = prop::collection::vec((step, known), 1..40);
    (select(MOMENTS), steps, least / 4..100_000).prop_map(|(moment, steps, later)| {
        let (mut now, mut times) = (at(moment).as_second(), Vec::new());
        for (step, known) in steps {
            now += step;
            times.insert(0, known.then(|| Timestamp::from_second(now).unwrap()));
        }
        (times, Timestamp::from_second(now + later).unwrap())
    })
}

/// The same by texts, one rule at a time.
fn by_model(rules: &Retention, times: &[Option<Timestamp>], now: Timestamp) -> Vec<bool> {
    let clock = |at: usize| times[at];
    let young = |at: &usize| *at == 0 || clock(*at).zip(rules.max_age).is_none_or(|(time, age)| time + age > now);
    let left: Vec<usize> = (0..times.len()).filter(young).collect();
    let mut kept: BTreeSet<usize> = left.iter().copied().take(rules.last).chain([0]).collect();
    // Those made before are those that come after it.
    let before = |at: usize| left.iter().copied().filter(move |other| *other > at && clock(*other).is_some());
    let latest = |at: usize| before(at).max_by_key(|other| (clock(*other), std::cmp::Reverse(*other)));
    let skew = SignedDuration::from_mins(10);
    let is_behind = |at: usize| latest(at).is_some_and(|latest| clock(latest) > clock(at).map(|time| time + skew));
    let formats = [("%Y-%m-%d %H %:z", rules.hourly), ("%Y-%m-%d", rules.daily), ("%G week %V", rules.weekly), ("%Y-%m", rules.monthly)];
    let counts: [&dyn Fn(usize) -> bool; 3] = [&|_| true, &|at| clock(at) <= Some(now + skew), &|at| !is_behind(at)];
    for ((format, count), counts) in formats.into_iter().flat_map(|of| counts.map(|counts| (of, counts))) {
        let mut members: BTreeMap<String, Vec<(Timestamp, usize)>> = BTreeMap::new();
        for at in &left {
            if let Some(time) = clock(*at).filter(|_| counts(*at)) {
                members.entry(time.to_zoned(rules.zone.clone()).strftime(format).to_string()).or_default().push((time, *at));
            }
        }
        let mut periods: Vec<_> = members.into_values().collect();
        periods.sort_by_key(|members| std::cmp::Reverse(members.iter().map(|(time, _)| *time).max()));
        kept.extend(periods.iter().take(count).map(|members| members[0].1));
    }
    let known: Vec<usize> = kept.iter().filter(|at| clock(**at).is_some() && is_behind(**at)).filter_map(|at| latest(*at)).collect();
    if rules.hourly + rules.daily + rules.weekly + rules.monthly > 0 {
        kept.extend(known);
    }
    (0..times.len()).map(|at| kept.contains(&at)).collect()
}

fn only<T: Copy>(all: &[T], kept: &[bool]) -> Vec<T> {
    all.iter().zip(kept).filter(|(_, kept)| **kept).map(|(one, _)| *one).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, ..ProptestConfig::default() })]

    #[test]
    fn what_is_kept_is_what_the_rules_say(rules in rules(), (times, now) in times(true)) {
        let kept = rules.kept(&times, now);
        prop_assert_eq!(&kept, &by_model(&rules, &times, now));
        prop_assert!(kept[0] && kept.iter().filter(|kept| **kept).count() <= 5 * rules.most());
        // Looked at again, nothing more goes.
        prop_assert!(rules.kept(&only(&times, &kept), now).into_iter().all(|kept| kept));
    }

    /// A further rule, a larger number or a longer age lets nothing go that was kept.
    #[test]
    fn more_is_never_less(rules in rules(), more in rules(), (times, now) in times(true)) {
        let larger = Retention {
            last: rules.last.max(more.last),
            hourly: rules.hourly.max(more.hourly),
            daily: rules.daily.max(more.daily),
            weekly: rules.weekly.max(more.weekly),
            monthly: rules.monthly.max(more.monthly),
            ..rules.clone()
        };
        prop_assert!(rules.kept(&times, now).iter().zip(larger.kept(&times, now)).all(|(kept, still)| !kept || still));
    }

    /// Copies of clocks that are behind come in between, and nothing goes that would be there without them.
    #[test]
    fn who_is_behind_lets_nothing_go(
        rules in rules(), (times, _) in times(false), behind in prop::collection::vec(prop::option::of(601..4_000_000_i64), 40),
    ) {
        let rules = Retention { last: 1, hourly: rules.hourly.max(1), max_age: None, ..rules };
        let (mut left, mut without) = (Vec::new(), Vec::new());
        let look = |left: &mut Vec<(Timestamp, bool)>, now, is_behind| {
            left.insert(0, (now, is_behind));
            let times: Vec<_> = left.iter().map(|(time, _)| Some(*time)).collect();
            *left = only(left, &rules.kept(&times, now));
        };
        for (time, behind) in times.iter().rev().zip(behind) {
            let now = time.unwrap();
            look(&mut left, now, false);
            look(&mut without, now, false);
            if let Some(seconds) = behind {
                look(&mut left, now - SignedDuration::from_secs(seconds), true);
            }
            prop_assert!(without.iter().all(|copy| left.contains(copy)), "{left:?} {without:?}");
        }
    }

    /// Whether what goes is looked for after each copy or once in the end: the same is left.
    #[test]
    fn often_is_the_same_as_once(rules in rules(), (times, now) in times(false)) {
        let mut left = Vec::new();
        for time in times.iter().rev() {
            left.insert(0, *time);
            left = only(&left, &rules.kept(&left, time.unwrap()));
        }
        left = only(&left, &rules.kept(&left, now));
        prop_assert_eq!(left, only(&times, &rules.kept(&times, now)));
    }
}

/// A copy each half hour for a year, in a zone that is put forward and back.
#[test]
fn a_year_is_thinned_out() {
    let rules = Retention { last: 2, hourly: 24, daily: 7, weekly: 4, monthly: 6, max_age: None, zone: zone("Europe/Berlin") };
    let mut left = Vec::new();
    for half_hour in 0..365 * 48 {
        let now = at("2025-01-01T00:10:00Z") + SignedDuration::from_mins(30 * half_hour);
        left.insert(0, Some(now));
        left = only(&left, &rules.kept(&left, now));
    }
    let local: Vec<String> =
        left.iter().map(|time| time.unwrap().to_zoned(rules.zone.clone()).strftime("%m-%d %H:%M").to_string()).collect();
    assert_eq!(local[..3], ["01-01 00:40", "01-01 00:10", "12-31 23:40"]);
    let others = ["12-30 23:40", "12-29 23:40", "12-28 23:40", "12-27 23:40", "12-26 23:40", "12-21 23:40", "12-14 23:40"];
    // The last of the day before the latest hours begin is of one of those hours.
    assert_eq!(local[local.len() - 11..local.len() - 4], others);
    assert_eq!(local[local.len() - 4..], ["11-30 23:40", "10-31 23:40", "09-30 23:40", "08-31 23:40"]);
}

/// The hour that comes twice when clocks are put back is two hours, and the day has 25.
#[test]
fn the_hour_that_comes_twice_is_two() {
    let rules = Retention { hourly: 4, ..Retention { zone: zone("Europe/Berlin"), ..Retention::last(1) } };
    let times: Vec<_> = (0..8).map(|back| Some(at("2025-10-26T02:45:00Z") - SignedDuration::from_mins(30 * back))).collect();
    // 3:45, 3:15, 2:45 and 2:15 in winter, 2:45 and 2:15 in summer, 1:45, 1:15.
    assert_eq!(rules.kept(&times, at("2025-10-26T03:00:00Z")), [true, false, true, false, true, false, true, false]);
}

/// A copy has the same time at each look, whatever the clock says by now: it does not move from one period to the next, and a clock that is set
/// back or ahead lets nothing go.
#[test]
fn no_period_depends_on_the_clock() {
    let rules = Retention { hourly: 24, daily: 7, monthly: 2, ..Retention::last(1) };
    let times: Vec<_> = (0..60).map(|hours| Some(at("2025-01-10T12:00:00Z") - SignedDuration::from_hours(5 * hours))).collect();
    let kept = rules.kept(&times, at("2025-01-10T12:00:00Z"));
    for (now, more) in [("2024-12-01T00:00:00Z", false), ("2025-01-08T00:00:00Z", true), ("2031-01-01T00:00:00Z", false)] {
        let then = rules.kept(&times, at(now));
        assert!(then.iter().zip(&kept).all(|(then, kept)| *then || !kept), "{now}");
        assert_eq!(then != kept, more, "{now}");
    }
}

/// Three copies were made while the clock was a year ahead, and one a day before and after that.
#[test]
fn copies_of_a_clock_that_was_ahead_take_nobodys_place() {
    let rules = Retention { daily: 3, ..Retention::last(1) };
    let times = ["2025-01-10", "2025-01-09", "2025-01-08", "2026-01-07", "2026-01-06", "2026-01-05", "2025-01-04"];
    let times = times.map(|day| Some(at(&format!("{day}T12:00:00Z"))));
    assert_eq!(rules.kept(&times, at("2025-01-10T12:00:01Z")), [true, true, true, true, true, true, false]);
    // Once the time has come, they are older than most.
    assert_eq!(rules.kept(&times, at("2026-01-08T12:00:00Z")), [true, false, false, true, true, true, false]);
}

/// A node whose clock is two days behind pushes between others, and then again on a day when the copy by which that shows has a successor.
#[test]
fn a_copy_of_a_clock_that_was_behind_takes_nobodys_place() {
    let days = ["01-08T13:00", "01-10T12:00", "01-09T12:00", "01-08T12:00"].map(|day| Some(at(&format!("2025-{day}:00Z"))));
    for (daily, monthly) in [(3, 0), (3, 1)] {
        let rules = Retention { daily, monthly, ..Retention::last(1) };
        assert_eq!(rules.kept(&days, at("2025-01-08T13:00:01Z")), [true; 4]);
    }
    // One that is newest all the same is the only one of such rules.
    assert_eq!(Retention::last(1).kept(&days, at("2025-01-08T13:00:01Z")), [true, false, false, false]);
    let rules = Retention { monthly: 2, ..Retention::last(1) };
    let mut left = Vec::new();
    for day in ["01-30T12:00", "02-03T09:00", "01-31T12:00", "02-03T13:00", "02-03T14:00", "02-04T14:00"] {
        let now = at(&format!("2025-{day}:00Z"));
        left.insert(0, Some(now));
        left = only(&left, &rules.kept(&left, now));
    }
    // February, and January of both clocks with what shows which one was behind.
    let days: Vec<_> = left.iter().map(|time| time.unwrap().strftime("%m-%d %H").to_string()).collect();
    assert_eq!(days, ["02-04 14", "01-31 12", "02-03 09", "01-30 12"]);
}

/// The newest is the one that was made last, whatever the clocks say, and however old it is.
#[test]
fn the_newest_stays() {
    let rules = Retention { daily: 1, max_age: Some(SignedDuration::from_hours(1)), ..Retention::last(0) };
    let times = ["2020-01-01T00:00:00Z", "2025-01-10T11:30:00Z", "2025-01-09T10:00:00Z"].map(|time| Some(at(time)));
    assert_eq!(rules.kept(&times, at("2025-01-10T12:00:00Z")), [true, true, false]);
    assert_eq!(rules.kept(&[], at("2025-01-10T12:00:00Z")), Vec::<bool>::new());
    assert_eq!(Retention::last(2).kept(&[None, None, None], at("2025-01-10T12:00:00Z")), [true, true, false]);
}

/// What is kept is younger than `maxAge`.
#[test]
fn one_that_is_as_old_as_that_goes() {
    let rules = Retention { max_age: Some(SignedDuration::from_hours(1)), ..Retention::last(3) };
    let times = ["2025-01-10T11:30:00Z", "2025-01-10T11:00:01Z", "2025-01-10T11:00:00Z"].map(|time| Some(at(time)));
    assert_eq!(rules.kept(&times, at("2025-01-10T12:00:00Z")), [true, true, false]);
}
