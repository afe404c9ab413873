//! Makes all that a pull is going to put in place, in the staging folder and with its metadata: files, directories, links and pipes, and the
//! room that their names take. What a volume cannot take shows there, before anything of it is changed.

#![allow(clippy::redundant_closure_for_method_calls, reason = "a method of `Place` by its path is one of a single lifetime")]

use std::collections::HashMap;
use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;

use rustix::fs::{FallocateFlags, fallocate};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::plan::{Action, PullPlan, Step};
use super::ready::Ready;
use super::restore::{Tally, restore};
use super::staging::Staging;
use crate::digest::Digest;
use crate::error::{Failure, Result};
use crate::report::Reason;
use crate::stop::Stop;
use crate::volume::beneath::{Place, Root};
use crate::volume::entry::{Entry, FileEntry, Kind};
use crate::volume::holes;
use crate::volume::path::RelPath;

/// What became of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Made {
    /// Nothing had to be made.
    Nothing,
    /// It is ready under the step's number.
    Numbered,
    /// It is the verified content itself.
    Verified,
    /// A directory within one that is ready.
    Within,
}

/// What is ready for some steps, in their order.
#[derive(Debug)]
pub(super) struct Prepared {
    first: u64,
    made: Vec<Made>,
}

impl Prepared {
    /// What is ready for these steps, which are those that it was made for.
    pub(super) fn ready(self, steps: impl Iterator<Item = Result<Step>>) -> impl Iterator<Item = Result<(Step, Option<Lies>)>> {
        (self.first..).zip(self.made).zip(steps).map(|((number, made), step)| {
            let step = step?;
            let lies = match (made, step.1.file()) {
                (Made::Nothing | Made::Within, _) => None,
                (Made::Verified, Some(file)) => Some(Lies::Content(file.sha256)),
                _ => Some(Lies::Numbered(number)),
            };
            Ok((step, lies))
        })
    }
}

/// Where in the staging folder something lies that is ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum Lies {
    /// It is verified content.
    Content(Digest),
    /// It was made ready under this number.
    Numbered(u64),
}

impl Lies {
    /// What lies there.
    pub(super) fn within<'a>(&self, staging: &'a Staging) -> Ready<'a> {
        match self {
            Self::Content(digest) => Ready { root: staging.verified(), path: Staging::content(digest) },
            Self::Numbered(number) => numbered(staging, *number),
        }
    }
}

/// Makes things ready.
pub(super) struct Preparer<'a> {
    root: &'a Root,
    staging: &'a Staging,
    plan: &'a PullPlan,
    /// Of content that several files are made of: how many are left.
    uses: HashMap<Digest, usize>,
    next: u64,
    stop: &'a Stop,
    /// Where first names of several that are to be made lie.
    firsts: HashMap<RelPath, Ready<'a>>,
    /// Directories that are ready, each within the one before: those above the step at hand.
    above: Vec<(RelPath, RelPath)>,
}

/// The name, among what is made ready, of a file that keeps room free.
const RESERVE: &str = "reserve";

impl<'a> Preparer<'a> {
    pub(super) fn new(root: &'a Root, plan: &'a PullPlan, staging: &'a Staging, stop: &'a Stop) -> Self {
        let uses = plan.shared_content();
        Self { root, staging, plan, uses, next: 0, stop, firsts: HashMap::new(), above: Vec::new() }
    }

    /// Whether more than one file is still to be made of this content.
    pub(super) fn is_shared(&self, digest: &Digest) -> bool {
        self.uses.get(digest).is_some_and(|left| *left > 1)
    }

    /// Makes what these steps put in place; the content is verified. If that fails, it is as if it had not been tried.
    pub(super) fn prepare(&mut self, steps: impl Iterator<Item = Result<Step>>, whole: bool, tally: &mut Tally) -> Result<Prepared> {
        let (uses, counted) = (self.uses.clone(), tally.clone());
        let prepared = self.all(steps, whole, tally);
        // What is in place by the next time need not be found here.
        self.firsts.clear();
        self.above.clear();
        if prepared.is_err() {
            (self.uses, *tally) = (uses, counted);
            self.staging.clear_temporary(&self.stop.unheeded())?;
        }
        prepared
    }

