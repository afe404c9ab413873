//! What is on the volume: every entry with its metadata, without reading a byte of content.
//!
//! Imports `failure`, `manifest`, `names`.

use crate::failure::Failure;
use crate::manifest::Name;
use crate::names::STAGING;
use std::collections::BTreeMap;
use std::fs::Metadata;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;
use walkdir::WalkDir;

/// An entry as it was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) kind: FoundKind,
    pub(crate) mode: u32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) mtime: (i64, u32),
    pub(crate) ctime: (i64, u32),
    pub(crate) inode: u64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum FoundKind {
    Folder,
    File { size: u64, links: u64 },
    Symlink { target: Name },
    Fifo,
}

/// All entries by path, and how many were passed over, by kind.
pub(crate) struct Walked {
    pub(crate) entries: BTreeMap<Name, Found>,
    pub(crate) skipped: BTreeMap<String, u64>,
}

/// Walks one file system. Anything that cannot be looked at fails the walk.
pub(crate) fn walk(root: &Path) -> Result<Walked, Failure> {
    let mut walked = Walked { entries: BTreeMap::new(), skipped: BTreeMap::new() };
    let mut skip = |kind: &str| *walked.skipped.entry(kind.to_owned()).or_default() += 1;
    let mut entries = WalkDir::new(root).same_file_system(true).into_iter();
    while let Some(entry) = entries.next() {
        let entry = entry.map_err(|e| {
            let path = e.path().unwrap_or(root).to_owned();
            Failure::volume("reading", &path, &e.into_io_error().unwrap_or_else(|| std::io::Error::other("a loop of links")))
        })?;
        let relative = entry.path().strip_prefix(root).unwrap_or(entry.path());
        let top = entry.depth() == 1;
        if top && (relative == Path::new("lost+found") || relative == Path::new(STAGING)) && entry.file_type().is_dir() {
            if relative == Path::new(STAGING) {
                skip("stagingFolders");
            }
            entries.skip_current_dir();
            continue;
        }
        let metadata = entry.path().symlink_metadata().map_err(|e| Failure::volume("reading", entry.path(), &e))?;
        match kind(entry.path(), &metadata)? {
            Some(kind) => {
                walked.entries.insert(Name(relative.as_os_str().as_bytes().to_vec()), found(kind, &metadata));
            }
            None if metadata.file_type().is_socket() => skip("sockets"),
            None => skip("devices"),
        }
    }
    Ok(walked)
}

/// One entry, looked at again.
pub(crate) fn look(path: &Path) -> Result<Option<Found>, Failure> {
    match path.symlink_metadata() {
        Ok(metadata) => Ok(kind(path, &metadata)?.map(|kind| found(kind, &metadata))),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Failure::volume("reading", path, &error)),
    }
}

fn kind(path: &Path, metadata: &Metadata) -> Result<Option<FoundKind>, Failure> {
    let kind = metadata.file_type();
    Ok(if kind.is_dir() {
        Some(FoundKind::Folder)
    } else if kind.is_file() {
        Some(FoundKind::File { size: metadata.len(), links: metadata.nlink() })
    } else if kind.is_symlink() {
        let target = std::fs::read_link(path).map_err(|e| Failure::volume("reading the link", path, &e))?;
        Some(FoundKind::Symlink { target: Name(target.as_os_str().as_bytes().to_vec()) })
    } else if kind.is_fifo() {
        Some(FoundKind::Fifo)
    } else {
        None
    })
}

fn found(kind: FoundKind, metadata: &Metadata) -> Found {
    let nanos = |n: i64| u32::try_from(n).unwrap_or_default();
    Found {
        kind,
        mode: metadata.mode() & 0o7777,
        uid: metadata.uid(),
        gid: metadata.gid(),
        mtime: (metadata.mtime(), nanos(metadata.mtime_nsec())),
        ctime: (metadata.ctime(), nanos(metadata.ctime_nsec())),
        inode: metadata.ino(),
    }
}
