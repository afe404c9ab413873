//! Durations in Go's notation: `7.066022s` in `status.lastSyncDuration`, `90m` in `@every` and in the settings.

use jiff::SignedDuration;

/// Prints a duration like Go's `time.Duration.String` for values of a second and more;
/// shorter ones keep the unit of seconds (`0.25s`). Negative durations count as zero.
pub fn format(duration: SignedDuration) -> String {
    let total = duration.max(SignedDuration::ZERO);
    let (hours, minutes) = (total.as_secs() / 3600, total.as_secs() / 60 % 60);
    let mut seconds = format!("{}.{:09}", total.as_secs() % 60, total.subsec_nanos());
    seconds.truncate(seconds.trim_end_matches('0').trim_end_matches('.').len());
    match (hours, minutes) {
        (0, 0) => format!("{seconds}s"),
        (0, m) => format!("{m}m{seconds}s"),
        (h, m) => format!("{h}h{m}m{seconds}s"),
    }
}

/// The seconds of a duration as [`format`] prints it.
pub fn seconds(text: &str) -> Option<f64> {
    let (mut total, mut rest) = (0.0, text);
    while !rest.is_empty() {
        let (digits, tail) = rest.split_at(rest.find(|c: char| !c.is_ascii_digit() && c != '.')?);
        let unit = tail.chars().next()?;
        total += digits.parse::<f64>().ok()?
            * match unit {
                'h' => 3600.0,
                'm' => 60.0,
                's' => 1.0,
                _ => return None,
            };
        rest = tail.get(1..)?;
    }
    (!text.is_empty()).then_some(total)
}

/// Reads a duration of whole days, hours, minutes and seconds, such as `90m`, `1h30m` or `7d`; a day has 24 hours.
///
/// # Errors
/// A sentence that says what to write.
pub fn parse(text: &str) -> Result<SignedDuration, String> {
    let wrong = || format!("{text:?} is not a duration: write for example 90m, 1h30m or 7d");
    let (mut seconds, mut digits) = (0i64, String::new());
    for c in text.chars() {
        let unit = match c {
            '0'..='9' => {
                digits.push(c);
                continue;
            }
            'd' => 86_400,
            'h' => 3600,
            'm' => 60,
            's' => 1,
            _ => return Err(wrong()),
        };
        let count: i64 = digits.parse().map_err(|_| wrong())?;
        seconds = count.checked_mul(unit).and_then(|s| seconds.checked_add(s)).ok_or_else(wrong)?;
        digits.clear();
    }
    // No useful interval is longer than a hundred years, and the limit keeps the arithmetic away from the calendar's end.
    if !digits.is_empty() || !(1..=100 * 366 * 86_400).contains(&seconds) {
        return Err(wrong());
    }
    Ok(SignedDuration::from_secs(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case(0, 0, "0s")]
    #[case(7, 66_022_293, "7.066022293s")]
    #[case(3, 0, "3s")]
    #[case(60, 0, "1m0s")]
    #[case(3661, 500_000_000, "1h1m1.5s")]
    #[case(0, 250_000_000, "0.25s")]
    #[case(10, 0, "10s")]
    fn like_go(#[case] seconds: i64, #[case] nanos: i32, #[case] expected: &str) {
        assert_eq!(format(SignedDuration::new(seconds, nanos)), expected);
        let read = super::seconds(expected).unwrap();
        assert!((read - SignedDuration::new(seconds, nanos).as_secs_f64()).abs() < 1e-9, "{read}");
    }

    #[rstest]
    #[case("90s", Some(90))]
    #[case("2m", Some(120))]
    #[case("1h30m", Some(5_400))]
    #[case("1h1m1s", Some(3_661))]
    #[case("876000h", Some(100 * 365 * 86_400))]
    #[case("900000h", None)]
    #[case("9223372036854775807h", None)]
    #[case("0s", None)]
    #[case("90", None)]
    #[case("m", None)]
    #[case("7d", Some(604_800))]
    #[case("1d12h", Some(129_600))]
    #[case("1w", None)]
    #[case("1.5h", None)]
    #[case("", None)]
    fn whole_hours_minutes_and_seconds_are_read(#[case] text: &str, #[case] expected: Option<i64>) {
        assert_eq!(parse(text).ok().map(|duration| duration.as_secs()), expected);
    }

    #[test]
    fn a_clock_set_back_gives_zero() {
        assert_eq!(format(SignedDuration::from_secs(-5)), "0s");
    }
}
