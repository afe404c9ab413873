//! One bit for each of many things, in their order: half a billion take 64 MiB, and no more while they are added.

/// Words that are added at a time: nothing that is there is copied for more.
const CHUNK: usize = 1 << 10;

/// See the module.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Bits {
    /// Those in which a bit was set, or that came in order: the place of each, and its words.
    chunks: Vec<(usize, Vec<u64>)>,
    length: usize,
}

impl Bits {
    pub(super) fn push(&mut self, bit: bool) {
        if self.length.is_multiple_of(CHUNK * 64) {
            // Most files have few blocks.
            self.chunks.push((self.length / 64 / CHUNK, if self.chunks.is_empty() { Vec::new() } else { Vec::with_capacity(CHUNK) }));
        }
        if let Some((_, words)) = self.chunks.last_mut() {
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
        let place = self.place(chunk).unwrap_or_else(|place| {
            self.chunks.insert(place, (chunk, Vec::new()));
            place
        });
        if let Some((_, words)) = self.chunks.get_mut(place) {
            if words.len() <= word {
                words.resize(word + 1, 0);
            }
            if let Some(word) = words.get_mut(word) {
                *word |= 1 << (at % 64);
            }
        }
        self.length = self.length.max(at.saturating_add(1));
    }

    fn place(&self, chunk: usize) -> Result<usize, usize> {
        // Nearly always the last, or in order from the first.
        match self.chunks.get(chunk) {
            Some((there, _)) if *there == chunk => Ok(chunk),
            _ => self.chunks.binary_search_by_key(&chunk, |(chunk, _)| *chunk),
        }
    }

    /// The first bit that is set here and not there.
    pub(super) fn first_beside(&self, there: &Self) -> Option<u64> {
        let part = (CHUNK * 64) as u64;
        let numbers = self.chunks.iter().flat_map(|(chunk, _)| *chunk as u64 * part..(*chunk as u64 + 1).saturating_mul(part));
        numbers.into_iter().find(|number| self.has(*number) && !there.has(*number))
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
        let chunk = self.place(at / 64 / CHUNK).ok().and_then(|place| self.chunks.get(place));
        chunk.and_then(|(_, words)| words.get(at / 64 % CHUNK)).is_some_and(|word| word >> (at % 64) & 1 == 1)
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

    /// The last block of the largest file that a map can say.
    #[test]
    fn a_bit_far_away_takes_little_memory() {
        let (mut bits, far) = (Bits::default(), 1 << 50);
        for number in [far, 5, far - 70_000] {
            bits.set(number);
        }
        let words: usize = bits.chunks.iter().map(|(_, words)| words.capacity()).sum();
        assert!(words <= 3 * CHUNK && bits.chunks.len() == 3);
        assert_eq!((bits.has(far), bits.has(far - 1), bits.has(far - 70_000), bits.has(5)), (true, false, true, true));
        let mut others = Bits::default();
        others.set(5);
        assert_eq!((bits.first_beside(&others), others.first_beside(&bits)), (Some(far - 70_000), None));
    }

    /// 16 million in 2 MiB and one part more.
    #[test]
    fn they_take_a_bit_each() {
        let mut bits = Bits::default();
        (0..1 << 24).for_each(|at| bits.push(at % 2 == 0));
        let bytes: usize = bits.chunks.iter().map(|(_, words)| words.capacity() * 8).sum();
        assert!(bytes <= (2 << 20) + CHUNK * 8, "{bytes}");
    }
}
