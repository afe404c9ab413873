//! The files that are going to have other content, with what of each is there already, and what is written to those in place.

use super::changes::{Changes, ChangesWriter};
use super::local::{Blocks, Comparing};
use super::since::Since;
use super::target::{Missing, Target};
use super::tree::Held;
use crate::error::Result;
use crate::packs::run::ReadAt;
use crate::pull::plan::{Action, Step};
use crate::pull::staging::Staging;
use crate::scratch::Scratch;
use crate::volume::path::RelPath;

/// Those of these steps.
pub(super) fn of<R: ReadAt>(
    comparing: &Comparing<R>,
    steps: impl Iterator<Item = Result<Step>>,
    held: &Held,
    (staging, scratch): (&Staging, &Scratch),
) -> Result<(Vec<Target>, Changes)> {
    let mut targets = Vec::new();
    for step in steps {
        comparing.stop.check()?;
        let (action, entry) = step?;
        let Some(file) = entry.file().filter(|_| matches!(action, Action::PutFile | Action::Patch)) else { continue };
        if file.size > 0 || action == Action::Patch {
            let (digest, size, path) = (file.sha256, file.size, entry.path);
            let in_place = action == Action::Patch;
            targets.push(Target { digest, size, missing: Missing::None, blocks: 0, bytes: 0, path, in_place });
        }
    }
    // Empty ones have no id, and come last.
    targets.sort_by_key(|target| (target.size == 0, target.id()));
    let mut rows = Blocks::new(comparing.map);
    let mut since = Since::new(comparing, held);
    let mut changes = ChangesWriter::new(scratch)?;
    for (at, target) in targets.iter_mut().enumerate().filter(|(_, target)| target.size > 0) {
        comparing.stop.check()?;
        if since.knows(target)? {
            let waiting = comparing.waiting(target, staging)?;
            since.look((at, target), &waiting, &mut changes)?;
        } else {
            comparing.local((at, target), &mut changes, &mut rows, staging)?;
        }
        if !target.in_place {
            target.path = RelPath::root();
        }
    }
    since.clear(&targets, &mut changes)?;
    Ok((targets, changes.finish()?))
}
