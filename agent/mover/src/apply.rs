//! Turns the volume into a tree whose content is at hand and verified: renames, links, metadata, deletions.
//!
//! Each step may be repeated, so a mover killed in between leaves work that the next one finishes; the staging folder goes last.
//! Imports `failure`, `manifest`, `names`, `pull` (where content is collected), `report`, `walk`.

use crate::failure::Failure;
use crate::manifest::{Entry, Kind, Name, Tree};
use crate::names::os;
use crate::pull::collected;
use crate::report::Report;
use crate::walk::{Found, FoundKind, Walked, look};
use rustix::fs::{AtFlags, CWD, FileType, Gid, Mode, Timespec, Timestamps, Uid, chownat, mknodat, utimensat};
use std::collections::HashMap;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

/// Whether the volume is this tree already, as far as metadata tells.
pub(crate) fn matches(there: &Walked, tree: &Tree) -> bool {
    let mut leaders: HashMap<&Name, u64> = HashMap::new();
    there.entries.len() == tree.len()
        && there.entries.iter().zip(tree).all(|((a, found), (b, entry))| {
            if let Kind::File { .. } = entry.kind {
                leaders.insert(b, found.inode);
            }
            let linked = match &entry.kind {
                Kind::HardLink { first } => leaders.get(first) == Some(&found.inode),
                _ => true,
            };
            a == b && linked && same_kind(found, entry) && same_metadata(found, entry)
        })
}

fn same_kind(found: &Found, entry: &Entry) -> bool {
    match (&found.kind, &entry.kind) {
        (FoundKind::Folder, Kind::Folder) | (FoundKind::Fifo, Kind::Fifo) | (FoundKind::File { links: 2.., .. }, Kind::HardLink { .. }) => {
            true
        }
        (FoundKind::File { size: a, .. }, Kind::File { size: b, .. }) => a == b,
        (FoundKind::Symlink { target: a }, Kind::Symlink { target: b }) => a == b,
        _ => false,
    }
}

fn same_metadata(found: &Found, entry: &Entry) -> bool {
    let same_mode = found.mode == entry.mode || matches!(entry.kind, Kind::Symlink { .. });
    same_mode && found.uid == entry.uid && found.gid == entry.gid && found.mtime == entry.mtime
}

pub(crate) fn apply(root: &Path, staging: &Path, tree: &Tree, there: &Walked, report: &mut Report) -> Result<(), Failure> {
    remove_strangers(root, tree, there, report)?;
    for (name, entry) in tree.iter().filter(|(name, _)| !name.0.is_empty()) {
        let found = look(&root.join(os(&name.0)))?;
        put(root, staging, tree, name, entry, found.as_ref())?;
    }
    // Children first: writing into a folder changes its time.
    for (name, entry) in tree.iter().rev() {
        restore_metadata(&root.join(os(&name.0)), entry)?;
    }
    flush(root)?;
    if staging.exists() {
        std::fs::remove_dir_all(staging).map_err(|e| Failure::volume("removing", staging, &e))?;
        if let Some(entry) = tree.get(&Name(Vec::new())) {
            restore_metadata(root, entry)?;
        }
        flush(root)?;
    }
    Ok(())
}

/// Everything that the tree does not have, and whatever stands where it has something of another kind; deepest first.
fn remove_strangers(root: &Path, tree: &Tree, there: &Walked, report: &mut Report) -> Result<(), Failure> {
    for (name, found) in there.entries.iter().rev().filter(|(name, _)| !name.0.is_empty()) {
        let stays = tree.get(name).is_some_and(|entry| match (&found.kind, &entry.kind) {
            (FoundKind::Folder, Kind::Folder) | (FoundKind::Fifo, Kind::Fifo) => true,
            (FoundKind::File { .. }, Kind::File { .. } | Kind::HardLink { .. }) => true,
            (FoundKind::Symlink { target: a }, Kind::Symlink { target: b }) => a == b,
            _ => false,
        });
        if !stays {
            let path = root.join(os(&name.0));
            let removed = if found.kind == FoundKind::Folder { std::fs::remove_dir(&path) } else { std::fs::remove_file(&path) };
            removed.map_err(|e| Failure::volume("removing", &path, &e))?;
            report.deleted += 1;
        }
    }
    Ok(())
}

