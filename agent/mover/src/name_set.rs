//! A set of object names, without the names: a million of them fit into some 30 MB.

use std::collections::{HashMap, HashSet};

use sha2::{Digest as _, Sha256};

use crate::digest::Digest;

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

/// Names, each with the content that lies there.
#[derive(Clone, Debug, Default)]
pub struct ContentSet(HashMap<u128, Digest>);

impl ContentSet {
    /// This content lies under this name.
    pub fn insert(&mut self, name: &[u8], content: Digest) {
        self.0.insert(key(name), content);
    }

    /// Whether that is known.
    pub fn holds(&self, name: &[u8], content: &Digest) -> bool {
        !self.0.is_empty() && self.0.get(&key(name)) == Some(content)
    }

    /// Whether anything is known of that name.
    pub fn contains(&self, name: &[u8]) -> bool {
        !self.0.is_empty() && self.0.contains_key(&key(name))
    }

    /// Nothing is known of that name any more.
    pub fn forget(&mut self, name: &[u8]) {
        self.0.remove(&key(name));
    }
}

/// What stands for a name.
pub(crate) fn key(name: &[u8]) -> u128 {
    let mut first = [0; 16];
    first.copy_from_slice(&Sha256::digest(name)[..16]);
    u128::from_be_bytes(first)
}
