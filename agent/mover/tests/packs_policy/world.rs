//! A volume, a remote and those who work with them; `push` is what a push does, by the policy's real code.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use fastrand::Rng;
use scribe_mover::packs::policy::clock::{Graces, PushClock};
use scribe_mover::packs::policy::compaction::{Compaction, moved_order, pack_size};
use scribe_mover::packs::policy::dead::{Dead, Since};
use scribe_mover::packs::policy::garbage::garbage;
use scribe_mover::packs::policy::retained::{Retained, kept};
use scribe_mover::packs::policy::table::{Pack, Table};

use crate::case::Case;
use crate::clocks::Time;
use crate::cost::Cost;
use crate::draw::Draw;
use crate::readers::Readers;
use crate::remote::{Object, Remote, Stored};
use crate::rivals::Rivals;
use crate::rules::{Fault, Found, Rule};
use crate::volume::{Place, Put, Snapshot, packs_of};

/// What is committed.
pub struct Manifest {
    pub generation: u64,
    pub places: Vec<Place>,
    pub table: Table<u32>,
    pub dead: Vec<Dead<u32>>,
    pub dead_manifests: Vec<Dead<u64>>,
    /// The newest first: the current one.
    pub retained: Vec<Retained>,
    pub clock: PushClock,
}

pub struct World {
    pub case: Case,
    pub rng: Rng,
    pub time: Time,
    draw: Draw,
    /// Of each block: the version of its content, and the generation that had it first.
    pub versions: Vec<u32>,
    pub changed: Vec<u32>,
    pub manifest: Manifest,
    pub remote: Remote,
    pub snapshots: BTreeMap<u64, Arc<Snapshot>>,
    /// When a pack died, and when a manifest was followed by another.
    pub died: BTreeMap<u32, i64>,
    pub followed: BTreeMap<u64, i64>,
    pub next_pack: u32,
    /// The content of packs before this one was looked at.
    pub checked: u32,
    /// Of each dead pack that no retained revision refers to: since when, and its size.
    pub unused: BTreeMap<u32, (i64, u64)>,
    /// The times of pushes, and how much of them counts.
    pub passed: Vec<(i64, i64)>,
    pub readers: Readers,
    pub rivals: Rivals,
    pub found: Found,
    pub cost: Cost,
    pub graces: Graces,
    /// For the fault that counts by the latest time that was seen.
    latest: jiff::Timestamp,
}

impl World {
    /// With the first push done.
    pub fn new(case: Case) -> Self {
        let time = Time::new(case.clocks);
        let clock = PushClock::new(time.clock());
        let all = case.blocks;
        let manifest = Manifest {
            generation: 0,
            places: vec![Place::default(); all],
            table: Table::default(),
            dead: Vec::new(),
            dead_manifests: Vec::new(),
            retained: Vec::new(),
            clock,
        };
        let mut world = Self {
            rng: Rng::with_seed(case.seed),
            draw: Draw::new(case.spread, all),
            versions: vec![0; all],
            changed: vec![1; all],
            manifest,
            remote: Remote::default(),
            snapshots: BTreeMap::new(),
            died: BTreeMap::new(),
            followed: BTreeMap::new(),
            next_pack: 1,
            checked: 1,
            unused: BTreeMap::new(),
            passed: vec![(0, 0)],
            readers: Readers::default(),
            rivals: Rivals::default(),
            found: Found::default(),
            cost: Cost::default(),
            graces: Graces::default(),
            latest: clock.at,
            time,
            case,
        };
        let puts: Vec<Put> = (0..all).map(|block| Put { block, length: stored_length(&mut world.rng), born: 1 }).collect();
        world.put(1, &puts);
        world.manifest.generation = 1;
        world.remote.manifests.insert(1);
        world.manifest.retained = vec![Retained { generation: 1, data_time: clock.at, committed: clock.reading() }];
        world.readers.site.generation = 1;
        world.readers.site.versions.clone_from(&world.versions);
        world
    }

