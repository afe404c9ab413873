//! The files that are going to have other content, with what of each is there already, and what is written to those in place.

use super::changes::{Changes, ChangesWriter};
use super::local::{Blocks, Comparing};
use super::since::Since;
use super::target::Target;
use super::tree::Held;
use crate::digest::Digest;
use crate::error::Result;
use crate::packs::run::ReadAt;
use crate::pull::identity::parts;
use crate::pull::plan::{Action, Step};
use crate::pull::staging::Staging;
use crate::scratch::Scratch;
use crate::volume::beneath::{Root, is_gone};
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
            let (content, in_place) = ((file.sha256, file.size), action == Action::Patch);
            // Of a million files that are new, no path is kept.
            let path = if in_place || may_be_there(comparing.root, &entry.path) { entry.path } else { RelPath::root() };
            targets.push(Target::new(content, path, in_place));
        }
    }
    // Empty ones have no id, and come last.
    targets.sort_by_key(|target| (target.size == 0, target.id()));
    let kept = staging.keep_unverified(|digest, in_place| kept_as(&targets, digest, in_place), comparing.stop)?;
    comparing.room(&targets, kept, staging)?;
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
        } else if target.misses() {
            staging.make_blocks(&target.digest)?;
        }
    }
    since.clear(&targets, &mut changes)?;
    Ok((targets, changes.finish()?))
}

/// Whether something may be at this path.
fn may_be_there(root: &Root, path: &RelPath) -> bool {
    !root.hold(path).is_err_and(|error| is_gone(&error))
}

/// As what these targets, which are in order, need a content that was left: what is changed in place, its own new blocks alone; what is made whole,
/// any of this file, because all of its blocks are compared.
fn kept_as(targets: &[Target], digest: &Digest, in_place: bool) -> Option<Digest> {
    let (filled, _) = targets.split_at(targets.partition_point(|target| target.size > 0));
    let id = parts(digest).1;
    let first = filled.partition_point(|target| target.id() < id);
    let of_it = filled.iter().skip(first).take_while(|target| target.id() == id);
    let mut fitting = of_it.filter(|target| target.in_place == in_place);
    if in_place { fitting.find(|target| target.digest == *digest) } else { fitting.next() }.map(|target| target.digest)
}
