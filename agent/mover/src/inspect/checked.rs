//! What a check has found, in either layout.

use jiff::Timestamp;

use super::faults::Fault;
use super::state::Nothing;
use crate::format::documents::Claim;
use crate::volume::path::RelPath;

/// What a check has found.
#[derive(Clone, Debug)]
pub enum Checked {
    /// There is no commit.
    Nothing(Nothing),
    /// The commit, or the manifest that it names, is missing or damaged; with what is wrong.
    Damaged(String),
    /// Every object was looked at.
    Looked(Box<Looked>),
}

/// What became of the objects.
#[derive(Clone, Debug)]
pub struct Looked {
    /// The revision.
    pub revision: String,
    /// Objects that it refers to: content that several files share through `objects/` counts once; in layout Packs, packs and runs.
    pub objects: u64,
    /// Objects that were read, and compared by their sha256, or verified block by block.
    pub read: u64,
    /// Objects that were not read, and whose size the backend does not tell.
    pub unsized_objects: u64,
    /// What is wrong, the first few hundred.
    pub faults: Vec<Fault>,
    /// How many more there are.
    pub more: u64,
    /// In layout Packs, the files that what is wrong concerns, the first few hundred.
    pub files: Vec<RelPath>,
    /// How many more there are.
    pub more_files: u64,
    /// In layout Packs, the older revisions that are kept, the newest first.
    pub retained: Vec<Retained>,
    /// A push that is under way, or has died.
    pub claim: Option<Claim>,
}

/// An older revision that is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Retained {
    /// Its name.
    pub revision: String,
    /// When its data was captured.
    pub data_time: Timestamp,
    /// What is wrong with it, if anything is.
    pub wrong: Option<String>,
}

impl Checked {
    /// Whether something is committed, and nothing is wrong with it.
    pub fn is_whole(&self) -> bool {
        matches!(self, Self::Looked(looked) if looked.faults.is_empty() && looked.retained.iter().all(|kept| kept.wrong.is_none()))
    }
}
