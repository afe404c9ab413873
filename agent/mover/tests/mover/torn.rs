//! A pull beside a running push gets one whole revision, never a mixture. Every file carries its version; every request takes a while.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use assert_fs::TempDir;
use rstest::rstest;
use scribe_mover::pull::{PullOptions, PullOutcome, pull};
use scribe_mover::report::Reason;

use crate::support::beside::AtDrop;
use crate::support::proxy::Action;
use crate::support::tree::write;
use crate::support::{Layout, Site};

const FILES: usize = 24;
const SLOW: Duration = Duration::from_millis(5);

/// Files that stay, come, go and change their type; all of one version.
fn version(root: &Path, number: usize) {
    for file in 0..FILES {
        write(root, format!("d{}/f{file}", file % 3), format!("version {number} of {file}"));
    }
    for old in [number.wrapping_sub(1), number.wrapping_sub(2)] {
        let _ = std::fs::remove_file(root.join(format!("only-{old}")));
    }
    write(root, format!("only-{number}"), format!("version {number} of it"));
}

/// The versions that a tree's files carry, and how many there are.
fn versions(root: &Path) -> (BTreeSet<usize>, usize) {
    let mut versions = BTreeSet::new();
    let mut count = 0;
    for entry in walkdir::WalkDir::new(root).into_iter().filter_entry(|entry| entry.file_name() != ".scribe-staging") {
        let entry = entry.unwrap();
        if entry.file_type().is_file() {
            let text = std::fs::read_to_string(entry.path()).unwrap();
            versions.insert(text.split(' ').nth(1).unwrap().parse().unwrap());
            count += 1;
        }
    }
    (versions, count)
}

/// Pulls, and says whether a revision came; panics on a mixture, and on a live tree touched by a pull that gave up.
fn pull_whole(site: &Site, dest: &Path) -> bool {
    let before = versions(dest);
    let outcome = pull(&site.remote(), &PullOptions { volume: dest.into(), ..site.pull_options() });
    let (versions, count) = versions(dest);
    match outcome {
        Ok(PullOutcome::Done(_)) => {
            assert_eq!((versions.len(), count), (1, FILES + 1), "mixed: {versions:?}");
            true
        }
        Ok(PullOutcome::WaitingForFirstPush) => panic!("something was pushed"),
        Err(failure) => {
            assert_eq!(failure.reason, Reason::RemoteInconsistent, "{failure}");
            assert_eq!((versions, count), before, "a pull that gave up touched the live tree");
            false
        }
    }
}

/// Of layout Files, whose push has many requests; `packs_push/swapped` changes a path of the other one at each read of a pull.
#[test]
fn a_pull_that_starts_anywhere_in_a_push() {
    let site = Site::with_bucket();
    version(site.source.path(), 0);
    site.push();
    site.pull();
    let mut requests = site.proxy.take().len();
    let mut random: usize = 20_261_123;
    for trial in 1..=20 {
        version(site.source.path(), trial);
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let start = (random >> 33) % requests;
        let slow = site.proxy.watch(|_| Action::Delay(SLOW));
        std::thread::scope(|scope| {
            let push = scope.spawn(|| site.push());
            slow.iter().take(start + 1).for_each(drop);
            // Every other pull is of a volume that holds an older version.
            let fresh = TempDir::new().unwrap();
            let dest = if trial % 2 == 0 { site.dest.path() } else { fresh.path() };
            assert!(pull_whole(&site, dest), "trial {trial}, from request {start} on: one push is no reason to give up");
            push.join().unwrap();
        });
        // Those of a push, more or less.
        requests = FILES * 4 + 10;
        site.proxy.take();
    }
}

#[rstest]
fn pulls_beside_a_push_that_never_ends(#[values(Layout::Files, Layout::Packs)] layout: Layout) {
    let site = Site::with_bucket().of(layout);
    version(site.source.path(), 0);
    site.push();
    site.pull();
    site.proxy.rule(|_| Action::Delay(SLOW));
    let enough = AtomicBool::new(false);
    let whole = std::thread::scope(|scope| {
        let pusher = scope.spawn(|| {
            let mut number = 0;
            while !enough.load(Ordering::Relaxed) {
                number += 1;
                version(site.source.path(), number);
                site.push();
            }
            number
        });
        let stop = AtDrop(&enough);
        let pulls = (0..8).map(|trial| {
            let fresh = TempDir::new().unwrap();
            // One of them follows from version to version.
            pull_whole(&site, if trial % 4 == 3 { site.dest.path() } else { fresh.path() })
        });
        let whole = pulls.filter(|whole| *whole).count();
        drop(stop);
        println!("{whole} of 8 pulls got a revision while {} pushes ran", pusher.join().unwrap());
        whole
    });
    assert!(whole >= 1, "not one pull in eight got through");
}
