//! The names of a push's objects, and the folders that they lie in.

use std::collections::BTreeSet;

use crate::digest::Digest;
use crate::error::Result;
use crate::format::entries::Entries;
use crate::format::names::{CONTROL_DIR, manifest, objects_dir};
use crate::format::revision::Revision;
use crate::volume::entry::{FileEntry, Location};
use crate::volume::path::RelPath;

/// The name of an object below the remote path.
pub(super) type Name = Box<[u8]>;

/// The object name of a promoted file, below the path.
pub(super) fn object_name(path: &RelPath, file: &FileEntry) -> Name {
    match file.at {
        Location::Object => object(&file.sha256),
        Location::Own | Location::Staged => path.as_bytes().into(),
    }
}

/// The object name of content kept under its hash, below the path.
pub(super) fn object(digest: &Digest) -> Name {
    format!("{}{}", objects_dir(), digest.hex()).into_bytes().into()
}

/// The name below the path of what has this name in our own folder.
pub(super) fn of_ours(name: &str) -> Name {
    format!("{CONTROL_DIR}/{name}").into_bytes().into()
}

/// The object name of a revision's manifest, below the path.
pub(super) fn manifest_object(revision: &Revision) -> Name {
    of_ours(&manifest(revision))
}

/// The object names of a tree's files, promoted.
pub(super) fn names(tree: &Entries) -> Result<impl Iterator<Item = Result<Name>> + use<>> {
    Ok(tree.read()?.filter_map(|entry| match entry {
        Ok(entry) => Some(Ok(object_name(&entry.path, entry.file()?))),
        Err(failure) => Some(Err(failure)),
    }))
}

/// The topmost folders that hold nothing any more once `gone` is deleted and only `kept` is left.
pub(super) fn emptied(gone: impl Iterator<Item = Result<Name>>, kept: impl Iterator<Item = Result<Name>>) -> Result<BTreeSet<String>> {
    let mut folders = BTreeSet::new();
    for name in gone {
        folders.extend(above(&name?).map(str::to_owned));
    }
    if folders.is_empty() {
        return Ok(folders);
    }
    for name in kept {
        for dir in above(&name?) {
            folders.remove(dir);
        }
    }
    let topmost = |name: &&String| !above(name.as_bytes()).any(|dir| folders.contains(dir));
    Ok(folders.iter().filter(topmost).cloned().collect())
}

/// The folders above an object, from the top.
pub(super) fn above(name: &[u8]) -> impl Iterator<Item = &str> {
    let name = std::str::from_utf8(name).unwrap_or_default();
    name.match_indices('/').filter_map(|(at, _)| name.get(..at))
}

/// The name that rclone was about to give this object when it was killed: `name.1a2b3c4d.partial`.
pub(super) fn partial_of(name: &[u8]) -> Option<&[u8]> {
    let (name, mark) = name.strip_suffix(b".partial")?.split_last_chunk::<9>()?;
    matches!(mark, [b'.', digits @ ..] if digits.iter().all(u8::is_ascii_hexdigit)).then_some(name)
}
