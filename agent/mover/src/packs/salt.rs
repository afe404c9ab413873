//! The hashes of layout Packs: of a block, under the salt of the lineage, and of a file's content by the hashes of its blocks.

use std::fmt;

use serde::de::{Deserializer, Error};
use serde::{Deserialize, Serialize, Serializer};
use sha2::{Digest as _, Sha256};

use crate::digest::{hex, unhex};
use crate::error::Result;
use crate::packs::size::BlockSize;
use crate::random::random;

/// Random bytes of a lineage that go into every hash of a block: nobody who does not know them can prepare two blocks of one hash, and the
/// hashes of two lineages tell nothing of each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Salt(pub [u8; 16]);

/// The first 16 bytes of a sha256.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Hash(pub [u8; 16]);

impl Salt {
    /// That of a new lineage.
    pub fn new() -> Result<Self> {
        let mut salt = [0; 16];
        let (first, second) = salt.split_at_mut(8);
        first.copy_from_slice(&random()?.to_be_bytes());
        second.copy_from_slice(&random()?.to_be_bytes());
        Ok(Self(salt))
    }

    /// The hash of a block's plain content.
    pub fn hash(&self, plain: &[u8]) -> Hash {
        Hash::end(Sha256::new().chain_update(self.0).chain_update(plain))
    }
}

impl Hash {
    /// The hash of some bytes, without any salt.
    pub(super) fn of(bytes: &[u8]) -> Self {
        Self::end(Sha256::new().chain_update(bytes))
    }

    fn end(sha: Sha256) -> Self {
        let mut first = [0; 16];
        first.copy_from_slice(sha.finalize().split_at(16).0);
        Self(first)
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex(&self.0))
    }
}

/// The identity of a file's content: a hash over its size, the block size, and number and hash of each block that is not zero. Two files of
/// one lineage with the same one have the same content.
#[derive(Clone)]
pub struct ContentHash(Sha256);

impl ContentHash {
    /// Begins that of a file of `size` bytes.
    pub fn new(size: u64, block: BlockSize) -> Self {
        Self(Sha256::new().chain_update(size.to_le_bytes()).chain_update(block.bytes().to_le_bytes()))
    }

    /// The next block that is not zero, in the order of their numbers.
    pub fn add(&mut self, number: u64, hash: &Hash) {
        self.0.update(number.to_le_bytes());
        self.0.update(hash.0);
    }

    /// The identity.
    pub fn end(self) -> Hash {
        Hash::end(self.0)
    }
}

impl fmt::Debug for ContentHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ContentHash")
    }
}

impl Serialize for Salt {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        serializer.serialize_str(&hex(&self.0))
    }
}

impl<'de> Deserialize<'de> for Salt {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let bytes = unhex(&text).and_then(|bytes| bytes.try_into().ok());
        bytes.map(Self).ok_or_else(|| D::Error::custom("a salt has 32 hexadecimal digits"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_is_of_one_lineage() {
        let [a, b] = [Salt([1; 16]), Salt::new().unwrap()];
        assert_eq!(a.hash(b"x"), a.hash(b"x"));
        assert!(a.hash(b"x") != b.hash(b"x") && a.hash(b"x") != a.hash(b"y"));
        // printf '\1\1\1\1\1\1\1\1\1\1\1\1\1\1\1\1x' | sha256sum
        assert_eq!(format!("{:?}", a.hash(b"x")), "98e38cdbfe5dd4968c50a17b86beea0c");
    }

    #[test]
    fn the_identity_of_content_has_size_places_and_hashes() {
        let block = BlockSize::of_volume(0);
        let of = |size, blocks: &[(u64, u8)]| {
            let mut content = ContentHash::new(size, block);
            for (number, byte) in blocks {
                content.add(*number, &Hash([*byte; 16]));
            }
            content.end()
        };
        let one = of(40_000, &[(0, 1), (2, 2)]);
        assert_eq!(one, of(40_000, &[(0, 1), (2, 2)]));
        for other in [of(40_001, &[(0, 1), (2, 2)]), of(40_000, &[(0, 1), (1, 2)]), of(40_000, &[(0, 1)]), of(40_000, &[(0, 1), (2, 3)])] {
            assert_ne!(one, other);
        }
    }
}
