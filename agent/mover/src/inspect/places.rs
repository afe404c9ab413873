//! Where the content of a committed file may lie, see `pull`: what a push has sent lies in the staged folder until it is promoted.

use crate::format::names::{Folder, StagedDir};
use crate::volume::entry::{FileEntry, Location};
use crate::volume::path::RelPath;

/// The names below the path where a file's content may be, the one that a reader tries first in front.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Places {
    /// Where it is.
    pub(super) first: Box<[u8]>,
    /// Where it may be otherwise, while anything is staged.
    pub(super) second: Option<Box<[u8]>>,
}

impl Places {
    /// Those of a file. `staged` is the folder of a commit that says that anything is staged.
    pub(super) fn of(path: &RelPath, file: &FileEntry, staged: Option<&StagedDir>) -> Self {
        let name = |folder: Folder, name: &[u8]| -> Box<[u8]> { [folder.below().as_bytes(), name].concat().into() };
        let live = || name(Folder::Live, path.as_bytes());
        match (file.at, staged) {
            (Location::Object, staged) => {
                let first = name(Folder::Objects, file.sha256.hex().as_bytes());
                Self { first, second: staged.map(|dir| dir.object(&file.sha256)) }
            }
            (Location::Staged, Some(dir)) => Self { first: dir.name(path.as_bytes()), second: Some(live()) },
            (Location::Staged | Location::Own, _) => Self { first: live(), second: None },
        }
    }
}
