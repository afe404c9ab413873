//! Does what a journal says, row by row.

#![allow(clippy::redundant_closure_for_method_calls, reason = "a method of `Place` by its path is one of a single lifetime")]

use super::super::patch::Patched;
use super::copied::Copied;
use super::read::{Found, Journal, damaged};
use super::row::{Comes, Head, Name, Row};
use crate::error::{Failure, Result};
use crate::format::manifest::decode;
use crate::pull::apply::{Applied, finish, put, remove};
use crate::pull::durable;
use crate::pull::prepare::release;
use crate::pull::ready::insist;
use crate::pull::staging::{JOURNAL, Staging};
use crate::pull::standing::{self, Brought, Holds};
use crate::stop::Stop;
use crate::volume::beneath::{Root, is_gone};
use crate::volume::path::RelPath;

/// Does all of what the journal in this staging folder says, from its beginning. A request to stop is not heeded: the volume holds one revision
/// until then, and would be left with a mix of two.
pub(in crate::pull::packs) fn carry_out(root: &Root, staging: &Staging, stop: &Stop) -> Result<Applied> {
    let stop = &stop.unheeded();
    match Journal::find(staging.folder(), stop)? {
        Found::Whole(journal) => all(root, staging, &journal, stop),
        Found::Damaged(what) => Err(damaged(&what)),
        Found::None => Err(damaged("it has gone")),
    }
}

/// The same, of a journal that was read. Where a request to stop is heeded, the journal is left for the next pull.
pub(super) fn all(root: &Root, staging: &Staging, journal: &Journal, stop: &Stop) -> Result<Applied> {
    // What was known of the volume before holds until the journal is there, and not from here on.
    standing::forget(staging.folder())?;
    release(staging)?;
    let Head { changed, skipped, .. } = journal.head.clone();
    let mut applying = Applying { root, staging, journal, stop, open: None, applied: Applied { changed, skipped } };
    for row in journal.rows()? {
        stop.check()?;
        applying.row(row?)?;
    }
    applying.close()?;
    let applied = applying.applied;
    root.sync()?;
    complete(staging, &journal.head, &applied)?;
    Ok(applied)
}

/// All is done, and on disk: the volume holds the revision.
fn complete(staging: &Staging, head: &Head, applied: &Applied) -> Result<()> {
    // Whether each name is there, only the revision's entries tell.
    if !head.merges {
        let Applied { changed, skipped } = applied;
        let brought = Brought { changed: *changed, deleted: applied.removed(head.lost), skipped: skipped.clone() };
        Holds { revision: Some(head.revision.clone()), brought: Some(brought) }.note(staging.folder())?;
    }
    durable::remove(staging.folder(), JOURNAL)
}

struct Applying<'a> {
    root: &'a Root,
    staging: &'a Staging,
    journal: &'a Journal,
    stop: &'a Stop,
    /// The file that is being changed, and which of its blocks come from those that wait.
    open: Option<(Patched<'a>, Copied)>,
    applied: Applied,
}

impl<'a> Applying<'a> {
    fn row(&mut self, row: Row) -> Result<()> {
        if !matches!(row, Row::Copy(..)) {
            self.copy()?;
        }
        match row {
            Row::Head(_) => Err(damaged("it has two heads")),
            Row::Clear(Name(path), is_folder) => self.clear(&path, is_folder),
            Row::File(Name(path), size, digest) => {
                self.close()?;
                let copied = Copied::new(self.journal, size, digest)?;
                self.open = Some((Patched::open(self.root, &path, size, self.journal.block)?, copied));
                Ok(())
            }
            Row::Zero(from, to) => {
                let stop = self.stop;
                let (patched, copied) = self.open()?;
                copied.has((from, to))?;
                patched.zero((from, to), stop)
            }
            Row::Resize => self.open()?.0.resize(),
            Row::Copy(from, to) => {
                let staging = self.staging;
                self.open()?.1.add((from, to), staging)
            }
            Row::Put(Name(path), lies, comes) => {
                let ready = lies.within(self.staging);
                // What is not there any more was put in place before.
                if ready.root.find(&ready.path)?.is_some() { put(self.root, &ready, &path, comes == Comes::Link) } else { Ok(()) }
            }
            Row::Remove(Name(path)) => remove(self.root, &path, &mut self.applied),
            Row::Meta(line) => finish(self.root, &decode(*line).map_err(|what| damaged(&what))?, &mut self.applied),
        }
    }

    /// Of what has another type by now, all is done: what comes in its place is there.
    fn clear(&self, path: &RelPath, is_folder: bool) -> Result<()> {
        let cleared = insist(self.root, path, |place| if is_folder { place.remove_folder() } else { place.remove_unless_folder() });
        match cleared {
            Err(error) if is_gone(&error) => Ok(()),
            other => other.map(drop).map_err(|e| Failure::volume("remove", &self.root.shown(path), &e)),
        }
    }

    fn open(&mut self) -> Result<&mut (Patched<'a>, Copied)> {
        self.open.as_mut().ok_or_else(|| damaged("it has blocks of no file"))
    }

    /// No more rows are about the open file.
    fn close(&mut self) -> Result<()> {
        self.copy()?;
        self.open.take().map_or(Ok(()), |(patched, _)| patched.close())
    }

    /// Writes the blocks of the open file that its rows have named.
    fn copy(&mut self) -> Result<()> {
        let Some((patched, copied)) = &mut self.open else { return Ok(()) };
        copied.blocks(self.staging, self.stop, |number, plain| patched.write(number, plain))
    }
}