    /// One more.
    pub fn push(&mut self) {
        let generation = self.manifest.generation + 1;
        self.time.pass(&mut self.rng, generation);
        self.rivals_commit();
        let clock = self.counted();
        self.keep_revisions(generation, clock);

        let data = self.change(generation);
        let moved = self.compact(generation, data);

        let is_died = self.rng.u32(0..100);
        if self.case.rivals && is_died == 0 {
            // It dies before its commit, and another one comes in its place: what it has stored is a stranger's now.
            self.stranger(self.time.now);
        }
        let dead = self.manifest.table.take_dead(generation);
        for object in &dead {
            self.died.insert(object.id, self.time.now);
        }
        self.manifest.dead.extend(dead);
        self.manifest.dead_manifests.push(Dead { id: generation - 1, size: 1, written: generation - 1, died: generation, since: None });
        self.followed.insert(generation - 1, self.time.now);
        self.remote.manifests.insert(generation);
        self.manifest.generation = generation;
        self.manifest.clock = clock;
        // It dies after its commit: nothing is deleted, and nobody knows of it any more.
        self.collect(is_died == 1 && self.case.rivals);
        self.check(moved, data);
        self.read();
        self.others();
        self.measure(data, moved);
    }

    /// The manifest's clock, with the faults that it may have.
    fn counted(&mut self) -> PushClock {
        let (now, before) = (self.time.clock(), self.manifest.clock);
        let mut clock = before.pushed(now, &self.graces);
        let passed = now.duration_since(before.at);
        match self.case.fault {
            Some(Fault::Uncapped) if passed.is_positive() => clock.full.counted = before.full.counted + passed.unsigned_abs(),
            Some(Fault::BackCounts) if passed.is_negative() => {
                clock = PushClock { at: now, ..before.pushed(before.at - passed, &self.graces) }
            }
            Some(Fault::NothingOwed) => {
                clock.full.owed = Duration::ZERO;
                clock.brief.owed = Duration::ZERO;
            }
            Some(Fault::HighWater) if now <= self.latest => (clock.full, clock.brief) = (before.full, before.brief),
            _ => {}
        }
        self.latest = self.latest.max(now);
        clock
    }

    /// Which revisions the new manifest retains. The one before this push is remembered before its map changes.
    fn keep_revisions(&mut self, generation: u64, clock: PushClock) {
        let new = Retained { generation, data_time: clock.at, committed: clock.reading() };
        let all: Vec<Retained> = std::iter::once(new).chain(self.manifest.retained.iter().copied()).collect();
        let keeps = kept(&all, &self.case.retention, clock.at, clock.reading());
        self.manifest.retained = all.iter().zip(keeps).filter(|(_, keeps)| *keeps).map(|(revision, _)| *revision).collect();
        let is_kept = |generation: u64| self.manifest.retained.iter().any(|revision| revision.generation == generation);
        if is_kept(generation - 1) {
            let (places, versions) = (self.manifest.places.clone(), self.versions.clone());
            let packs = packs_of(&places);
            self.snapshots.insert(generation - 1, Arc::new(Snapshot { generation: generation - 1, places, versions, packs }));
        }
        self.snapshots.retain(|generation, _| is_kept(*generation));
    }

    /// The volume changes, and what has changed is stored. Returns its bytes.
    fn change(&mut self, generation: u64) -> u64 {
        let born = u32::try_from(generation).unwrap();
        let blocks = self.draw.some(&mut self.rng, self.case.changed);
        let mut puts = Vec::with_capacity(blocks.len());
        for block in blocks {
            self.versions[block] += 1;
            self.changed[block] = born;
            let born = if self.case.is(Fault::BornBefore) { self.manifest.places[block].born } else { born };
            self.release(block);
            puts.push(Put { block, length: stored_length(&mut self.rng), born });
        }
        self.put(generation, &puts)
    }

