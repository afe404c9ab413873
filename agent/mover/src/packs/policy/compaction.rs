//! How large packs are, and which of them are rewritten by a push, so that neither dead bytes nor small packs accumulate.

use std::cmp::{Ordering, Reverse};

use super::table::{Bytes, Pack};

const MIB: u64 = 1 << 20;

/// When packs are rewritten.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Compaction {
    /// Live bytes are kept at this share of all bytes of packs, or more: numerator and denominator.
    pub share: (u64, u64),
    /// Bytes that are moved by one push, at most, or as many as it has data.
    pub budget: u64,
    /// More small packs than these are too many.
    pub small_packs: usize,
    /// So many of them are then made one.
    pub merged: usize,
}

impl Default for Compaction {
    fn default() -> Self {
        Self { share: (2, 3), budget: 64 * MIB, small_packs: 128, merged: 96 }
    }
}

/// How large a new pack becomes, if there is enough to fill it, for so many live bytes.
pub fn pack_size(live: u64) -> u64 {
    (live / 4096).clamp(16 * MIB, 64 * MIB)
}

impl Compaction {
    /// The packs whose live blocks are moved to new ones by the push of `generation`, which has `data` bytes of its own. `packs` are all
    /// that the revision refers to, after what the push has replaced was released. None of them was written by the push itself.
    pub fn choose<Id: Copy + Ord>(&self, packs: &[Pack<Id>], generation: u64, data: u64) -> Vec<Id> {
        self.choose_but(packs, generation, data, |_| false)
    }

    /// The same, but none for being small of which `is_full` says that it has about as many blocks as a pack may have: rewritten, it would be as
    /// small as before, again and again.
    pub fn choose_but<Id: Copy + Ord>(
        &self,
        packs: &[Pack<Id>],
        generation: u64,
        data: u64,
        is_full: impl Fn(&Pack<Id>) -> bool,
    ) -> Vec<Id> {
        let mut budget = self.budget.max(data);
        let mut chosen = Vec::new();
        let mut all = Bytes::of(packs);
        let size = pack_size(all.live);
        let mut old: Vec<&Pack<Id>> = packs.iter().filter(|pack| pack.written < generation && pack.live > 0).collect();
        old.sort_by(|a, b| by_share(a, b).then(a.id.cmp(&b.id)));
        let mut left = Vec::new();
        for pack in old {
            if self.is_dense(all) || pack.live > budget || pack.live == pack.size {
                left.push(pack);
                continue;
            }
            budget -= pack.live;
            all.size -= pack.size - pack.live;
            chosen.push(pack.id);
        }
        let mut small: Vec<&Pack<Id>> = left.into_iter().filter(|pack| pack.live < size / 2 && !is_full(pack)).collect();
        if small.len() > self.small_packs {
            small.sort_by_key(|pack| (pack.live, pack.id));
            for pack in small.into_iter().take(self.merged) {
                if pack.live > budget {
                    break;
                }
                budget -= pack.live;
                chosen.push(pack.id);
            }
        }
        chosen
    }

    fn is_dense(&self, all: Bytes) -> bool {
        let (live, size) = self.share;
        u128::from(all.live) * u128::from(size) >= u128::from(all.size) * u128::from(live)
    }
}

/// The order in which moved blocks are put into new packs: the youngest content first, and then by place. A site that is some generations
/// behind finds what it needs side by side, and what changes often is apart from what does not.
pub fn moved_order<Born, Place>(born: Born, place: Place) -> (Reverse<Born>, Place) {
    (Reverse(born), place)
}

/// The one with the smaller share of live bytes first.
fn by_share<Id>(a: &Pack<Id>, b: &Pack<Id>) -> Ordering {
    (u128::from(a.live) * u128::from(b.size)).cmp(&(u128::from(b.live) * u128::from(a.size)))
}

#[cfg(test)]
mod tests;
