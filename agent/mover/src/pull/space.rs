//! Whether new content fits on the volume beside the old, and what to do part by part where it does not.
//!
//! Imports [`super::plan`], [`crate::entry`] and [`crate::failure`].

use std::collections::BTreeMap;
use std::path::Path;

use super::plan::{Fetch, Plan, Step};
use crate::entry::{Digest, Entry, FileEntry};
use crate::failure::{Failure, Result};
use crate::report::Reason;

/// Bytes free on the volume at `root`, as far as is known.
pub(super) fn free(root: &Path) -> Result<u64> {
    let stat = rustix::fs::statvfs(root).map_err(|e| Failure::volume("read the free space of", root, &e.into()))?;
    // Some file systems do not say how large they are.
    Ok(if stat.f_blocks == 0 { u64::MAX } else { stat.f_bavail.saturating_mul(stat.f_frsize) })
}

/// `NoSpace` with the figures when `needed` bytes do not fit on the volume at `root`.
pub(super) fn check(root: &Path, needed: u64) -> Result<()> {
    let free = free(root)?;
    if needed <= free {
        return Ok(());
    }
    Err(Failure::new(
        Reason::NoSpace,
        format!(
            "the volume has {free} bytes free, and {needed} more are needed: new content is kept beside the old until all of it is verified. Make the volume larger"
        ),
    ))
}

/// Adds the figures to trouble that rclone had with the space.
pub(super) fn explain(failure: Failure, root: &Path, needed: u64) -> Failure {
    match free(root) {
        Ok(free) if failure.reason == Reason::NoSpace => {
            let Failure { reason, message } = failure;
            Failure::new(reason, format!("the volume has {free} bytes free, and {needed} were needed: {message}"))
        }
        _ => failure,
    }
}

/// What the content of `plan` takes beside what is on the volume: files of the same content are copies of one that is fetched.
pub(super) fn needed(plan: &Plan, missing: &BTreeMap<Digest, Fetch>) -> u64 {
    let all: u64 = plan.fetch.values().map(|fetch| fetch.size.saturating_mul(fetch.uses as u64)).fold(0, u64::saturating_add);
    let there: u64 = plan.fetch.iter().filter(|(digest, _)| !missing.contains_key(*digest)).map(|(_, fetch)| fetch.size).sum();
    all.saturating_sub(there)
}

/// The steps that may be taken at once because their content fits into `room` bytes, and the rest. Without any, the next one does not fit.
pub(super) fn split<'a>(
    steps: &'a [Step],
    entries: &[Entry],
    missing: &BTreeMap<Digest, Fetch>,
    uses: impl Fn(&Digest) -> usize,
    mut room: u64,
) -> (&'a [Step], &'a [Step]) {
    let mut fits = 0;
    for step in steps {
        // The last one to be made of content that is there already takes no more.
        let takes =
            put(step, entries).filter(|file| missing.contains_key(&file.sha256) || uses(&file.sha256) > 1).map_or(0, |file| file.size);
        let Some(left) = room.checked_sub(takes) else { break };
        room = left;
        fits += 1;
    }
    steps.split_at_checked(fits).unwrap_or((steps, &[]))
}

/// What the first of these steps that brings content takes.
pub(super) fn of_next(steps: &[Step], entries: &[Entry]) -> u64 {
    steps.iter().find_map(|step| put(step, entries)).map_or(0, |file| file.size)
}

/// Takes the content of these steps out of what is missing.
pub(super) fn content(steps: &[Step], entries: &[Entry], missing: &mut BTreeMap<Digest, Fetch>) -> BTreeMap<Digest, Fetch> {
    let digests = steps.iter().filter_map(|step| put(step, entries)).map(|file| file.sha256);
    digests.filter_map(|digest| missing.remove_entry(&digest)).collect()
}

/// The file that a step puts in place.
fn put<'a>(step: &Step, entries: &'a [Entry]) -> Option<&'a FileEntry> {
    match step {
        Step::PutFile(number) => entries.get(*number)?.file(),
        _ => None,
    }
}
