//! Names that a volume takes for one, or changes: SMB shares and others fold case, compose or decompose letters, or cut dots and blanks at
//! the end of a name. Which of them are one, the volume itself says: all are made in the staging folder, before anything is changed.

use std::ffi::OsStr;
use std::io;

use rustix::io::Errno;

use super::staging::Staging;
use crate::error::{Failure, Result};
use crate::format::entries::Entries;
use crate::report::Reason;
use crate::stop::Stop;
use crate::volume::LOST_AND_FOUND;
use crate::volume::beneath::{Place, Root};
use crate::volume::entry::{Entry, Kind};
use crate::volume::merge_join::join;
use crate::volume::path::RelPath;
use crate::volume::walk::walk;

/// Where names are tried out.
const FOLDER: &str = "names";
/// Names, and others that are found under them where a volume merges names.
const PROBES: [(&str, Option<&str>); 4] = [("Case", Some("cASE")), ("\u{e9}", Some("e\u{301}")), ("dot.", None), ("blank ", None)];

/// Whether the volume is one that merges or changes names, tried out with a few.
pub(super) fn merges(staging: &Staging) -> Result<bool> {
    within(staging, |folder| {
        for (name, _) in PROBES {
            if !made(folder, &RelPath::root().child(name), |place| place.make_file().map(drop))? {
                return Ok(true);
            }
        }
        let names = folder.names(&RelPath::root()).map_err(|e| failed(folder, &RelPath::root(), &e))?;
        let changed = PROBES.iter().any(|(name, _)| !names.iter().any(|there| there == OsStr::new(name)));
        let found = |name: &str| folder.hold(&RelPath::root().child(name)).is_ok();
        Ok(changed || PROBES.iter().any(|(_, other)| other.is_some_and(found)))
    })
}

/// Refuses a tree with names that a volume which merges some cannot keep apart, or cannot have.
pub(super) fn check(staging: &Staging, entries: &Entries, stop: &Stop) -> Result<()> {
    within(staging, |folder| {
        for entry in entries.read()? {
            stop.check()?;
            let entry = entry?;
            let make = |place: &Place| if entry.kind == Kind::Dir { place.make_folder(0o700) } else { place.make_file().map(drop) };
            if !entry.path.is_root() && !made(folder, &entry.path, make)? {
                return Err(collides(&entry.path));
            }
        }
        missing(folder, entries, stop)?.map_or(Ok(()), |path| Err(collides(&path)))
    })
}

/// That the volume holds all names of the tree that was put there.
pub(super) fn verify(root: &Root, entries: &Entries, stop: &Stop) -> Result<()> {
    let Some(path) = missing(root, entries, stop)? else { return Ok(()) };
    let what = format!("the volume does not list {path} although it was put there; the next pull compares all of it");
    Err(Failure::new(Reason::VolumeUnreadable, what))
}

/// The first entry that is not listed by its very name.
fn missing(root: &Root, entries: &Entries, stop: &Stop) -> Result<Option<RelPath>> {
    let own = |entry: &Entry| entry.path.first() == LOST_AND_FOUND.as_bytes();
    for pair in join(entries.read()?, walk(root, stop)?) {
        if let (Some(entry), None) = pair?
            && !own(&entry)
        {
            return Ok(Some(entry.path));
        }
    }
    Ok(None)
}

/// Whether a name could be made; false where it is another one's, or none that the volume can have.
fn made(folder: &Root, path: &RelPath, make: impl FnOnce(&Place) -> io::Result<()>) -> Result<bool> {
    match folder.at(path).and_then(|place| make(&place)) {
        Ok(()) => Ok(true),
        Err(error)
            if [Errno::EXIST, Errno::INVAL, Errno::ILSEQ, Errno::NOENT, Errno::ISDIR, Errno::NOTDIR, Errno::NAMETOOLONG]
                .iter()
                .any(|errno| error.raw_os_error() == Some(errno.raw_os_error())) =>
        {
            Ok(false)
        }
        Err(error) => Err(failed(folder, path, &error)),
    }
}

fn failed(folder: &Root, path: &RelPath, error: &io::Error) -> Failure {
    Failure::volume("try out names at", &folder.shown(path), error)
}

fn collides(path: &RelPath) -> Failure {
    Failure::new(
        Reason::NamesCollide,
        format!(
            "{path} cannot have a name of its own on this volume, which takes names for one that differ in case, in the composition of letters or in dots and blanks at their end, as SMB shares do; nothing was changed. Rename it at its source, or pull into a volume of another kind"
        ),
    )
}

/// Does something in an empty folder that goes afterwards.
fn within<T>(staging: &Staging, act: impl FnOnce(&Root) -> Result<T>) -> Result<T> {
    staging.remove_temporary(FOLDER)?;
    let path = RelPath::own(FOLDER);
    let root = staging.temporary();
    let make = || {
        root.at(&path)?.make_folder(0o700)?;
        root.below(&path)
    };
    let done = act(&make().map_err(|e| failed(root, &path, &e))?);
    staging.remove_temporary(FOLDER)?;
    done
}
