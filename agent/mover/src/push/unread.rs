//! What is known of a revision whose manifest cannot be read, for the deletion guard: how much it had, by its commit, and which names its
//! objects may have, by a listing. Pure.

use std::collections::HashSet;

use crate::format::documents::Commit;
use crate::format::names::{StagedDir, is_ours, objects_dir};
use crate::format::revision::Revision;
use crate::guard::{Count, NamesSum};
use crate::remote::Listing;

/// Such a revision, held against the tree that is to follow it.
pub(super) struct Unread<'a> {
    had: Count,
    /// What may be an object of it.
    listed: usize,
    /// Those of them that are no object of the new tree.
    left: HashSet<&'a [u8]>,
}

impl<'a> Unread<'a> {
    pub(super) fn of(commit: &Commit, listing: &'a Listing) -> Self {
        let objects = objects_dir();
        let staged = Revision::parse(&commit.revision).map(|revision| StagedDir::of(&revision).name(b""));
        let name = |name: &'a [u8]| match &staged {
            Some(staged) if commit.staged && name.starts_with(staged) => name.strip_prefix(&**staged),
            _ => Some(name).filter(|name| !is_ours(name) || name.starts_with(objects.as_bytes())),
        };
        let left: HashSet<&[u8]> = listing.keys().filter_map(|listed| name(listed)).collect();
        // An older program did not count what is no file: there may have been some.
        let all = commit.entries.unwrap_or(1).max(commit.files);
        Self { had: Count { files: commit.files, all }, listed: left.len(), left }
    }

    /// The new tree has this object.
    pub(super) fn has(&mut self, name: &[u8]) {
        self.left.remove(name);
    }

    /// How much it had, how much of that has no successor in a tree of this size, and the names.
    ///
    /// What is listed may belong to others, and objects of its own may be lost: so no more is counted as gone than it had beside what is
    /// found, and no less than it had more than the new tree.
    pub(super) fn losses(&self, after: Count) -> (Count, Count, NamesSum) {
        let had = self.had;
        let [listed, left] = [self.listed, self.left.len()].map(|count| u64::try_from(count).unwrap_or(u64::MAX));
        let found = listed.saturating_sub(left);
        let files = left.max(had.files.saturating_sub(after.files)).min(had.files.saturating_sub(found));
        let mut names = NamesSum::default();
        self.left.iter().for_each(|name| names.add(name));
        (had, Count { files, all: files.max(had.all.saturating_sub(after.all)) }, names)
    }
}
