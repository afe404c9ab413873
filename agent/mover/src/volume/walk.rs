//! Observes a volume: every entry with its metadata, in path order, on one file system.

use std::collections::BTreeMap;
use std::fs::Metadata;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

use rustix::io::Errno;
use walkdir::{DirEntry, WalkDir};

use crate::error::{Failure, Result, next_or_end};
use crate::report::Reason;
use crate::stop::Stop;
use crate::volume::entry::{Hints, Meta, Time};
use crate::volume::path::RelPath;
use crate::volume::vanished::{EYES, Eyes, is_gone, settle};
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
    /// Names of this inode.
    pub links: u64,
    /// A file that takes less room than its size, so it may have holes. No part of equality: the room is settled when the
    /// file system writes out, although nothing touches the file.
    pub sparse: bool,
}

impl PartialEq for Found {
    fn eq(&self, other: &Self) -> bool {
        let Self { path, kind, meta, hints, links, sparse: _ } = self;
        (path, kind, meta, hints, links) == (&other.path, &other.kind, &other.meta, &other.hints, &other.links)
    }
}

/// Walks a volume: every entry in path order, the root first. The first failure ends it.
#[derive(Debug)]
pub struct Walk<'a> {
    root: &'a Path,
    stop: &'a Stop,
    device: Metadata,
    entries: walkdir::IntoIter,
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

/// How many names are remembered before they are checked again.
const VANISHED: usize = 10_000;

/// Begins to walk the volume at `root`. What is removed during the walk is left out: a caller that must know walks twice. What is listed and
/// cannot be read is a failure.
pub fn walk<'a>(root: &'a Path, stop: &'a Stop) -> Result<Walk<'a>> {
    walk_with(root, stop, EYES)
}

fn walk_with<'a>(root: &'a Path, stop: &'a Stop, eyes: Eyes) -> Result<Walk<'a>> {
    let device = std::fs::metadata(root).map_err(|e| Failure::volume("read", root, &e))?;
    if !device.is_dir() {
        return Err(Failure::new(Reason::VolumeUnreadable, format!("{} is no directory", root.display())));
    }
    let entries = WalkDir::new(root).follow_links(false).follow_root_links(true).sort_by_file_name().into_iter();
    let (skipped, vanished, unsettled) = (BTreeMap::new(), Vec::new(), Vec::new());
    Ok(Walk { root, stop, device, entries, ended: false, skipped, staging: false, vanished, unsettled, eyes })
}

impl Iterator for Walk<'_> {
    type Item = Result<Found>;

    fn next(&mut self) -> Option<Self::Item> {
        next_or_end(self, |walk| &mut walk.ended, Self::found)
    }
}