    fn all(&mut self, steps: impl Iterator<Item = Result<Step>>, whole: bool, tally: &mut Tally) -> Result<Prepared> {
        let mut prepared = Prepared { first: self.next, made: Vec::new() };
        let mut names = Names::default();
        for step in steps {
            self.stop.check()?;
            let (action, entry) = step?;
            let number = self.next;
            self.next += 1;
            let made = self.make(action, &entry, number, tally)?;
            if !matches!(made, Made::Nothing | Made::Within) {
                names.add(&entry.path);
            }
            prepared.made.push(made);
        }
        if whole {
            self.reserve(names.room)?;
        }
        Ok(prepared)
    }

    fn make(&mut self, action: Action, entry: &Entry, number: u64, tally: &mut Tally) -> Result<Made> {
        let shown = || self.root.shown(&entry.path);
        let ready = numbered(self.staging, number);
        match (action, &entry.kind) {
            (Action::MakeDir, _) => return self.directory(entry, ready),
            (Action::PutFile, Kind::File(file)) => return self.file(entry, file, ready, tally),
            (Action::Link, Kind::File(file)) => {
                let first = file.link.as_ref().unwrap_or(&entry.path);
                let link = |place: &Place| match self.firsts.get(first) {
                    Some(ready) => ready.with(|first| first.link_to(place)),
                    None => self.root.at(first)?.link_to(place),
                };
                ready.with(link).map_err(|e| unlinked(&Failure::volume("link", &self.root.shown(first), &e), &e))?;
            }
            (Action::PutSymlink, Kind::Symlink(target)) => {
                let make = ready.with(|place| place.make_symlink(target));
                make.map_err(|e| Failure::volume("make the symbolic link", &shown(), &e))?;
                restore(ready.root, &ready.path, entry, tally)?;
            }
            (Action::PutFifo, _) => {
                ready.with(|place| place.make_fifo()).map_err(|e| Failure::volume("make the pipe", &shown(), &e))?;
                restore(ready.root, &ready.path, entry, tally)?;
            }
            _ => return Ok(Made::Nothing),
        }
        Ok(Made::Numbered)
    }

    /// Its own metadata comes last; until then only we get in.
    fn directory(&mut self, entry: &Entry, ready: Ready) -> Result<Made> {
        while self.above.last().is_some_and(|(dir, _)| !entry.path.is_below(dir)) {
            self.above.pop();
        }
        let parent = self.above.last().filter(|(dir, _)| entry.path.parent() == Some(dir.as_bytes()));
        let (path, made) = match parent {
            Some((_, parent)) => (parent.child(OsStr::from_bytes(entry.path.name())), Made::Within),
            None => (ready.path, Made::Numbered),
        };
        let make = || ready.root.at(&path)?.make_folder(0o700);
        make().map_err(|e| Failure::volume("make the directory", &self.root.shown(&entry.path), &e))?;
        self.above.push((entry.path.clone(), path));
        Ok(made)
    }

