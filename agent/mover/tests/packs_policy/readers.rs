//! Those who pull: a site at each push, one that sleeps for weeks, and readers that take up to 12 hours.

use std::sync::Arc;

use crate::clocks::{DAY, HOUR};
use crate::rules::Rule;
use crate::world::World;

/// One that reads a revision, and needs its packs until it is done.
#[derive(Debug)]
pub struct Reader {
    pub began: i64,
    pub until: i64,
    pub generation: u64,
    pub packs: Arc<[u32]>,
}

/// A volume that follows the source's.
#[derive(Debug, Default)]
pub struct Site {
    pub generation: u64,
    pub versions: Vec<u32>,
    /// Sleeps until then.
    pub until: i64,
}

#[derive(Debug, Default)]
pub struct Readers {
    pub slow: Vec<Reader>,
    pub site: Site,
    pub sleeper: Site,
    /// How many pulls there were.
    pub pulls: u64,
}

impl World {
    /// What readers do after a push.
    pub fn read(&mut self) {
        if !self.case.readers {
            return;
        }
        let now = self.time.now;
        self.readers.slow.retain(|reader| reader.until > now);
        if self.rng.u32(0..8) == 0 {
            self.begin_reading();
        }
        if self.readers.sleeper.versions.is_empty() {
            self.readers.sleeper.versions = self.versions.clone();
            self.readers.sleeper.generation = self.manifest.generation;
        }
        let mut site = std::mem::take(&mut self.readers.site);
        if self.rng.u32(0..20) > 0 {
            self.pull(&mut site);
        }
        self.readers.site = site;
        let mut sleeper = std::mem::take(&mut self.readers.sleeper);
        if now > sleeper.until {
            self.pull(&mut sleeper);
            sleeper.until = now + self.rng.i64(DAY..21 * DAY);
        }
        self.readers.sleeper = sleeper;
    }

    /// Most read the current revision, some one that is retained.
    fn begin_reading(&mut self) {
        let (began, until) = (self.time.now, self.time.now + self.rng.i64(0..12 * HOUR));
        let at = self.rng.usize(0..=2 * self.snapshots.len());
        let reader = match self.snapshots.values().nth(at) {
            Some(snapshot) => Reader { began, until, generation: snapshot.generation, packs: snapshot.packs.clone() },
            None => {
                let packs = self.manifest.table.packs().map(|pack| pack.id).collect();
                Reader { began, until, generation: self.manifest.generation, packs }
            }
        };
        self.readers.slow.push(reader);
    }

    /// The blocks that were born after the site's generation are fetched: then it has the volume of the source.
    fn pull(&mut self, site: &mut Site) {
        self.readers.pulls += 1;
        let generation = self.manifest.generation;
        for (block, place) in self.manifest.places.iter().enumerate() {
            let is_needed = u64::from(self.changed[block]) > site.generation;
            let is_fetched = u64::from(place.born) > site.generation;
            self.found.check(Rule::Born, is_needed == is_fetched, || {
                let (needs, fetches) = (if is_needed { "needs" } else { "does not need" }, if is_fetched { "fetches" } else { "leaves" });
                format!("a site at {} that pulls {generation} {fetches} block {block}, which it {needs}", site.generation)
            });
            if is_fetched {
                site.versions[block] = self.remote.read(place.pack, place.offset).map_or(u32::MAX, |(_, version)| version);
            }
        }
        let differs = site.versions.iter().zip(&self.versions).position(|(site, source)| site != source);
        self.found
            .check(Rule::Born, differs.is_none(), || format!("block {differs:?} of a site at {generation} is another than the source's"));
        site.generation = generation;
    }
}
