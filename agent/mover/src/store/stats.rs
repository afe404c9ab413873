//! What rclone counts while it runs.

use serde::Deserialize;

/// What rclone counts. All of them only grow.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Stats {
    /// Bytes moved.
    pub bytes: u64,
    /// Bytes it knows it has to move.
    pub total_bytes: u64,
    /// Files moved.
    pub transfers: u64,
    /// Files it knows it has to move.
    pub total_transfers: u64,
    /// Files compared.
    pub checks: u64,
    /// Files deleted.
    pub deletes: u64,
    /// Files renamed.
    pub renames: u64,
    /// Names seen in listings.
    pub listed: u64,
    /// Server-side copies.
    pub server_side_copies: u64,
    /// Bytes in them.
    pub server_side_copy_bytes: u64,
    /// Errors counted.
    pub errors: u64,
}

impl Stats {
    /// What must change for a child to be taken as alive: retries alone are not progress.
    #[must_use]
    pub fn signs_of_life(&self) -> Self {
        Self { errors: 0, total_bytes: 0, total_transfers: 0, ..self.clone() }
    }
}
