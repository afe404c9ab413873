//! What is dead, how old it is, and what of it goes: the manifest's words for it, and `packs::policy`'s.

use std::time::Duration;

use jiff::Timestamp;

use crate::format::revision::Revision;
use crate::packs::id::ObjectId;
use crate::packs::limits::DEAD;
use crate::packs::manifest::{DeadManifest, DeadObject, Document, Meter, PushClock, Reading, Retained};
use crate::packs::policy::clock::{self, Graces};
use crate::packs::policy::dead::{Dead, Since};
use crate::packs::policy::garbage::{Garbage, garbage};

/// What a manifest says of what is dead, and what goes once it is committed.
#[derive(Debug, Default)]
pub(super) struct Deaths {
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

/// What becomes of the dead with the manifest of `generation`, which follows `before`. These packs and runs have died with it, and `live` bytes
/// are needed; `manifest` bytes has the one before.
pub(super) fn deaths(
    before: Option<(&Document, u64)>,
    (packs, runs): (Vec<Dead<ObjectId>>, Vec<Dead<ObjectId>>),
    generation: u64,
    clock: &PushClock,
    live: u64,
    graces: &Graces,
) -> Deaths {
    let now = reading(clock);
    let old = |of: fn(&Document) -> &Vec<DeadObject>| before.map(|(before, _)| of(before)).into_iter().flatten().map(known);
    let retained: Vec<u64> = before.into_iter().flat_map(|(before, _)| &before.retained).filter_map(generation_of).collect();
    let packs = garbage(old(|before| &before.dead_packs).chain(packs).collect(), &retained, generation, now, Some(live), graces);
    let runs = garbage(old(|before| &before.dead_runs).chain(runs).collect(), &retained, generation, now, None, graces);
    let revisions = before.map(|(before, size)| (&before.revision, size, None)).into_iter();
    let older = before.into_iter().flat_map(|(before, _)| &before.dead_manifests).map(|dead| (&dead.revision, dead.size, Some(dead.since)));
    let manifests: Vec<Dead<&str>> = revisions.chain(older).map(|(revision, size, since)| manifest(revision, size, since)).collect();
    let manifests = garbage(manifests, &[], generation, now, None, graces);
    let go = packs.go.iter().map(|dead| dead.id.pack()).chain(runs.go.iter().map(|dead| dead.id.run()));
    let go = go.chain(manifests.go.iter().map(|dead| format!("manifests/{}.zst", dead.id))).collect();
    Deaths {
        packs: listed(&packs, clock),
        runs: listed(&runs, clock),
        manifests: newest(&manifests)
            .map(|dead| DeadManifest { revision: dead.id.to_owned(), size: dead.size, since: since(dead.since, clock) })
            .collect(),
        go,
    }
}

fn listed(dead: &Garbage<ObjectId>, clock: &PushClock) -> Vec<DeadObject> {
    let object = |dead: &Dead<ObjectId>| DeadObject {
        id: dead.id,
        size: dead.size,
        born: dead.written,
        died: dead.died,
        since: dead.since.map(|_| since(dead.since, clock)),
    };
    newest(dead).map(object).collect()
}

/// As many as a manifest may list, those that died last. What is not listed any more is a stranger, and deleted as such or not at all.
fn newest<Id>(dead: &Garbage<Id>) -> impl Iterator<Item = &Dead<Id>> {
    let mut died: Vec<u64> = dead.stay.iter().map(|dead| dead.died).collect();
    died.sort_unstable();
    let from = died.len().checked_sub(DEAD).and_then(|over| died.get(over).copied());
    dead.stay.iter().filter(move |dead| from.is_none_or(|from| dead.died >= from)).take(DEAD)
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

fn generation_of(kept: &Retained) -> Option<u64> {
    Some(Revision::parse(&kept.revision)?.generation())
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
