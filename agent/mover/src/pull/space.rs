//! Whether new content fits on the volume beside the old, and what to do part by part where it does not.

use std::iter::Peekable;

use super::plan::{Action, Step};
use crate::error::{Failure, Result};
use crate::remote::BATCH;
use crate::report::Reason;
use crate::volume::beneath::Root;
use crate::volume::entry::FileEntry;

/// Bytes free on the volume at `root`, as far as is known.
pub(super) fn free(root: &Root) -> Result<u64> {
    let stat = root.space()?;
    // Some file systems do not say how large they are.
    Ok(if stat.f_blocks == 0 { u64::MAX } else { stat.f_bavail.saturating_mul(stat.f_frsize) })
}

/// `NoSpace` with the figures when `needed` bytes do not fit on the volume at `root`.
pub(super) fn check(root: &Root, needed: u64) -> Result<()> {
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

/// Adds the figures to a failure for lack of space.
pub(super) fn explain(failure: Failure, root: &Root, needed: u64) -> Failure {
    match free(root) {
        Ok(free) if failure.reason == Reason::NoSpace => {
            let Failure { reason, message, .. } = failure;
            Failure::new(reason, format!("the volume has {free} bytes free, and {needed} were needed: {message}"))
        }
        _ => failure,
    }
}

/// The steps that may be taken at once, because what they take fits into `room` bytes. None when the next one does not fit.
pub(super) fn next_part(
    steps: &mut Peekable<impl Iterator<Item = Result<Step>>>,
    takes: impl Fn(&FileEntry) -> u64,
    mut room: u64,
) -> Result<Vec<Step>> {
    let mut part = Vec::new();
    while part.len() < BATCH {
        let fits = steps.next_if(|step| match step {
            Ok(step) => match room.checked_sub(put(step).map_or(0, &takes)) {
                Some(left) => {
                    room = left;
                    true
                }
                None => false,
            },
            Err(_) => true,
        });
        match fits {
            Some(step) => part.push(step?),
            None => break,
        }
    }
    Ok(part)
}

/// The file that a step puts in place.
pub(super) fn put((action, entry): &Step) -> Option<&FileEntry> {
    entry.file().filter(|_| *action == Action::PutFile)
}
