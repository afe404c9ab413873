//! Observes a volume: every entry with its metadata, in path order, on one file system.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io;

use rustix::fs::FileType;
use rustix::io::Errno;

use crate::error::{Failure, Result, next_or_end};
use crate::report::Reason;
use crate::stop::Stop;
use crate::volume::beneath::{Folder, Held, Root, Seen, is_elsewhere, is_gone};
use crate::volume::entry::{Hints, Meta};
use crate::volume::exclude::Exclude;
use crate::volume::path::RelPath;
use crate::volume::vanished::{EYES, Eyes, settle};
use crate::volume::{LONGEST_PATH, LOST_AND_FOUND, STAGING_DIR, xattrs};

/// The type of what was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FoundKind {
    /// A directory.
    Dir,
    /// A regular file of this size.
    File(u64),
    /// A symbolic link and its target.
    Symlink(Box<[u8]>),
    /// A named pipe.
    Fifo,
}

/// One entry of the volume. Equal to an earlier one if and only if nothing touched it since.
#[derive(Clone, Debug, Eq)]
pub struct Found {
    /// Its name.
    pub path: RelPath,
    /// What it is.
    pub kind: FoundKind,
    /// What a pull would restore.
    pub meta: Meta,
    /// What distinguishes it from its earlier states.
    pub hints: Hints,
    /// The file system that its inode is on: of one volume, they may be several. No part of equality: a number of this start of the machine.
    pub device: (u32, u32),
    /// Names of this inode.
    pub links: u64,
    /// A file that takes less room than its size, so it may have holes. No part of equality: the room is settled when the
    /// file system writes out, although nothing touches the file.
    pub sparse: bool,
    /// Whether it is immutable or append-only. No part of equality: it is not replicated.
    pub fixed: bool,
}

/// The file system of an inode, and its number there.
pub type Inode = ((u32, u32), u64);

impl Found {
    /// About the memory that it takes, in bytes.
    pub fn bytes(&self) -> usize {
        let target = if let FoundKind::Symlink(target) = &self.kind { target.len() } else { 0 };
        size_of::<Self>() + self.path.as_bytes().len() + self.meta.attributes.bytes() + target
    }

    /// The inode that this is a name of.
    pub fn inode(&self) -> Inode {
        (self.device, self.hints.inode)
    }
}

impl PartialEq for Found {
    fn eq(&self, other: &Self) -> bool {
        let Self { path, kind, meta, hints, links, device: _, sparse: _, fixed: _ } = self;
        (path, kind, meta, hints, links) == (&other.path, &other.kind, &other.meta, &other.hints, &other.links)
    }
}

/// Walks a volume: every entry in path order, the root first. The first failure ends it.
#[derive(Debug)]
pub struct Walk<'a> {
    root: &'a Root,
    stop: &'a Stop,
    exclude: Option<&'a Exclude>,
    device: (u32, u32),
    began: bool,
    /// The directories above the next entry, the root first.
    above: Vec<Level>,
    ended: bool,
    /// What was left out so far, by kind: `sockets`, `devices`, `otherFileSystems`, `lostAndFound`, and entries with `otherAttributes`.
    pub skipped: BTreeMap<String, u64>,
    /// Whether an unfinished pull left its staging folder behind.
    pub staging: bool,
    /// What was listed and could not be read: checked again before the walk ends.
    vanished: Vec<RelPath>,
    /// What exists although the walk left it out, because it could not be read.
    pub unsettled: Vec<RelPath>,
    eyes: Eyes,
}

/// A directory that is being walked.
#[derive(Debug)]
struct Level {
    path: RelPath,
    /// Closed while the walk is far below it.
    folder: Option<Folder>,
    /// Names in it that come yet, the last one first.
    names: Vec<OsString>,
}

/// How many names are remembered before they are checked again.
const VANISHED: usize = 10_000;
/// How many directories are open at a time.
const MOST_OPEN: usize = 16;

/// Begins to walk the volume at `root`. What is removed during the walk is left out: a caller that must know walks twice. What is listed and
/// cannot be read is a failure.
pub fn walk<'a>(root: &'a Root, stop: &'a Stop) -> Result<Walk<'a>> {
    walk_with(root, stop, EYES)
}

