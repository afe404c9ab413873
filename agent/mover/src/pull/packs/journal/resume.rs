//! Finishes what an earlier pull had begun to do to a private volume, before the remote is asked for anything.

use std::io;

use rustix::fs::FileType;

use super::apply::all;
use super::copied::Copied;
use super::read::{Found, Journal, damaged};
use super::row::{Comes, Name, Row};
use crate::error::{Failure, Result};
use crate::format::manifest::decode;
use crate::pull::durable;
use crate::pull::staging::{JOURNAL, Staging};
use crate::report::Reason;
use crate::stop::Stop;
use crate::store::progress::Progress;
use crate::volume::beneath::{Root, Seen};
use crate::volume::path::RelPath;

/// Finishes what the journal on this volume says, if there is one. The volume has to be private: on others, users may have changed since what it
/// is about, or written it.
///
/// One that is damaged, or does not fit what is there, is removed: the pull compares all of the volume then. One that cannot be read, or whose
/// content cannot, is read once more, because that may be a server's fault of the moment; it is left where it is, and the pull goes on to the
/// remote, without which nothing takes its place. Where the operating system refuses something while it is carried out (a full disk), it stays
/// for the next pull, unless that is for what is there: a folder that has to go and holds somebody's file. So it does after a request to stop,
/// which leaves the volume no worse than it was found: as a mix of two revisions.
pub(in crate::pull) fn resume(root: &Root, progress: &Progress, stop: &Stop) -> Result<()> {
    let Some(staging) = Staging::left(root)? else { return Ok(()) };
    let read = || match Journal::find(staging.folder(), stop)? {
        Found::None => Ok(None),
        Found::Damaged(what) => Err(damaged(&what)),
        // There, what goes may have the name of what has come.
        Found::Whole(journal) if journal.head.merges => Err(damaged("the volume takes some names for one")),
        Found::Whole(journal) => {
            progress.phase("applying", 0);
            fits(root, &staging, &journal, stop).map(|()| Some(journal))
        }
    };
    let is_of_volume = |failure: &Failure| failure.reason == Reason::VolumeUnreadable;
    let is_of_the_moment = |failure: &Failure| is_of_volume(failure) && failure.is_of_the_system() && !failure.is_of_what_is_there();
    let finished = match read().or_else(|failure| if is_of_the_moment(&failure) { read() } else { Err(failure) }) {
        Ok(None) => return Ok(()),
        Ok(Some(journal)) => all(root, &staging, &journal, stop).map(|_| journal),
        Err(failure) if is_of_the_moment(&failure) => {
            tracing::warn!(
                what = failure.message,
                "what an interrupted pull has left cannot be read now; it is kept until the remote answers"
            );
            return Ok(());
        }
        Err(failure) => Err(failure),
    };
    match finished {
        Ok(journal) => {
            tracing::info!(revision = journal.head.revision, "finished what an interrupted pull had begun");
            staging.clear(stop)
        }
        Err(failure) if is_of_volume(&failure) && !is_of_the_moment(&failure) => drop_it(&staging, &failure.message),
        Err(failure) => Err(failure),
    }
}

fn drop_it(staging: &Staging, what: &str) -> Result<()> {
    tracing::warn!(what, "what an interrupted pull has left cannot be finished; comparing all of the volume");
    durable::remove(staging.folder(), JOURNAL)
}

/// Refuses a journal that does not fit what is there, before any of it is done: what it puts in place is ready or in place, what it changes is
/// a file, and the blocks that it writes are there.
fn fits(root: &Root, staging: &Staging, journal: &Journal, stop: &Stop) -> Result<()> {
    let mut fitting = Fitting { root, staging, journal, stop, open: None };
    for row in journal.rows()? {
        stop.check()?;
        fitting.row(row?)?;
    }
    fitting.blocks()
}

struct Fitting<'a> {
    root: &'a Root,
    staging: &'a Staging,
    journal: &'a Journal,
    stop: &'a Stop,
    /// The file that is changed.
    open: Option<Copied>,
}

impl Fitting<'_> {
    fn row(&mut self, row: Row) -> Result<()> {
        let root = self.root;
        if !matches!(row, Row::Copy(..)) {
            self.blocks()?;
        }
        match row {
            Row::Head(_) => return Err(damaged("it has two heads")),
            Row::Clear(..) | Row::Remove(_) => {}
            Row::Meta(line) => drop(decode(*line).map_err(|what| damaged(&what))?),
            Row::File(Name(path), size, digest) => {
                let copied = Copied::new(self.journal, size, digest)?;
                if !seen(root, &path)?.is_some_and(|seen| seen.kind == FileType::RegularFile) {
                    return Err(damaged(&format!("{path} is no file")));
                }
                self.open = Some(copied);
            }
            Row::Resize => drop(self.open()?),
            Row::Zero(from, to) => self.open()?.has((from, to))?,
            Row::Copy(from, to) => {
                let staging = self.staging;
                self.open()?.add((from, to), staging)?;
            }
            Row::Put(Name(path), lies, comes) => {
                let ready = lies.within(self.staging);
                let there = match seen(ready.root, &ready.path)? {
                    Some(ready) => Some(ready),
                    None => seen(root, &path)?,
                };
                if !there.is_some_and(|there| is(&there, comes)) {
                    return Err(damaged(&format!("{path} is neither ready nor in place")));
                }
            }
        }
        Ok(())
    }

    fn open(&mut self) -> Result<&mut Copied> {
        self.open.as_mut().ok_or_else(|| damaged("it has blocks of no file"))
    }

    /// That the blocks which are written to the open file wait.
    fn blocks(&mut self) -> Result<()> {
        let Some(copied) = &mut self.open else { return Ok(()) };
        copied.blocks(self.staging, self.stop, |_, _| Ok(()))
    }
}

fn seen(root: &Root, path: &RelPath) -> Result<Option<Seen>> {
    let look = |held: crate::volume::beneath::Held| held.look().map_err(|e: io::Error| Failure::volume("read", &root.shown(path), &e));
    root.find(path)?.map(look).transpose()
}

fn is(seen: &Seen, comes: Comes) -> bool {
    match comes {
        Comes::Folder => seen.is_dir(),
        Comes::File(size) => seen.kind == FileType::RegularFile && seen.size == size,
        Comes::Link => seen.kind == FileType::RegularFile,
        Comes::Other => matches!(seen.kind, FileType::Symlink | FileType::Fifo),
    }
}
