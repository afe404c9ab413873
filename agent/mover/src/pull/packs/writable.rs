//! Whether the files that are going to be changed in place can be, asked before a journal says that they are: from there on, the volume is a mix of
//! two revisions until each of them is.

use std::io;

use super::patch::to_write;
use super::target::Target;
use crate::error::{Failure, Result};
use crate::pull::staging::Staging;
use crate::stop::Stop;
use crate::volume::beneath::Root;
use crate::volume::path::RelPath;

/// What is made as large as the largest of the files that grow is going to be.
const LARGEST: &str = "largest";

/// Fails if one of these files cannot be written to, or cannot have its size on this file system. Nothing of them is changed.
pub(super) fn check(root: &Root, targets: &[Target], staging: &Staging, stop: &Stop) -> Result<()> {
    let (mut largest, mut growth) = (None::<&Target>, 0_u64);
    for target in targets.iter().filter(|target| target.in_place) {
        stop.check()?;
        let size = size(root, &target.path).map_err(|e| Failure::volume("write to", &root.shown(&target.path), &e))?;
        if size < target.size {
            growth = growth.saturating_add(target.size - size);
            largest = largest.filter(|largest| largest.size >= target.size).or(Some(target));
        }
    }
    let Some(largest) = largest else { return Ok(()) };
    let name = RelPath::own(LARGEST);
    let made = grown(largest.size, growth, |size| {
        let made = staging.temporary().at(&name).and_then(|place| place.make_file()?.set_len(size));
        staging.remove_temporary(LARGEST).map(|()| made)
    });
    made?.map_err(|e| Failure::volume("make as large as it has to be", &root.shown(&largest.path), &e))
}

/// Whether a file can be made that has the `size` of the largest one. Some file systems give it all of that room, or count it for a quota, where
/// those that are there have most of theirs: then it is what they grow by that has to have room.
fn grown(size: u64, growth: u64, make: impl Fn(u64) -> Result<io::Result<()>>) -> Result<io::Result<()>> {
    match make(size)? {
        Err(error) if matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded) => make(growth.min(size)),
        made => Ok(made),
    }
}

/// The size of a file that can be written to, if need be after letting ourselves in, which is tried: whose it is does not tell, because a server
/// may take us for another user than we are here.
fn size(root: &Root, path: &RelPath) -> io::Result<u64> {
    let file = match root.file_to_write(path) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            let held = root.hold(path)?;
            let mode = held.look()?.mode;
            let opened = to_write(root, path);
            let closed = held.set_mode(mode);
            let file = opened?;
            closed.map(|()| file)?
        }
        opened => opened?.ok_or(io::ErrorKind::NotFound)?,
    };
    Ok(file.metadata()?.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::io::Errno;
    use std::cell::RefCell;

    #[test]
    fn a_quota_of_sizes_counts_what_files_grow_by() {
        let grown = |size: u64, growth: u64, quota: u64, most: u64| {
            let tried = RefCell::new(Vec::new());
            let made = grown(size, growth, |size| {
                tried.borrow_mut().push(size);
                let errno = if size > most { Errno::FBIG } else { Errno::DQUOT };
                Ok(if size > quota.min(most) { Err(errno.into()) } else { Ok(()) })
            });
            let error = made.unwrap().err().and_then(|error| Errno::from_io_error(&error));
            (error, tried.into_inner())
        };
        assert_eq!(grown(60, 1, 100, 100), (None, vec![60]));
        assert_eq!(grown(60, 1, 5, 100), (None, vec![60, 1]));
        assert_eq!(grown(60, 6, 5, 100), (Some(Errno::DQUOT), vec![60, 6]));
        // Of several files, that is more than one of them can have.
        assert_eq!(grown(60, 150, 50, 100), (Some(Errno::DQUOT), vec![60, 60]));
        assert_eq!(grown(60, 1, 100, 50), (Some(Errno::FBIG), vec![60]));
    }
}
