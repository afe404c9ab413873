//! A pull of one file or folder: all else on the volume stays as it is.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use crate::error::{Failure, Result};
use crate::format::entries::Entries;
use crate::packs::node::{Kind, Node};
use crate::remote::Remote;
use crate::report::Reason;
use crate::volume::beneath::Root;
use crate::volume::entry::Meta;
use crate::volume::path::RelPath;
use crate::volume::walk::meta;

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

    /// Refuses a revision without it: nothing says that it is to be removed.
    pub(super) fn is_in(&self, entries: &Entries, remote: &Remote) -> Result<()> {
        for entry in entries.read()? {
            if entry?.path == self.path {
                return Ok(());
            }
        }
        let what = format!("the committed revision of {} has no {}, and nothing was changed", remote.name(), self.path);
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
