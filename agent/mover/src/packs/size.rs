//! How large blocks are.

use crate::packs::limits::{BLOCKS_OF_A_VOLUME, LARGEST_BLOCK, SMALLEST_BLOCK};

/// Bytes of a block, but for the last one of a file: chosen once per volume, a power of two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockSize(u32);

impl BlockSize {
    /// The smallest of which a volume that holds so many bytes has no more than four million.
    pub fn of_volume(bytes: u64) -> Self {
        let mut size = SMALLEST_BLOCK;
        while bytes.div_ceil(u64::from(size)) > BLOCKS_OF_A_VOLUME && size < LARGEST_BLOCK {
            size *= 2;
        }
        Self(size)
    }

    /// That of a remote path; `None` if there is no such size.
    pub fn new(bytes: u32) -> Option<Self> {
        (bytes.is_power_of_two() && (SMALLEST_BLOCK..=LARGEST_BLOCK).contains(&bytes)).then_some(Self(bytes))
    }

    /// In bytes.
    pub fn bytes(self) -> u32 {
        self.0
    }

    /// Blocks of a file of `size` bytes, zero or not.
    pub fn count(self, size: u64) -> u64 {
        size.div_ceil(u64::from(self.0))
    }

    /// Bytes of block `number` of a file of `size` bytes: 0 behind its end.
    pub fn length(self, size: u64, number: u64) -> u32 {
        let left = size.saturating_sub(number.saturating_mul(u64::from(self.0)));
        u32::try_from(left).unwrap_or(self.0).min(self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn size(bytes: u64) -> u32 {
        BlockSize::of_volume(bytes).bytes()
    }

    #[test]
    fn a_volume_has_the_smallest_blocks_of_which_it_has_four_million() {
        assert_eq!([0, 64 << 30, (64 << 30) + 1, 256 << 30, 1 << 40].map(size), [16 << 10, 16 << 10, 32 << 10, 64 << 10, 256 << 10]);
        assert_eq!(size(u64::MAX), 16 << 20);
        for bad in [0, 1, 8 << 10, (16 << 10) + 1, 32 << 20, 1 << 31] {
            assert_eq!(BlockSize::new(bad), None, "{bad}");
        }
        assert_eq!(BlockSize::new(32 << 10).unwrap().bytes(), 32 << 10);
    }

    #[test]
    fn the_last_block_ends_where_the_file_does() {
        let block = BlockSize::of_volume(0);
        let lengths = |size| (0..3).map(|number| block.length(size, number)).collect::<Vec<_>>();
        assert_eq!((block.count(0), lengths(0)), (0, vec![0, 0, 0]));
        assert_eq!((block.count(16384), lengths(16384)), (1, vec![16384, 0, 0]));
        assert_eq!((block.count(16385), lengths(16385)), (2, vec![16384, 1, 0]));
        assert_eq!((block.count(u64::MAX), block.length(u64::MAX, u64::MAX)), (1 << 50, 0));
    }
}
