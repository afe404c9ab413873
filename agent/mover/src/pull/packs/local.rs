//! Compares files of the volume with the blocks that the map has of them.
//!
//! A file in place is read, and nothing of it is copied. One that is made whole in the staging folder begins as a clone of the file that it
//! replaces, or with copies of those blocks that are right: what counts is what the copy holds, because users write to theirs meanwhile.

#![allow(clippy::redundant_closure_for_method_calls, reason = "a method of `Place` by its path is one of a single lifetime")]

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use rustix::fs::ioctl_ficlone;

use super::bits::Bits;
use super::changes::ChangesWriter;
use super::contents::Contents;
use super::patch::{clear, to_write};
use super::rows::FileRows;
use super::target::{Noted, Target};
use super::waiting;
use crate::error::{Failure, Result};
use crate::packs::damaged;
use crate::packs::manifest::Document;
use crate::packs::map::Map;
use crate::packs::reference::Hashed;
use crate::packs::run::{Hashes, ReadAt};
use crate::packs::salt::{ContentHash, Hash};
use crate::packs::size::BlockSize;
use crate::pull::identity::parts;
use crate::pull::space::{self, Room};
use crate::pull::staging::Staging;
use crate::stop::Stop;
use crate::volume::beneath::Root;
use crate::volume::entry::{Entry, FileEntry};
use crate::volume::hash::Hasher;
use crate::volume::path::RelPath;

/// What shows whether blocks can be shared.
const SHARED: &str = "shared";

/// What files are compared by.
pub(super) struct Comparing<'a, R> {
    pub(super) root: &'a Root,
    pub(super) map: &'a Map<R>,
    pub(super) document: &'a Document,
    /// Counts what is read.
    pub(super) hasher: &'a Hasher,
    pub(super) stop: &'a Stop,
}

pub(super) type Blocks<'a, R> = FileRows<'a, R, Hashes>;

