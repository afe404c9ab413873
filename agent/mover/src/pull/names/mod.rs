//! Names that a volume takes for one, or changes: SMB shares and others fold case, compose or decompose letters, or cut dots and blanks at
//! the end of a name. Which of them are one, the volume itself says: all are made in the staging folder, before anything is changed. Where
//! the volume does not, some of its folders may, see `folders`.

mod alike;
mod folders;

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io;

use rustix::io::Errno;

pub(super) use alike::Alike;

use super::staging::Staging;
use crate::error::{Failure, Result};
use crate::format::entries::Entries;
use crate::report::Reason;
use crate::stop::Stop;
use crate::volume::LOST_AND_FOUND;
use crate::volume::beneath::{Place, Root};
use crate::volume::entry::Kind;
use crate::volume::merge_join::{Placed, join};
use crate::volume::path::RelPath;
use crate::volume::walk::walk;
use folders::Group;

/// How many bytes of paths that are alike are kept in memory, to be tried out in their folders.
const MOST_ALIKE: usize = 8 << 20;
/// Where names are tried out.
const FOLDER: &str = "names";
/// Names, and others that are found under them where a volume merges names.
const PROBES: [(&str, Option<&str>); 4] = [("Case", Some("cASE")), ("\u{e9}", Some("e\u{301}")), ("dot.", None), ("blank ", None)];

/// A name that the volume is to hold.
#[derive(Clone, Debug)]
pub(super) struct Wanted {
    pub(super) path: RelPath,
    pub(super) is_dir: bool,
}

impl Placed for Wanted {
    fn path(&self) -> &RelPath {
        &self.path
    }
}

/// The names of a tree, in path order.
pub(super) trait Tree {
    /// Reads them from the beginning.
    fn names(&self) -> Result<impl Iterator<Item = Result<Wanted>>>;
}

impl Tree for Entries {
    fn names(&self) -> Result<impl Iterator<Item = Result<Wanted>>> {
        Ok(self.read()?.map(|entry| entry.map(|entry| Wanted { is_dir: entry.kind == Kind::Dir, path: entry.path })))
    }
}

/// Refuses a tree with names that the volume cannot keep apart, or cannot have, before anything of it is changed: a staging folder that was
/// not there before (`unfinished`) goes again. Says whether the volume, or a folder of it, merges names: what goes has to go first then, and
/// the names are to be [verified](verify).
///
/// `gone` are names that the volume has and the tree has not, and `alike` what was found of both together.
pub(super) fn check<'a>(
    (root, staging, unfinished): (&Root, &Staging, bool),
    tree: &impl Tree,
    gone: impl Iterator<Item = &'a RelPath>,
    alike: &Alike,
    stop: &Stop,
) -> Result<bool> {
    let checked =
        if merges(staging)? { all(staging, tree, stop).map(|()| true) } else { in_folders((root, staging), tree, gone, alike, stop) };
    if checked.is_err() && !unfinished {
        Staging::remove(root, stop)?;
    }
    checked
}

/// Whether the volume is one that merges or changes names, tried out with a few.
fn merges(staging: &Staging) -> Result<bool> {
    within(staging, |folder| {
        for (name, _) in PROBES {
            if !made(folder, &Wanted { path: RelPath::root().child(name), is_dir: false })? {
                return Ok(true);
            }
        }
        let names = folder.names(&RelPath::root()).map_err(|e| failed(folder, &RelPath::root(), &e))?;
        let changed = PROBES.iter().any(|(name, _)| !names.iter().any(|there| there == OsStr::new(name)));
        let found = |name: &str| folder.hold(&RelPath::root().child(name)).is_ok();
        Ok(changed || PROBES.iter().any(|(_, other)| other.is_some_and(found)))
    })
}

