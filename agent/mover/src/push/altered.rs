//! Objects that other hands gave other content of the same size: known by the MD5 sums that a listing has on S3 and its like.
//!
//! What was not written since the path was last verified is as it was then, so only the rest is read on the volume, to compare
//! sums. Imports [`crate::remote`], [`crate::committed`], [`crate::hash`] and [`super::plan`].

use std::collections::HashMap;
use std::path::Path;

use super::plan::object_name;
use crate::committed::Committed;
use crate::entry::At;
use crate::failure::Result;
use crate::hash::both;
use crate::remote::{Listing, Remote};
use jiff::SignedDuration;

/// How far the remote's clock may be behind ours.
const SKEW: SignedDuration = SignedDuration::from_hours(1);
/// A size that no object has, and that is not the one for unknown sizes: what has it in a listing is not as it should be.
const ALTERED: u64 = u64::MAX - 1;

/// Lists the path; an object whose content is not that of the committed file has an impossible size.
pub(super) fn list(remote: &Remote, volume: &Path, committed: &Committed) -> Result<Listing> {
    if remote.feature("SlowHash")? {
        return remote.list("");
    }
    let since = committed.commit.verified_time.checked_sub(SKEW).unwrap_or(committed.commit.verified_time);
    let mut recent: HashMap<Box<[u8]>, Box<str>> = HashMap::new();
    let mut listing = remote.list_sums(|name, written, md5| {
        if written.is_none_or(|written| written >= since) {
            recent.insert(name.into(), md5.into());
        }
    })?;
    for entry in committed.entries.read()? {
        let entry = entry?;
        let Some(file) = entry.file().filter(|file| file.at != At::Staged) else { continue };
        let name = object_name(&entry.path, file);
        let Some(there) = recent.get(&name) else { continue };
        // A file that has changed since tells nothing, and is going to be sent anyway.
        if let Some((sha256, md5)) = both(&entry.path.under(volume), &remote.rclone.stop)?
            && sha256 == file.sha256
            && md5 != **there
        {
            tracing::warn!(object = %String::from_utf8_lossy(&name), "somebody has changed what was pushed");
            listing.insert(name, ALTERED);
        }
    }
    Ok(listing)
}
