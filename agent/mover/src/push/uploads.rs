//! A file that a push uploads, and how lists of them are kept on disk.

use std::collections::{BTreeMap, HashSet};

use crate::digest::Digest;
use crate::spill::Record;
use crate::volume::merge_join::Placed;
use crate::volume::path::RelPath;

/// What was read while it was sent.
#[derive(Debug, Default)]
pub(super) struct Read {
    /// The hashes of what nobody had read before.
    pub(super) known: BTreeMap<RelPath, Digest>,
    /// What had another content than it was read to have before.
    pub(super) others: HashSet<RelPath>,
}

impl Read {
    /// That too.
    pub(super) fn add(&mut self, mut more: Self) {
        self.known.append(&mut more.known);
        self.others.extend(more.others);
    }
}

/// One file to send.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Upload {
    /// Its name on the volume.
    pub(super) path: RelPath,
    /// What it must contain.
    pub(super) sha256: Digest,
    /// Its size.
    pub(super) size: u64,
}

impl Placed for Upload {
    fn path(&self) -> &RelPath {
        &self.path
    }
}

impl Record for Upload {
    fn encode(&self, bytes: &mut Vec<u8>) {
        bytes.extend_from_slice(&self.sha256.0);
        bytes.extend_from_slice(&self.size.to_le_bytes());
        bytes.extend_from_slice(self.path.as_bytes());
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let (sha256, bytes) = bytes.split_first_chunk()?;
        let (size, path) = bytes.split_first_chunk()?;
        Some(Self { path: RelPath::new(path)?, sha256: Digest(*sha256), size: u64::from_le_bytes(*size) })
    }
}
