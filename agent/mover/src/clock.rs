//! Times that were stored somewhere, held against the present, and a clock for durations.
//!
//! A stored time may lie in the future: a clock was wrong when it was written, or is wrong now. Such a time proves nothing about the past.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use rustix::time::{ClockId, clock_gettime};

/// Whether something that was last done at `last` and is to be done every `interval` is due at `now`. If `last` lies in the future, it is.
pub fn is_due(last: Timestamp, interval: SignedDuration, now: Timestamp) -> bool {
    past(last, now).is_none_or(|last| now.duration_since(last) >= interval)
}

/// `stored`, unless it lies in the future.
pub fn past(stored: Timestamp, now: Timestamp) -> Option<Timestamp> {
    Some(stored).filter(|stored| *stored <= now)
}

/// How long ago the node was started, including the time that it was suspended. Unlike the time of day, it is never set.
pub fn since_boot() -> Duration {
    let now = clock_gettime(ClockId::Boottime);
    Duration::new(u64::try_from(now.tv_sec).unwrap_or_default(), u32::try_from(now.tv_nsec).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_since_boot_is_that_of_the_kernel() {
        let uptime = || {
            let text = std::fs::read_to_string("/proc/uptime").unwrap();
            Duration::from_secs_f64(text.split(' ').next().unwrap().parse().unwrap())
        };
        let (before, now, after) = (uptime(), since_boot(), uptime());
        // The file is cut to hundredths.
        assert!(before <= now && now <= after + Duration::from_millis(10), "{before:?} {now:?} {after:?}");
    }

    #[test]
    fn a_time_in_the_future_is_due() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let hour = SignedDuration::from_hours(1);
        for (last, due) in [(0, true), (3_600, true), (3_601, false), (7_200, false), (7_201, true), (4_000_000_000, true)] {
            assert_eq!(is_due(at(last), hour, at(7_200)), due, "{last}");
            assert_eq!(past(at(last), at(7_200)), (last <= 7_200).then(|| at(last)));
        }
    }
}