impl<R: ReadAt> Comparing<'_, R> {
    pub(super) fn block(&self) -> Result<BlockSize> {
        self.document.block().map_err(|what| damaged("the map", &what))
    }

    /// Which of these files have the content that the map says.
    pub(in crate::pull) fn are_right(&self, entries: &[&Entry]) -> Result<Vec<bool>> {
        let mut order: Vec<(u64, usize)> = Vec::new();
        for (at, entry) in entries.iter().enumerate() {
            order.extend(entry.file().map(|file| (parts(&file.sha256).1, at)));
        }
        order.sort_unstable();
        let (mut right, mut rows) = (vec![false; entries.len()], Blocks::new(self.map));
        for (_, at) in order {
            self.stop.check()?;
            if let (Some(entry), Some(right)) = (entries.get(at), right.get_mut(at)) {
                *right = self.is_right(entry, &mut rows)?;
            }
        }
        Ok(right)
    }

    fn is_right(&self, entry: &Entry, rows: &mut Blocks<R>) -> Result<bool> {
        let Some(file) = entry.file() else { return Ok(false) };
        let Some(there) = self.root.file(&entry.path)? else { return Ok(false) };
        self.has((there, &self.root.shown(&entry.path)), file, rows)
    }

    /// Whether an open file has the content of this one, wherever it is; `stop` is heeded in the place of the pull's own.
    pub(super) fn has_content(&self, there: (File, &Path), file: &FileEntry, stop: &Stop) -> Result<bool> {
        Comparing { stop, ..*self }.has(there, file, &mut Blocks::new(self.map))
    }

    fn has(&self, (there, shown): (File, &Path), file: &FileEntry, rows: &mut Blocks<R>) -> Result<bool> {
        let failed = |e: &io::Error| Failure::volume("read", shown, e);
        let mut there = Contents::of(there, self.block()?, self.document.salt).map_err(|e| failed(&e))?;
        if there.size != file.size {
            return Ok(false);
        }
        let (content, id) = parts(&file.sha256);
        let mut right = true;
        let mut walk = Walk::new(id, file.size, there.block);
        rows.of(id, |number, Hashed { hash, .. }| {
            self.stop.check()?;
            let gap = walk.next(number, &hash)?;
            // A file of which one block is wrong is read no further.
            right = right
                && there.not_zero(gap, self.stop, |_| true)?.map_err(|e| failed(&e))?
                && there.has(file.size, number, &hash).map_err(|e| failed(&e))?;
            Ok(())
        })?;
        let gap = walk.end(&content)?;
        right = right && there.not_zero(gap, self.stop, |_| true)?.map_err(|e| failed(&e))?;
        self.hasher.note(there.read);
        Ok(right)
    }

    /// Checks the room of all that is made whole in the staging folder before anything is: a file for each target but those that are `kept`, and
    /// where the file system does not share blocks with files that are there, all blocks, whether they are copied or fetched. Found to be too
    /// little half way, it would be filled by then.
    pub(super) fn room(&self, targets: &[Target], kept: u64, staging: &Staging) -> Result<()> {
        let whole = || targets.iter().filter(|target| target.size > 0 && !target.in_place);
        let files = Room { bytes: 0, inodes: (whole().count() as u64).saturating_sub(kept) };
        if self.copies(whole(), staging)? {
            return self.room_beside(files, whole, &mut Blocks::new(self.map), staging);
        }
        space::check(self.root, files)
    }

    /// Checks the room of the content of these, and of what is given.
    fn room_beside<'t, T: Iterator<Item = &'t Target>>(
        &self,
        other: Room,
        targets: impl Fn() -> T,
        rows: &mut Blocks<R>,
        staging: &Staging,
    ) -> Result<()> {
        // No file has more blocks than its size: the map is read where that would be too much.
        let most = targets().map(|target| Room { inodes: 0, ..Room::of_content(target.size) }).fold(other, Room::plus);
        if space::fits(self.root, most)? {
            return Ok(());
        }
        let mut room = other;
        for target in targets() {
            room = room.plus(self.room_of(target, rows, staging)?);
        }
        space::check(self.root, room)
    }

    /// Whether blocks of files that are there are going to be copied, by the first of these.
    fn copies<'t>(&self, targets: impl Iterator<Item = &'t Target>, staging: &Staging) -> Result<bool> {
        for target in targets.filter(|target| !target.path.is_root()) {
            self.stop.check()?;
            if let Some(base) = self.root.file_if_allowed(&target.path)? {
                return Ok(!shares_blocks(&base, staging));
            }
        }
        Ok(false)
    }

    /// What this file takes as a whole: its blocks, without the room that it has already. That it is there tells nothing: it may be empty yet.
    fn room_of(&self, target: &Target, rows: &mut Blocks<R>, staging: &Staging) -> Result<Room> {
        let (block, mut bytes) = (self.block()?, 0_u64);
        rows.of(target.id(), |number, _| {
            bytes = bytes.saturating_add(block.length(target.size, number).into());
            self.stop.check()
        })?;
        let (folder, name) = (staging.verified(), Staging::content(&target.digest));
        let seen = folder.find(&name)?.map(|held| held.look()).transpose();
        let there = seen.map_err(|e| Failure::volume("read", &folder.shown(&name), &e))?.map_or(0, |seen| seen.blocks.saturating_mul(512));
        Ok(Room { inodes: 0, ..Room::of_content(bytes) }.minus(Room { bytes: there, inodes: 0 }))
    }

    /// Finds out by reading which blocks are there.
    pub(super) fn local(
        &self,
        (at, target): (usize, &mut Target),
        changes: &mut ChangesWriter,
        rows: &mut Blocks<R>,
        staging: &Staging,
    ) -> Result<()> {
        let (block, salt) = (self.block()?, self.document.salt);
        let name = Staging::content(&target.digest);
        let shown = if target.path.is_root() { staging.verified().shown(&name) } else { self.root.shown(&target.path) };
        let failed = |e: &io::Error| Failure::volume("compare", &shown, e);
        let contents = |file: File| Contents::of(file, block, salt).map_err(|e| failed(&e));
        let there = match &target.path {
            path if path.is_root() => None,
            path if target.in_place => self.root.file(path)?,
            // Another's that is replaced has to be no more than that.
            path => self.root.file_if_allowed(path)?,
        };
        let mut base = there.map(contents).transpose()?;
        let waiting = if target.in_place { self.waiting(target, staging)? } else { Bits::default() };
        let mut staged = if target.in_place {
            None
        } else {
            Some(self.staged(target, base.as_ref(), rows, staging).and_then(|(file, fresh)| Ok((contents(file)?, fresh)))?)
        };
        let (size, mut noted) = (target.size, Noted::default());
        let mut walk = Walk::new(target.id(), size, block);
        rows.of(target.id(), |number, Hashed { hash, .. }| {
            self.stop.check()?;
            let gap = walk.next(number, &hash)?;
            self.gap((at, target), changes, gap, (base.as_mut(), staged.as_mut()))?.map_err(|e| failed(&e))?;
            let in_base = |base: &mut Option<Contents>| base.as_mut().map_or(Ok(false), |base| base.has(size, number, &hash));
            let length = block.length(size, number);
            let Some((staged, fresh)) = &mut staged else {
                if in_base(&mut base).map_err(|e| failed(&e))? {
                    noted.note(false, 0);
                    return Ok(());
                }
                changes.copy(at, number)?;
                noted.note(!waiting.has(number), length);
                return Ok(());
            };
            let mut there = !*fresh && staged.has(size, number, &hash).map_err(|e| failed(&e))?;
            if !there && in_base(&mut base).map_err(|e| failed(&e))? {
                there = true;
                let base = base.as_ref().map_or(&[][..], |base| &base.buffer);
                staged.file.write_all_at(base, number * u64::from(block.bytes())).map_err(|e| failed(&e))?;
            }
            noted.note(!there, length);
            Ok(())
        })?;
        target.noted(noted);
        let gap = walk.end(&parts(&target.digest).0)?;
        self.gap((at, target), changes, gap, (base.as_mut(), staged.as_mut()))?.map_err(|e| failed(&e))?;
        if let Some((staged, fresh)) = &staged
            && (base.is_some() || !fresh)
        {
            self.root.flush(&staged.file).map_err(|e| failed(&e))?;
        }
        self.hasher.note(base.map_or(0, |base| base.read));
        Ok(())
    }

    /// What is to be zero: in the file in place later, in a staged one now.
    fn gap(
        &self,
        (at, target): (usize, &Target),
        changes: &mut ChangesWriter,
        gap: (u64, u64),
        (base, staged): (Option<&mut Contents>, Option<&mut (Contents, bool)>),
    ) -> Result<io::Result<()>> {
        if let Some((staged, fresh)) = staged {
            return if *fresh { Ok(Ok(())) } else { self.clear(staged, gap, target.size) };
        }
        let Some(base) = base else { return Ok(Ok(())) };
        let mut noted = Ok(());
        let read = base.not_zero(gap, self.stop, |number| {
            noted = changes.zero(at, number);
            noted.is_err()
        })?;
        noted?;
        Ok(read.map(drop))
    }

    /// Makes a gap of a staged file zero where it is not: a hole stays one, also where the file system cannot make any.
    fn clear(&self, staged: &mut Contents, gap: (u64, u64), size: u64) -> Result<io::Result<()>> {
        let (block, mut cleared) = (staged.block, Ok(Ok(())));
        let file = match staged.file.try_clone() {
            Ok(file) => file,
            Err(error) => return Ok(Err(error)),
        };
        let read = staged.not_zero(gap, self.stop, |number| {
            cleared = clear(&file, (number, number + 1), (block, size), self.stop);
            !matches!(cleared, Ok(Ok(())))
        })?;
        Ok(read.and(cleared?))
    }

    /// Whether a block of the file of this target is known to be zero. The file stays `open` for the next one.
    pub(super) fn is_zero(&self, (at, path): (usize, &RelPath), number: u64, open: &mut Option<(usize, Contents)>) -> Result<bool> {
        let failed = |e: io::Error| Failure::volume("read", &self.root.shown(path), &e);
        if open.as_ref().is_none_or(|(of, _)| *of != at) {
            let Some(file) = self.root.file_if_allowed(path)? else { return Ok(false) };
            *open = Some((at, Contents::of(file, self.block()?, self.document.salt).map_err(failed)?));
        }
        let Some((_, there)) = open else { return Ok(false) };
        let is_zero = there.not_zero((number, number + 1), self.stop, |_| true)?.map_err(failed);
        self.hasher.note(std::mem::take(&mut there.read));
        is_zero
    }

    /// Which new blocks of a file that is changed in place an earlier pull has left. Those that cannot be read are fetched again.
    pub(super) fn waiting(&self, target: &Target, staging: &Staging) -> Result<Bits> {
        let (folder, name) = (staging.verified(), Staging::blocks(&target.digest));
        let of = waiting::Of { size: target.size, block: self.block()?, salt: self.document.salt };
        let unreadable = |error: io::Error| {
            tracing::warn!(path = %folder.shown(&name).display(), %error, "what an interrupted pull has fetched cannot be read");
            staging.drop_blocks(&target.digest).map(|()| Bits::default())
        };
        match to_write(folder, &name) {
            Ok(file) => waiting::left(&file, of, self.stop)?.and_then(|left| self.root.flush(&file).map(|()| left)).or_else(unreadable),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Bits::default()),
            Err(error) => unreadable(error),
        }
    }

    /// The file in the staging folder, and whether it is known to hold nothing. Room for what is copied there is checked before.
    fn staged(&self, target: &Target, base: Option<&Contents>, rows: &mut Blocks<R>, staging: &Staging) -> Result<(File, bool)> {
        let (folder, name) = (staging.verified(), &Staging::content(&target.digest));
        let failed = |e: io::Error| Failure::volume("make", &folder.shown(name), &e);
        // What was made ready has its mode.
        let left = match to_write(folder, name) {
            Ok(left) => Some(left),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(failed(error)),
        };
        let of_size = |file: File| {
            file.set_len(target.size)?;
            Ok(file)
        };
        if let Some(left) = left {
            return Ok((of_size(left).map_err(failed)?, false));
        }
        let make = || {
            staging.make_shard(name)?;
            folder.at(name)?.make_file()?;
            to_write(folder, name)
        };
        let file: File = make().map_err(failed)?;
        let mut fresh = true;
        if let Some(base) = base {
            // Where the file system shares blocks, that costs next to nothing.
            fresh = ioctl_ficlone(&file, &base.file).is_err();
            if fresh {
                // Some share part by part, and leave what they have shared when the next part fails.
                file.set_len(0).map_err(failed)?;
                if let Err(failure) = self.room_beside(Room::default(), || std::iter::once(target), rows, staging) {
                    // Once it is there, the next pull asks no more.
                    staging.drop_content(&target.digest)?;
                    return Err(failure);
                }
            }
        }
        Ok((of_size(file).map_err(failed)?, fresh))
    }
}

