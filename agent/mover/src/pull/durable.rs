//! Small files of the staging folder that say what state a volume is in: each is there whole or not at all, whatever crashes, and once it was
//! written or removed it stays so.

use std::fs::File;
use std::io::{self, BufWriter, Read, Write};

use crate::error::{Failure, Result};
use crate::volume::beneath::Root;
use crate::volume::path::RelPath;

/// What the name of a file has behind it that is not complete. Nobody reads such a file.
const NEW: &str = ".new";

/// Whether this name is that of a file that was not completed.
pub(super) fn is_incomplete(name: &[u8]) -> bool {
    name.ends_with(NEW.as_bytes())
}

/// Writes a file, in the place of one of the same name.
pub(super) fn write(folder: &Root, name: &'static str, content: impl FnOnce(&mut BufWriter<File>) -> Result<()>) -> Result<()> {
    let (path, new) = (RelPath::own(name), RelPath::root().child(format!("{name}{NEW}")));
    let failed = |e: io::Error| Failure::volume("write", &folder.shown(&path), &e);
    folder.remove_tree(&new).map_err(failed)?;
    let finish = || {
        let mut out = BufWriter::new(folder.at(&new).and_then(|place| place.make_file()).map_err(failed)?);
        content(&mut out)?;
        let named = || {
            out.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()?;
            folder.at(&new)?.rename_to(&folder.at(&path)?)?;
            folder.sync_names()
        };
        named().map_err(failed)
    };
    finish().or_else(|failure| {
        // What there is of it would take the room that the next try needs.
        folder.remove_tree(&new).map_err(failed)?;
        Err(failure)
    })
}

/// Writes a file of these bytes.
pub(super) fn write_bytes(folder: &Root, name: &'static str, bytes: &[u8]) -> Result<()> {
    let failed = |e: io::Error| Failure::volume("write", &folder.shown(&RelPath::own(name)), &e);
    write(folder, name, |out| out.write_all(bytes).map_err(failed))
}

/// Removes a file, if it is there, and what there may be of one that was not completed.
pub(super) fn remove(folder: &Root, name: &'static str) -> Result<()> {
    let path = RelPath::own(name);
    let failed = |e: io::Error| Failure::volume("remove", &folder.shown(&path), &e);
    folder.remove_tree(&RelPath::root().child(format!("{name}{NEW}"))).map_err(failed)?;
    if folder.find(&path)?.is_none() {
        return Ok(());
    }
    folder.remove_tree(&path).and_then(|()| folder.sync_names()).map_err(failed)
}

/// Reads a file that has no more than `most` bytes; `None` where there is no such file.
pub(super) fn read(folder: &Root, name: &'static str, most: u64) -> Result<Option<Vec<u8>>> {
    let path = RelPath::own(name);
    let Some(file) = folder.file(&path)? else { return Ok(None) };
    let mut bytes = Vec::new();
    file.take(most + 1).read_to_end(&mut bytes).map_err(|e| Failure::volume("read", &folder.shown(&path), &e))?;
    Ok(Some(bytes).filter(|bytes| bytes.len() as u64 <= most))
}
