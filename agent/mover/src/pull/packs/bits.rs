//! One bit for each of many things, in their order.

/// See the module.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Bits {
    words: Vec<u64>,
    length: usize,
}

impl Bits {
    pub(super) fn push(&mut self, bit: bool) {
        if self.length.is_multiple_of(64) {
            self.words.push(0);
        }
        if let Some(word) = self.words.last_mut() {
            *word |= u64::from(bit) << (self.length % 64);
        }
        self.length += 1;
    }

    pub(super) fn len(&self) -> u64 {
        self.length as u64
    }

    /// The bit at this place; not set behind the last.
    pub(super) fn get(&self, at: usize) -> bool {
        self.words.get(at / 64).is_some_and(|word| word >> (at % 64) & 1 == 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_bit_is_what_was_pushed() {
        let mut bits = Bits::default();
        let is_set = |at: usize| at.is_multiple_of(3) || at == 127;
        (0..200).for_each(|at| bits.push(is_set(at)));
        assert!((0..200).all(|at| bits.get(at) == is_set(at)) && !bits.get(200) && !bits.get(1000));
    }
}
