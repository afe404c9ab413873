//! Applies the plan of a pull of layout Plain.

use std::collections::HashSet;

use super::super::apply::{self, Applied};
use super::super::names::{self, Alike};
use super::super::obstacles;
use super::super::plan::PullPlan;
use super::super::restore::has_hash;
use super::super::space::{self, Room};
use super::super::staging::Staging;
use crate::error::{Failure, Result};
use crate::format::entries::Entries;
use crate::report::Reason;
use crate::stop::Stop;
use crate::volume::beneath::Root;

/// What is to be applied, and where.
pub(super) struct Applying<'a> {
    pub(super) root: &'a Root,
    pub(super) tree: &'a Entries,
    pub(super) plan: &'a PullPlan,
    pub(super) alike: &'a Alike,
    pub(super) stop: &'a Stop,
}

impl Applying<'_> {
    /// Makes the volume's tree this one. `staging` is the folder, if there is one, and whether the volume merges names. Where nothing differs
    /// the volume is not touched: a folder that comes and goes is a change of the root, too.
    pub(super) fn apply(&self, staging: Option<(Staging, bool)>) -> Result<Applied> {
        let Self { root, tree, plan, alike, stop } = *self;
        let mut applied = match staging {
            None if plan.is_metadata_alone() => apply::metadata(root, tree, (plan, &has_hash), || Staging::open(root).map(drop), stop)?,
            Some((staging, merges)) => self.replace(&staging, merges)?,
            None => {
                let staging = Staging::open(root)?;
                let merges = names::check((root, &staging, false), tree, plan.gone(), alike, stop)?;
                self.replace(&staging, merges)?
            }
        };
        if Staging::is_left(root)? {
            root.sync()?;
            Staging::remove(root, stop)?;
        }
        apply::finish_root(root, tree, &mut applied)?;
        if applied.changed {
            root.sync()?;
        }
        Ok(applied)
    }

    fn replace(&self, staging: &Staging, merges: bool) -> Result<Applied> {
        let Self { root, tree, plan, alike, stop } = *self;
        space::check(root, Room::of_all(plan.copies.iter().map(|(_, _, size)| *size)))?;
        let copied = staging.copy(root, plan, &HashSet::new(), stop)?;
        if let Some((_, path, _)) = plan.copies.iter().find(|(digest, ..)| !copied.contains(digest)) {
            let what = "changed since it was compared: an application changes the volume; the next pull compares all of it";
            return Err(Failure::new(Reason::VolumeUnreadable, format!("{} {what}", root.shown(path).display())));
        }
        let mut work = apply::begin(root, plan, staging, &has_hash, stop);
        let prepared = work.prepare(plan.steps(tree.read()?), true)?;
        obstacles::refuse(root, plan, tree, Some(alike).filter(|_| merges), stop)?;
        root.sync()?;
        work.put(prepared, plan, tree, merges)?;
        let applied = work.finish(tree)?;
        if merges {
            names::verify(root, tree, &stop.unheeded())?;
        }
        Ok(applied)
    }
}
