//! How much room of a volume new blocks take beside what lies in the staging folder: in files in place, and in copies of a user's files.

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
            Some(file) => data(file, range, 1, stop)?.map_err(|e| Failure::volume("find the holes of", &root.shown(&target.path), &e))?,
            None => 0,
        };
        stop.check()?;
        room = room.plus(Room { inodes: 0, ..Room::of_content(range.1.saturating_sub(range.0).saturating_sub(there)) });
    }
    Ok(room.plus(Room { bytes: room.bytes / EXTENTS, inodes: 0 }))
}

/// That of a copy of the first `size` bytes of this file, of which blocks are copied that are no holes.
pub(super) fn of_copy(file: &File, size: u64, block: BlockSize, stop: &Stop) -> Result<std::io::Result<Room>> {
    Ok(data(file, (0, size), block.bytes().into(), stop)?.map(Room::of_content))
}

/// Bytes of this range that are no holes: of units of so many bytes, those that have some, as a whole.
fn data(file: &File, (mut at, end): (u64, u64), unit: u64, stop: &Stop) -> Result<std::io::Result<u64>> {
    let mut bytes = 0;
    while at < end {
        stop.check()?;
        match next_data(file, at, end) {
            Ok(Some((from, to))) => {
                let (from, to) = (from - from % unit, to.checked_next_multiple_of(unit).unwrap_or(end).min(end));
                bytes += to.saturating_sub(from.max(at));
                at = to;
            }
            Ok(None) => break,
            Err(error) => return Ok(Err(error)),
        }
    }
    Ok(Ok(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::FileExt;

    #[test]
    fn a_copy_takes_the_blocks_that_are_no_holes() {
        let dir = assert_fs::TempDir::new_in("/dev/shm").unwrap();
        let path = dir.path().join("sparse");
        let file = File::create_new(&path).unwrap();
        file.set_len(1 << 40).unwrap();
        let block = BlockSize::new(16 << 10).unwrap();
        let room = |size| of_copy(&File::open(&path).unwrap(), size, block, &Stop::default()).unwrap().unwrap().bytes;
        assert_eq!(room(1 << 40), 0);
        // In the middle of a block, over the end of one, and behind what is copied.
        for at in [(5 << 14) + 4096, (9 << 14) - 4096, 1 << 39] {
            file.write_all_at(&[1; 8192], at).unwrap();
        }
        assert_eq!(room(1 << 30), 3 << 14);
        assert_eq!(room((5 << 14) + 5000), 8192, "no more than the end of it");
    }
}
