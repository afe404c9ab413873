//! All regular files of a folder and its folders, one after another: there may be a million of them.

use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;

use rustix::fs::{Dir, FileType};

use super::Root;
use crate::error::{Failure, Result};
use crate::volume::path::RelPath;

/// See [`Root::files`].
#[derive(Debug)]
pub struct Files<'a> {
    root: &'a Root,
    /// Folders to be read yet.
    folders: Vec<RelPath>,
    open: Option<(RelPath, Dir)>,
}

impl<'a> Files<'a> {
    pub(super) fn of(root: &'a Root) -> Self {
        Self { root, folders: vec![RelPath::root()], open: None }
    }

    fn next_file(&mut self) -> io::Result<Option<RelPath>> {
        loop {
            let Some((folder, dir)) = &mut self.open else {
                let Some(folder) = self.folders.pop() else { return Ok(None) };
                let dir = Dir::new(self.root.folder(&folder)?.0)?;
                self.open = Some((folder, dir));
                continue;
            };
            let Some(entry) = dir.read() else {
                self.open = None;
                continue;
            };
            let entry = entry?;
            let name = entry.file_name().to_bytes();
            if name == b"." || name == b".." {
                continue;
            }
            let path = folder.child(OsStr::from_bytes(name));
            let kind = match entry.file_type() {
                FileType::Unknown => self.root.hold(&path)?.look()?.kind,
                kind => kind,
            };
            match kind {
                FileType::Directory => self.folders.push(path),
                FileType::RegularFile => return Ok(Some(path)),
                _ => {}
            }
        }
    }
}

impl Iterator for Files<'_> {
    type Item = Result<RelPath>;

    fn next(&mut self) -> Option<Self::Item> {
        let next = self.next_file().map_err(|e| {
            (self.folders, self.open) = (Vec::new(), None);
            Failure::volume("read", &self.root.shown(&RelPath::root()), &e)
        });
        next.transpose()
    }
}
