//! Holes of sparse files: found on a source, made again on a destination where the content is proven to be zero.
//!
//! They are about room on the disk, never about content: a file without its holes is the same file.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use rustix::fs::{FallocateFlags, SeekFrom, fallocate, seek};
use rustix::io::Errno;

use crate::error::{Failure, Result};
use crate::stop::Stop;
use crate::volume::beneath::Root;
use crate::volume::path::RelPath;

/// A file with more holes than this has its largest ones recorded: the rest costs room, and a longer manifest would, too.
pub const MOST: usize = 1000;
/// No file system has larger ones.
const LARGEST_BLOCK: u64 = 1 << 20;
/// Content read at a time to see that it is zero.
const BUFFER: usize = 256 * 1024;

/// A range of a file that takes no room on the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hole {
    /// Where it begins, in bytes.
    pub start: u64,
    /// Its length in bytes, never zero.
    pub length: u64,
}

impl Hole {
    /// The first byte behind it.
    pub fn end(&self) -> u64 {
        self.start.saturating_add(self.length)
    }
}

/// Whether `holes` can be those of a file of `size` bytes: in order, apart, and inside.
pub fn possible(holes: &[Hole], size: u64) -> bool {
    let mut from = 0;
    holes.iter().all(|hole| {
        let fine = hole.length > 0 && hole.start >= from && hole.length <= size.saturating_sub(hole.start);
        from = hole.end();
        fine
    })
}

/// The holes of a file, in order; none if the file system does not report them, or the file is gone.
pub fn find(root: &Root, path: &RelPath) -> Result<Box<[Hole]>> {
    let look = |file: &File| map(file, file.metadata()?.len());
    let found = root.file(path)?.as_ref().map_or_else(|| Ok(Vec::new()), look);
    let mut holes = found.map_err(|e| Failure::volume("find the holes of", &root.shown(path), &e))?;
    if holes.len() > MOST {
        holes.sort_by_key(|hole| std::cmp::Reverse(hole.length));
        holes.truncate(MOST);
        holes.sort_by_key(|hole| hole.start);
    }
    Ok(holes.into())
}

fn map(file: &File, size: u64) -> io::Result<Vec<Hole>> {
    let mut holes = Vec::new();
    let mut from = 0;
    while from < size {
        let start = match seek(file, SeekFrom::Hole(from)) {
            Ok(start) if start < size => start,
            // Shorter than it was, or no holes known here.
            Ok(_) | Err(Errno::NXIO | Errno::INVAL | Errno::NOTSUP) => break,
            Err(error) => return Err(error.into()),
        };
        let end = match seek(file, SeekFrom::Data(start)) {
            Ok(end) => end.min(size),
            Err(Errno::NXIO) => size,
            Err(error) => return Err(error.into()),
        };
        if end > start {
            holes.push(Hole { start, length: end - start });
        }
        // A file that is being written to may answer anything; never look at a place twice.
        from = end.max(from + 1);
    }
    Ok(holes)
}

