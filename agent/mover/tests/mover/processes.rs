//! The processes of rclone that a sync starts.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use scribe_mover::report::Outcome;

use crate::support::program::{mover_by, report};
use crate::support::tree::write;
use crate::support::{Site, rclone};

/// The commands of rclone that the mover runs, in order.
fn commands(site: &Site, verb: &str) -> Vec<String> {
    let (log, wrapper) = (site.scratch.path().join("commands"), site.scratch.path().join("rclone"));
    fs::write(&log, "").unwrap();
    fs::write(&wrapper, format!("#!/bin/sh\necho \"$1\" >> {}\nexec {} \"$@\"\n", log.display(), rclone().display())).unwrap();
    fs::set_permissions(&wrapper, fs::Permissions::from_mode(0o755)).unwrap();
    let volume = if verb == "push" { site.source.path() } else { site.dest.path() };
    let report = report(&mover_by(&wrapper, site, verb, volume, &[]).output().unwrap());
    assert_eq!(report.result, Outcome::Successful, "{}", report.message);
    fs::read_to_string(log).unwrap().lines().map(str::to_owned).collect()
}

#[test]
fn a_sync_starts_one_rclone_and_another_for_a_listing_of_everything() {
    let site = Site::with_bucket();
    for n in 0..30 {
        write(site.source.path(), format!("f{n}"), "first");
    }
    write(site.source.path(), "odd\nname", "odd");
    assert_eq!(commands(&site, "push"), ["rcd", "lsjson"]);
    assert_eq!(commands(&site, "pull"), ["rcd"]);
    assert_eq!(commands(&site, "push"), ["rcd"], "nothing has changed");
    for n in 0..10 {
        write(site.source.path(), format!("f{n}"), "changed");
    }
    write(site.source.path(), "odd\nname", "changed");
    fs::remove_file(site.source.path().join("f20")).unwrap();
    assert_eq!(commands(&site, "push"), ["rcd"]);
    assert_eq!(commands(&site, "pull"), ["rcd"]);
}
