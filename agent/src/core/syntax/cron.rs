//! Cron: when is the next scheduled time? croner reads the expression, jiff does the arithmetic in the zone.
//!
//! In a gap of daylight saving time a scheduled time moves to the first moment after it; in an overlap it comes once.

use crate::core::syntax::go_duration;
use croner::Cron;
use croner::parser::{CronParser, Seconds, Year};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

/// A schedule that is known to be readable and to have scheduled times.
#[derive(Debug, Clone)]
pub struct Schedule {
    rule: Rule,
}

#[derive(Debug, Clone)]
enum Rule {
    Cron(Box<Cron>, TimeZone),
    Every(SignedDuration),
}

impl Schedule {
    /// Reads a schedule: five cron fields, a descriptor such as `@daily`, or `@every 90m`, each with an optional
    /// `TZ=` or `CRON_TZ=` prefix.
    ///
    /// # Errors
    /// A sentence that says what is wrong and what to write instead.
    pub fn parse(text: &str, time_zone: Option<&str>) -> Result<Schedule, String> {
        let (_, expression) = split_zone(text.trim());
        let zone = zone(Some(text), time_zone)?;
        if let Some(every) = expression.strip_prefix("@every") {
            return Ok(Schedule { rule: Rule::Every(go_duration::parse(every.trim()).map_err(|e| format!("schedule {text:?}: {e}"))?) });
        }
        let expression = match expression {
            "@midnight" => "@daily",
            other => other,
        };
        if expression.starts_with('@') && !["@yearly", "@annually", "@monthly", "@weekly", "@daily", "@hourly"].contains(&expression) {
            return Err(format!(
                "schedule {text:?} has an unknown descriptor: write @hourly, @daily, @weekly, @monthly, @yearly or @every 90m"
            ));
        }
        // croner takes `?` for a star only in the two day fields.
        let cron = CronParser::builder()
            .seconds(Seconds::Disallowed)
            .year(Year::Disallowed)
            .sloppy_ranges(true)
            .build()
            .parse(&expression.replace('?', "*"))
            .map_err(|e| format!("schedule {text:?} is not a cron expression ({e}): write five fields such as '*/6 * * * *'"))?;
        let schedule = Schedule { rule: Rule::Cron(Box::new(cron), zone) };
        if schedule.next_after(Timestamp::UNIX_EPOCH).is_none() {
            return Err(format!("schedule {text:?} never comes: no such day exists"));
        }
        Ok(schedule)
    }

    /// Whether scheduled times are counted from the one before, not by the calendar.
    pub fn is_interval(&self) -> bool {
        matches!(self.rule, Rule::Every(_))
    }

    /// The first scheduled time strictly after `time`; none where the calendar of the time zone ends.
    pub fn next_after(&self, time: Timestamp) -> Option<Timestamp> {
        match &self.rule {
            Rule::Every(interval) => time.checked_add(*interval).ok(),
            Rule::Cron(cron, zone) => {
                let next = cron.find_next_occurrence(&time.to_zoned(zone.clone()), false).ok()?;
                Some(next.timestamp())
            }
        }
    }
}

/// The zone of a schedule, if there is one, or the one that is given beside it, and else UTC.
///
/// # Errors
/// A sentence that says what to write.
pub fn zone(schedule: Option<&str>, time_zone: Option<&str>) -> Result<TimeZone, String> {
    let name = schedule.and_then(|text| split_zone(text.trim()).0).or(time_zone).unwrap_or("UTC");
    TimeZone::get(name).map_err(|_| format!("there is no time zone {name:?}: write an IANA name such as Europe/Berlin"))
}

