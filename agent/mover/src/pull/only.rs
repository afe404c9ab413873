//! A pull of one file or folder: all else on the volume stays as it is.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use super::durable;
use super::staging::{PATH, Staging};
use crate::error::{Failure, Result};
use crate::format::entries::Entries;
use crate::packs::node::{Kind, Node};
use crate::remote::Remote;
use crate::report::Reason;
use crate::volume::beneath::Root;
use crate::volume::entry::Meta;
use crate::volume::path::RelPath;
use crate::volume::walk::meta;
use crate::volume::{LONGEST_PATH, STAGING_DIR};

/// See the module.
#[derive(Debug)]
pub(super) struct Only {
    path: RelPath,
    /// The folders that hold it, as they are on the volume.
    above: HashMap<RelPath, Meta>,
}

impl Only {
    /// This path of the volume at `root`. What is in its way on the volume is none of its own to replace.
    pub(super) fn of(root: &Root, path: &RelPath) -> Result<Self> {
        let mut above = HashMap::new();
        let failed = |path: &RelPath, e| Failure::volume("read", &root.shown(path), &e);
        for dir in path.ancestors() {
            let Some(held) = root.find(&dir)? else { continue };
            let seen = held.look().map_err(|e| failed(&dir, e))?;
            if !seen.is_dir() {
                let what =
                    format!("{} is no folder on this volume, and stays: move it elsewhere to pull {path}", root.shown(&dir).display());
                return Err(Failure::new(Reason::VolumeUnreadable, what));
            }
            above.insert(dir.clone(), meta(&held, &seen).map_err(|e| failed(&dir, e))?.0);
        }
        for own in path.ancestors().filter(|dir| !dir.is_root()).chain([path.clone()]) {
            let Some(parent) = own.parent().and_then(RelPath::new).filter(|parent| above.contains_key(parent)) else { continue };
            let lists = || Ok(root.names(&parent)?.iter().any(|name| *name == *OsStr::from_bytes(own.name())));
            if root.find(&own)?.is_some() && !lists().map_err(|e| failed(&parent, e))? {
                let what = format!("{own} is another name's on this volume, which takes names for one; pull into another volume");
                return Err(Failure::new(Reason::NamesCollide, what));
            }
        }
        Ok(Self { path: path.clone(), above })
    }

    /// Refuses a volume with an unfinished pull of anything else than this: nothing would show any more that it is unfinished.
    pub(super) fn refuse_beside_another(&self, root: &Root) -> Result<()> {
        if !Staging::is_left(root)? || Staging::is_left_empty(root)? {
            return Ok(());
        }
        let (path, volume) = (&self.path, root.shown(&RelPath::root()));
        let left = match noted(root)? {
            Some(left) if self.has(&left) => return Ok(()),
            Some(left) => format!(
                "a pull of {left} alone, which has not finished: pull {left} once more, or all of the revision, or a folder that holds {left} and {path}; then pull {path}"
            ),
            None => format!(
                "a pull of all of a revision, which has not finished: pull once more without --path, which completes it; then pull {path}"
            ),
        };
        Err(Failure::new(Reason::VolumeUnreadable, format!("{} holds {STAGING_DIR} of {left}. Nothing was changed", volume.display())))
    }

    /// Notes in the staging folder that nothing else is pulled.
    pub(super) fn note(&self, folder: &Root) -> Result<()> {
        durable::write_bytes(folder, PATH, self.path.as_bytes())
    }

    /// Refuses a revision without it: nothing says that it is to be removed.
    pub(super) fn is_in(&self, entries: &Entries, revision: &str, remote: &Remote) -> Result<()> {
        for entry in entries.read()? {
            if entry?.path == self.path {
                return Ok(());
            }
        }
        let what = format!("revision {revision} of {} has no {}, and nothing was changed", remote.name(), self.path);
        Err(Failure::new(Reason::MoverFailed, what))
    }

    /// Whether this is the path, or below it.
    pub(super) fn has(&self, path: &RelPath) -> bool {
        *path == self.path || path.is_below(&self.path)
    }

    /// Whether this is looked at at all.
    pub(super) fn touches(&self, path: &RelPath) -> bool {
        self.has(path) || self.path.is_below(path)
    }

    /// An entry as it is to be: folders that hold the path stay as they are.
    pub(super) fn adapted(&self, path: &RelPath, node: Node) -> Option<Node> {
        if self.has(path) {
            return Some(node);
        }
        let meta = self.above.get(path).cloned();
        self.path.is_below(path).then(|| Node { meta: meta.unwrap_or(node.meta), kind: Kind::Dir })
    }
}

/// The path that an unfinished pull was of, if it was one of a single path.
fn noted(root: &Root) -> Result<Option<RelPath>> {
    let Some(folder) = Staging::folder_left(root)? else { return Ok(None) };
    let bytes = durable::read(&folder, PATH, LONGEST_PATH as u64)?;
    Ok(bytes.and_then(|bytes| RelPath::new(&bytes)).filter(|path| !path.is_root()))
}
