//! The rules that every push is held against, and those that are held against every deletion.

use std::time::Duration;

use scribe_mover::packs::policy::dead::Dead;

use crate::clocks::{DAY, HOUR};
use crate::readers::Reader;
use crate::rules::Rule;
use crate::world::World;

fn seconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_secs()).unwrap()
}

impl World {
    /// The grace that an object has in fact, if clocks have jumped so often since.
    fn grace(&self, since: i64, is_excess: bool) -> i64 {
        let grace = seconds(if is_excess { self.graces.brief } else { self.graces.full });
        grace - grace / 4 * self.time.rise_since(since)
    }

    /// Which dead packs no revision refers to that is retained.
    pub fn note_unused(&mut self, dead: &[Dead<u32>]) {
        for object in dead {
            if self.snapshots.keys().any(|generation| object.is_of(*generation)) {
                self.unused.remove(&object.id);
            } else {
                self.unused.entry(object.id).or_insert((self.time.now, object.size));
            }
        }
    }

    /// Whether the unused packs that are not older are more than the live bytes.
    fn is_excess(&self, since: i64) -> bool {
        let younger = self.unused.values().filter(|(other, _)| *other >= since);
        younger.map(|(_, size)| size).sum::<u64>() > self.manifest.table.bytes().live
    }

    /// Deletes packs, unless the push dies first.
    pub fn delete(&mut self, packs: &[Dead<u32>], dies: bool) {
        let (now, generation) = (self.time.now, self.manifest.generation);
        for Dead { id, .. } in packs {
            let died = self.died[id];
            let mut is_excess = false;
            // One that is still retained is lost to another rule.
            if let Some((since, _)) = self.unused.get(id) {
                is_excess = self.is_excess(*since);
                let (age, grace) = (now - died, self.grace(died, is_excess));
                self.found.check(Rule::Grace, age >= grace, || {
                    format!("push {generation}: pack {id} goes {age} s after its death, and has {grace} s")
                });
            }
            // The name of one that stays is in no manifest any more.
            if !dies {
                self.lost(is_excess, |reader| reader.packs.binary_search(id).is_ok());
                self.remote.packs.remove(id);
            }
        }
        for Dead { id, .. } in packs {
            self.unused.remove(id);
            self.died.remove(id);
        }
    }

    pub fn delete_manifests(&mut self, manifests: Vec<u64>) {
        let (now, generation) = (self.time.now, self.manifest.generation);
        for id in manifests {
            let followed = self.followed[&id];
            let (age, grace) = (now - followed, self.grace(followed, false));
            self.found.check(Rule::Grace, age >= grace, || {
                format!("push {generation}: manifest {id} goes {age} s after it was followed, and has {grace} s")
            });
            self.lost(false, |reader| reader.generation == id);
            self.remote.manifests.remove(&id);
            self.followed.remove(&id);
        }
    }

    /// Readers that are not done lose an object.
    fn lost(&mut self, is_excess: bool, needs: impl Fn(&Reader) -> bool) {
        let (now, generation) = (self.time.now, self.manifest.generation);
        for reader in self.readers.slow.iter().filter(|reader| reader.until > now && needs(reader)) {
            let (time, grace) = (now - reader.began, self.grace(reader.began, is_excess));
            self.found.check(Rule::Readers, time >= grace, || {
                format!("push {generation}: one that has read revision {} for {time} s loses what it needs", reader.generation)
            });
        }
    }

    pub fn check(&mut self, moved: u64, data: u64) {
        let generation = self.manifest.generation;
        let budget = self.case.rules.budget.max(data);
        self.found.check(Rule::Budget, moved <= budget, || format!("push {generation}: {moved} bytes are moved, and {budget} may be"));
        self.check_accounting();
        self.check_current();
        self.check_retained();
        self.check_collected();
    }

    fn check_accounting(&mut self) {
        let places = &self.manifest.places;
        let newest = places.iter().map(|place| place.pack).max().unwrap_or_default();
        let mut live = vec![0_u64; usize::try_from(newest).unwrap() + 1];
        for place in places {
            live[usize::try_from(place.pack).unwrap()] += u64::from(place.length);
        }
        for pack in self.manifest.table.packs() {
            let counted = std::mem::take(&mut live[usize::try_from(pack.id).unwrap()]);
            self.found.check(Rule::Accounting, counted == pack.live, || {
                format!("push {}: pack {} has {counted} live bytes, and {} in the table", self.manifest.generation, pack.id, pack.live)
            });
        }
        let left = live.iter().position(|live| *live > 0);
        self.found.check(Rule::Accounting, left.is_none(), || format!("pack {left:?} is not in the table"));
    }

    /// Every pack is there; of the blocks, those that this push has put somewhere are read, and now and then all.
    fn check_current(&mut self) {
        let manifest = &self.manifest;
        for pack in manifest.table.packs() {
            self.found.check(Rule::Current, self.remote.packs.contains_key(&pack.id), || {
                format!("push {}: pack {} is gone", manifest.generation, pack.id)
            });
        }
        let all = manifest.generation.is_multiple_of(64);
        for (block, place) in manifest.places.iter().enumerate() {
            let is_new = || manifest.table.get(place.pack).is_some_and(|pack| pack.written == manifest.generation);
            if !all && (place.pack < self.checked || !is_new()) {
                continue;
            }
            let expected = Some((u32::try_from(block).unwrap(), self.versions[block]));
            let stored = self.remote.read(place.pack, place.offset);
            self.found.check(Rule::Current, stored == expected, || {
                format!("push {}: block {block} is {stored:?} in pack {}, and {expected:?} in the volume", manifest.generation, place.pack)
            });
        }
        self.checked = self.next_pack;
    }

    fn check_retained(&mut self) {
        let generation = self.manifest.generation;
        for snapshot in self.snapshots.values() {
            let gone = snapshot.packs.iter().find(|id| !self.remote.packs.contains_key(id));
            self.found.check(Rule::Retained, gone.is_none(), || {
                format!("push {generation}: of revision {}, which is retained, pack {gone:?} is gone", snapshot.generation)
            });
            self.found.check(Rule::Retained, self.remote.manifests.contains(&snapshot.generation), || {
                format!("push {generation}: of revision {}, which is retained, the manifest is gone", snapshot.generation)
            });
            if !generation.is_multiple_of(64) {
                continue;
            }
            for (block, (place, version)) in snapshot.places.iter().zip(&snapshot.versions).enumerate() {
                let is_it = self.remote.read(place.pack, place.offset) == Some((u32::try_from(block).unwrap(), *version));
                self.found.check(Rule::Retained, is_it, || format!("block {block} of revision {} is another", snapshot.generation));
            }
        }
    }

    /// What nothing refers to is gone after the grace, in steps, as often again for each time that a clock was set back.
    fn check_collected(&mut self) {
        let (now, generation) = (self.time.now, self.manifest.generation);
        self.passed.push((now, self.passed.last().map_or(0, |(before, sum)| sum + (now - before).min(6 * HOUR))));
        let passed = |then: i64| {
            let at = self.passed.partition_point(|(at, _)| *at < then);
            self.passed[self.passed.len() - 1].1 - self.passed[at].1
        };
        let grace = seconds(self.graces.full);
        // What was owed before may have to be paid first.
        let longest = |then: i64| grace * (2 + self.time.jumps_back_since(then - 10 * DAY));
        for (id, (since, _)) in &self.unused {
            self.found.check(Rule::Collected, passed(*since) <= longest(*since), || {
                format!("push {generation}: pack {id} is unused for {} s, and stays", now - since)
            });
        }
    }
}