fn walk_with<'a>(root: &'a Root, stop: &'a Stop, eyes: Eyes) -> Result<Walk<'a>> {
    let device = look(root, &RelPath::root())?.1.device;
    Ok(Walk {
        root,
        stop,
        exclude: None,
        device,
        began: false,
        above: Vec::new(),
        ended: false,
        skipped: BTreeMap::new(),
        staging: false,
        vanished: Vec::new(),
        unsettled: Vec::new(),
        eyes,
    })
}

fn look(root: &Root, path: &RelPath) -> Result<(Held, Seen)> {
    let look = || root.hold(path).and_then(|held| held.look().map(|seen| (held, seen)));
    look().map_err(|e| Failure::volume("read", &root.shown(path), &e))
}

impl Iterator for Walk<'_> {
    type Item = Result<Found>;

    fn next(&mut self) -> Option<Self::Item> {
        next_or_end(self, |walk| &mut walk.ended, Self::found)
    }
}

impl<'a> Walk<'a> {
    /// Leaves out what `exclude` does. A directory among that is not opened; an entry that is, whatever its type, is not even looked at.
    #[must_use]
    pub fn without(self, exclude: &'a Exclude) -> Self {
        Self { exclude: Some(exclude).filter(|exclude| !exclude.is_empty()), ..self }
    }
}

impl Walk<'_> {
    fn found(&mut self) -> Result<Option<Found>> {
        if !std::mem::replace(&mut self.began, true) {
            let root = RelPath::root();
            let (held, seen) = look(self.root, &root)?;
            let (found, _) = found(root.clone(), FoundKind::Dir, &held, &seen).map_err(|e| self.unreadable_meta(&root, &e))?;
            self.enter(root)?;
            return Ok(Some(found));
        }
        loop {
            self.stop.check()?;
            if self.vanished.len() >= VANISHED {
                self.settle()?;
            }
            let Some(level) = self.above.last_mut() else { break };
            let Some(name) = level.names.pop() else {
                self.above.pop();
                continue;
            };
            let path = level.path.child(&name);
            // That of a pull that is unfinished is told whatever is left out.
            if path.as_bytes() != STAGING_DIR.as_bytes() && self.exclude.is_some_and(|exclude| exclude.leaves_out_any(&path)) {
                continue;
            }
            let folder = match &level.folder {
                Some(folder) => folder,
                None => match self.root.folder(&level.path) {
                    Ok(folder) => level.folder.insert(folder),
                    Err(error) if is_gone(&error) => {
                        self.vanished.push(path);
                        continue;
                    }
                    Err(error) => return Err(unreadable(self.root, &level.path, &error)),
                },
            };
            let entry = (self.eyes.hold)(folder, &name).and_then(|held| held.look().map(|seen| (held, seen)));
            if let Some(found) = self.entry(path, entry)? {
                if found.kind == FoundKind::Dir {
                    self.enter(found.path.clone())?;
                }
                return Ok(Some(found));
            }
        }
        self.settle()?;
        Ok(None)
    }

    /// Reads the names of a directory that was found.
    fn enter(&mut self, path: RelPath) -> Result<()> {
        let read = || {
            let folder = self.root.folder(&path)?;
            let mut names = folder.names()?;
            names.sort_unstable_by(|a, b| b.cmp(a));
            io::Result::Ok((folder, names))
        };
        match read() {
            Ok((folder, names)) => {
                if let Some(far) = self.above.len().checked_sub(MOST_OPEN).and_then(|far| self.above.get_mut(far)) {
                    far.folder = None;
                }
                self.above.push(Level { path, folder: Some(folder), names });
            }
            Err(error) if is_gone(&error) && !path.is_root() => self.vanished.push(path),
            Err(error) => return Err(unreadable(self.root, &path, &error)),
        }
        Ok(())
    }

    /// Looks again for what could not be read.
    fn settle(&mut self) -> Result<()> {
        if !self.vanished.is_empty() {
            self.unsettled.extend(settle(self.root, std::mem::take(&mut self.vanished), self.eyes)?);
        }
        Ok(())
    }

    fn unreadable_meta(&self, path: &RelPath, error: &io::Error) -> Failure {
        Failure::volume("read the metadata of", &self.root.shown(path), error)
    }

    fn vanish(&mut self, path: RelPath) -> Option<Found> {
        self.vanished.push(path);
        None
    }

    /// `None` for what is left out.
    fn entry(&mut self, path: RelPath, entry: io::Result<(Held, Seen)>) -> Result<Option<Found>> {
        if self.root.shown(&path).as_os_str().len() > LONGEST_PATH {
            return Err(unreadable(self.root, &path, &Errno::NAMETOOLONG.into()));
        }
        let (held, seen) = match entry {
            Err(error) if is_gone(&error) => return Ok(self.vanish(path)),
            Err(error) if is_elsewhere(&error) => {
                self.skip("otherFileSystems");
                return Ok(None);
            }
            Err(error) => return Err(unreadable(self.root, &path, &error)),
            Ok(entry) => entry,
        };
        if path.as_bytes() == STAGING_DIR.as_bytes() {
            self.staging = true;
            return Ok(None);
        }
        if self.exclude.is_some_and(|exclude| exclude.leaves_out(&path, seen.is_dir())) {
            return Ok(None);
        }
        if seen.is_dir() && seen.device != self.device {
            self.skip("otherFileSystems");
            return Ok(None);
        }
        if seen.is_dir() && path.as_bytes() == LOST_AND_FOUND.as_bytes() {
            // Empty on a healthy file system; what fsck put there belongs to that file system alone.
            if self.root.names(&path).is_ok_and(|names| !names.is_empty()) {
                self.skip(LEFT_LOST_AND_FOUND);
            }
            return Ok(None);
        }
        let kind = match seen.kind {
            FileType::Directory => FoundKind::Dir,
            FileType::RegularFile => FoundKind::File(seen.size),
            FileType::Symlink => {
                FoundKind::Symlink(held.target().map_err(|e| Failure::volume("read the link", &self.root.shown(&path), &e))?)
            }
            FileType::Fifo => FoundKind::Fifo,
            other => {
                self.skip(if other == FileType::Socket { "sockets" } else { "devices" });
                return Ok(None);
            }
        };
        let (found, others) = match found(path.clone(), kind, &held, &seen) {
            Err(error) if is_gone(&error) => return Ok(self.vanish(path)),
            found => found.map_err(|e| self.unreadable_meta(&path, &e))?,
        };
        if others {
            self.skip(OTHER_ATTRIBUTES);
        }
        Ok(Some(found))
    }

    fn skip(&mut self, kind: &str) {
        *self.skipped.entry(kind.to_owned()).or_default() += 1;
    }
}

