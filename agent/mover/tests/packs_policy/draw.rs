//! Which blocks of the volume a push finds changed.

use fastrand::Rng;

/// Where changes fall.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spread {
    Uniform,
    /// The block of rank r as often as 1/r says.
    Zipf,
}

pub struct Draw {
    count: usize,
    /// Sums of the weights of the ranks, for Zipf.
    sums: Vec<f64>,
    taken: Vec<bool>,
}

impl Draw {
    pub fn new(spread: Spread, count: usize) -> Self {
        let mut sum = 0.0;
        let weight = |rank: usize| 1.0 / f64::from(u32::try_from(rank + 1).unwrap());
        let sums = |rank| {
            sum += weight(rank);
            sum
        };
        let sums = if spread == Spread::Zipf { (0..count).map(sums).collect() } else { Vec::new() };
        Self { count, sums, taken: vec![false; count] }
    }

    /// So many of them, each once, in order.
    pub fn some(&mut self, rng: &mut Rng, changed: usize) -> Vec<usize> {
        let mut found = Vec::with_capacity(changed);
        while found.len() < changed {
            let block = self.one(rng);
            if !std::mem::replace(&mut self.taken[block], true) {
                found.push(block);
            }
        }
        for block in &found {
            self.taken[*block] = false;
        }
        found.sort_unstable();
        found
    }

    fn one(&self, rng: &mut Rng) -> usize {
        let Some(sum) = self.sums.last() else { return rng.usize(0..self.count) };
        let at = rng.f64() * sum;
        let rank = self.sums.partition_point(|sum| *sum <= at).min(self.count - 1);
        // Neighbours in rank are no neighbours in the volume.
        rank.wrapping_mul(0x9E37_79B1) % self.count
    }
}

#[test]
fn zipf_prefers_few_and_uniform_none() {
    let mut rng = Rng::with_seed(1);
    for (spread, least, most) in [(Spread::Uniform, 700, 1_300), (Spread::Zipf, 6_000, 7_500)] {
        let mut draw = Draw::new(spread, 4_096);
        // How often the 64 that are drawn most are: of 65,536, 1,024 is their share, and with Zipf H(64)/H(4096) of it.
        let mut times = vec![0_u32; 4_096];
        for _ in 0..16_384 {
            times[draw.one(&mut rng)] += 1;
        }
        times.sort_unstable();
        let top: u32 = times[4_096 - 64..].iter().sum();
        assert!((least / 2..most * 2).contains(&top), "{spread:?}: {top}");
        assert_eq!(draw.some(&mut rng, 4_096), (0..4_096).collect::<Vec<_>>());
    }
}
