//! How much room of a volume new blocks take in files in place, beside what lies in the staging folder.

use std::fs::File;

use super::changes::{Change, Changes};
use super::target::Target;
use crate::error::{Failure, Result};
use crate::packs::size::BlockSize;
use crate::pull::space::Room;
use crate::stop::Stop;
use crate::volume::beneath::Root;
use crate::volume::holes::next_data;

/// One of so many bytes says where the others are: ext4 has 12 bytes for 4 KiB, if none are next to each other.
const EXTENTS: u64 = 256;

/// That of blocks that are copied into files in place. Where the file system writes over what is there, those take room that come where a hole is,
/// or behind the end; elsewhere what is there may be shared, by a snapshot of the volume say, and all of them do. What finds such blocks again takes
/// some room, too.
pub(super) fn in_place(root: &Root, targets: &[Target], changes: &Changes, block: BlockSize, stop: &Stop) -> Result<Room> {
    let (overwrites, block) = (root.overwrites()?, u64::from(block.bytes()));
    let (mut room, mut open) = (Room::default(), None::<(usize, Option<File>)>);
    for change in changes.copied()? {
        let Change { target: at, from, to } = change?;
        let Some(target) = targets.get(at) else { continue };
        let range = (from.saturating_mul(block), to.saturating_mul(block).min(target.size));
        let (_, file) = match open.take().filter(|(of, _)| *of == at) {
            Some(same) => open.insert(same),
            None => open.insert((at, if overwrites { root.file(&target.path)? } else { None })),
        };
        let there = match file {
            Some(file) => data(file, range, stop)?.map_err(|e| Failure::volume("find the holes of", &root.shown(&target.path), &e))?,
            None => 0,
        };
        stop.check()?;
        room = room.plus(Room { inodes: 0, ..Room::of_content(range.1.saturating_sub(range.0).saturating_sub(there)) });
    }
    Ok(room.plus(Room { bytes: room.bytes / EXTENTS, inodes: 0 }))
}

/// Bytes of this range that are no holes.
fn data(file: &File, (mut at, end): (u64, u64), stop: &Stop) -> Result<std::io::Result<u64>> {
    let mut bytes = 0;
    while at < end {
        stop.check()?;
        match next_data(file, at, end) {
            Ok(Some((from, to))) => {
                bytes += to - from;
                at = to;
            }
            Ok(None) => break,
            Err(error) => return Ok(Err(error)),
        }
    }
    Ok(Ok(bytes))
}
