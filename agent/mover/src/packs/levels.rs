//! Which runs become one, so that a map has few of them and none of its rows is written often: eight of one size.

/// Runs of one size class that become one.
const TOGETHER: usize = 8;
/// Bytes below which a run is of the lowest class; each further class is eight times as large.
const LOWEST: u64 = 128 << 10;
/// The last class. With seven runs of each at most, a map has no more than [`crate::packs::limits::RUNS`].
const CLASSES: u32 = 7;

/// The size class of a run.
fn class(size: u64) -> u32 {
    (0..CLASSES).find(|class| size < LOWEST << (3 * class)).unwrap_or(CLASSES)
}

/// Of the runs of a map with the one of this push, the oldest first and by their sizes: from which one on all of them are to become one.
/// `None` if nothing is to be done. Runs are merged with their newer neighbours only, so that a newer row stays before an older one.
pub fn merge_from(sizes: &[u64]) -> Option<usize> {
    let mut first = sizes.len().checked_sub(1)?;
    loop {
        let (older, taken) = sizes.split_at_checked(first)?;
        let now = class(taken.iter().fold(0, |sum, size| sum.saturating_add(*size)));
        let newest_first = || older.iter().rev().map(|size| class(*size));
        // The classes of a map descend. What is older and smaller than a new run costs less than that to take along.
        let smaller = newest_first().take_while(|class| *class < now).count();
        let equal = newest_first().take_while(|class| *class == now).take(TOGETHER - 1).count();
        first -= match smaller {
            0 if equal == TOGETHER - 1 => equal,
            0 => break,
            smaller => smaller,
        };
    }
    (first + 1 < sizes.len()).then_some(first)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packs::limits::RUNS;
    use proptest::prelude::*;

    const SMALL: u64 = 10 << 10;

    #[test]
    fn eight_of_a_size_become_one() {
        let big = 100 << 20;
        assert_eq!((merge_from(&[]), merge_from(&[SMALL]), merge_from(&[big, SMALL])), (None, None, None));
        let mut sizes = vec![big; 3];
        sizes.extend([SMALL; 7]);
        assert_eq!(merge_from(&sizes), None);
        sizes.push(SMALL);
        assert_eq!(merge_from(&sizes), Some(3));
    }

    #[test]
    fn a_large_run_takes_smaller_ones_before_it_along() {
        let (big, middle) = (100 << 20, 1 << 20);
        assert_eq!(merge_from(&[big, middle, SMALL, SMALL, 2 * middle]), Some(2));
        assert_eq!(merge_from(&[middle, SMALL, 2 * big]), Some(0));
        assert_eq!(merge_from(&[middle, middle, middle, middle, middle, middle, middle, SMALL, middle]), Some(0), "and is the eighth then");
    }

    #[test]
    fn one_that_became_large_is_the_eighth_of_the_next_size() {
        let mut sizes = vec![SMALL * 8 * 7; 7];
        sizes.extend([60 << 10; 8]);
        assert_eq!(merge_from(&sizes), Some(0));
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

        /// Whatever pushes write: few runs, and no byte of theirs is written often.
        #[test]
        fn a_map_has_few_runs(
            pushes in prop::collection::vec((0..34_u32, 1..2000_u64), 1..600), kept in prop::sample::select(vec![10_u64, 60, 100]),
        ) {
            let (mut sizes, mut pushed, mut written) = (Vec::new(), 0, 0);
            for (power, size) in pushes {
                let size = size << power.saturating_sub(8);
                sizes.push(size);
                (pushed, written) = (pushed + size, written + size);
                if let Some(first) = merge_from(&sizes) {
                    // Rows that are there twice go.
                    let one = sizes.drain(first..).sum::<u64>() * kept / 100;
                    sizes.push(one.max(1));
                    written += one;
                }
                prop_assert_eq!(merge_from(&sizes), None, "once is enough");
                prop_assert!(sizes.len() <= RUNS - 8, "{:?}", sizes);
                prop_assert!(sizes.is_sorted_by_key(|size| std::cmp::Reverse(class(*size))), "{:?}", sizes);
            }
            prop_assert!(written <= pushed * u64::from(CLASSES + 2), "{} {}", written, pushed);
        }
    }
}