/// Kind in [`Walk::skipped`]: what lies in a `lost+found` of the root, or in its way.
pub const LEFT_LOST_AND_FOUND: &str = "lostAndFound";

/// Kind in [`Walk::skipped`]: entries with attributes that only their own kind of file system has, such as NFSv4 ACLs.
pub const OTHER_ATTRIBUTES: &str = "otherAttributes";

fn found(path: RelPath, kind: FoundKind, entry: &Held, seen: &Seen) -> io::Result<(Found, bool)> {
    let (meta, others) = meta(entry, seen)?;
    let hints = Hints { ctime: seen.ctime, inode: seen.inode };
    let sparse = matches!(kind, FoundKind::File(size) if seen.blocks.saturating_mul(512) < size);
    Ok((Found { path, kind, meta, hints, device: seen.device, links: seen.links, sparse, fixed: seen.fixed }, others))
}

/// The metadata of an entry, and whether it has attributes that are not replicated.
pub fn meta(entry: &Held, seen: &Seen) -> io::Result<(Meta, bool)> {
    let attributes = xattrs::read(entry)?;
    let mode = if seen.kind == FileType::Symlink { 0 } else { seen.mode };
    Ok((Meta { mode, uid: seen.uid, gid: seen.gid, mtime: seen.mtime, attributes: attributes.attributes }, attributes.others))
}

fn unreadable(root: &Root, path: &RelPath, error: &io::Error) -> Failure {
    let shown = root.shown(path);
    if error.raw_os_error() == Some(Errno::NAMETOOLONG.raw_os_error()) {
        return Failure::new(
            Reason::VolumeUnreadable,
            format!(
                "cannot read {}: its path is longer than the {LONGEST_PATH} bytes that Linux opens; move it further up, or shorten the names above it",
                shown.display()
            ),
        );
    }
    Failure::volume("read", &shown, error)
}

#[cfg(test)]
mod tests;