fn put(root: &Path, staging: &Path, tree: &Tree, name: &Name, entry: &Entry, found: Option<&Found>) -> Result<(), Failure> {
    let path = root.join(os(&name.0));
    let failed = |e: std::io::Error| Failure::volume("writing", &path, &e);
    match &entry.kind {
        Kind::Folder if found.is_none() => std::fs::create_dir(&path).map_err(failed),
        Kind::Fifo if found.is_none() => mknodat(CWD, &path, FileType::Fifo, Mode::from_raw_mode(0o600), 0).map_err(|e| failed(e.into())),
        Kind::Symlink { target } if found.is_none() => symlink(os(&target.0), &path).map_err(failed),
        Kind::File { size, sha256, .. } => {
            let have = found.is_some_and(|f| matches!(f.kind, FoundKind::File { size: s, .. } if s == *size) && f.mtime == entry.mtime);
            if have { Ok(()) } else { put_file(root, staging, tree, name, sha256).map_err(failed) }
        }
        Kind::HardLink { first } => {
            let first = root.join(os(&first.0));
            let leader = look(&first)?.map(|f| f.inode);
            if leader.is_some() && leader == found.map(|f| f.inode) {
                return Ok(());
            }
            if found.is_some() {
                std::fs::remove_file(&path).map_err(failed)?;
            }
            std::fs::hard_link(&first, &path).map_err(failed)
        }
        _ => Ok(()),
    }
}

/// Verified content under its name. Content that several files share is copied for all but the last.
fn put_file(root: &Path, staging: &Path, tree: &Tree, name: &Name, sha256: &str) -> std::io::Result<()> {
    let (from, to) = (collected(staging, sha256), root.join(os(&name.0)));
    let shared = tree
        .range((std::ops::Bound::Excluded(name), std::ops::Bound::Unbounded))
        .any(|(_, e)| matches!(&e.kind, Kind::File { sha256: s, .. } if s == sha256));
    if shared {
        let copy = staging.join("copy");
        std::fs::copy(&from, &copy)?;
        std::fs::rename(copy, to)
    } else {
        std::fs::rename(from, to)
    }
}

fn restore_metadata(path: &Path, entry: &Entry) -> Result<(), Failure> {
    if matches!(entry.kind, Kind::HardLink { .. }) {
        return Ok(());
    }
    if look(path)?.is_some_and(|found| same_metadata(&found, entry)) {
        return Ok(());
    }
    let failed = |e: std::io::Error| Failure::volume("restoring the metadata of", path, &e);
    chownat(CWD, path, Some(Uid::from_raw(entry.uid)), Some(Gid::from_raw(entry.gid)), AtFlags::SYMLINK_NOFOLLOW)
        .map_err(|e| failed(e.into()))?;
    if !matches!(entry.kind, Kind::Symlink { .. }) {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(entry.mode)).map_err(failed)?;
    }
    let time = Timespec { tv_sec: entry.mtime.0, tv_nsec: i64::from(entry.mtime.1) };
    utimensat(CWD, path, &Timestamps { last_access: time, last_modification: time }, AtFlags::SYMLINK_NOFOLLOW)
        .map_err(|e| failed(e.into()))
}

fn flush(root: &Path) -> Result<(), Failure> {
    let failed = |e: std::io::Error| Failure::volume("flushing", root, &e);
    let folder = std::fs::File::open(root).map_err(failed)?;
    rustix::fs::syncfs(&folder).map_err(|e| failed(e.into()))
}
