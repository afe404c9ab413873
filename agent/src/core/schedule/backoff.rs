//! How long to wait after a failure. Exponential with a jitter that is derived, so that it stays the same over restarts.

use jiff::SignedDuration;
use sha2::{Digest, Sha256};

/// Delay before the attempt after the `failures`-th failure in a row: `initial` doubled each time, up to `cap`,
/// less up to a quarter by jitter (edges that failed together should not come back together).
pub fn delay(initial: SignedDuration, cap: SignedDuration, failures: i64, seed: &str) -> SignedDuration {
    let doublings = u32::try_from(failures.clamp(1, 32) - 1).unwrap_or(0);
    let full = initial.checked_mul(2i32.saturating_pow(doublings)).unwrap_or(cap).min(cap);
    full - full / 4 * i32::from(fraction(seed, failures)) / 256
}

/// Delay before looking again for a first push: one minute at first, up to five, with the same jitter.
pub fn first_push_delay(looks: i64, seed: &str) -> SignedDuration {
    let minutes = looks.clamp(1, 4);
    SignedDuration::from_secs(60 * minutes + 60 * i64::from(fraction(seed, looks)) / 256)
}

fn fraction(seed: &str, count: i64) -> u8 {
    let mut hash = Sha256::new();
    hash.update(seed.as_bytes());
    hash.update(count.to_be_bytes());
    hash.finalize()[0]
}

#[cfg(test)]
mod tests {
    use super::*;

    proptest::proptest! {
        #[test]
        fn grows_to_the_cap_and_stays_there(failures in 1i64..1000, seed in "[a-f0-9]{16}") {
            let (initial, cap) = (SignedDuration::from_secs(10), SignedDuration::from_mins(15));
            let d = delay(initial, cap, failures, &seed);
            proptest::prop_assert!(d <= cap && d >= SignedDuration::from_millis(7_500));
            if failures >= 8 {
                proptest::prop_assert!(d >= cap * 3 / 4);
            }
            proptest::prop_assert_eq!(d, delay(initial, cap, failures, &seed));
        }

        #[test]
        fn first_push_is_checked_for_every_one_to_five_minutes(looks in 1i64..1000, seed in "[a-f0-9]{16}") {
            let d = first_push_delay(looks, &seed);
            proptest::prop_assert!(d >= SignedDuration::from_mins(1) && d <= SignedDuration::from_mins(5));
        }
    }

    #[test]
    fn checks_for_a_first_push_become_rarer() {
        for (looks, minutes) in [(1, 1), (2, 2), (3, 3), (4, 4), (100, 4)] {
            let delays: Vec<_> = (0..200).map(|seed| first_push_delay(looks, &seed.to_string())).collect();
            let (least, most) = (delays.iter().min().unwrap(), delays.iter().max().unwrap());
            let minute = SignedDuration::from_mins(1);
            assert!(*least >= minute * minutes && *most < minute * (minutes + 1), "{looks}: {least} to {most}");
            assert!(*most - *least > minute / 2, "edges do not spread: {least} to {most}");
        }
    }
}
