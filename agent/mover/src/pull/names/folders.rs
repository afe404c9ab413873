//! Folders that merge names although their volume does not: ext4 and others let each folder be one that does not distinguish case
//! (`chattr +F`), and something else may be mounted by an overlay. Only the folder itself can say it.

use std::collections::{BTreeMap, HashSet};
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::ffi::OsStrExt;

use super::super::ready::{Ready, insist};
use super::super::staging::Staging;
use super::{FOLDER, Wanted, collides, failed, made};
use crate::error::{Failure, Result};
use crate::random::random;
use crate::stop::Stop;
use crate::volume::beneath::{Held, Root, is_gone};
use crate::volume::path::RelPath;

/// Names of one folder that are alike: those that the tree has, and others that the volume has.
#[derive(Debug, Default)]
pub(super) struct Group {
    pub(super) wanted: Vec<Wanted>,
    pub(super) gone: Vec<RelPath>,
}

/// Refuses names that their folder takes for one; says whether any folder does that to a name that comes and one that goes.
pub(super) fn try_out((root, staging): (&Root, &Staging), groups: &BTreeMap<(RelPath, u64), Group>, stop: &Stop) -> Result<bool> {
    let mut merges = false;
    let mut listed: Option<(RelPath, HashSet<OsString>)> = None;
    for ((dir, _), group) in groups {
        stop.check()?;
        let there = nearest(root, dir)?;
        if there != *dir {
            make(root, Some(staging), &there, group.wanted.iter().collect())?;
            continue;
        }
        if listed.as_ref().is_none_or(|(of, _)| of != dir) {
            let names = root.names(dir).map_err(|e| Failure::volume("read", &root.shown(dir), &e))?;
            listed = Some((dir.clone(), names.into_iter().collect()));
        }
        let is_listed = |path: &RelPath| listed.as_ref().is_some_and(|(_, names)| names.contains(OsStr::from_bytes(path.name())));
        let (present, absent): (Vec<&Wanted>, Vec<&Wanted>) = group.wanted.iter().partition(|wanted| is_listed(&wanted.path));
        for wanted in &absent {
            // Found, though it is not listed: under which name?
            let Some(found) = root.find(&wanted.path)? else { continue };
            if any_is(root, present.iter().map(|wanted| &wanted.path), &found)? {
                return Err(collides(&wanted.path));
            }
            merges |= any_is(root, group.gone.iter(), &found)?;
        }
        if absent.len() > 1 {
            make(root, None, dir, absent)?;
        }
    }
    Ok(merges)
}

/// Whether one of these names is that of `found`.
fn any_is<'a>(root: &Root, mut names: impl Iterator<Item = &'a RelPath>, found: &Held) -> Result<bool> {
    let inode = |held: &Held| held.look().map(|seen| (seen.device, seen.inode));
    let found = inode(found).map_err(|e| Failure::volume("read", &root.shown(&RelPath::root()), &e))?;
    names.try_fold(false, |any, name| {
        let there = root.find(name)?.map(|held| inode(&held)).transpose();
        Ok(any || there.map_err(|e| Failure::volume("read", &root.shown(name), &e))? == Some(found))
    })
}

/// The folder itself if it is there, or else the one that it is going to be made in: it hands on what it is.
fn nearest(root: &Root, dir: &RelPath) -> Result<RelPath> {
    for dir in std::iter::once(dir.clone()).chain(dir.ancestors()) {
        match root.below(&dir) {
            Ok(_) => return Ok(dir),
            Err(error) if is_gone(&error) => {}
            Err(error) => return Err(Failure::volume("open", &root.shown(&dir), &error)),
        }
    }
    Ok(RelPath::root())
}

/// Makes these names in a folder of their own within `dir`, which goes again at once: it is as `dir` is, or, where it is moved there from the
/// staging folder, as a new folder is going to be.
fn make(root: &Root, staging: Option<&Staging>, dir: &RelPath, names: Vec<&Wanted>) -> Result<()> {
    // That of the root was tried out in the staging folder.
    if dir.is_root() || names.len() < 2 {
        return Ok(());
    }
    let probe = dir.child(format!(".scribe-names-{:016x}", random()?));
    let failed = |e: &io::Error| failed(root, &probe, e);
    let above = root.hold(dir).map_err(|e| failed(&e))?;
    let before = above.look().map_err(|e| failed(&e))?;
    match staging {
        None => insist(root, &probe, |place| place.make_folder(0o700)).map_err(|e| failed(&e))?,
        Some(staging) => {
            staging.remove_temporary(FOLDER)?;
            let ready = Ready { root: staging.temporary(), path: RelPath::own(FOLDER) };
            ready.with(|place| place.make_folder(0o700)).map_err(|e| failed(&e))?;
            ready.put(root, &probe)?;
        }
    }
    let tried = root.below(&probe).map_err(|e| failed(&e)).and_then(|folder| {
        let own = |wanted: &Wanted| Wanted { path: RelPath::root().child(OsStr::from_bytes(wanted.path.name())), ..*wanted };
        for wanted in names {
            if !made(&folder, &own(wanted))? {
                return Err(collides(&wanted.path));
            }
        }
        Ok(())
    });
    root.remove_tree(&probe).map_err(|e| failed(&e))?;
    if above.look().is_ok_and(|now| now.mode != before.mode) {
        above.set_mode(before.mode).map_err(|e| failed(&e))?;
    }
    if let Err(error) = above.set_mtime(before.mtime) {
        // It is another's folder, in which we may make names.
        tracing::info!(folder = %dir, %error, "its time of modification is that of a name that was tried out in it");
    }
    tried
}
