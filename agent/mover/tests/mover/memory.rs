//! How much memory a mover needs, rclone included: it runs in a cgroup that kills what does not fit.

use std::fs::File;
use std::io::Write;
use std::path::Path;

use scribe_mover::hash::Hasher;
use scribe_mover::report::Outcome;
use scribe_mover::stop::Stop;

use crate::support::Site;
use crate::support::cgroup::Cgroup;
use crate::support::program::{mover, report};

/// Runs the mover within `mib`, and fails when any process of it was killed for want of memory.
fn run_within(mib: u64, site: &Site, verb: &str, volume: &Path) {
    let group = Cgroup::new(mib << 20).unwrap();
    let output = group.enter(&mover(site, verb, volume, &[])).output().unwrap();
    assert_eq!(group.killed().unwrap(), 0, "{verb} within {mib} MiB: {}", String::from_utf8_lossy(&output.stdout));
    assert_eq!(report(&output).result, Outcome::Successful, "{verb} within {mib} MiB");
}

/// The file is a multiple of the memory, the page cache has to fit in as well, and rclone sends and fetches it in parts.
#[test]
fn a_file_larger_than_the_memory_there_is_goes_through() {
    let site = Site::with_bucket();
    let mut file = File::create(site.source.path().join("large")).unwrap();
    let mut block: Vec<u8> = (0..1_u32 << 18).flat_map(|word| word.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
    for number in 0..300_u16 {
        block[..2].copy_from_slice(&number.to_le_bytes());
        file.write_all(&block).unwrap();
    }
    run_within(64, &site, "push", site.source.path());
    run_within(64, &site, "pull", site.dest.path());
    let digest = |volume: &Path| Hasher::default().one(&volume.join("large"), &Stop::default()).unwrap();
    assert_eq!(digest(site.source.path()), digest(site.dest.path()));
}
