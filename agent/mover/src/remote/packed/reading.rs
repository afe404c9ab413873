//! Packs that are read back whole, to be held against what the map says of them.

use std::fs;
use std::path::{Path, PathBuf};

use crate::error::{Failure, Result};
use crate::packs::id::ObjectId;
use crate::packs::pack::verify;
use crate::packs::reference::PackRow;
use crate::remote::Remote;
use crate::report::Reason;
use crate::scratch;

/// Bytes of packs that lie in the scratch folder at a time, one pack at least.
const AT_A_TIME: u64 = 64 << 20;

/// What a pack is that was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// What the map says.
    Whole,
    /// Something else.
    Altered,
    /// It is not there, or cannot be read: two requests have not given it.
    Unreadable,
}

/// Reads these packs a few at a time, and shows each: its local file, of which nobody knows yet whether it is what the map says, or nothing if it
/// did not come, twice.
pub fn read_packs<'p>(
    remote: &Remote,
    packs: impl IntoIterator<Item = (&'p ObjectId, &'p PackRow)>,
    mut each: impl FnMut(ObjectId, &PackRow, Option<&Path>) -> Result<()>,
) -> Result<()> {
    let (mut batch, mut bytes): (Vec<(ObjectId, &PackRow)>, u64) = (Vec::new(), 0);
    let mut read = |batch: &mut Vec<(ObjectId, &PackRow)>| -> Result<()> {
        remote.context.stop.check()?;
        let names: Vec<String> = batch.iter().map(|(id, _)| id.pack()).collect();
        let mut dirs = vec![remote.read_objects(&names)?];
        let came = |dirs: &[PathBuf], name: &String| dirs.iter().map(|dir| dir.join(name)).find(|path| path.is_file());
        let missing: Vec<String> = names.iter().filter(|name| came(&dirs, name).is_none()).cloned().collect();
        if !missing.is_empty() {
            dirs.push(remote.read_objects(&missing)?);
        }
        for ((id, row), name) in batch.drain(..).zip(names) {
            each(id, row, came(&dirs, &name).as_deref())?;
        }
        dirs.iter().try_for_each(|dir| fs::remove_dir_all(dir).map_err(|e| Failure::scratch(&e)))
    };
    for (id, row) in packs {
        if !batch.is_empty() && bytes.saturating_add(row.size) > AT_A_TIME {
            read(&mut batch)?;
            bytes = 0;
        }
        batch.push((*id, row));
        bytes = bytes.saturating_add(row.size);
    }
    if batch.is_empty() { Ok(()) } else { read(&mut batch) }
}

/// Holds one that was read against its row.
pub fn state_of(id: ObjectId, row: &PackRow, read: Option<&Path>) -> Result<State> {
    let Some(path) = read else { return Ok(State::Unreadable) };
    match verify(id, scratch::open(path)?) {
        Ok(packed) if (packed.size, packed.md5) == (row.size, row.md5) => Ok(State::Whole),
        Ok(_) => Ok(State::Altered),
        Err(failure) if failure.reason == Reason::RemoteInconsistent => Ok(State::Altered),
        Err(failure) => Err(failure),
    }
}
