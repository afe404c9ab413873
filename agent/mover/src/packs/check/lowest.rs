//! The lowest of many items, where all of them do not fit into memory: who goes through them again gets the next ones.

/// The lowest items after one of those before.
#[derive(Debug)]
pub struct Lowest<T> {
    most: usize,
    after: Option<T>,
    kept: Vec<T>,
    /// Whether an item was dropped that comes later.
    more: bool,
}

impl<T: Ord + Copy> Lowest<T> {
    /// Keeps `most` items that come after `after`.
    pub fn new(most: usize, after: Option<T>) -> Self {
        Self { most, after, kept: Vec::new(), more: false }
    }

    /// Looks at an item.
    pub fn add(&mut self, item: T) {
        if self.after.is_some_and(|after| item <= after) {
            return;
        }
        self.kept.push(item);
        if self.kept.len() >= 2 * self.most {
            self.cut();
        }
    }

    fn cut(&mut self) {
        self.kept.sort_unstable();
        self.kept.dedup();
        self.more |= self.kept.len() > self.most;
        self.kept.truncate(self.most);
    }

    /// Those that it kept, each once and in order, and whether there are any after them.
    pub fn sorted(mut self) -> (Vec<T>, bool) {
        self.cut();
        (self.kept, self.more)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    proptest! {
        #[test]
        fn several_walks_see_every_item_once(items in prop::collection::vec(0..200_u32, 0..300), most in 1..50_usize) {
            let (mut seen, mut after, mut more) = (Vec::new(), None, true);
            while more {
                let mut lowest = Lowest::new(most, after);
                for item in &items {
                    lowest.add(*item);
                }
                prop_assert!(lowest.kept.len() <= 2 * most);
                let (batch, there_are) = lowest.sorted();
                after = batch.last().copied().or(after);
                seen.extend(batch);
                more = there_are;
            }
            prop_assert_eq!(seen, items.into_iter().collect::<BTreeSet<_>>().into_iter().collect::<Vec<_>>());
        }
    }
}