/// The next bytes from `from` on, and before `end`, that are no hole; all of them where the file system tells of none. `None` if the rest is a hole,
/// or lies behind the end of the file.
pub fn next_data(file: &File, from: u64, end: u64) -> io::Result<Option<(u64, u64)>> {
    let start = match seek(file, SeekFrom::Data(from)) {
        Ok(start) if start < end => start,
        Ok(_) | Err(Errno::NXIO) => return Ok(None),
        Err(Errno::INVAL | Errno::NOTSUP) => return Ok(Some((from, end))),
        Err(error) => return Err(error.into()),
    };
    match seek(file, SeekFrom::Hole(start)) {
        Ok(hole) => Ok(Some((start, hole.clamp(start + 1, end)))),
        // It became shorter.
        Err(Errno::NXIO) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Makes `holes` in a file, which is ours alone and holds verified content. What is not zero stays as it is.
///
/// Says whether every one of them could be made: a file system may not know how to, and the content is right either way.
pub fn punch(root: &Root, path: &RelPath, holes: &[Hole], stop: &Stop) -> Result<bool> {
    let failure = |error: &io::Error| Failure::volume("make holes in", &root.shown(path), error);
    let Some(file) = root.file_to_write(path).map_err(|e| failure(&e))? else { return Ok(false) };
    let size = file.metadata().map_err(|e| failure(&e))?.len();
    let mut buffer = vec![0; BUFFER];
    let mut all = true;
    for hole in holes {
        stop.check()?;
        if !is_zero(&file, *hole, &mut buffer, stop)?.map_err(|e| failure(&e))? {
            all = false;
            continue;
        }
        // A block is freed only as a whole, and the last one of a file goes beyond its end.
        let length = if hole.end() == size { hole.length.saturating_add(LARGEST_BLOCK) } else { hole.length };
        match fallocate(&file, FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE, hole.start, length) {
            Ok(()) => {}
            Err(Errno::IO) => return Err(failure(&Errno::IO.into())),
            Err(_) => return Ok(false),
        }
    }
    Ok(all)
}

fn is_zero(file: &File, hole: Hole, buffer: &mut [u8], stop: &Stop) -> Result<io::Result<bool>> {
    let mut at = hole.start;
    while at < hole.end() {
        stop.check()?;
        let most = usize::try_from(hole.end() - at).unwrap_or(usize::MAX).min(buffer.len());
        let part = buffer.get_mut(..most).unwrap_or_default();
        if let Err(error) = file.read_exact_at(part, at) {
            return Ok(Err(error));
        }
        if part.iter().any(|byte| *byte != 0) {
            return Ok(Ok(false));
        }
        at += most as u64;
    }
    Ok(Ok(true))
}

#[cfg(test)]
mod tests {
    use super::*;
    use assert_fs::TempDir;
    use std::os::unix::fs::MetadataExt;
    use std::path::Path;

    const BLOCK: u64 = 64 * 1024;

    fn hole(start: u64, length: u64) -> Hole {
        Hole { start: start * BLOCK, length: length * BLOCK }
    }

    fn find(path: &Path) -> Result<Box<[Hole]>> {
        super::find(&Root::open(path.parent().unwrap())?, &RelPath::root().child(path.file_name().unwrap()))
    }

    fn punch(path: &Path, holes: &[Hole]) -> Result<bool> {
        super::punch(&Root::open(path.parent().unwrap())?, &RelPath::root().child(path.file_name().unwrap()), holes, &Stop::default())
    }

    /// Data in blocks 2 and 9 of nearly twelve.
    fn sparse(path: &Path) {
        let file = File::create(path).unwrap();
        // The end is in the midst of a block.
        file.set_len(12 * BLOCK - 7).unwrap();
        let data = vec![1; 64 * 1024];
        file.write_all_at(&data, 2 * BLOCK).unwrap();
        file.write_all_at(&data, 9 * BLOCK).unwrap();
    }

    #[test]
    fn holes_are_found_and_made_again() {
        let dir = TempDir::new().unwrap();
        let (source, copy) = (dir.path().join("a"), dir.path().join("b"));
        sparse(&source);
        let holes = find(&source).unwrap();
        assert_eq!(*holes, [hole(0, 2), hole(3, 6), Hole { start: 10 * BLOCK, length: 2 * BLOCK - 7 }]);
        assert!(possible(&holes, 12 * BLOCK - 7) && !possible(&holes, 12 * BLOCK - 8));
        std::fs::write(&copy, std::fs::read(&source).unwrap()).unwrap();
        assert!(find(&copy).unwrap().is_empty());
        assert!(punch(&copy, &holes).unwrap());
        assert_eq!(find(&copy).unwrap(), holes);
        assert_eq!(std::fs::read(&copy).unwrap(), std::fs::read(&source).unwrap());
        assert!(std::fs::metadata(&copy).unwrap().blocks() * 512 < 4 * BLOCK);
    }

    #[test]
    fn content_that_is_not_zero_stays() {
        let dir = TempDir::new().unwrap();
        let file = dir.path().join("a");
        sparse(&file);
        let before = std::fs::read(&file).unwrap();
        assert!(!punch(&file, &[hole(0, 3), hole(4, 2)]).unwrap());
        assert_eq!(std::fs::read(&file).unwrap(), before);
    }

    #[test]
    fn the_largest_are_kept_of_too_many() {
        let dir = TempDir::new().unwrap();
        let path = dir.path().join("a");
        let file = File::create(&path).unwrap();
        let count = MOST as u64 + 50;
        for number in 0..count {
            file.write_all_at(b"x", number * 2 * BLOCK).unwrap();
        }
        file.set_len(count * 2 * BLOCK + 9 * BLOCK).unwrap();
        let holes = find(&path).unwrap();
        assert_eq!(holes.len(), MOST);
        assert!(possible(&holes, count * 2 * BLOCK + 9 * BLOCK));
        assert!(holes.last().unwrap().length > 9 * BLOCK, "the largest is there");
    }

    #[test]
    fn impossible_holes_are_recognised() {
        for bad in [&[hole(0, 0)][..], &[hole(1, 2), hole(2, 1)], &[hole(2, 1), hole(0, 1)], &[Hole { start: u64::MAX, length: 2 }]] {
            assert!(!possible(bad, 10 * BLOCK), "{bad:?}");
        }
    }
}