fn split_zone(text: &str) -> (Option<&str>, &str) {
    let rest = text.strip_prefix("CRON_TZ=").or_else(|| text.strip_prefix("TZ="));
    match rest.and_then(|r| r.split_once(char::is_whitespace)) {
        Some((zone, expression)) => (Some(zone), expression.trim()),
        None => (None, text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    fn next(text: &str, zone: Option<&str>, after: &str) -> String {
        let schedule = Schedule::parse(text, zone).unwrap();
        schedule.next_after(after.parse().unwrap()).unwrap().to_string()
    }

    #[rstest]
    #[case::steps("*/6 * * * *", None, "2021-01-18T21:55:00Z", "2021-01-18T22:00:00Z")]
    #[case::strictly_after("0 * * * *", None, "2026-01-01T10:00:00Z", "2026-01-01T11:00:00Z")]
    #[case::names("30 4 * JAN MON", None, "2026-01-01T00:00:00Z", "2026-01-05T04:30:00Z")]
    #[case::sunday_is_seven("0 0 * * 7", None, "2026-01-01T00:00:00Z", "2026-01-04T00:00:00Z")]
    #[case::day_of_month_or_weekday("0 0 13 * 5", None, "2026-01-03T00:00:00Z", "2026-01-09T00:00:00Z")]
    #[case::start_with_step("5/15 * * * *", None, "2026-01-01T00:06:00Z", "2026-01-01T00:20:00Z")]
    #[case::question_mark("? ? * * *", None, "2026-01-01T00:06:30Z", "2026-01-01T00:07:00Z")]
    #[case::midnight("@midnight", None, "2026-01-01T00:06:00Z", "2026-01-02T00:00:00Z")]
    #[case::every("@every 1h30m", None, "2026-01-01T00:06:00Z", "2026-01-01T01:36:00Z")]
    #[case::leap_day("0 0 29 2 *", None, "2026-01-01T00:00:00Z", "2028-02-29T00:00:00Z")]
    #[case::zone("0 9 * * *", Some("Europe/Berlin"), "2026-01-01T00:00:00Z", "2026-01-01T08:00:00Z")]
    #[case::zone_prefix("TZ=America/New_York 0 9 * * *", None, "2026-01-01T00:00:00Z", "2026-01-01T14:00:00Z")]
    #[case::gap_runs_after_it("30 2 * * *", Some("America/New_York"), "2026-03-08T00:00:00Z", "2026-03-08T07:00:00Z")]
    #[case::overlap_once_first("30 1 * * *", Some("America/New_York"), "2026-11-01T00:00:00Z", "2026-11-01T05:30:00Z")]
    #[case::overlap_once_then_next_day("30 1 * * *", Some("America/New_York"), "2026-11-01T05:30:00Z", "2026-11-02T06:30:00Z")]
    #[case::gap_of_half_an_hour("15 2 * * *", Some("Australia/Lord_Howe"), "2026-10-03T12:00:00Z", "2026-10-03T15:30:00Z")]
    #[case::before_the_gap("0 2 * * *", Some("Europe/Berlin"), "2026-03-28T12:00:00Z", "2026-03-29T01:00:00Z")]
    #[case::in_the_overlap_steps_go_on("*/30 * * * *", Some("Europe/Berlin"), "2026-10-25T00:30:00Z", "2026-10-25T01:00:00Z")]
    #[case::in_the_second_pass_too("*/30 * * * *", Some("Europe/Berlin"), "2026-10-25T01:00:00Z", "2026-10-25T01:30:00Z")]
    #[case::fixed_hours_once("30 2 * * *", Some("Europe/Berlin"), "2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z")]
    #[case::no_29th_in_a_common_century("0 0 29 2 *", None, "2096-03-01T00:00:00Z", "2104-02-29T00:00:00Z")]
    fn scheduled_times(#[case] text: &str, #[case] zone: Option<&str>, #[case] after: &str, #[case] expected: &str) {
        assert_eq!(next(text, zone, after), expected);
    }

    #[rstest]
    #[case::four_fields("* * * *", None, "five fields")]
    #[case::six_fields("0 * * * * *", None, "five fields")]
    #[case::minute_99("99 * * * *", None, "five fields")]
    #[case::never("0 0 30 2 *", None, "never comes")]
    #[case::zone("0 9 * * *", Some("Europe/Nowhere"), "IANA name")]
    #[case::word("@fortnightly", None, "unknown descriptor")]
    #[case::every_zero("@every 0s", None, "not a duration")]
    #[case::every_words("@every day", None, "not a duration")]
    #[case::every_unitless("@every 90", None, "not a duration")]
    fn mistakes_are_named(#[case] text: &str, #[case] zone: Option<&str>, #[case] expected: &str) {
        let error = Schedule::parse(text, zone).unwrap_err();
        assert!(error.contains(expected), "{error}");
    }

    proptest::proptest! {
        /// A next scheduled time is always later, and asking again from just before it finds the same one.
        #[test]
        fn next_is_later_and_stable(minute in 0u8..60, step in 1u8..30, seconds in 0i64..4_000_000_000) {
            let schedule = Schedule::parse(&format!("{minute}/{step} * * * *"), Some("Europe/Berlin")).unwrap();
            let time = Timestamp::from_second(seconds).unwrap();
            let next = schedule.next_after(time).unwrap();
            proptest::prop_assert!(next > time);
            proptest::prop_assert_eq!(schedule.next_after(next - SignedDuration::from_secs(1)).unwrap(), next);
        }
    }
}
