//! Something in the staging folder that is ready to be put in place, and how that is done.

#![allow(clippy::redundant_closure_for_method_calls, reason = "a method of `Place` by its path is one of a single lifetime")]

use std::io;
use std::path::PathBuf;

use crate::error::{Failure, Result};
use crate::volume::beneath::{Place, Root};
use crate::volume::path::RelPath;

/// See the module.
#[derive(Clone)]
pub(super) struct Ready<'a> {
    pub(super) root: &'a Root,
    pub(super) path: RelPath,
}

impl Ready<'_> {
    /// Does something with its name.
    pub(super) fn with<T>(&self, act: impl FnOnce(&Place) -> io::Result<T>) -> io::Result<T> {
        act(&self.root.at(&self.path)?)
    }

    /// What it is called in a message.
    pub(super) fn shown(&self) -> PathBuf {
        self.root.shown(&self.path)
    }

    /// Puts it in place. A directory that an application has removed meanwhile is made again.
    pub(super) fn put(&self, root: &Root, path: &RelPath) -> Result<()> {
        let put = || insist(root, path, |place| self.with(|ready| ready.rename_to(place)));
        let result = match put() {
            Err(error) if error.kind() == io::ErrorKind::NotFound && root.at(path).is_err() => make_above(root, path).and_then(|()| put()),
            result => result,
        };
        result.map_err(|e| Failure::volume("put in place", &root.shown(path), &e))
    }

    /// Removes what a rename onto another name of the same inode, which does nothing, has left.
    pub(super) fn drop_name(&self) -> Result<()> {
        self.with(|place| place.remove_unless_folder()).map(drop).map_err(|e| Failure::volume("remove", &self.shown(), &e))
    }
}

fn make_above(root: &Root, path: &RelPath) -> io::Result<()> {
    let mut above: Vec<RelPath> = path.ancestors().filter(|dir| !dir.is_root()).collect();
    above.reverse();
    for dir in above {
        match insist(root, &dir, |place| place.make_folder(0o700)) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

/// Does `change` to a name, if need be after letting ourselves into its directory, which gets its mode back in the end: a mover
/// without privileges is bound by it even where the directory is its own.
pub(super) fn insist<T>(root: &Root, path: &RelPath, change: impl Fn(&Place) -> io::Result<T>) -> io::Result<T> {
    let result = root.at(path).and_then(|place| change(&place));
    let Some(dir) = path.parent().and_then(RelPath::new) else { return result };
    match &result {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            let dir = root.hold(&dir)?;
            let mode = dir.look()?.mode;
            if mode & 0o700 == 0o700 || dir.set_mode(mode | 0o700).is_err() {
                return result;
            }
            change(&root.at(path)?)
        }
        _ => result,
    }
}
