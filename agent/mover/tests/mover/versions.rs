//! An rclone that is too old for the mover.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use rstest::rstest;
use scribe_mover::report::Reason;

use crate::support::Site;
use crate::support::program::{mover_by, report};

/// As Debian 12's, which does not know the flags; one that listens where it is not asked to; and one that says nothing.
#[rstest]
#[case("echo 'Error: unknown flag: --rc-max-header-bytes-of-some-day' >&2; exit 2")]
#[case("echo '2026/01/01 Failed to start remote control: listen tcp: address unix:///tmp/x: too many colons in address' >&2; exit 1")]
#[case("exit 1")]
fn one_that_does_not_start_is_named_with_the_oldest_that_works(#[case] otherwise: &str) {
    let site = Site::new();
    let old = site.scratch.path().join("old");
    fs::write(&old, format!("#!/bin/sh\nif [ \"$1\" = version ]; then echo 'rclone v1.60.1-DEV'; exit 0; fi\n{otherwise}\n")).unwrap();
    fs::set_permissions(&old, fs::Permissions::from_mode(0o755)).unwrap();
    let report = report(&mover_by(&old, &site, "pull", site.dest.path(), &[]).output().unwrap());
    assert_eq!(report.reason, Some(Reason::MoverFailed), "{}", report.message);
    assert!(report.message.contains("1.60.1") && report.message.contains("1.75.1"), "{}", report.message);
}
