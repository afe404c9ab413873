//! A path that is pushed to and pulled from by the real code, over a store in memory that fails, lies and is meddled with, as a seed says.
//!
//! `SIMULATION_SEEDS` says how many histories are played, and `SIMULATION_FROM` with which seed to begin. A seed that fails is made
//! shorter, and shown step by step.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs, reason = "a test")]

mod baton;
mod fate;
mod faults;
mod found;
mod history;
mod memory;
mod objects;
mod packed;
mod play;
mod rules;
mod shrink;
mod style;
mod volume;
mod world;

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use history::{History, Layout};
use play::play;
use rstest::rstest;

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |value| value.parse().unwrap())
}

#[rstest]
#[case(Layout::Files, 2_000)]
#[case(Layout::Packs, 500)]
fn whatever_happens_the_committed_revision_is_whole(#[case] layout: Layout, #[case] histories: u64) {
    let (from, count) = (setting("SIMULATION_FROM", 0), setting("SIMULATION_SEEDS", histories));
    let (next, failed, syncs) = (AtomicU64::new(from), AtomicU64::new(u64::MAX), AtomicU64::new(0));
    let began = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= from + count || failed.load(Ordering::Relaxed) != u64::MAX {
                        return;
                    }
                    let (wrong, _, played) = play(&History::of(seed, layout), false);
                    syncs.fetch_add(played, Ordering::Relaxed);
                    if wrong.is_some() {
                        failed.fetch_min(seed, Ordering::Relaxed);
                    }
                }
            });
        }
    });
    let seed = failed.load(Ordering::Relaxed);
    if seed != u64::MAX {
        let fails = |history: &History| play(history, false).0.is_some();
        let history = shrink::shrink(&History::of(seed, layout), fails);
        let (wrong, log, _) = play(&history, true);
        panic!("seed {seed}: {}\n{:#?}\n{}", wrong.unwrap_or_default(), history, log.join("\n"));
    }
    let (syncs, seconds) = (syncs.load(Ordering::Relaxed), began.elapsed().as_secs_f64());
    #[allow(clippy::cast_precision_loss)]
    let rate = count as f64 / seconds;
    println!("{count} histories of layout {layout:?} with {syncs} syncs in {seconds:.1} s: {rate:.0} a second");
}
