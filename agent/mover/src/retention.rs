//! Which of many copies of one thing are kept: a pure function of when their data was captured. Of a destination, the copies are its images;
//! of a path in layout Packs, its older revisions.

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp, Zoned};
use std::collections::{BTreeMap, BTreeSet};

/// How many are kept, by each rule; one that no rule keeps goes. The newest one always stays.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Retention {
    /// The newest ones.
    pub last: usize,
    /// The newest one of each of the latest hours that have one, so many of them.
    pub hourly: usize,
    /// The same of days.
    pub daily: usize,
    /// The same of weeks, which begin on Monday.
    pub weekly: usize,
    /// The same of months.
    pub monthly: usize,
    /// An older one goes, whatever the rules say.
    pub max_age: Option<SignedDuration>,
    /// Where hours, days, weeks and months begin.
    pub zone: TimeZone,
}

/// Clocks of two machines may differ by so much.
const SKEW: SignedDuration = SignedDuration::from_mins(10);

/// What tells two periods of one kind apart, in the order of time.
type Period = (i16, i16, i64);
/// Of how many periods the newest copy is kept, and of which kind they are.
type Rule = (usize, fn(&Zoned) -> Period);

impl Retention {
    /// Only the newest ones.
    pub fn last(last: usize) -> Retention {
        Retention { last, hourly: 0, daily: 0, weekly: 0, monthly: 0, max_age: None, zone: TimeZone::UTC }
    }

    /// The most that are kept while every copy is later than those made before it, and none is ahead.
    pub fn most(&self) -> usize {
        self.last.max(1) + self.hourly + self.daily + self.weekly + self.monthly
    }

    /// Which of the copies are kept. They are given by the times of their data, the one that was made last first: that order, not the clock,
    /// says which is newer. A copy must have the same time at each look, or one period after another would lose what it had. Only `last` keeps
    /// one whose time is not known, whatever its age.
    ///
    /// Times after `now` may be of a clock that was ahead, or `now` is of one that was set back. Such copies are kept as all others are, and
    /// take no period from those that are not ahead. Nor does a copy whose time is before that of one made before it take any from those of
    /// which that cannot be said: its clock was behind. While it is kept, so is the latest one made before it, by which it is known, where any
    /// rule counts periods. So there may be five times as many.
    pub fn kept(&self, times: &[Option<Timestamp>], now: Timestamp) -> Vec<bool> {
        let young = |time: Timestamp| self.max_age.is_none_or(|age| now.duration_since(time) < age);
        // Age comes first: one that is too old anyway takes no younger one's place.
        let left: Vec<usize> = (0..times.len()).filter(|at| *at == 0 || times[*at].is_none_or(young)).collect();
        let mut kept = vec![false; times.len()];
        for at in left.iter().take(self.last.max(1)) {
            kept[*at] = true;
        }
        let local: Vec<(usize, Zoned)> = left.iter().filter_map(|at| Some((*at, times[*at]?.to_zoned(self.zone.clone())))).collect();
        let behind = behind(&local);
        self.newest_of_each_period(&local, &mut kept, &|_, _| true);
        self.newest_of_each_period(&local, &mut kept, &|_, time| time.timestamp().duration_since(now) <= SKEW);
        self.newest_of_each_period(&local, &mut kept, &|at, _| !behind.contains_key(&at));
        if self.most() > self.last.max(1) {
            for (at, latest) in behind {
                kept[latest] |= kept[at];
            }
        }
        kept
    }

    /// By each rule, of those that `counts`.
    fn newest_of_each_period(&self, local: &[(usize, Zoned)], kept: &mut [bool], counts: &dyn Fn(usize, &Zoned) -> bool) {
        let rules: [Rule; 4] = [(self.hourly, hour), (self.daily, day), (self.weekly, week), (self.monthly, month)];
        let local = || local.iter().filter(|(at, time)| counts(*at, time));
        for (count, period) in rules {
            let latest: BTreeSet<Period> = local().map(|(_, time)| period(time)).collect();
            let mut open: BTreeSet<Period> = latest.into_iter().rev().take(count).collect();
            for (at, time) in local() {
                kept[*at] |= open.remove(&period(time));
            }
        }
    }
}

/// Copies whose clock was behind, each with the latest one of those made before it.
fn behind(local: &[(usize, Zoned)]) -> BTreeMap<usize, usize> {
    let mut behind = BTreeMap::new();
    let mut latest: Option<&(usize, Zoned)> = None;
    for copy in local.iter().rev() {
        match latest {
            Some((before, time)) if time.timestamp().duration_since(copy.1.timestamp()) > SKEW => {
                behind.insert(copy.0, *before);
            }
            Some((_, time)) if *time > copy.1 => {}
            _ => latest = Some(copy),
        }
    }
    behind
}

/// The moment at which it began: a clock that is put back shows an hour twice, and those are two.
fn hour(time: &Zoned) -> Period {
    (0, 0, time.timestamp().as_second() - i64::from(time.minute()) * 60 - i64::from(time.second()))
}

fn day(time: &Zoned) -> Period {
    (time.year(), time.day_of_year(), 0)
}

fn week(time: &Zoned) -> Period {
    let week = time.date().iso_week_date();
    (week.year(), i16::from(week.week()), 0)
}

fn month(time: &Zoned) -> Period {
    (time.year(), i16::from(time.month()), 0)
}

#[cfg(test)]
mod tests;
