//! A set of file ids: dense ones, mostly, so that a million of them take little room.

use std::collections::HashMap;

/// The ids, sixty-four at a time.
#[derive(Debug, Default)]
pub(super) struct Ids(HashMap<u64, u64>);

impl Ids {
    /// Adds one; false if it was there.
    pub(super) fn insert(&mut self, id: u64) -> bool {
        let word = self.0.entry(id / 64).or_default();
        let was = *word;
        *word |= 1 << (id % 64);
        was != *word
    }

    /// Takes one out.
    pub(super) fn remove(&mut self, id: u64) {
        if let Some(word) = self.0.get_mut(&(id / 64)) {
            *word &= !(1 << (id % 64));
        }
    }

    /// Whether it is there.
    pub(super) fn contains(&self, id: u64) -> bool {
        self.0.get(&(id / 64)).is_some_and(|word| word & 1 << (id % 64) != 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_added_is_there_until_it_is_taken_out() {
        let mut ids = Ids::default();
        assert!(ids.insert(63) && ids.insert(64) && ids.insert(1 << 47) && !ids.insert(64));
        assert!([63, 64, 1 << 47].into_iter().all(|id| ids.contains(id)) && ![0, 62, 65, 1 << 46].into_iter().any(|id| ids.contains(id)));
        ids.remove(64);
        assert!(!ids.contains(64) && ids.contains(63) && ids.insert(64));
    }
}
