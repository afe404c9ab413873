//! What is dead, how old it is, and what of it goes: the manifest's words for it, and `packs::policy`'s.

use std::cmp::Reverse;
use std::time::Duration;

use jiff::Timestamp;

use super::retained::{Older, generation_of};
use crate::format::revision::Revision;
use crate::packs::id::ObjectId;
use crate::packs::limits::{DEAD, DEAD_AND_NEEDED};
use crate::packs::manifest::{DeadManifest, DeadObject, Document, Meter, PushClock, Reading, Retained};
use crate::packs::policy::clock::{self, Graces};
use crate::packs::policy::dead::{Dead, Since};
use crate::packs::policy::garbage::{Garbage, garbage};

/// What a manifest says of older revisions and of what is dead, and what goes once it is committed.
#[derive(Debug, Default)]
pub(super) struct Deaths {
    pub(super) retained: Vec<Retained>,
    pub(super) packs: Vec<DeadObject>,
    pub(super) runs: Vec<DeadObject>,
    pub(super) manifests: Vec<DeadManifest>,
    /// Objects below our own folder that nothing needs, and nobody reads any more.
    pub(super) go: Vec<String>,
}

/// The clock of the manifest that follows `before`, written now.
pub(super) fn pushed(before: Option<&Document>, now: Timestamp, graces: &Graces) -> PushClock {
    let clock = before.map_or_else(|| clock::PushClock::new(now), |before| read(&before.clock).pushed(now, graces));
    PushClock { at: clock.at, full: meter(clock.full), brief: meter(clock.brief), age: meter(clock.age) }
}

/// What becomes of the dead with the manifest of `generation`, which follows `before`. These packs and runs have died with it, `live` bytes
/// are needed, and of the older revisions it is to keep some.
pub(super) fn deaths(
    before: Option<&Document>,
    (packs, runs): (Vec<Dead<ObjectId>>, Vec<Dead<ObjectId>>),
    mut older: Older,
    generation: u64,
    clock: &PushClock,
    live: u64,
    graces: &Graces,
) -> Deaths {
    let now = reading(clock);
    let old = |of: fn(&Document) -> &Vec<DeadObject>| before.map(of).into_iter().flatten().map(known);
    let packs: Vec<_> = old(|before| &before.dead_packs).chain(packs).collect();
    let runs: Vec<_> = old(|before| &before.dead_runs).chain(runs).collect();
    older.bound(&[&packs, &runs], DEAD_AND_NEEDED);
    let retained: Vec<u64> = older.kept.iter().filter_map(generation_of).collect();
    let packs = garbage(packs, &retained, generation, now, Some(live), graces);
    let runs = garbage(runs, &retained, generation, now, None, graces);
    let revisions = older.dropped.iter().map(|of| (&of.revision, of.manifest.size, None));
    let dead = before.into_iter().flat_map(|before| &before.dead_manifests).map(|dead| (&dead.revision, dead.size, Some(dead.since)));
    let manifests: Vec<Dead<&str>> = revisions.chain(dead).map(|(revision, size, since)| manifest(revision, size, since)).collect();
    let manifests = garbage(manifests, &[], generation, now, None, graces);
    let go = packs.go.iter().map(|dead| dead.id.pack()).chain(runs.go.iter().map(|dead| dead.id.run()));
    let go = go.chain(manifests.go.iter().map(|dead| format!("manifests/{}.zst", dead.id))).collect();
    let manifest = |dead: &Dead<&str>| DeadManifest { revision: dead.id.to_owned(), size: dead.size, since: since(dead.since, clock) };
    let manifests = newest(&manifests).into_iter().map(manifest).collect();
    Deaths { packs: listed(&packs, clock), runs: listed(&runs, clock), manifests, go, retained: older.kept }
}

fn listed(dead: &Garbage<ObjectId>, clock: &PushClock) -> Vec<DeadObject> {
    let object = |dead: &Dead<ObjectId>| DeadObject {
        id: dead.id,
        size: dead.size,
        born: dead.written,
        died: dead.died,
        since: dead.since.map(|_| since(dead.since, clock)),
    };
    newest(dead).into_iter().map(object).collect()
}

/// As many as a manifest may list: those that retained revisions need, and of the others those that died last. What is not listed any more is
/// a stranger, and deleted as such or not at all.
fn newest<Id: Copy + Ord>(dead: &Garbage<Id>) -> Vec<&Dead<Id>> {
    let mut listed: Vec<&Dead<Id>> = dead.stay.iter().collect();
    listed.sort_by_key(|dead| (dead.since.is_some(), Reverse(dead.died)));
    listed.truncate(DEAD);
    listed.sort_by_key(|dead| dead.id);
    listed
}

fn known(object: &DeadObject) -> Dead<ObjectId> {
    let DeadObject { id, size, born, died, since } = *object;
    Dead { id, size, written: born, died, since: since.map(|since| dead_since(died, since)) }
}

fn manifest(revision: &str, size: u64, since: Option<Reading>) -> Dead<&str> {
    let generation = Revision::parse(revision).map_or(0, |revision| revision.generation());
    let died = generation.saturating_add(1);
    Dead { id: revision, size, written: generation, died, since: since.map(|since| dead_since(died, since)) }
}

/// Which generation was the first one that it was of no use to is not written down: the one in which it died comes nearest.
fn dead_since(generation: u64, since: Reading) -> Since {
    Since { generation, full: Duration::from_millis(since.full), brief: Duration::from_millis(since.brief) }
}

fn since(since: Option<Since>, clock: &PushClock) -> Reading {
    let now = Reading { full: clock.full.counted, brief: clock.brief.counted, age: clock.age.counted };
    since.map_or(now, |since| Reading { full: millis(since.full), brief: millis(since.brief), age: now.age })
}

fn reading(clock: &PushClock) -> clock::Reading {
    read(clock).reading()
}

fn read(clock: &PushClock) -> clock::PushClock {
    let meter = |meter: Meter| clock::Meter { counted: Duration::from_millis(meter.counted), owed: Duration::from_millis(meter.owed) };
    clock::PushClock { at: clock.at, full: meter(clock.full), brief: meter(clock.brief), age: meter(clock.age) }
}

fn meter(meter: clock::Meter) -> Meter {
    Meter { counted: millis(meter.counted), owed: millis(meter.owed) }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_retained_revisions_need_is_listed_before_all_else() {
        let since = Some(Since { generation: 1, full: Duration::ZERO, brief: Duration::ZERO });
        let dead = |id: u64| Dead { id, size: 1, written: id, died: id + 1, since: if id < 5 { None } else { since } };
        let garbage = Garbage { stay: (0..DEAD as u64 + 10).map(dead).collect(), go: Vec::new() };
        let listed: Vec<u64> = newest(&garbage).into_iter().map(|dead| dead.id).collect();
        assert_eq!((listed.len(), &listed[..6]), (DEAD, &[0, 1, 2, 3, 4, 15][..]));
    }
}
