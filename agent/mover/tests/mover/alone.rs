//! A volume that another pull is writing to, or that the remote lies in.

use std::fs;
use std::fs::File;

use rstest::rstest;
use rustix::fs::{FlockOperation, flock};
use scribe_mover::error::Failure;
use scribe_mover::report::Reason;

use crate::plain::try_plain;
use crate::support::program::{mover, report};
use crate::support::server::Backend;
use crate::support::tree::{assert_same, snapshot, write};
use crate::support::{Layout, Site};

/// Two at a time would leave a mixture, and each could report its own revision.
#[rstest]
fn another_pull_keeps_a_pull_out(#[values(Layout::Files, Layout::Packs)] layout: Layout) {
    let site = Site::with_bucket().of(layout);
    write(site.source.path(), "a", "a");
    site.push();
    let before = snapshot(site.dest.path());
    let other = File::open(site.dest.path()).unwrap();
    flock(&other, FlockOperation::LockExclusive).unwrap();
    let refused = |failure: Failure| {
        assert_eq!(failure.reason, Reason::VolumeUnreadable, "{failure}");
        assert!(failure.message.contains("another pull is writing to"), "{failure}");
        assert_eq!(snapshot(site.dest.path()), before);
    };
    refused(site.try_pull().unwrap_err());
    refused(try_plain(&site).unwrap_err());
    drop(other);
    site.pull();
    assert_same(site.source.path(), site.dest.path());
}

/// It would delete what it pulls from.
#[rstest]
fn a_remote_within_the_volume_is_refused(#[values(Layout::Files, Layout::Packs)] layout: Layout) {
    let site = Site::on(Backend::Local).of(layout);
    write(site.source.path(), "a", "a");
    site.push();
    let within = site.object("").canonicalize().unwrap();
    let before = snapshot(&within);
    for volume in [within.as_path(), within.parent().unwrap()] {
        let report = report(&mover(&site, "pull", volume, &[]).output().unwrap());
        assert_eq!(report.reason, Some(Reason::SecretInvalid), "{}", report.message);
        assert!(report.message.contains("lies in the volume itself, or holds it"), "{}", report.message);
    }
    assert_eq!(snapshot(&within), before);
    let temporary = site.dest.path().join("tmp");
    fs::create_dir(&temporary).unwrap();
    let report = report(&mover(&site, "pull", site.dest.path(), &[]).env("TMPDIR", &temporary).output().unwrap());
    assert!(report.message.contains("set TMPDIR"), "{}", report.message);
}
