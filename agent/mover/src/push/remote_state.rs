//! What a plan knows of the remote path: what is committed and listed there, and which strays may be deleted.

use std::collections::HashSet;

use super::case_collisions::CaseCollisions;
use super::object_names::partial_of;
use crate::format::documents::Commit;
use crate::format::entries::Entries;
use crate::format::names::{is_content, is_ours};
use crate::name_set::{ContentSet, NameSet};
use crate::remote::Listing;
use crate::volume::exclude::Exclude;

/// What is known of the remote path.
#[derive(Clone, Copy, Debug)]
pub(super) struct RemoteState<'a> {
    /// The entries of the committed manifest, promoted; none when nothing is committed.
    pub(super) committed: Option<&'a Entries>,
    /// The commit, where its manifest cannot be read.
    pub(super) unreadable: Option<&'a Commit>,
    /// What a listing found; without one, the committed manifest is believed.
    pub(super) listing: Option<&'a Listing>,
    /// What to do with objects that neither tree accounts for.
    pub(super) strays: Strays<'a>,
    /// What a killed push has uploaded already.
    pub(super) there: &'a ContentSet,
    /// Whether a file cannot lie under a name that is a folder, nor below one that is a file: objects are files of a file system.
    pub(super) folders: bool,
    /// Whether it has refused a name for its length.
    pub(super) refuses_long_names: bool,
    /// Names that the remote was found to store under another one.
    pub(super) altered: &'a NameSet,
    /// Names that the remote takes for one, if it is of that kind.
    pub(super) collisions: Option<&'a CaseCollisions>,
    /// What of the volume is left out.
    pub(super) exclude: &'a Exclude,
}

/// Which of the objects below the path that neither tree accounts for are deleted. All others are left alone.
#[derive(Clone, Copy, Debug)]
pub(super) enum Strays<'a> {
    /// Those with these names, which other trees of this path had.
    Named(&'a NameSet),
    /// All of them: the user lets this push replace whatever it finds.
    All,
}

impl Strays<'_> {
    /// Whether one of this name is to go. rclone sends to some backends under a name of its own, which a killed one leaves behind:
    /// `name.1a2b3c4d.partial`.
    pub(super) fn contains(self, name: &[u8]) -> bool {
        let Self::Named(names) = self else { return true };
        names.contains(name) || partial_of(name).is_some_and(|name| names.contains(name))
    }
}

impl<'a> RemoteState<'a> {
    /// Whether the object of a committed file is there with its size.
    pub(super) fn intact(&self, name: &[u8], size: u64) -> bool {
        intact(self.listing, name, size)
    }

    /// What the listing has that is ours to delete unless it is needed.
    pub(super) fn strays(&self) -> HashSet<&'a [u8]> {
        let stray = |name: &&[u8]| is_content(name) && (is_ours(name) || self.strays.contains(name));
        self.listing.into_iter().flat_map(Listing::keys).map(|name| &**name).filter(stray).collect()
    }
}

/// Whether an object is there with this size; without a listing, it is believed to be.
pub(super) fn intact(listing: Option<&Listing>, name: &[u8], size: u64) -> bool {
    listing.is_none_or(|listing| matches!(listing.get(name), Some(&there) if there == size || there == u64::MAX))
}