/// Whether the staging folder can share blocks of this file.
fn shares_blocks(base: &File, staging: &Staging) -> bool {
    let name = RelPath::own(SHARED);
    let made = staging.temporary().at(&name).and_then(|place| place.make_file());
    let shares = made.is_ok_and(|file| ioctl_ficlone(&file, base).is_ok());
    staging.remove_temporary(SHARED).is_ok() && shares
}

/// The blocks of a file as the map has them, held against its size and its identity: none is missing, and none is too much.
pub(super) struct Walk {
    id: u64,
    count: u64,
    next: u64,
    content: ContentHash,
}

impl Walk {
    pub(super) fn new(id: u64, size: u64, block: BlockSize) -> Self {
        Self { id, count: block.count(size), next: 0, content: ContentHash::new(size, block) }
    }

    /// The next block that is not zero; the range of those before it that are.
    pub(super) fn next(&mut self, number: u64, hash: &Hash) -> Result<(u64, u64)> {
        if number < self.next || number >= self.count {
            return Err(damaged("the map", &format!("block {number} of file {} is none of that file", self.id)));
        }
        self.content.add(number, hash);
        let gap = (self.next, number);
        self.next = number + 1;
        Ok(gap)
    }

    /// The zero blocks behind the last one.
    pub(super) fn end(self, content: &Hash) -> Result<(u64, u64)> {
        if self.content.end() != *content {
            return Err(damaged("the map", &format!("the blocks of file {} are not its content", self.id)));
        }
        Ok((self.next, self.count))
    }
}
