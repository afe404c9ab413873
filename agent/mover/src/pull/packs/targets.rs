//! The files that are going to have other content, with what of each is there already.

use super::local::{Blocks, Comparing};
use super::since::Since;
use super::target::{Missing, Target};
use super::tree::Held;
use crate::error::Result;
use crate::packs::run::ReadAt;
use crate::pull::plan::{Action, Step};
use crate::pull::staging::Staging;
use crate::volume::path::RelPath;

/// Those of these steps.
pub(super) fn of<R: ReadAt>(
    comparing: &Comparing<R>,
    steps: impl Iterator<Item = Result<Step>>,
    held: &Held,
    staging: &Staging,
) -> Result<Vec<Target>> {
    let mut targets = Vec::new();
    for step in steps {
        let (action, entry) = step?;
        let Some(file) = entry.file().filter(|_| matches!(action, Action::PutFile | Action::Patch)) else { continue };
        if file.size > 0 || action == Action::Patch {
            let (digest, size, path) = (file.sha256, file.size, entry.path);
            let in_place = (action == Action::Patch).then(Box::default);
            targets.push(Target { digest, size, missing: Missing::None, blocks: 0, bytes: 0, path, in_place });
        }
    }
    // Empty ones have no id, and come last.
    targets.sort_by_key(|target| (target.size == 0, target.id()));
    let mut rows = Blocks::new(comparing.map);
    let mut since = Since::new(comparing, held);
    for target in targets.iter_mut().filter(|target| target.size > 0) {
        comparing.stop.check()?;
        if since.knows(target)? {
            comparing.staged(target, None, &Staging::content(&target.digest), staging)?;
            since.look(target)?;
        } else {
            comparing.local(target, &mut rows, staging)?;
        }
        if target.in_place.is_none() {
            target.path = RelPath::root();
        }
    }
    since.clear(&mut targets)?;
    Ok(targets)
}
