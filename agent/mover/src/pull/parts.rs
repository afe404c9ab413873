//! A private volume that is short of space gets a revision in parts: as much at a time as fits beside what is there.

use std::collections::{BTreeMap, HashSet};

use super::apply::Applier;
use super::fetch::{Fetched, Fetching};
use super::plan::{Fetch, PullPlan, Step};
use super::prepare::Prepared;
use super::space::{self, Room};
use crate::digest::Digest;
use crate::error::Result;
use crate::report::Reason;
use crate::volume::beneath::Root;
use crate::volume::path::RelPath;

/// Fetches and applies as much at a time as fits. `there` is content that is verified already. The inner error is the name whose content is
/// not on the remote.
pub(super) fn in_parts(
    fetching: &Fetching,
    root: &Root,
    plan: &PullPlan,
    mut there: HashSet<Digest>,
    work: &mut Applier,
    transferred: &mut u64,
) -> Result<std::result::Result<(), RelPath>> {
    let mut steps = plan.steps(fetching.committed.entries.read()?).peekable();
    // Parts of what was found to be too much at a time, the next one last.
    let mut smaller: Vec<Vec<Step>> = Vec::new();
    loop {
        let mut part = match smaller.pop() {
            Some(part) => part,
            None => {
                let next = match steps.peek() {
                    None => return Ok(Ok(())),
                    Some(step) => step.as_ref().map_or_else(|_| Room::default(), Room::of),
                };
                // The last file to be made of content that is there already takes no more.
                let made = |digest: &Digest| there.contains(digest) && !work.is_shared(digest);
                let takes =
                    |step: &Step| if space::put(step).is_some_and(|file| made(&file.sha256)) { Room::default() } else { Room::of(step) };
                let part = space::next_part(&mut steps, takes, space::free(root)?)?;
                if part.is_empty() {
                    space::check(root, next)?;
                    return Err(space::nothing_fits(root));
                }
                part
            }
        };
        match ready(fetching, root, &part, &mut there, work, transferred) {
            Ok(Ok(prepared)) => work.steps(prepared, part.into_iter().map(Ok))?,
            Ok(Err(path)) => return Ok(Err(path)),
            Err(failure) if failure.reason == Reason::NoSpace && part.len() > 1 => {
                tracing::info!(steps = part.len(), message = failure.message, "too much at a time; trying the half of it");
                let rest = part.split_off(part.len() / 2);
                smaller.extend([rest, part]);
            }
            Err(failure) => return Err(failure),
        }
    }
}

/// Fetches what these steps need, and makes everything ready.
fn ready(
    fetching: &Fetching,
    root: &Root,
    part: &[Step],
    there: &mut HashSet<Digest>,
    work: &mut Applier,
    transferred: &mut u64,
) -> Result<std::result::Result<Prepared, RelPath>> {
    let progress = &fetching.remote.context.progress;
    let mut due = BTreeMap::new();
    for ((_, entry), file) in part.iter().filter_map(|step| Some((step, space::put(step)?))) {
        if file.size == 0 || there.contains(&file.sha256) {
            continue;
        }
        // It may have arrived before there was no room for the rest.
        if fetching.staging.has(&file.sha256)? {
            there.insert(file.sha256);
        } else {
            due.insert(file.sha256, Fetch { path: entry.path.clone(), at: file.at, size: file.size });
        }
    }
    let size = due.values().map(|fetch| fetch.size).sum();
    let needed = Room::of_all(due.values().map(|fetch| fetch.size));
    progress.phase("fetching", size);
    if let Fetched::Inconsistent(path) = fetching.fetch(&due).map_err(|failure| space::explain(failure, root, needed))? {
        return Ok(Err(path));
    }
    there.extend(due.into_keys());
    *transferred += size;
    progress.phase("applying", 0);
    let prepared = work.prepare(part.iter().cloned().map(Ok), false).map_err(|failure| space::explain(failure, root, needed))?;
    // A crash of the node must not leave a name in place whose content was still on its way to the disk.
    root.sync()?;
    Ok(Ok(prepared))
}
