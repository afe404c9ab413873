//! Changes files in place: blocks from the staging folder, where all of them lie verified and on disk, and zeros.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use rustix::fs::{FallocateFlags, fallocate};

use super::target::Target;
use crate::error::{Failure, Result};
use crate::packs::damaged;
use crate::packs::manifest::Document;
use crate::packs::size::BlockSize;
use crate::pull::apply::Patches;
use crate::pull::staging::Staging;
use crate::stop::Stop;
use crate::volume::beneath::Root;
use crate::volume::entry::Entry;
use crate::volume::path::RelPath;

/// Bytes that are copied at a time.
const PART: u64 = 1 << 20;

/// What is to be changed.
pub(super) struct Patching<'a> {
    staging: &'a Staging,
    block: BlockSize,
    targets: HashMap<&'a RelPath, &'a Target>,
}

impl<'a> Patching<'a> {
    pub(super) fn new(targets: &'a [Target], staging: &'a Staging, document: &Document) -> Result<Self> {
        let block = document.block().map_err(|what| damaged("the map", &what))?;
        let targets = targets.iter().filter(|target| target.in_place.is_some()).map(|target| (&target.path, target)).collect();
        Ok(Self { staging, block, targets })
    }
}

impl Patches for Patching<'_> {
    fn patch(&self, root: &Root, entry: &Entry, stop: &Stop) -> Result<()> {
        let target = self.targets.get(&entry.path);
        let Some((target, changes)) = target.and_then(|target| Some((target, target.in_place.as_ref()?))) else { return Ok(()) };
        let failed = |e: io::Error| Failure::volume("write to", &root.shown(&entry.path), &e);
        let file = to_write(root, &entry.path).map_err(failed)?;
        let block = u64::from(self.block.bytes());
        for range in changes.zero.iter() {
            stop.check()?;
            clear(&file, range, self.block, target.size).map_err(failed)?;
        }
        // Behind the end of the old content there are zeros then.
        file.set_len(target.size).map_err(failed)?;
        if target.size == 0 {
            return Ok(());
        }
        let (folder, name) = (self.staging.verified(), Staging::content(&target.digest));
        let Some(staged) = folder.file(&name)? else {
            return Err(Failure::volume("read", &folder.shown(&name), &io::ErrorKind::NotFound.into()));
        };
        let mut buffer = Vec::new();
        for (from, to) in changes.copied.iter() {
            let (mut at, end) = (from * block, (to.saturating_mul(block)).min(target.size));
            while at < end {
                stop.check()?;
                buffer.resize(usize::try_from((end - at).min(PART)).unwrap_or(0), 0);
                staged.read_exact_at(&mut buffer, at).map_err(|e| Failure::volume("read", &folder.shown(&name), &e))?;
                file.write_all_at(&buffer, at).map_err(failed)?;
                at += buffer.len() as u64;
            }
        }
        Ok(())
    }
}

/// The file, if need be after letting ourselves in: it gets its mode afterwards.
fn to_write(root: &Root, path: &RelPath) -> io::Result<File> {
    let open = || root.file_to_write(path).and_then(|file| file.ok_or_else(|| io::ErrorKind::NotFound.into()));
    match open() {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            let held = root.hold(path)?;
            held.set_mode(held.look()?.mode | 0o600)?;
            open()
        }
        opened => opened,
    }
}

/// Makes blocks of a file of `size` bytes zero, and frees their room where the file system does that.
pub(super) fn clear(file: &File, (from, to): (u64, u64), block: BlockSize, size: u64) -> io::Result<()> {
    let block = u64::from(block.bytes());
    let (mut at, whole) = (from.saturating_mul(block), to.saturating_mul(block));
    let end = whole.min(size);
    // The room of the last block is freed only as a whole.
    if at >= end || fallocate(file, FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE, at, whole - at).is_ok() {
        return Ok(());
    }
    let zeros = vec![0; usize::try_from(PART.min(end - at)).unwrap_or(0)];
    while at < end {
        let part = usize::try_from(end - at).unwrap_or(usize::MAX).min(zeros.len());
        file.write_all_at(zeros.get(..part).unwrap_or_default(), at)?;
        at += part as u64;
    }
    Ok(())
}
