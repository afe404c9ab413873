//! Whether new content fits on the volume beside the old, and what to do part by part where it does not.

use std::iter::Peekable;

use super::plan::{Action, Step};
use crate::error::{Failure, Result};
use crate::remote::BATCH;
use crate::report::Reason;
use crate::volume::beneath::Root;
use crate::volume::entry::{FileEntry, Kind};
use crate::volume::path::RelPath;

/// Content takes whole blocks. What a file system calls one may be larger, but is not what a small file takes then.
const BLOCK: u64 = 4096;
/// Memory for the steps of a part, in bytes, as far as attributes and long names make them large.
const MEMORY: usize = 16 << 20;
/// Bytes of a target that go into the inode of a symbolic link, on most file systems.
const SHORT_TARGET: usize = 59;

/// Room on a volume.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Room {
    pub(super) bytes: u64,
    pub(super) inodes: u64,
}

impl Room {
    /// That of a file's content.
    pub(super) fn of_content(size: u64) -> Self {
        let bytes = size.checked_next_multiple_of(BLOCK).unwrap_or(u64::MAX);
        Self { bytes, inodes: 1 }
    }

    /// That of files of these sizes.
    pub(super) fn of_all(sizes: impl Iterator<Item = u64>) -> Self {
        sizes.map(Self::of_content).fold(Self::default(), Self::plus)
    }

    /// What a step adds to the volume, content that has arrived included. The blocks of directories, which some file systems do without, show
    /// when they are made.
    pub(super) fn of((action, entry): &Step) -> Self {
        match (action, &entry.kind) {
            (Action::PutFile, Kind::File(file)) => Self::of_content(file.size),
            (Action::PutSymlink, Kind::Symlink(target)) if target.len() > SHORT_TARGET => Self { bytes: BLOCK, inodes: 1 },
            (Action::PutSymlink | Action::PutFifo | Action::MakeDir, _) => Self { bytes: 0, inodes: 1 },
            _ => Self::default(),
        }
    }

    pub(super) fn plus(self, other: Self) -> Self {
        Self { bytes: self.bytes.saturating_add(other.bytes), inodes: self.inodes.saturating_add(other.inodes) }
    }

    pub(super) fn minus(self, other: Self) -> Self {
        Self { bytes: self.bytes.saturating_sub(other.bytes), inodes: self.inodes.saturating_sub(other.inodes) }
    }

    fn has(self, needed: Self) -> bool {
        needed.bytes <= self.bytes && needed.inodes <= self.inodes
    }
}

/// What is free on the volume at `root`, as far as is known.
pub(super) fn free(root: &Root) -> Result<Room> {
    let stat = root.space()?;
    // Some file systems do not say how large they are, or make inodes as they need them.
    let bytes = if stat.f_blocks == 0 { u64::MAX } else { stat.f_bavail.saturating_mul(stat.f_frsize) };
    let inodes = if stat.f_files == 0 { u64::MAX } else { stat.f_favail };
    Ok(Room { bytes, inodes })
}

/// Whether this much is free on the volume at `root`.
pub(super) fn fits(root: &Root, needed: Room) -> Result<bool> {
    Ok(free(root)?.has(needed))
}

/// `NoSpace` with the figures when this much is not free on the volume at `root`.
pub(super) fn check(root: &Root, needed: Room) -> Result<()> {
    let free = free(root)?;
    if free.has(needed) {
        return Ok(());
    }
    let why = "new content is kept beside the old until all of it is verified";
    Err(Failure::new(
        Reason::NoSpace,
        if free.bytes < needed.bytes {
            format!("the volume has {} bytes free, and {} more are needed: {why}. Make the volume larger", free.bytes, needed.bytes)
        } else {
            let (free, needed) = (free.inodes, needed.inodes);
            format!("the volume has {free} inodes free, and {needed} more are needed: {why}. Use a volume with more inodes")
        },
    ))
}

/// Adds the figures to a failure for lack of space.
pub(super) fn explain(failure: Failure, root: &Root, needed: Room) -> Failure {
    match free(root) {
        Ok(free) if failure.reason == Reason::NoSpace => {
            let Failure { reason, message, .. } = failure;
            Failure::new(reason, format!("{}: {message}", figures(free, needed)))
        }
        _ => failure,
    }
}

/// What is free and what was needed, of that which was too little. A volume that is limited by a quota may have a file system with room.
fn figures(free: Room, needed: Room) -> String {
    match (free.bytes < needed.bytes, free.inodes < needed.inodes) {
        (true, _) => format!("the volume has {} bytes free, and {} were needed", free.bytes, needed.bytes),
        (_, true) => format!("the volume has {} inodes free, and {} were needed", free.inodes, needed.inodes),
        _ => format!(
            "the volume is full although its file system has room for the {} bytes and {} inodes that were needed, so its own size or a quota limits it",
            needed.bytes, needed.inodes
        ),
    }
}

/// `NoSpace` for one thing that does not fit even alone.
pub(super) fn nothing_fits(root: &Root) -> Failure {
    Failure::new(Reason::NoSpace, format!("no file more fits on the volume at {}", root.shown(&RelPath::root()).display()))
}

/// The steps that may be taken at once, because what they take fits into `room`. None when the next one does not fit.
pub(super) fn next_part(
    steps: &mut Peekable<impl Iterator<Item = Result<Step>>>,
    takes: impl Fn(&Step) -> Room,
    mut room: Room,
) -> Result<Vec<Step>> {
    let mut part = Vec::new();
    let mut bytes = 0;
    while part.len() < BATCH && bytes < MEMORY {
        let fits = steps.next_if(|step| match step {
            Ok(step) if room.has(takes(step)) => {
                room = room.minus(takes(step));
                true
            }
            Ok(_) => false,
            Err(_) => true,
        });
        match fits {
            Some(step) => {
                let step = step?;
                bytes += step.1.bytes();
                part.push(step);
            }
            None => break,
        }
    }
    Ok(part)
}

/// The file that a step puts in place.
pub(super) fn put((action, entry): &Step) -> Option<&FileEntry> {
    entry.file().filter(|_| *action == Action::PutFile)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An outsider read of 18446744073709551615 inodes, and of 16 GB that were free while 5 MB did not fit.
    #[test]
    fn the_figures_are_of_what_was_too_little() {
        let room = |bytes, inodes| Room { bytes, inodes };
        assert_eq!(figures(room(10, u64::MAX), room(20, 1)), "the volume has 10 bytes free, and 20 were needed");
        assert_eq!(figures(room(u64::MAX, 0), room(20, 1)), "the volume has 0 inodes free, and 1 were needed");
        let quota = figures(room(16_604_409_856, u64::MAX), room(5_001_216, 1));
        assert!(quota.contains("5001216 bytes") && quota.contains("quota") && !quota.contains("16604409856"), "{quota}");
    }
}
