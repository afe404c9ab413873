//! Objects whose content something else has changed, at the same size.
//!
//! What was not written since the path was last verified is as it was then, unless the backend keeps a file's own time and that is
//! another one than the entry's. The rest is held against the committed tree: by the MD5 sums of the listing, for which the files on the
//! volume are read; by its time, on backends that keep a file's own; and where neither is available, by reading the objects.
//!
//! A verification that the user asks for believes no time: everything is held against the committed tree, by sums or by reading.

use jiff::{SignedDuration, Timestamp};

use super::PushOptions;
use super::object_names::{Name, object_name};
use crate::clock::past;
use crate::digest::Digest;
use crate::error::Result;
use crate::format::documents::Commit;
use crate::format::entries::Entries;
use crate::name_set::NameSet;
use crate::remote::committed::Committed;
use crate::remote::{BATCH, Index, Listing, Remote};
use crate::store::Features;
use crate::volume::beneath::Root;
use crate::volume::entry::{FileEntry, Location};
use crate::volume::hash::both;
use crate::volume::merge_join::join;

/// How far the remote's clock may be behind ours, and one of its servers' clocks behind another's.
const SKEW: SignedDuration = SignedDuration::from_hours(1);
/// A size that no object has, and that is not the one for unknown sizes: what has it in a listing is not as it should be.
pub(super) const ALTERED: u64 = u64::MAX - 1;

/// Lists the path; an object that is not what the committed revision needs has an impossible size, and so has one whose file on the
/// volume turns out to be another one than `tree` says: what was hashed and what was sent, or is there by now, are two things then.
///
/// The time is the latest that the listing shows, by the remote's clock: what is written later bears no earlier one.
pub(super) fn list(
    remote: &Remote,
    root: &Root,
    options: &PushOptions,
    committed: &Committed,
    tree: &Entries,
) -> Result<(Listing, Option<Timestamp>)> {
    // Where sums are slow, the backend would read all it has for them.
    let Features { slow_sums, noted_sums, keeps_times: times, .. } = remote.features()?;
    let sums = !slow_sums && !noted_sums;
    let since = verified_since(&committed.commit, options.started, times.is_some());
    let no_time = options.verify_now;
    let is_recent = |written: Option<Timestamp>| no_time || written.is_none_or(|written| since.is_none_or(|since| written >= since));
    let (mut listing, mut recent, mut latest) = (Listing::new(), Index::default(), None);
    remote.each_listed(sums, |object, size| {
        latest = latest.max(object.written);
        // Where the time is the file's own, an old one may be that of another file.
        if times.is_some() || is_recent(object.written) {
            recent.add(object);
        }
        listing.insert(object.name.into(), size);
    })?;
    recent.sort();
    let (mut altered, mut unknown) = (Vec::new(), Vec::new());
    for pair in join(committed.entries.read()?, tree.read()?) {
        let (Some(entry), looked) = pair? else { continue };
        let Some(file) = entry.file().filter(|file| !waits(committed, file)) else { continue };
        let name = object_name(&entry.path, file);
        let Some(there) = recent.get(&name) else { continue };
        let bears = |written| entry.meta.mtime.is_listed_within(written, times.unwrap_or_default());
        if !is_recent(there.written) && there.written.is_none_or(bears) {
            continue;
        }
        if let Some(sum) = there.md5() {
            // A file that is known to have changed since proves nothing, and will be uploaded anyway.
            if looked.is_none_or(|looked| looked.file().is_none_or(|looked| looked.sha256 != file.sha256)) {
                continue;
            }
            match both(root, &entry.path, &remote.context.stop)? {
                Some((sha256, md5)) if sha256 != file.sha256 || md5 != sum => altered.push(name),
                _ => {}
            }
            continue;
        }
        let ours = !no_time && there.written.is_some_and(|written| entry.meta.mtime.is_listed_as(written));
        if !ours && listing.get(&name) == Some(&file.size) {
            unknown.push((name, file.sha256));
            if unknown.len() == BATCH {
                altered.extend(other_content(remote, std::mem::take(&mut unknown))?);
            }
        }
    }
    if !unknown.is_empty() {
        altered.extend(other_content(remote, unknown)?);
    }
    note(altered, &mut listing);
    Ok((listing, latest.filter(|_| times.is_none())))
}

fn note(altered: impl IntoIterator<Item = Name>, listing: &mut Listing) {
    for name in altered {
        tracing::warn!(object = %String::from_utf8_lossy(&name), "this object, or its file on the volume, is not what was committed");
        listing.insert(name, ALTERED);
    }
}

/// Reads those of the committed revision that are `doubted`: what another push has sent there at the same time may have the very size and time
/// of what was committed.
pub(super) fn settle(remote: &Remote, committed: &Committed, doubted: &NameSet, listing: &mut Listing) -> Result<()> {
    if doubted.is_empty() {
        return Ok(());
    }
    let mut unknown = Vec::new();
    for entry in committed.entries.read()? {
        let entry = entry?;
        let name = entry.path.as_bytes();
        let Some(file) = entry.file().filter(|file| !waits(committed, file)) else { continue };
        if doubted.contains(name) && listing.get(name) == Some(&file.size) {
            unknown.push((name.into(), file.sha256));
        }
        if unknown.len() == BATCH {
            note(other_content(remote, std::mem::take(&mut unknown))?, listing);
        }
    }
    if !unknown.is_empty() {
        note(other_content(remote, unknown)?, listing);
    }
    Ok(())
}

/// What lies under the name of one that is still staged is older content. Once promoted, it is as any other.
fn waits(committed: &Committed, file: &FileEntry) -> bool {
    committed.commit.staged && file.at == Location::Staged
}

/// Since when what is written may not be what the last verification saw. `None`: unknown.
///
/// Our clock may have been ahead when the path was verified, and the remote's may have been put back by then: the older of the two times
/// counts. What is written while the remote's is behind that is left to a verification that the user asks for. A remote that shows files' own
/// times has none of its own.
fn verified_since(commit: &Commit, now: Timestamp, own_times: bool) -> Option<Timestamp> {
    // If the path was verified in the future, the real time is unknown.
    let ours = past(commit.verified_time, now)?;
    let since = if own_times { ours } else { commit.latest_listed?.min(ours) };
    since.checked_sub(SKEW).ok()
}

/// Reads these objects, and gives those that hold something else.
fn other_content(remote: &Remote, objects: Vec<(Name, Digest)>) -> Result<impl Iterator<Item = Name>> {
    let sums = remote.read_sums(&objects.iter().map(|(name, _)| &**name).collect::<Vec<_>>())?;
    let differs = move |(name, sha256): &(Name, Digest)| sums.get(name).is_none_or(|sum| **sum != *sha256.hex());
    Ok(objects.into_iter().filter(differs).map(|(name, _)| name))
}
