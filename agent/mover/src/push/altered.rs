//! Objects that other hands gave other content of the same size.
//!
//! What was not written since the path was last verified is as it was then. The rest is held against the committed tree: by the
//! MD5 sums of the listing, for which the files on the volume are read; by its time, on backends that keep a file's own; and where
//! neither tells, by reading the objects. Imports [`crate::remote`], [`crate::committed`], [`crate::hash`] and [`super::plan`].

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use jiff::{SignedDuration, Timestamp};

use super::plan::{Name, object_name};
use crate::committed::Committed;
use crate::entry::{At, Digest};
use crate::failure::Result;
use crate::hash::both;
use crate::remote::{BATCH, Listing, Remote};

/// How far the remote's clock may be behind ours.
const SKEW: SignedDuration = SignedDuration::from_hours(1);
/// A size that no object has, and that is not the one for unknown sizes: what has it in a listing is not as it should be.
const ALTERED: u64 = u64::MAX - 1;

/// An object that was written since the path was last verified, or on a backend that cannot tell.
struct Recent {
    written: Option<Timestamp>,
    md5: Option<Box<str>>,
}

/// Lists the path; an object whose content is not that of the committed file has an impossible size.
pub(super) fn list(remote: &Remote, volume: &Path, committed: &Committed) -> Result<Listing> {
    // Where sums are slow, the backend would read all it has for them.
    let sums = !remote.feature("SlowHash")?;
    let since = committed.commit.verified_time.checked_sub(SKEW).unwrap_or(committed.commit.verified_time);
    let mut recent: HashMap<Name, Recent> = HashMap::new();
    let mut listing = remote.list_told(sums, |object| {
        if object.written.is_none_or(|written| written >= since) {
            recent.insert(object.name.into(), Recent { written: object.written, md5: object.md5.map(Into::into) });
        }
    })?;
    let mut unknown: BTreeMap<Name, Digest> = BTreeMap::new();
    for entry in committed.entries.read()? {
        let entry = entry?;
        let Some(file) = entry.file().filter(|file| file.at != At::Staged) else { continue };
        let name = object_name(&entry.path, file);
        let Some(there) = recent.get(&name) else { continue };
        let Some(sum) = &there.md5 else {
            let told = there.written.is_some_and(|written| entry.meta.mtime.is_told_as(written));
            if !told && listing.get(&name) == Some(&file.size) {
                unknown.insert(name, file.sha256);
            }
            continue;
        };
        // A file that has changed since tells nothing, and is going to be sent anyway.
        if let Some((sha256, md5)) = both(&entry.path.under(volume), &remote.rclone.stop)?
            && sha256 == file.sha256
            && md5 != **sum
        {
            mark(&mut listing, name);
        }
    }
    for batch in unknown.into_iter().collect::<Vec<_>>().chunks(BATCH) {
        let sums = remote.read_sums(batch.iter().map(|(name, _)| &**name))?;
        for (name, sha256) in batch {
            if sums.get(name).is_none_or(|sum| **sum != *sha256.hex()) {
                mark(&mut listing, name.clone());
            }
        }
    }
    Ok(listing)
}

fn mark(listing: &mut Listing, name: Name) {
    tracing::warn!(object = %String::from_utf8_lossy(&name), "somebody has changed what was pushed");
    listing.insert(name, ALTERED);
}