    fn file(&mut self, entry: &Entry, file: &FileEntry, ready: Ready<'a>, tally: &mut Tally) -> Result<Made> {
        let verified = Ready { root: self.staging.verified(), path: Staging::content(&file.sha256) };
        Self::check_size(&verified, entry, file)?;
        let last = self.uses.get_mut(&file.sha256).is_none_or(|left| {
            *left = left.saturating_sub(1);
            *left == 0
        });
        let (ready, made) = if file.size == 0 {
            ready.with(|place| place.make_file()).map_err(|e| Failure::volume("make", &self.root.shown(&entry.path), &e))?;
            (ready, Made::Numbered)
        } else if last {
            (verified, Made::Verified)
        } else {
            let Some(mut content) = verified.root.file(&verified.path)? else {
                return Err(Failure::volume("read", &verified.shown(), &io::ErrorKind::NotFound.into()));
            };
            let copy = ready.with(|place| {
                let mut file = place.make_file()?;
                io::copy(&mut content, &mut file)?;
                ready.root.flush(&file)
            });
            copy.map_err(|e| Failure::volume("copy", &verified.shown(), &e))?;
            (ready, Made::Numbered)
        };
        if !file.holes.is_empty() && !holes::punch(ready.root, &ready.path, &file.holes, self.stop)? {
            *tally.entry("holes".into()).or_default() += 1;
        }
        restore(ready.root, &ready.path, entry, tally)?;
        if self.plan.linked.contains(&entry.path) {
            self.firsts.insert(entry.path.clone(), ready);
        }
        Ok(made)
    }

    /// The content is what the hash says. If the size that the manifest has is another one, the volume would not be what it says.
    fn check_size(verified: &Ready, entry: &Entry, file: &FileEntry) -> Result<()> {
        let size = if file.size == 0 {
            if file.sha256 == Digest(Sha256::digest(b"").into()) { 0 } else { return Err(Self::of_another_size(entry)) }
        } else {
            let failed = |e| Failure::volume("read", &verified.shown(), &e);
            verified.root.hold(&verified.path).and_then(|held| held.look()).map_err(failed)?.size
        };
        if size == file.size { Ok(()) } else { Err(Self::of_another_size(entry)) }
    }

    fn of_another_size(entry: &Entry) -> Failure {
        Failure::new(Reason::RemoteInconsistent, format!("the manifest gives {} another size than its content has", entry.path))
    }

    /// A directory that gets a name more may have to grow by a block, and there is nothing that can be put back then.
    fn reserve(&self, room: u64) -> Result<()> {
        if room == 0 {
            return Ok(());
        }
        let ready = Ready { root: self.staging.temporary(), path: RelPath::own(RESERVE) };
        let file = ready.with(|place| place.make_file()).map_err(|e| Failure::volume("make", &ready.shown(), &e))?;
        match fallocate(&file, FallocateFlags::empty(), 0, room) {
            Ok(()) | Err(Errno::NOTSUP | Errno::NOSYS | Errno::INVAL) => Ok(()),
            Err(errno) => Err(Failure::volume("keep room for names, at", &ready.shown(), &errno.into())),
        }
    }
}

/// Gives the room free that was kept for the names.
pub(super) fn release(staging: &Staging) -> Result<()> {
    staging.remove_temporary(RESERVE)
}

fn numbered(staging: &Staging, number: u64) -> Ready<'_> {
    Ready { root: staging.temporary(), path: RelPath::root().child(number.to_string()) }
}

/// A failure to make a hard link, with what that means.
fn unlinked(failure: &Failure, error: &io::Error) -> Failure {
    let what = match error.raw_os_error().map(Errno::from_raw_os_error) {
        Some(Errno::NOTSUP | Errno::PERM | Errno::NOSYS) => "this volume cannot hold hard links, which the source has",
        Some(Errno::MLINK) => "this volume cannot hold as many names of one file as the source has",
        _ => return failure.clone(),
    };
    Failure::new(Reason::VolumeUnreadable, format!("{}: {what}; nothing was changed", failure.message))
}

/// The room that new names take in directories that are there.
#[derive(Default)]
struct Names {
    room: u64,
    parent: Vec<u8>,
}

impl Names {
    fn add(&mut self, path: &RelPath) {
        /// What a file system keeps beside a name, and that blocks are never full.
        const ENTRY: u64 = 16;
        /// What a directory may take for its first name more: it is split, and its index with it.
        const SPLIT: u64 = 3 * 4096;
        let parent = path.parent().unwrap_or_default();
        if self.room == 0 || self.parent != parent {
            self.room += SPLIT;
            self.parent = parent.to_vec();
        }
        self.room += 2 * (path.name().len() as u64 + ENTRY);
    }
}
