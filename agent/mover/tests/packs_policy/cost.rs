//! What the pushes cost, and what pulls would: the table of the decision.

use std::time::Duration;

use scribe_mover::packs::policy::compaction::pack_size;
use scribe_mover::packs::policy::merge_gaps::{Fetch, fetch, gap};

use crate::volume::{Place, by_pack};
use crate::world::World;

/// Requests and bytes of some pulls.
#[derive(Clone, Copy, Debug, Default)]
pub struct Fetched {
    pub pulls: u64,
    pub requests: u64,
    pub bytes: u64,
    pub needed: u64,
    pub packs: u64,
    /// The worst of them: requests a pack in hundredths, and bytes for those that were needed.
    pub most_bytes: f64,
}

#[derive(Debug, Default)]
pub struct Cost {
    pub data: u64,
    pub moved: u64,
    pub packs: u64,
    pub most_packs: u64,
    /// How many packs there may be, and how much more there were: the largest share of it.
    pub packs_share: f64,
    /// Bytes of packs to live ones, and with dead packs.
    pub space: f64,
    pub stored: f64,
    pub one_behind: Fetched,
    pub ten_behind: Fetched,
    pub hundred_behind: Fetched,
    pub fresh: Fetched,
}

pub fn ratio(a: u64, b: u64) -> f64 {
    #[allow(clippy::cast_precision_loss, reason = "for people")]
    let ratio = a as f64 / b.max(1) as f64;
    ratio
}

impl World {
    /// After a push.
    pub fn measure(&mut self, data: u64, moved: u64) {
        let bytes = self.manifest.table.bytes();
        let dead: u64 = self.manifest.dead.iter().map(|object| object.size).sum();
        let packs = u64::try_from(self.manifest.table.len()).unwrap();
        let cost = &mut self.cost;
        cost.data += data;
        cost.moved += moved;
        cost.packs = packs;
        cost.most_packs = cost.most_packs.max(packs);
        cost.packs_share = cost.packs_share.max(ratio(packs, 2 * bytes.live / pack_size(bytes.live) + 128));
        cost.space = cost.space.max(ratio(bytes.size, bytes.live));
        cost.stored = cost.stored.max(ratio(bytes.size + dead, bytes.live));
        let generation = self.manifest.generation;
        if generation.is_multiple_of(50) && generation > self.case.pushes / 2 {
            let behind = |generations: u64| self.pulled(|place| u64::from(place.born) + generations > generation);
            let (one, ten, hundred, fresh) = (behind(1), behind(10), behind(100), behind(generation));
            self.cost.one_behind.add(&one);
            self.cost.ten_behind.add(&ten);
            self.cost.hundred_behind.add(&hundred);
            self.cost.fresh.add(&fresh);
        }
    }

    /// What a pull of such blocks fetches.
    fn pulled(&self, needs: impl Fn(&Place) -> bool) -> Fetched {
        let gap = gap(Duration::from_millis(50), 12_500_000);
        let places = by_pack(&self.manifest.places, |_, place| needs(place));
        let mut sum = Fetched { pulls: 1, ..Fetched::default() };
        for blocks in places.chunk_by(|a, b| a.pack == b.pack) {
            let size = self.manifest.table.get(blocks[0].pack).unwrap().size;
            let (requests, bytes) = match fetch(size, blocks.iter().map(Place::range), gap).unwrap() {
                Fetch::Whole => (1, size),
                Fetch::Ranges(ranges) => (ranges.len(), ranges.iter().map(|range| range.length).sum()),
            };
            sum.requests += u64::try_from(requests).unwrap();
            sum.bytes += bytes;
            sum.needed += blocks.iter().map(|place| u64::from(place.length)).sum::<u64>();
            sum.packs += 1;
        }
        sum
    }
}

impl Fetched {
    fn add(&mut self, other: &Self) {
        self.most_bytes = self.most_bytes.max(ratio(other.bytes, other.needed));
        self.pulls += other.pulls;
        self.requests += other.requests;
        self.bytes += other.bytes;
        self.needed += other.needed;
        self.packs += other.packs;
    }

    fn requests(&self) -> f64 {
        ratio(self.requests, self.pulls)
    }

    fn megabytes(&self) -> (f64, f64) {
        (ratio(self.bytes, self.pulls) / 1e6, ratio(self.needed, self.pulls) / 1e6)
    }
}

impl Cost {
    pub const HEAD: &str = "| blocks a push | upload × | packs at the end (max) | space ×: packs; with dead ones | 1 behind: ranges / MB (needed) | 10 behind | 100 behind | fresh pull: requests of packs, × live |\n|---|---|---|---|---|---|---|---|";

    pub fn upload(&self) -> f64 {
        ratio(self.data + self.moved, self.data)
    }

    /// A pull fetches a pack with two requests at most, and no more bytes than the packs have.
    pub fn check_pulls(&self, name: &str) {
        for (pulled, most) in [(&self.one_behind, 1.02), (&self.fresh, 1.5)] {
            assert!(pulled.requests <= 2 * pulled.packs, "{name}: {pulled:?}");
            assert!(pulled.most_bytes <= most, "{name}: {pulled:?}");
        }
    }

    pub fn row(&self, name: &str) -> String {
        let behind = |fetched: &Fetched| {
            let (bytes, needed) = fetched.megabytes();
            format!("{:.1} / {bytes:.2} ({needed:.2})", fetched.requests())
        };
        format!(
            "| {name} | {:.2} | {} ({}) | {:.2}; {:.2} | {} | {} | {} | {:.0} of {:.0}, {:.2} |",
            self.upload(),
            self.packs,
            self.most_packs,
            self.space,
            self.stored,
            behind(&self.one_behind),
            behind(&self.ten_behind),
            behind(&self.hundred_behind),
            self.fresh.requests(),
            ratio(self.fresh.packs, self.fresh.pulls),
            self.fresh.most_bytes,
        )
    }
}
