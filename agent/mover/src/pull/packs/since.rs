//! Finds out by generations which blocks a file in place lacks: on a volume that is known to hold a revision, those born since, without reading
//! any but those that became zero. Size and time of the file have to be those of that revision.

use std::collections::HashMap;

use super::bits::Bits;
use super::changes::ChangesWriter;
use super::local::{Comparing, Walk};
use super::rows::FileRows;
use super::target::{Noted, Target};
use super::tree::Held;
use crate::error::{Failure, Result};
use crate::packs::run::{Hashes, ReadAt, References};
use crate::pull::identity::parts;

/// See the module.
pub(super) struct Since<'a, R> {
    comparing: &'a Comparing<'a, R>,
    held: &'a Held,
    generation: u64,
    rows: FileRows<'a, R, References>,
    /// Files that were looked at, by their ids: how many blocks each has.
    looked: HashMap<u64, u64>,
}

impl<'a, R: ReadAt> Since<'a, R> {
    pub(super) fn new(comparing: &'a Comparing<'a, R>, held: &'a Held) -> Self {
        let generation = held.generation().unwrap_or_default();
        Self { comparing, held, generation, rows: FileRows::new(comparing.map), looked: HashMap::new() }
    }

    /// Whether this file is one that can be looked at: it is the one that it was.
    pub(super) fn knows(&self, target: &Target) -> Result<bool> {
        let Some(known) = self.held.file(&target.path).filter(|_| target.in_place) else { return Ok(false) };
        let root = self.comparing.root;
        let Some(there) = root.find(&target.path)? else { return Ok(false) };
        let seen = there.look().map_err(|e| Failure::volume("read", &root.shown(&target.path), &e))?;
        Ok((seen.size, seen.mtime) == known)
    }

    /// Notes the blocks that are newer, and which of them do not wait yet.
    pub(super) fn look(&mut self, (at, target): (usize, &mut Target), waiting: &Bits, changes: &mut ChangesWriter) -> Result<()> {
        let block = self.comparing.block()?;
        let mut walk = Walk::new(target.id(), target.size, block);
        let (generation, mut noted) = (self.generation, Noted::default());
        self.rows.of(target.id(), |number, of| {
            self.comparing.stop.check()?;
            walk.next(number, &of.hash)?;
            let is_newer = of.place.born > generation;
            noted.note(is_newer && !waiting.has(number), block.length(target.size, number));
            if is_newer { changes.copy(at, number) } else { Ok(()) }
        })?;
        target.noted(noted);
        walk.end(&parts(&target.digest).0)?;
        self.looked.insert(target.id(), block.count(target.size));
        Ok(())
    }

    /// Notes the blocks that became zero, of all files that were looked at, and are not: one that the source had only meanwhile is a hole here, to
    /// which a file system that makes no holes would give room. The targets are in the order of their ids, empty ones after them; names of one
    /// file are several.
    pub(super) fn clear(self, targets: &[Target], changes: &mut ChangesWriter) -> Result<()> {
        if self.looked.is_empty() {
            return Ok(());
        }
        let (filled, _) = targets.split_at(targets.partition_point(|target| target.size > 0));
        let mut open = None;
        for row in self.comparing.map.changes::<Hashes>(self.held.runs()) {
            self.comparing.stop.check()?;
            let (key, there) = row?;
            let is_zero = there.is_none() && self.looked.get(&key.file).is_some_and(|count| key.block < *count);
            if !is_zero {
                continue;
            }
            let first = filled.partition_point(|target| target.id() < key.file);
            let of_it = filled.iter().enumerate().skip(first).take_while(|(_, target)| target.id() == key.file);
            for (at, target) in of_it.filter(|(_, target)| target.in_place) {
                if !self.comparing.is_zero((at, &target.path), key.block, &mut open)? {
                    changes.zero(at, key.block)?;
                }
            }
        }
        Ok(())
    }
}
