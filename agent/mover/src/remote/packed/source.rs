//! The bytes of a run: from the manifest, or from an object, of which a large one is fetched part by part as it is read.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::sync::{Arc, Mutex, PoisonError};

use super::{Extent, named};
use crate::error::{Failure, Result};
use crate::packs::run::{ReadAt, RunRef};
use crate::remote::committed::inconsistent;
use crate::remote::{Read, Remote};

/// A run of no more bytes is fetched whole: a part costs two requests.
const SMALL: u64 = 1 << 20;
/// Bytes of a part.
const PART: u64 = 1 << 20;
/// Parts that are fetched at a time where one follows the other.
const MOST_PARTS: u64 = 16;

/// See the module. A clone has what was fetched, and fetches for both.
#[derive(Clone, Debug)]
pub struct Source<'a>(Arc<Of<'a>>);

#[derive(Debug)]
enum Of<'a> {
    Inline(Vec<u8>),
    Whole(File),
    Parts(Parts<'a>),
}

impl<'a> Source<'a> {
    /// A run that is on its way, in a temporary file.
    pub fn of(file: File) -> Self {
        Self(Arc::new(Of::Whole(file)))
    }

    pub(super) fn inline(bytes: Vec<u8>) -> Self {
        Self(Arc::new(Of::Inline(bytes)))
    }

    /// A run that is an object. What is missing or damaged is `RemoteInconsistent`.
    pub fn open(remote: &'a Remote, of: &RunRef, extent: Extent) -> Result<Self> {
        if extent == Extent::All || of.size <= SMALL {
            return Ok(Self(Arc::new(Of::Whole(whole(remote, of)?))));
        }
        let file = remote.context.scratch.unnamed()?;
        let parts = usize::try_from(of.size.div_ceil(PART)).unwrap_or(usize::MAX);
        let there = Mutex::new(There { parts: vec![false; parts], next: 0, ahead: 1, whole: None });
        Ok(Self(Arc::new(Of::Parts(Parts { remote, of: of.clone(), file, there }))))
    }
}

impl ReadAt for Source<'_> {
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<()> {
        match &*self.0 {
            Of::Inline(bytes) => bytes.read_at(offset, buffer),
            Of::Whole(file) => ReadAt::read_at(file, offset, buffer),
            Of::Parts(parts) => parts.read_at(offset, buffer),
        }
    }
}

/// A run of which parts are in a temporary file.
#[derive(Debug)]
struct Parts<'a> {
    remote: &'a Remote,
    of: RunRef,
    file: File,
    there: Mutex<There>,
}

#[derive(Debug)]
struct There {
    parts: Vec<bool>,
    /// The part behind the one that was fetched last: who reads on reads much.
    next: u64,
    /// How many are fetched then.
    ahead: u64,
    /// All of it, where the remote gives no parts.
    whole: Option<File>,
}

impl Parts<'_> {
    fn fetch(&self, there: &mut There, first: u64, last: u64) -> Result<()> {
        let mut at = first;
        while at <= last {
            let is_there = |at: u64| usize::try_from(at).ok().and_then(|at| there.parts.get(at)).copied();
            if is_there(at) != Some(false) {
                at += 1;
                continue;
            }
            there.ahead = if at == there.next { (there.ahead * 2).min(MOST_PARTS) } else { 1 };
            let mut end = at + 1;
            while end < (last + 1).max(at + there.ahead).min(at + MOST_PARTS) && is_there(end) == Some(false) {
                end += 1;
            }
            let range = at * PART..(end * PART).min(self.of.size);
            let start = range.start;
            match self.remote.read_range(&self.of.id.run(), range) {
                Ok(bytes) => self.file.write_all_at(&bytes, start).map_err(|e| Failure::scratch(&e))?,
                // It proves nothing. Whether the object is there, and what is wrong otherwise, a read of all of it shows.
                Err(_) => {
                    self.remote.context.stop.check()?;
                    there.whole = Some(whole(self.remote, &self.of)?);
                    return Ok(());
                }
            }
            for part in at..end {
                if let Some(part) = usize::try_from(part).ok().and_then(|part| there.parts.get_mut(part)) {
                    *part = true;
                }
            }
            (there.next, at) = (end, end);
        }
        Ok(())
    }
}

impl ReadAt for Parts<'_> {
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<()> {
        let mut there = self.there.lock().unwrap_or_else(PoisonError::into_inner);
        let end = offset.saturating_add(buffer.len() as u64);
        if there.whole.is_none() && !buffer.is_empty() && end <= self.of.size {
            self.fetch(&mut there, offset / PART, (end - 1) / PART)?;
        }
        ReadAt::read_at(there.whole.as_ref().unwrap_or(&self.file), offset, buffer)
    }
}

/// All of a run, in a temporary file without a name.
fn whole(remote: &Remote, of: &RunRef) -> Result<File> {
    let path = match remote.read_object(&of.id.run(), of.size)? {
        Read::Absent => return Err(inconsistent(remote, &format!("{} is missing, a part of the map", named(of)))),
        Read::Damaged(what) => return Err(inconsistent(remote, &format!("{} is damaged ({what})", named(of)))),
        Read::Content(path) => path,
    };
    let open = || {
        let file = File::open(&path)?;
        fs::remove_file(&path)?;
        let length = file.metadata()?.len();
        Ok((file, length))
    };
    let (file, length) = open().map_err(|e| Failure::scratch(&e))?;
    if length != of.size {
        let what = format!("{} has {length} bytes, and the manifest says {}", named(of), of.size);
        return Err(inconsistent(remote, &what));
    }
    Ok(file)
}
