//! Names that their directory listed and that could not be read a moment later: either they were removed meanwhile, or the volume is
//! at fault. A name that is listed and cannot be read, again and again, is never taken for one that is not there.

use std::collections::{BTreeMap, HashSet};
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::ffi::OsStrExt;

use rustix::fs::FileType;

use crate::error::{Failure, Result};
use crate::report::Reason;
use crate::volume::beneath::{Folder, Held, Root, is_gone};
use crate::volume::path::RelPath;
use crate::volume::xattrs;

/// Looks at a name before it counts as listed and not readable. A busy writer may remove a name and create it again between any two.
const LOOKS: usize = 5;

/// How a volume is read; a test may replace it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Eyes {
    /// Finds the entry of a name that a folder lists, a link too.
    pub(crate) hold: fn(&Folder, &OsStr) -> io::Result<Held>,
    /// The names in a directory.
    pub(crate) names: fn(&Root, &RelPath) -> io::Result<Vec<OsString>>,
}

/// The system's.
pub(crate) const EYES: Eyes = Eyes { hold: Folder::hold, names: Root::names };

/// What became of a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// It is not listed any more.
    Gone,
    /// It exists and can be read: it was created again, or moved and moved back.
    Back,
    /// It is listed, and cannot be read.
    Unreadable,
}

/// Looks again for names that were listed and could not be read. Those that are back are returned; those that are still listed and still
/// cannot be read are a failure.
pub(crate) fn settle(root: &Root, names: Vec<RelPath>, eyes: Eyes) -> Result<Vec<RelPath>> {
    let mut by_directory: BTreeMap<RelPath, Vec<RelPath>> = BTreeMap::new();
    for name in names {
        let dir = name.parent().and_then(RelPath::new).unwrap_or_else(RelPath::root);
        by_directory.entry(dir).or_default().push(name);
    }
    let (mut back, mut unreadable) = (Vec::new(), Vec::new());
    let again = Again { root, eyes };
    for (dir, names) in by_directory {
        // One listing for all of a directory's: the whole directory may have been removed.
        let listed = match again.listed(&dir)? {
            Some(listed) => listed,
            None if again.fate(&dir)? == Fate::Unreadable => {
                unreadable.push(dir);
                continue;
            }
            None => continue,
        };
        for name in names.into_iter().filter(|name| listed.contains(last(name))) {
            match again.fate(&name)? {
                Fate::Gone => {}
                Fate::Back => back.push(name),
                Fate::Unreadable => unreadable.push(name),
            }
        }
    }
    if unreadable.is_empty() { Ok(back) } else { Err(failure(&unreadable)) }
}

/// Says that these names are listed and cannot be read.
pub(crate) fn failure(names: &[RelPath]) -> Failure {
    let first = names.iter().take(3).map(RelPath::to_string).collect::<Vec<_>>().join(", ");
    let more = if names.len() > 3 { format!(" and {} more", names.len() - 3) } else { String::new() };
    Failure::new(
        Reason::VolumeUnreadable,
        format!(
            "the volume lists {first}{more} but says that there is no such file when it is read; as that may be false, nothing was replicated. Check the volume's file system and the options it is mounted with, or remove or rename what is listed"
        ),
    )
}

struct Again<'a> {
    root: &'a Root,
    eyes: Eyes,
}

impl Again<'_> {
    /// What a directory lists; `None` if it cannot be found itself.
    fn listed(&self, dir: &RelPath) -> Result<Option<HashSet<OsString>>> {
        match (self.eyes.names)(self.root, dir) {
            Ok(names) => Ok(Some(names.into_iter().collect())),
            Err(error) if is_gone(&error) && !dir.is_root() => Ok(None),
            Err(error) => Err(Failure::volume("read", &self.root.shown(dir), &error)),
        }
    }

    fn fate(&self, path: &RelPath) -> Result<Fate> {
        let Some(dir) = path.parent().and_then(RelPath::new) else { return Ok(Fate::Back) };
        for _ in 0..LOOKS {
            match self.listed(&dir)? {
                Some(listed) if listed.contains(last(path)) => {}
                Some(_) => return Ok(Fate::Gone),
                // What is wrong with the directory is wrong with all in it.
                None => return self.fate(&dir),
            }
            if !self.read(&dir, path).is_err_and(|error| is_gone(&error)) {
                return Ok(Fate::Back);
            }
        }
        Ok(Fate::Unreadable)
    }

    /// Reads as much of an entry as shows whether it is there. An error of any other kind is left to the next read.
    fn read(&self, dir: &RelPath, path: &RelPath) -> io::Result<()> {
        let entry = (self.eyes.hold)(&self.root.folder(dir)?, last(path))?;
        match entry.look()?.kind {
            FileType::Directory => (self.eyes.names)(self.root, path).map(drop)?,
            FileType::Symlink => entry.target().map(drop)?,
            FileType::RegularFile => self.root.open_to_read(path).map(drop)?,
            _ => {}
        }
        xattrs::read(&entry).map(drop)
    }
}

fn last(path: &RelPath) -> &OsStr {
    OsStr::from_bytes(path.name())
}

#[cfg(test)]
mod tests {
    use super::*;
    use assert_fs::TempDir;
    use std::fs;

    const GHOST: &str = "ghost";

    fn path(name: &str) -> RelPath {
        RelPath::new(name.as_bytes()).unwrap()
    }

    /// Every directory lists a name that is not there.
    const GHOSTS: Eyes = Eyes {
        names: |root, dir| {
            let mut names = root.names(dir)?;
            names.push(GHOST.into());
            Ok(names)
        },
        ..EYES
    };

    #[test]
    fn what_was_removed_is_gone_and_what_is_back_is_reported() {
        let dir = TempDir::new().unwrap();
        fs::create_dir(dir.path().join("d")).unwrap();
        fs::write(dir.path().join("d/back"), "").unwrap();
        let names = ["gone", "d/gone", "d/back", "removed/with/all", "d/back/was a directory"].map(path).to_vec();
        assert_eq!(settle(&Root::open(dir.path()).unwrap(), names, EYES).unwrap(), [path("d/back")]);
    }

    #[test]
    fn what_is_listed_and_never_read_is_a_failure_that_names_it() {
        let dir = TempDir::new().unwrap();
        fs::create_dir(dir.path().join("d")).unwrap();
        for name in ["ghost", "d/ghost", "ghost/below"] {
            let failure = settle(&Root::open(dir.path()).unwrap(), vec![path("gone"), path(name)], GHOSTS).unwrap_err();
            assert_eq!(failure.reason, Reason::VolumeUnreadable);
            assert!(failure.message.contains(GHOST), "{failure}");
        }
        assert_eq!(settle(&Root::open(dir.path()).unwrap(), vec![path("gone")], GHOSTS).unwrap(), []);
    }
}
