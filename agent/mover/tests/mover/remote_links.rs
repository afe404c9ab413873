//! Symbolic links on a remote that is a folder: rclone leaves them out of its listings, and would write through them.
//!
//! Of layout Files and of others' paths alone: of layout Packs, no object has a name of the volume.

use std::fs;
use std::os::unix::fs::symlink;

use assert_fs::TempDir;
use scribe_mover::error::Failure;
use scribe_mover::report::Reason;

use crate::plain::try_plain;
use crate::support::Site;
use crate::support::server::Backend;
use crate::support::tree::{snapshot, write};

fn is_named(failure: &Failure) {
    assert_eq!(failure.reason, Reason::RemoteInconsistent, "{failure}");
    assert!(failure.message.contains("sub is a symbolic link on the remote"), "{failure}");
}

/// To a push, such a path seems to be empty.
#[test]
fn nothing_is_written_through_one() {
    let site = Site::on(Backend::Local);
    let elsewhere = TempDir::new().unwrap();
    write(elsewhere.path(), "x", "another's");
    fs::create_dir_all(site.object("")).unwrap();
    symlink(elsewhere.path(), site.object("sub")).unwrap();
    write(site.source.path(), "sub/x", "ours");
    let before = snapshot(elsewhere.path());
    is_named(&site.try_push().unwrap_err());
    assert_eq!(snapshot(elsewhere.path()), before);
    assert!(site.control_objects().is_empty());
}

/// Left out, it would look as if it had been deleted there.
#[test]
fn what_a_volume_has_of_that_name_is_not_deleted() {
    let site = Site::on(Backend::Local);
    write(&site.object(""), "a", "a");
    write(site.dest.path(), "sub", "here");
    symlink("a", site.object("sub")).unwrap();
    is_named(&try_plain(&site).unwrap_err());
    assert_eq!(fs::read(site.dest.path().join("sub")).unwrap(), b"here");
}
