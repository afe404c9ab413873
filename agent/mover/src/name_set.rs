//! A set of object names, without the names: a million of them fit into some 30 MB.

use std::collections::HashSet;

use sha2::{Digest as _, Sha256};

/// Names, each as 128 bits of its sha256: no two have the same.
#[derive(Clone, Debug, Default)]
pub struct NameSet(HashSet<u128>);

impl NameSet {
    /// Adds a name.
    pub fn insert(&mut self, name: &[u8]) {
        self.0.insert(key(name));
    }

    /// Whether it is among them.
    pub fn contains(&self, name: &[u8]) -> bool {
        !self.0.is_empty() && self.0.contains(&key(name))
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// What stands for a name.
pub(crate) fn key(name: &[u8]) -> u128 {
    let mut first = [0; 16];
    first.copy_from_slice(&Sha256::digest(name)[..16]);
    u128::from_be_bytes(first)
}
