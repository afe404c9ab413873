//! Whether the files that are going to be changed in place can be, asked before a journal says that they are: from there on, the volume is a mix of
//! two revisions until each of them is.

use std::io;

use super::target::Target;
use crate::error::{Failure, Result};
use crate::pull::staging::Staging;
use crate::stop::Stop;
use crate::volume::beneath::{Place, Root};
use crate::volume::path::RelPath;

/// What is made as large as the largest file is going to be.
const LARGEST: &str = "largest";

/// Fails if one of these files cannot be written to, or cannot have its size on this file system. Nothing of them is changed.
pub(super) fn check(root: &Root, targets: &[Target], staging: &Staging, stop: &Stop) -> Result<()> {
    let mut largest = None::<&Target>;
    for target in targets.iter().filter(|target| target.in_place) {
        stop.check()?;
        let opened = root.file_to_write(&target.path).and_then(|file| file.ok_or_else(|| io::ErrorKind::NotFound.into()));
        match opened {
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied && is_own(root, &target.path)? => {}
            opened => drop(opened.map_err(|e| Failure::volume("write to", &root.shown(&target.path), &e))?),
        }
        largest = largest.filter(|largest| largest.size >= target.size).or(Some(target));
    }
    let Some(largest) = largest else { return Ok(()) };
    let name = RelPath::own(LARGEST);
    let make = |place: Place| place.make_file()?.set_len(largest.size);
    let made = staging.temporary().at(&name).and_then(make);
    staging.remove_temporary(LARGEST)?;
    made.map_err(|e| Failure::volume("make as large as it has to be", &root.shown(&largest.path), &e))
}

/// Whether this file is the mover's, which may give itself the right to write to it.
fn is_own(root: &Root, path: &RelPath) -> Result<bool> {
    let look = || root.hold(path)?.look();
    let seen = look().map_err(|e| Failure::volume("read", &root.shown(path), &e))?;
    Ok(seen.uid == rustix::process::geteuid().as_raw())
}