impl Walk<'_> {
    fn found(&mut self) -> Result<Option<Found>> {
        while let Some(entry) = self.entries.next() {
            self.stop.check()?;
            let entry = match entry {
                Err(error) if error.depth() > 0 && error.io_error().is_some_and(is_gone) => {
                    if let Some(path) = error.path() {
                        self.vanished.push(self.below(path)?);
                    }
                    continue;
                }
                entry => entry.map_err(|e| walk_failure(self.root, e))?,
            };
            if self.vanished.len() >= VANISHED {
                self.settle()?;
            }
            let found = self.look(&entry)?;
            if entry.file_type().is_dir() && found.as_ref().is_none_or(|found| found.kind != FoundKind::Dir) {
                // Nothing is found below what is left out.
                self.entries.skip_current_dir();
            }
            if found.is_some() {
                return Ok(found);
            }
        }
        self.settle()?;
        Ok(None)
    }

    /// Looks again for what could not be read.
    fn settle(&mut self) -> Result<()> {
        if !self.vanished.is_empty() {
            self.unsettled.extend(settle(self.root, std::mem::take(&mut self.vanished), self.eyes)?);
        }
        Ok(())
    }

    fn below(&self, path: &Path) -> Result<RelPath> {
        let below = path.strip_prefix(self.root).unwrap_or(Path::new(""));
        RelPath::new(below.as_os_str().as_bytes())
            .ok_or_else(|| Failure::new(Reason::VolumeUnreadable, format!("an impossible name: {}", below.display())))
    }

    fn vanish(&mut self, path: RelPath) -> Option<Found> {
        self.vanished.push(path);
        None
    }

    /// `None` for what is left out.
    fn look(&mut self, entry: &DirEntry) -> Result<Option<Found>> {
        let path = self.below(entry.path())?;
        let meta = match (self.eyes.stat)(entry.path()) {
            _ if path.is_root() => self.device.clone(),
            Err(error) if is_gone(&error) => return Ok(self.vanish(path)),
            Err(error) => return Err(unreadable(entry.path(), &error)),
            Ok(meta) => meta,
        };
        if entry.depth() == 1 && path.as_bytes() == STAGING_DIR.as_bytes() {
            self.staging = true;
            return Ok(None);
        }
        if meta.is_dir() && meta.dev() != self.device.dev() {
            self.skip("otherFileSystems");
            return Ok(None);
        }
        if entry.depth() == 1 && meta.is_dir() && path.as_bytes() == LOST_AND_FOUND.as_bytes() {
            // Empty on a healthy file system; what fsck put there belongs to that file system alone.
            if std::fs::read_dir(entry.path()).is_ok_and(|mut dir| dir.next().is_some()) {
                self.skip(LEFT_LOST_AND_FOUND);
            }
            return Ok(None);
        }
        let file_type = meta.file_type();
        let kind = if file_type.is_dir() {
            FoundKind::Dir
        } else if file_type.is_file() {
            FoundKind::File(meta.len())
        } else if file_type.is_symlink() {
            match std::fs::read_link(entry.path()) {
                Ok(target) => FoundKind::Symlink(target.as_os_str().as_bytes().into()),
                // Gone, or no link any more.
                Err(error) if is_gone(&error) || error.kind() == io::ErrorKind::InvalidInput => return Ok(self.vanish(path)),
                Err(error) => return Err(Failure::volume("read the link", entry.path(), &error)),
            }
        } else if file_type.is_fifo() {
            FoundKind::Fifo
        } else {
            self.skip(if file_type.is_socket() { "sockets" } else { "devices" });
            return Ok(None);
        };
        let (found, others) = match found(path.clone(), kind, entry.path(), &meta) {
            Err(error) if is_gone(&error) && entry.depth() > 0 => return Ok(self.vanish(path)),
            found => found.map_err(|e| Failure::volume("read the metadata of", entry.path(), &e))?,
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

fn found(path: RelPath, kind: FoundKind, at: &Path, there: &Metadata) -> io::Result<(Found, bool)> {
    let (meta, others) = meta(at, there, matches!(kind, FoundKind::Symlink(_)))?;
    let hints = Hints { ctime: time(there.ctime(), there.ctime_nsec())?, inode: there.ino() };
    let sparse = matches!(kind, FoundKind::File(size) if there.blocks().saturating_mul(512) < size);
    Ok((Found { path, kind, meta, hints, links: there.nlink(), sparse }, others))
}

/// The metadata of the entry at `path`, of a `link` itself, and whether it has attributes that are not replicated.
pub fn meta(path: &Path, there: &Metadata, link: bool) -> io::Result<(Meta, bool)> {
    let seen = xattrs::read(path)?;
    let mode = if link { 0 } else { there.mode() & 0o7777 };
    let mtime = time(there.mtime(), there.mtime_nsec())?;
    Ok((Meta { mode, uid: there.uid(), gid: there.gid(), mtime, attributes: seen.attributes }, seen.others))
}

fn time(secs: i64, nanos: i64) -> io::Result<Time> {
    let nanos = u32::try_from(nanos).map_err(|_| io::Error::other("it has an impossible time"))?;
    Ok(Time { secs, nanos })
}

fn walk_failure(root: &Path, error: walkdir::Error) -> Failure {
    let path = error.path().unwrap_or(root).to_path_buf();
    unreadable(&path, &error.into_io_error().unwrap_or_else(|| io::Error::other("a loop of links")))
}

fn unreadable(path: &Path, error: &io::Error) -> Failure {
    if error.raw_os_error() == Some(Errno::NAMETOOLONG.raw_os_error()) {
        return Failure::new(
            Reason::VolumeUnreadable,
            format!(
                "cannot read {}: its path is longer than the {LONGEST_PATH} bytes that Linux opens; move it further up, or shorten the names above it",
                path.display()
            ),
        );
    }
    Failure::volume("read", path, error)
}

#[cfg(test)]
mod tests {
    use super::*;
    use assert_fs::TempDir;
    use std::os::unix::fs::symlink;

    struct Walked {
        found: Vec<Found>,
        skipped: BTreeMap<String, u64>,
        staging: bool,
    }

    fn look(root: &Path) -> Walked {
        let stop = Stop::default();
        let mut walk = walk(root, &stop).unwrap();
        let found = walk.by_ref().collect::<Result<_>>().unwrap();
        Walked { found, skipped: walk.skipped, staging: walk.staging }
    }

    #[test]
    fn the_walk_is_in_path_order_and_counts_what_it_leaves_out() {
        let dir = TempDir::new().unwrap();
        for name in ["a.b", "a-b", "sub/lost+found/x", "lost+found/x", "sub/.scribe-staging"] {
            let path = dir.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "12345").unwrap();
        }
        symlink("nowhere", dir.path().join("a")).unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(dir.path().join("s")).unwrap();
        let walk = look(dir.path());
        let names: Vec<_> = walk.found.iter().map(|f| String::from_utf8_lossy(f.path.as_bytes()).into_owned()).collect();
        assert_eq!(names, ["", "a", "a-b", "a.b", "sub", "sub/.scribe-staging", "sub/lost+found", "sub/lost+found/x"]);
        assert_eq!(walk.skipped, BTreeMap::from([("lostAndFound".into(), 1), ("sockets".into(), 1)]));
        assert_eq!(walk.found[1].kind, FoundKind::Symlink((*b"nowhere").into()));
        assert_eq!(walk.found[2].kind, FoundKind::File(5));
        assert!(!walk.staging);
    }

    #[test]
    fn attributes_are_part_of_an_entry_and_labels_of_the_site_are_not() {
        let dir = TempDir::new().unwrap();
        for name in ["a", "b"] {
            std::fs::write(dir.path().join(name), name).unwrap();
        }
        let set = |name: &str, value: &[u8]| rustix::fs::setxattr(dir.path().join("a"), name, value, rustix::fs::XattrFlags::empty());
        let plain = look(dir.path());
        set("user.colour", b"red").unwrap();
        let coloured = look(dir.path());
        assert_eq!(coloured.found[1].meta.attributes.get(b"user.colour"), Some(&b"red"[..]));
        assert_ne!(plain.found[1], coloured.found[1]);
        assert_eq!(plain.found[2], coloured.found[2]);
        assert!(coloured.skipped.is_empty());
    }

    #[test]
    fn staging_of_an_unfinished_pull_is_reported_and_not_entered() {
        let dir = TempDir::new().unwrap();
        std::fs::create_dir_all(dir.path().join(STAGING_DIR).join("x")).unwrap();
        let walk = look(dir.path());
        assert!(walk.staging && walk.found.len() == 1);
    }

    #[test]
    fn what_is_listed_and_cannot_be_read_is_named_and_what_was_removed_is_left_out() {
        let dir = TempDir::new().unwrap();
        for name in ["a/removed", "b/removed", "c/ghost", "z"] {
            std::fs::create_dir_all(dir.path().join(name).parent().unwrap()).unwrap();
            std::fs::write(dir.path().join(name), "x").unwrap();
        }
        let stop = Stop::default();
        let mut walk = super::walk(dir.path(), &stop).unwrap();
        // Removed right after it was found, and right after its directory was read.
        let names = walk.by_ref().map(|found| found.unwrap().path.to_string()).inspect(|name| match name.as_str() {
            "a" => std::fs::remove_dir_all(dir.path().join("a")).unwrap(),
            "b" => std::fs::remove_file(dir.path().join("b/removed")).unwrap(),
            _ => {}
        });
        assert_eq!(names.collect::<Vec<_>>()[1..], ["a", "b", "c", "c/ghost", "z"]);
        assert_eq!(walk.unsettled, []);

        let no_ghost: fn(&Path) -> io::Result<Metadata> = |path| match path.file_name() {
            Some(name) if name == "ghost" => Err(Errno::NOENT.into()),
            _ => path.symlink_metadata(),
        };
        let failure = walk_with(dir.path(), &stop, Eyes { stat: no_ghost, ..EYES }).unwrap().find_map(Result::err).unwrap();
        assert_eq!(failure.reason, Reason::VolumeUnreadable);
        assert!(failure.message.contains("c/ghost"), "{failure}");
    }

    type Names = fn(&Path) -> io::Result<Vec<std::ffi::OsString>>;

    #[test]
    fn a_directory_that_cannot_be_opened_is_named_and_one_that_is_back_is_noted() {
        let dir = TempDir::new().unwrap();
        let there = dir.path().join("d");
        let ghost: Names = |dir| dir.symlink_metadata().map(|_| vec!["d".into()]);
        let back: Names = |dir| {
            if !dir.ends_with("d") {
                std::fs::create_dir_all(dir.join("d"))?;
            }
            (EYES.names)(dir)
        };
        let stop = Stop::default();
        for names in [ghost, back] {
            std::fs::create_dir_all(there.join("below")).unwrap();
            let mut walk = walk_with(dir.path(), &stop, Eyes { names, ..EYES }).unwrap();
            assert!(walk.next().unwrap().unwrap().path.is_root());
            std::fs::remove_dir_all(&there).unwrap();
            match walk.next() {
                None => assert_eq!(walk.unsettled[0].as_bytes(), b"d"),
                Some(failure) => {
                    let failure = failure.unwrap_err();
                    assert!(failure.reason == Reason::VolumeUnreadable && failure.message.contains(" d "), "{failure}");
                }
            }
            assert_eq!(walk.unsettled.is_empty(), !there.exists());
        }
    }

    #[test]
    fn a_missing_volume_is_named() {
        let failure = walk(Path::new("/nonexistent/volume"), &Stop::default()).unwrap_err();
        assert_eq!(failure.reason, Reason::VolumeUnreadable);
        assert!(failure.message.contains("/nonexistent/volume"));
    }
}
