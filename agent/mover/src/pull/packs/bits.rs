//! One bit for each of many things, in their order: half a billion take 64 MiB, and no more while they are added.

/// Words that are added at a time: nothing that is there is copied for more.
const CHUNK: usize = 1 << 10;

/// See the module.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Bits {
    chunks: Vec<Vec<u64>>,
    length: usize,
}

impl Bits {
    pub(super) fn push(&mut self, bit: bool) {
        if self.length.is_multiple_of(CHUNK * 64) {
            // Most files have few blocks.
            self.chunks.push(if self.chunks.is_empty() { Vec::new() } else { Vec::with_capacity(CHUNK) });
        }
        if let Some(words) = self.chunks.last_mut() {
            if self.length.is_multiple_of(64) {
                words.push(0);
            }
            if let Some(word) = words.last_mut() {
                *word |= u64::from(bit) << (self.length % 64);
            }
        }
        self.length += 1;
    }

    /// Sets the bit of this number; no memory is taken for parts in which none is set. Nothing is pushed behind bits that were set.
    pub(super) fn set(&mut self, number: u64) {
        let Ok(at) = usize::try_from(number) else { return };
        let (chunk, word) = (at / 64 / CHUNK, at / 64 % CHUNK);
        if self.chunks.len() <= chunk {
            self.chunks.resize_with(chunk + 1, Vec::new);
        }
        if let Some(words) = self.chunks.get_mut(chunk) {
            if words.len() <= word {
                words.resize(word + 1, 0);
            }
            if let Some(word) = words.get_mut(word) {
                *word |= 1 << (at % 64);
            }
        }
        self.length = self.length.max(at.saturating_add(1));
    }

    /// The first bit that is set here and not there.
    pub(super) fn first_beside(&self, there: &Self) -> Option<u64> {
        let part = (CHUNK * 64) as u64;
        let filled = (0..).zip(&self.chunks).filter(|(_, words)| !words.is_empty());
        filled.flat_map(|(chunk, _)| chunk * part..(chunk + 1) * part).find(|number| self.has(*number) && !there.has(*number))
    }

    pub(super) fn len(&self) -> u64 {
        self.length as u64
    }

    /// Whether the bit of this number is set.
    pub(super) fn has(&self, number: u64) -> bool {
        usize::try_from(number).is_ok_and(|at| self.get(at))
    }

    /// The bit at this place; not set behind the last.
    pub(super) fn get(&self, at: usize) -> bool {
        let word = self.chunks.get(at / 64 / CHUNK).and_then(|words| words.get(at / 64 % CHUNK));
        word.is_some_and(|word| word >> (at % 64) & 1 == 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_bit_is_what_was_pushed() {
        let mut bits = Bits::default();
        let is_set = |at: usize| at.is_multiple_of(3) || at == 127;
        (0..200_000).for_each(|at| bits.push(is_set(at)));
        assert!((0..200_000).all(|at| bits.get(at) == is_set(at)) && !bits.get(200_000) && !bits.get(1 << 40));
    }

    #[test]
    fn a_bit_can_be_set_anywhere() {
        let mut bits = Bits::default();
        for at in [70_000, 3, 3, 64, 69_999] {
            bits.set(at);
        }
        let set: Vec<usize> = (0..80_000).filter(|at| bits.get(*at)).collect();
        assert_eq!((set, bits.len()), (vec![3, 64, 69_999, 70_000], 70_001));
        let mut others = Bits::default();
        for at in [3, 64, 70_000] {
            others.set(at);
        }
        assert_eq!((bits.first_beside(&others), others.first_beside(&bits)), (Some(69_999), None));
    }

    /// The last block of a sparse file of a petabyte.
    #[test]
    fn a_bit_far_away_takes_little_memory() {
        let mut bits = Bits::default();
        bits.set(1 << 36);
        let words: usize = bits.chunks.iter().map(Vec::capacity).sum();
        assert!(words <= CHUNK && bits.chunks.len() * size_of::<Vec<u64>>() < 32 << 20);
        assert_eq!((bits.has(1 << 36), bits.has((1 << 36) - 1), bits.first_beside(&Bits::default())), (true, false, Some(1 << 36)));
    }

    /// 16 million in 2 MiB and one part more.
    #[test]
    fn they_take_a_bit_each() {
        let mut bits = Bits::default();
        (0..1 << 24).for_each(|at| bits.push(at % 2 == 0));
        let bytes: usize = bits.chunks.iter().map(|words| words.capacity() * 8).sum();
        assert!(bytes <= (2 << 20) + CHUNK * 8, "{bytes}");
    }
}
