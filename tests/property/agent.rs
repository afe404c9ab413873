//! The agent of the fake world: looks, decides and writes as the real one does, but may be stale, interrupted or doubled.

use crate::world::World;
use scribe_agent::core::decide::decide;
use scribe_agent::core::model::facts::{Facts, Refresh};
use scribe_agent::core::model::plan::{Plan, Step};
use std::sync::Arc;

/// How one look goes wrong, if it does.
#[derive(Clone, Debug, Default)]
pub struct Look {
    /// How many changes the cache is behind.
    pub behind: usize,
    /// Number of the write before which the agent dies.
    pub crash_at: Option<usize>,
    /// Another agent takes a whole look between this one's decision and its first write.
    pub doubled: bool,
    /// The API server answers this look's list of snapshots with 404.
    pub unlisted: bool,
}

/// What is decided in a world that stays as it is.
pub fn plan(world: &World) -> Plan {
    decide(&curious(world, world.facts()), &World::limits(), world.now)
}

/// These facts, with the cluster's warnings if they are asked for.
pub fn curious(world: &World, facts: Facts) -> Facts {
    let asks = decide(&facts, &World::limits(), world.now).asks_why;
    Facts { warnings: facts.warnings.clone().or_else(|| world.warnings().filter(|_| asks)), ..facts }
}

/// One look, as `controller::reconcile` takes it.
pub fn look(world: &mut World, how: &Look) {
    let current = world.facts();
    let cached = how.behind.checked_sub(1).and_then(|before| world.past.iter().rev().nth(before)).map(|past| Facts::clone(past));
    let cached = cached.unwrap_or_else(|| current.clone());
    world.past.push(Arc::new(current));
    let limits = World::limits();
    let cached = Facts { slot: world.slot, fresh: [Refresh::Slot].into(), ..cached };
    let cached = curious(world, cached);
    if decide(&cached, &limits, world.now).steps.is_empty() {
        return;
    }
    if !act(world, how, cached.clone(), false) {
        // A conflict: the cache is behind.
        act(world, how, cached, true);
    }
}

/// Decides on fresh facts, and writes; false where nothing was done because the object that was believed has changed.
fn act(world: &mut World, how: &Look, cached: Facts, reads_the_object: bool) -> bool {
    let limits = World::limits();
    let mut facts = Facts { fresh: std::collections::BTreeSet::new(), ..cached };
    let mut object_is_fresh = false;
    let plan = loop {
        let plan = decide(&facts, &limits, world.now);
        let guarded = matches!(plan.steps.first(), Some(Step::WriteStatus(_)));
        if !object_is_fresh && (reads_the_object || !guarded) {
            object_is_fresh = true;
            facts = Facts { object: world.object.clone(), spec: world.spec(), status: world.status.clone(), ..facts };
            continue;
        }
        let stale = &plan.needs - &facts.fresh;
        if stale.is_empty() {
            break plan;
        }
        for need in stale {
            match need {
                Refresh::Claims => {
                    facts.claims = world.claims();
                    facts.images_in_use.clone_from(&world.in_use);
                }
                Refresh::Snapshots => {
                    facts.snapshots_known = !how.unlisted;
                    facts.snapshots = if how.unlisted { Vec::new() } else { world.snapshots() };
                }
                Refresh::Jobs => (facts.jobs, facts.foreign_jobs) = (world.jobs.clone(), world.foreign_jobs.clone()),
                Refresh::Pods => facts.pods.clone_from(&world.pods),
                Refresh::Consumers => {
                    facts.consumers.clone_from(&world.consumers);
                    world.lists_of_pods += 1;
                }
                Refresh::Warnings => facts.warnings = world.warnings(),
                Refresh::Slot => facts.slot = world.slot,
                Refresh::Sharing => facts.sharing = world.sharing(),
            }
            facts.fresh.insert(need);
        }
    };
    if how.doubled {
        look(world, &Look::default());
    }
    let mut left_over = false;
    for (number, step) in plan.steps.iter().enumerate() {
        if how.crash_at == Some(number) {
            return true;
        }
        if left_over && matches!(step, Step::Create(_)) {
            continue;
        }
        if world.apply(&facts.object, step) {
            continue;
        }
        // What is written of a copy that is there keeps nothing from being done, but for the status that would leave nothing to show it.
        let status_follows = plan.steps[number..].iter().any(|step| matches!(step, Step::WriteStatus(_)));
        if matches!(step, Step::NoteCopy(note) if !note.announces()) && !status_follows {
            continue;
        }
        // A removal that fails keeps nothing but creates from being done.
        if step.removes().is_none() {
            return object_is_fresh || !matches!(step, Step::WriteStatus(_));
        }
        left_over = true;
    }
    true
}
