//! Chance that can be repeated: the same numbers for the same seed.

/// Knuth's MMIX generator. Its upper bits are good enough to choose by.
pub struct Chance(u64);

impl Chance {
    /// Begins with this seed.
    pub fn new(seed: u64) -> Chance {
        Chance(seed)
    }

    /// The next number, of 31 bits.
    pub fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        self.0 >> 33
    }
}
