//! Where objects are files in folders: an object of the committed revision that others have made a folder of, or the reverse.
//!
//! Of layout Files alone: of the other one, objects lie in three folders of ours, and a name is used once.

use std::fs;

use rstest::rstest;
use scribe_mover::error::Result;
use scribe_mover::push::{Synced, push};
use scribe_mover::report::Reason;

use crate::support::Site;
use crate::support::server::Backend;
use crate::support::tree::{assert_same, write};

fn site() -> Site {
    let site = Site::on(Backend::Local);
    for name in ["f", "d/g", "keep"] {
        write(site.source.path(), name, format!("content of {name}"));
    }
    site.push();
    site
}

fn verifying(site: &Site) -> Result<Synced> {
    let mut options = site.push_options();
    options.verify_now = true;
    push(&site.remote(), &options)
}

fn heals(site: &Site) {
    verifying(site).unwrap();
    site.pull();
    assert_same(site.source.path(), site.dest.path());
    assert!(!verifying(site).unwrap().changed);
}

/// An empty folder is nobody's.
#[rstest]
fn an_object_that_became_an_empty_folder_is_sent_again(#[values(false, true)] deep: bool) {
    let site = site();
    fs::remove_file(site.object("f")).unwrap();
    fs::create_dir_all(site.object(if deep { "f/x/y" } else { "f" })).unwrap();
    assert!(verifying(&site).unwrap().changed);
    heals(&site);
}

fn put_in_the_way(site: &Site, folder: bool) -> &'static str {
    if folder {
        fs::remove_file(site.object("f")).unwrap();
        write(&site.object(""), "f/x", "not ours");
        return "f/x";
    }
    fs::remove_dir_all(site.object("d")).unwrap();
    write(&site.object(""), "d", "not ours");
    "d"
}

#[rstest]
fn what_is_in_the_way_of_a_lost_object_is_named_before_anything_is_sent(
    #[values(false, true)] folder: bool,
    #[values(false, true)] changed: bool,
) {
    let site = site();
    let foreign = put_in_the_way(&site, folder);
    if changed {
        write(site.source.path(), "keep", "changed");
    }
    let commit = fs::read(site.object(".scribe/commit.json")).unwrap();
    let failure = verifying(&site).unwrap_err();
    assert_eq!(failure.reason, Reason::RemoteInconsistent, "{failure}");
    assert!(failure.message.contains(&format!("/{foreign} is in the way")), "{failure}");
    assert!(fs::read(site.object(".scribe/commit.json")).unwrap() == commit && !site.object(".scribe/claim.json").exists());
    assert_eq!(fs::read(site.object(foreign)).unwrap(), b"not ours");
    fs::remove_file(site.object(foreign)).unwrap();
    heals(&site);
}

/// A push that does not list the path meets it after its commit: the new revision is whole, and each later push says what to do.
#[rstest]
fn what_is_in_the_way_of_a_promotion_is_named(#[values(false, true)] folder: bool) {
    let site = site();
    let foreign = put_in_the_way(&site, folder);
    let file = if folder { "f" } else { "d/g" };
    write(site.source.path(), file, "changed");
    site.try_push().unwrap_err();
    for _ in 0..2 {
        let failure = site.try_push().unwrap_err();
        assert_eq!(failure.reason, Reason::RemoteInconsistent, "{failure}");
        assert!(failure.message.contains(&format!("/{foreign} is in the way of {file}")), "{failure}");
    }
    site.pull();
    assert_same(site.source.path(), site.dest.path());
    fs::remove_file(site.object(foreign)).unwrap();
    heals(&site);
}

/// What the volume itself makes of its files and folders is in nobody's way, in a push that lists the path as well.
#[test]
fn a_file_that_becomes_a_folder_at_its_source_and_the_reverse_are_no_obstacles() {
    let site = site();
    let source = site.source.path();
    fs::remove_file(source.join("f")).unwrap();
    write(source, "f/in", "in");
    fs::remove_dir_all(source.join("d")).unwrap();
    write(source, "d", "a file");
    write(source, "keep", "changed");
    verifying(&site).unwrap();
    heals(&site);
}

/// What a push that was killed, or somebody, has left where a file goes now; it is listed nowhere. (rclone's own SFTP server takes the
/// folder for that file once it was asked to put it there.)
#[rstest]
fn an_empty_folder_makes_way(#[values(Backend::Local, Backend::WebDav)] backend: Backend) {
    let site = Site::on(backend);
    fs::create_dir_all(site.object("d/e")).unwrap();
    write(site.source.path(), "d", "a file");
    site.push();
    site.pull();
    assert_same(site.source.path(), site.dest.path());
}
