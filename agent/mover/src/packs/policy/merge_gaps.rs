//! Which requests fetch the blocks that are needed of a pack: ranges, joined where what lies between them costs less than a request.

use std::time::Duration;

/// Bytes of a pack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    /// Where they begin.
    pub offset: u64,
    /// How many there are.
    pub length: u64,
}

impl Range {
    /// Where they end.
    pub fn end(&self) -> u64 {
        self.offset.saturating_add(self.length)
    }
}

/// How a pack is fetched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fetch {
    /// With one request.
    Whole,
    /// With one for each of these, in order and apart from each other.
    Ranges(Vec<Range>),
}

/// More ranges of one pack than these are not fetched one by one.
pub const MOST_RANGES: usize = 8;
const SMALLEST_GAP: u64 = 16 << 10;
const LARGEST_GAP: u64 = 1 << 20;

/// The largest gap that is fetched along with what lies before and after it: what goes through the line in the time of two round trips.
pub fn gap(round_trip: Duration, bytes_per_second: u64) -> u64 {
    let bytes = round_trip.as_micros().saturating_mul(2).saturating_mul(u128::from(bytes_per_second)) / 1_000_000;
    u64::try_from(bytes).unwrap_or(u64::MAX).clamp(SMALLEST_GAP, LARGEST_GAP)
}

/// How blocks of a pack are fetched that are given in the order of their offsets. `None` if no pack of this size can have them: one reaches
/// beyond its end, or begins before the one before it ends.
pub fn fetch(size: u64, blocks: impl IntoIterator<Item = Range>, gap: u64) -> Option<Fetch> {
    let mut ranges: Vec<Range> = Vec::new();
    for block in blocks {
        if block.offset.checked_add(block.length).is_none_or(|end| end > size) {
            return None;
        }
        match ranges.last_mut() {
            Some(last) if block.offset < last.end() => return None,
            Some(last) if block.offset - last.end() <= gap => last.length = block.end() - last.offset,
            _ => ranges.push(block),
        }
    }
    let bytes: u64 = ranges.iter().map(|range| range.length).sum();
    let is_whole = ranges.len() > MOST_RANGES || bytes > size / 4;
    Some(if is_whole { Fetch::Whole } else { Fetch::Ranges(ranges) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn range(offset: u64, length: u64) -> Range {
        Range { offset, length }
    }

    #[test]
    fn the_gap_is_what_two_round_trips_are_worth() {
        let millis = Duration::from_millis;
        for (round_trip, bytes_per_second, expected) in [
            (millis(1), 1_000_000, SMALLEST_GAP),
            (millis(10), 10_000_000, 200_000),
            (millis(100), 100_000_000, LARGEST_GAP),
            (Duration::MAX, u64::MAX, LARGEST_GAP),
        ] {
            assert_eq!(gap(round_trip, bytes_per_second), expected);
        }
    }

    #[test]
    fn ranges_are_joined_over_gaps() {
        let blocks = [range(0, 10), range(10, 10), range(30, 5), range(46, 4)];
        assert_eq!(fetch(1_000, blocks, 10), Some(Fetch::Ranges(vec![range(0, 35), range(46, 4)])));
        assert_eq!(fetch(1_000, blocks, 11), Some(Fetch::Ranges(vec![range(0, 50)])));
        assert_eq!(fetch(1_000, [], 11), Some(Fetch::Ranges(vec![])));
        assert_eq!(fetch(200, blocks, 11), Some(Fetch::Ranges(vec![range(0, 50)])));
        assert_eq!(fetch(199, blocks, 11), Some(Fetch::Whole));
        let many = |count: u64| fetch(1_000_000, (0..count).map(|at| range(at * 100, 10)), 10);
        assert!(matches!(many(8), Some(Fetch::Ranges(ranges)) if ranges.len() == 8));
        assert_eq!(many(9), Some(Fetch::Whole));
    }

    #[test]
    fn blocks_that_no_pack_can_have_are_refused() {
        assert_eq!(fetch(100, [range(90, 11)], 10), None);
        assert_eq!(fetch(100, [range(u64::MAX, 1)], 10), None);
        assert_eq!(fetch(100, [range(0, 10), range(9, 10)], 10), None);
    }

    proptest! {
        #[test]
        fn every_block_is_fetched_and_no_gap_above_the_limit(parts in prop::collection::vec((0..3_000_u64, 1..3_000_u64), 0..40), gap in 0..2_000_u64, after in 0..1_000_000_u64) {
            let mut end = 0;
            let blocks: Vec<Range> = parts.iter().map(|(gap, length)| {
                end += gap + length;
                range(end - length, *length)
            }).collect();
            let size = end + after;
            if let Some(Fetch::Ranges(ranges)) = fetch(size, blocks.clone(), gap) {
                let within = |block: &Range| ranges.iter().any(|range| range.offset <= block.offset && block.end() <= range.end());
                prop_assert!(ranges.len() <= MOST_RANGES && blocks.iter().all(within));
                prop_assert!(ranges.windows(2).all(|pair| pair[1].offset - pair[0].end() > gap));
                let unneeded: u64 = ranges.iter().map(|range| range.length).sum::<u64>() - blocks.iter().map(|block| block.length).sum::<u64>();
                prop_assert!(unneeded <= gap * u64::try_from(blocks.len()).unwrap());
            } else {
                prop_assert!(!blocks.is_empty());
            }
        }
    }
}
