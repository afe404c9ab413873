//! Folders on a volume that are ours alone, for the staging folder and what it is made of.

use std::io;

use crate::error::{Failure, Result};
use crate::volume::beneath::{Root, is_elsewhere, is_gone};
use crate::volume::path::RelPath;

/// How often a folder that is not ours is removed.
const ATTEMPTS: usize = 10;

/// Makes a folder, and opens it. What a link of that name leads to is none of ours: everything in these folders is going to be deleted. One
/// that is there and that others may write to is not ours, either: they could make rclone write elsewhere, or exchange what was verified.
pub(super) fn folder(root: &Root, path: &RelPath) -> Result<Root> {
    let open = || {
        for _ in 0..ATTEMPTS {
            match root.at(path)?.make_folder(0o700) {
                Ok(()) => return root.below(path),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
            if let Ok(folder) = root.below(path)
                && is_ours(&folder)?
            {
                return Ok(folder);
            }
            root.remove_tree(path)?;
        }
        Err(io::Error::other("something else makes it again and again"))
    };
    open().map_err(|e| Failure::volume("make the folder", &root.shown(path), &e))
}

/// Of the folder that was opened, not of the name.
fn is_ours(folder: &Root) -> io::Result<bool> {
    let seen = folder.hold(&RelPath::root())?.look()?;
    Ok((seen.mode & 0o777) | 0o700 == 0o700 && seen.uid == rustix::process::geteuid().as_raw())
}

/// A folder that is there, and that nobody else may write to.
pub(super) fn ours(root: &Root, path: &RelPath) -> Result<Option<Root>> {
    let failed = |e: &io::Error| Failure::volume("read", &root.shown(path), e);
    let folder = match root.below(path) {
        Err(error) if is_gone(&error) || is_elsewhere(&error) => return Ok(None),
        folder => folder.map_err(|e| failed(&e))?,
    };
    let ours = is_ours(&folder).map_err(|e| failed(&e))?;
    Ok(ours.then_some(folder))
}

/// Removes what is there, with all that it holds.
pub(super) fn remove(root: &Root, path: &RelPath) -> Result<()> {
    root.remove_tree(path).map_err(|e| Failure::volume("remove", &root.shown(path), &e))
}
