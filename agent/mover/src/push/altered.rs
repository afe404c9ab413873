//! Objects that other hands gave other content of the same size.
//!
//! What was not written since the path was last verified is as it was then. The rest is held against the committed tree: by the
//! MD5 sums of the listing, for which the files on the volume are read; by its time, on backends that keep a file's own; and where
//! neither tells, by reading the objects. Imports [`crate::remote`], [`crate::committed`], [`crate::hash`], [`crate::spill`]'s batches and
//! [`super::plan`].

use std::path::Path;

use jiff::SignedDuration;

use super::plan::{Name, object_name};
use crate::committed::Committed;
use crate::entry::{At, Entry, FileEntry};
use crate::failure::Result;
use crate::hash::both;
use crate::remote::{BATCH, Index, Listing, Object, Remote};
use crate::spill::batches;

/// How far the remote's clock may be behind ours.
const SKEW: SignedDuration = SignedDuration::from_hours(1);
/// A size that no object has, and that is not the one for unknown sizes: what has it in a listing is not as it should be.
const ALTERED: u64 = u64::MAX - 1;

/// Lists the path; an object whose content is not that of the committed file has an impossible size.
pub(super) fn list(remote: &Remote, volume: &Path, committed: &Committed) -> Result<Listing> {
    // Where sums are slow, the backend would read all it has for them.
    let sums = !remote.feature("SlowHash")?;
    let since = committed.commit.verified_time.checked_sub(SKEW).unwrap_or(committed.commit.verified_time);
    let (mut listing, mut recent) = (Listing::new(), Index::default());
    remote.told(sums, |object, size| {
        if object.written.is_none_or(|written| written >= since) {
            recent.add(object);
        }
        listing.insert(object.name.into(), size);
    })?;
    recent.sort();
    let mut altered: Vec<Name> = Vec::new();
    let mut untold = 0_u64;
    for entry in committed.entries.read()? {
        let entry = entry?;
        let Some((name, file)) = object_of(&entry) else { continue };
        match recent.get(&name).map(Object::md5) {
            None => {}
            Some(None) => untold += 1,
            Some(Some(sum)) => {
                // A file that has changed since tells nothing, and is going to be sent anyway.
                if let Some((sha256, md5)) = both(&entry.path.under(volume), &remote.rclone.stop)?
                    && sha256 == file.sha256
                    && md5 != sum
                {
                    altered.push(name);
                }
            }
        }
    }
    if untold > 0 {
        let unknown = committed.entries.read()?.filter_map(|entry| match entry {
            Ok(entry) => {
                let (name, file) = object_of(&entry)?;
                let there = recent.get(&name).filter(|there| there.md5().is_none())?;
                let ours = there.written.is_some_and(|written| entry.meta.mtime.is_told_as(written));
                (!ours && listing.get(&name) == Some(&file.size)).then_some(Ok((name, file.sha256)))
            }
            Err(failure) => Some(Err(failure)),
        });
        for batch in batches(unknown, BATCH) {
            let batch = batch?;
            let sums = remote.read_sums(batch.iter().map(|(name, _)| &**name))?;
            altered.extend(
                batch.into_iter().filter(|(name, sha256)| sums.get(name).is_none_or(|sum| **sum != *sha256.hex())).map(|(name, _)| name),
            );
        }
    }
    for name in altered {
        tracing::warn!(object = %String::from_utf8_lossy(&name), "somebody has changed what was pushed");
        listing.insert(name, ALTERED);
    }
    Ok(listing)
}

/// A file of the committed tree, and the name of its object.
fn object_of(entry: &Entry) -> Option<(Name, &FileEntry)> {
    let file = entry.file().filter(|file| file.at != At::Staged)?;
    Some((object_name(&entry.path, file), file))
}
