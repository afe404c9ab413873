//! What is known of a revision whose manifest cannot be read, for the deletion guard: how much it had, by its commit, and which names its
//! objects may have, by a listing. Pure.

use std::collections::HashMap;

use crate::format::documents::Commit;
use crate::format::names::{StagedDir, is_content, is_ours};
use crate::format::revision::Revision;
use crate::guard::{Count, NamesSum};
use crate::remote::Listing;

/// Such a revision, held against the tree that is to follow it.
pub(super) struct Unread<'a> {
    had: Count,
    /// What may be an object of it, and whether the new tree has that, too.
    listed: HashMap<&'a [u8], bool>,
    /// Files of the new tree whose object is listed.
    found: u64,
}

impl<'a> Unread<'a> {
    pub(super) fn of(commit: &Commit, listing: &'a Listing) -> Self {
        let staged = Revision::parse(&commit.revision).map(|revision| StagedDir::of(&revision).name(b""));
        let name = |name: &'a [u8]| match &staged {
            Some(staged) if commit.staged && name.starts_with(staged) => name.strip_prefix(&**staged),
            _ => Some(name).filter(|name| is_content(name)),
        };
        // An older program did not count what is no file: there may have been some.
        let all = commit.entries.unwrap_or(1).max(commit.files);
        let listed = listing.keys().filter_map(|listed| name(listed)).map(|name| (name, false)).collect();
        Self { had: Count { files: commit.files, all }, listed, found: 0 }
    }

    /// A file of the new tree has this object.
    pub(super) fn has(&mut self, name: &[u8]) {
        if let Some(had) = self.listed.get_mut(name) {
            *had = true;
            self.found += 1;
        }
    }

    /// How much it had, how much of that has no successor in a tree of this size, and the names.
    ///
    /// What is listed may belong to others, and objects of its own may be lost. Neither can be told from files that are gone, so both
    /// count as that: a person who knows better can allow it.
    pub(super) fn losses(&self, after: Count) -> (Count, Count, NamesSum) {
        let had = self.had;
        let (mut names, mut left, mut hashed) = (NamesSum::default(), 0_u64, false);
        for name in self.listed.iter().filter(|(_, found)| !**found).map(|(name, _)| name) {
            names.add(name);
            left += 1;
            hashed |= is_ours(name);
        }
        // An object under its hash is that of any number of files. If one is left, no other can stand for more than one.
        let objects = self.listed.values().filter(|found| **found).count();
        let found = if hashed { u64::try_from(objects).unwrap_or(u64::MAX) } else { self.found };
        let files = left.min(had.files).max(had.files.saturating_sub(found));
        let others = |count: Count| count.all.saturating_sub(count.files);
        (had, Count { files, all: files + others(had).saturating_sub(others(after)) }, names)
    }
}