/// Tries out all names of the tree.
fn all(staging: &Staging, tree: &impl Tree, stop: &Stop) -> Result<()> {
    within(staging, |folder| {
        for wanted in tree.names()? {
            stop.check()?;
            let wanted = wanted?;
            if !wanted.path.is_root() && !made(folder, &wanted)? {
                return Err(collides(&wanted.path));
            }
        }
        missing(folder, tree, stop)?.map_or(Ok(()), |path| Err(collides(&path)))
    })
}

/// Tries out those that are alike, each in its folder.
fn in_folders<'a>(
    at: (&Root, &Staging),
    tree: &impl Tree,
    gone: impl Iterator<Item = &'a RelPath>,
    alike: &Alike,
    stop: &Stop,
) -> Result<bool> {
    if alike.is_empty() {
        return Ok(false);
    }
    let mut groups: BTreeMap<(RelPath, u64), Group> = BTreeMap::new();
    let mut bytes = 0;
    let place = |path: &RelPath| Some((path.parent().and_then(RelPath::new)?, alike.group(path)?));
    for wanted in tree.names()? {
        stop.check()?;
        let wanted = wanted?;
        if let Some(place) = place(&wanted.path) {
            bytes += 2 * wanted.path.as_bytes().len();
            if bytes > MOST_ALIKE {
                let what =
                    "hundreds of thousands of names differ only in case or form, more than can be tried out here, and nothing was changed";
                return Err(Failure::new(Reason::NamesCollide, format!("{what}; {} is one of them", wanted.path)));
            }
            groups.entry(place).or_default().wanted.push(wanted);
        }
    }
    for path in gone {
        if let Some(group) = place(path).and_then(|place| groups.get_mut(&place)) {
            group.gone.push(path.clone());
        }
    }
    folders::try_out(at, &groups, stop)
}

/// That the volume holds all names of the tree that was put there.
pub(super) fn verify(root: &Root, tree: &impl Tree, stop: &Stop) -> Result<()> {
    let Some(path) = missing(root, tree, stop)? else { return Ok(()) };
    let what = format!("the volume does not list {path} although it was put there; the next pull compares all of it");
    Err(Failure::new(Reason::VolumeUnreadable, what))
}

/// The first entry that is not listed by its very name.
fn missing(root: &Root, tree: &impl Tree, stop: &Stop) -> Result<Option<RelPath>> {
    let own = |wanted: &Wanted| wanted.path.first() == LOST_AND_FOUND.as_bytes();
    for pair in join(tree.names()?, walk(root, stop)?) {
        if let (Some(wanted), None) = pair?
            && !own(&wanted)
        {
            return Ok(Some(wanted.path));
        }
    }
    Ok(None)
}

/// Whether a name could be made; false where it is another one's, or none that the volume can have.
fn made(folder: &Root, wanted: &Wanted) -> Result<bool> {
    let make = |place: &Place| if wanted.is_dir { place.make_folder(0o700) } else { place.make_file().map(drop) };
    match folder.at(&wanted.path).and_then(|place| make(&place)) {
        Ok(()) => Ok(true),
        Err(error)
            if [Errno::EXIST, Errno::INVAL, Errno::ILSEQ, Errno::NOENT, Errno::ISDIR, Errno::NOTDIR, Errno::NAMETOOLONG]
                .iter()
                .any(|errno| error.raw_os_error() == Some(errno.raw_os_error())) =>
        {
            Ok(false)
        }
        Err(error) => Err(failed(folder, &wanted.path, &error)),
    }
}

fn failed(folder: &Root, path: &RelPath, error: &io::Error) -> Failure {
    Failure::volume("try out names at", &folder.shown(path), error)
}

fn collides(path: &RelPath) -> Failure {
    Failure::new(
        Reason::NamesCollide,
        format!(
            "{path} cannot have a name of its own on this volume, which takes names for one, there at least, that differ in case, in the composition of letters or in dots and blanks at their end, as SMB shares and folders with chattr +F do; nothing was changed. Rename it at its source, or pull into a volume of another kind"
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