    /// Rewrites what the policy chooses. Returns the bytes of it.
    fn compact(&mut self, generation: u64, data: u64) -> u64 {
        let packs: Vec<Pack<u32>> = self.manifest.table.packs().copied().collect();
        let rules = match self.case.fault {
            Some(Fault::NoBudget) => Compaction { budget: u64::MAX, ..self.case.rules },
            _ => self.case.rules,
        };
        let chosen = rules.choose(&packs, generation, data);
        if chosen.is_empty() {
            return 0;
        }
        let of = |id: u32| self.manifest.table.get(id).unwrap();
        let is_old = chosen.iter().all(|id| of(*id).written < generation);
        self.found.check(Rule::Budget, is_old, || format!("push {generation}: a pack is rewritten that it has just written"));
        let mut is_chosen = vec![false; usize::try_from(self.next_pack).unwrap()];
        for id in &chosen {
            is_chosen[usize::try_from(*id).unwrap()] = true;
        }
        let mut puts = Vec::new();
        for block in 0..self.case.blocks {
            let Place { pack, length, born, .. } = self.manifest.places[block];
            if is_chosen[usize::try_from(pack).unwrap()] {
                if !self.case.is(Fault::NotReleased) {
                    self.release(block);
                }
                let born = if self.case.is(Fault::BornAgain) { u32::try_from(generation).unwrap() } else { born };
                puts.push(Put { block, length, born });
            }
        }
        puts.sort_by_key(|put| moved_order(put.born, put.block));
        let first = self.next_pack;
        let moved = self.put(generation, &puts);
        if self.case.is(Fault::MovedOther) {
            let stored = &mut self.remote.packs.get_mut(&first).unwrap().blocks[0];
            stored.block = (stored.block + 1) % u32::try_from(self.case.blocks).unwrap();
        }
        moved
    }

    fn release(&mut self, block: usize) {
        let place = self.manifest.places[block];
        self.manifest.table.release(place.pack, place.length.into()).unwrap();
    }

    /// Stores blocks in new packs. Returns the bytes of them.
    fn put(&mut self, generation: u64, puts: &[Put]) -> u64 {
        let live = self.manifest.table.bytes().live + puts.iter().map(|put| u64::from(put.length)).sum::<u64>();
        let (limit, mut sum) = (u32::try_from(pack_size(live)).unwrap(), 0);
        let mut at = 0;
        while at < puts.len() {
            let (id, mut size, mut blocks) = (self.next_pack, 0, Vec::new());
            self.next_pack += 1;
            while let Some(put) = puts.get(at).filter(|put| size + put.length <= limit) {
                let block = u32::try_from(put.block).unwrap();
                blocks.push(Stored { offset: size, block, version: self.versions[put.block] });
                self.manifest.places[put.block] = Place { pack: id, offset: size, length: put.length, born: put.born };
                (size, at) = (size + put.length, at + 1);
            }
            self.remote.packs.insert(id, Object { date: self.time.now, blocks });
            self.manifest.table.add(Pack { id, size: size.into(), live: size.into(), written: generation }).unwrap();
            sum += u64::from(size);
        }
        sum
    }

    /// A pack that no manifest has.
    pub fn stranger(&mut self, date: i64) -> u32 {
        let id = self.next_pack;
        self.next_pack += 1;
        self.remote.packs.insert(id, Object { date, blocks: Vec::new() });
        id
    }

    /// What the new manifest gives up goes from the remote, unless the push `dies` before.
    fn collect(&mut self, dies: bool) {
        let retained: Vec<u64> = self.manifest.retained.iter().map(|revision| revision.generation).collect();
        let before = u64::from(self.case.is(Fault::RetainedIsBefore));
        let named: Vec<u64> = retained.iter().map(|generation| generation - before).collect();
        let (now, live) = (self.manifest.clock.reading(), self.manifest.table.bytes().live);
        let generation = self.manifest.generation;
        let dead = std::mem::take(&mut self.manifest.dead);
        let since: BTreeMap<u32, _> = dead.iter().map(|object| (object.id, object.since)).collect();
        self.note_unused(&dead);
        let early = Duration::from_secs(if self.case.is(Fault::OnePushEarly) { 360 } else { 0 });
        let graces = Graces { full: self.graces.full.saturating_sub(early), ..self.graces };
        let mut packs = garbage(dead, &named, generation, now, Some(live), &graces);
        if self.case.is(Fault::AgedWhileRetained) {
            for object in &mut packs.stay {
                object.since = object.since.or(since[&object.id]).or(Some(Since { generation, full: now.full, brief: now.brief }));
            }
        }
        self.manifest.dead = packs.stay;
        self.delete(&packs.go, dies);
        let manifests = std::mem::take(&mut self.manifest.dead_manifests);
        let manifests = garbage(manifests, &retained, generation, now, None, &graces);
        self.manifest.dead_manifests = manifests.stay;
        self.delete_manifests(manifests.go.into_iter().map(|manifest| manifest.id).collect());
    }
}

/// Of a page of 16 KiB of InnoDB, with zstd: 4.3 kB in the mean, as was measured.
fn stored_length(rng: &mut Rng) -> u32 {
    rng.u32(1_024..7_600)
}
