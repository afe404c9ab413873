//! A remote that takes names for one that differ in case alone, and of which rclone does not know it.
//!
//! Of layout Files alone: of the other one, no object has a name of the volume, and ours differ in more than case.

use std::fs;
use std::sync::Arc;

use rstest::rstest;
use scribe_mover::push::push;

use crate::support::Site;
use crate::support::proxy::Action;
use crate::support::server::{Backend, Server};
use crate::support::tree::{assert_same, write};

fn site() -> Site {
    Site::at(&Arc::new(Server::folding()), "s3:bucket/path")
}

/// The volume comes back in a fresh pull, and a verification finds nothing to do.
fn comes_back(site: &Site) {
    let fresh = assert_fs::TempDir::new().unwrap();
    let mut options = site.pull_options();
    options.volume = fresh.path().into();
    crate::support::done(scribe_mover::pull::pull(&site.remote(), &options));
    assert_same(site.source.path(), fresh.path());
    let mut options = site.push_options();
    options.verify_now = true;
    assert!(!push(&site.remote(), &options).unwrap().changed, "something was lost");
}

#[test]
fn this_server_folds() {
    let site = site();
    site.meddle("rcat", "Readme", b"one");
    site.meddle("rcat", "README", b"two");
    assert_eq!(site.user_objects().len(), 1, "{:?}", site.user_objects());
}

#[rstest]
#[case::same_content("text of it")]
#[case::other_content("another text")]
fn a_rename_that_changes_only_case_loses_nothing(#[case] content: &str, #[values("Readme", "Dir/file")] name: &str) {
    let site = site();
    write(site.source.path(), "keep", "k");
    write(site.source.path(), name, "text of it");
    site.push();
    let top = name.split('/').next().unwrap();
    fs::rename(site.source.path().join(top), site.source.path().join(top.to_uppercase())).unwrap();
    write(site.source.path(), name.replacen(top, &top.to_uppercase(), 1), content);
    site.push();
    comes_back(&site);
    // And back again.
    fs::rename(site.source.path().join(top.to_uppercase()), site.source.path().join(top)).unwrap();
    site.push();
    comes_back(&site);
}

#[rstest]
fn names_that_are_alike_come_back(#[values(false, true)] at_first: bool) {
    let site = site();
    write(site.source.path(), "Makefile", "1");
    if !at_first {
        site.push();
    }
    write(site.source.path(), "makefile", "2");
    write(site.source.path(), "MAKEFILE", "3");
    site.push();
    comes_back(&site);
    fs::remove_file(site.source.path().join("Makefile")).unwrap();
    write(site.source.path(), "makefile", "4");
    site.push();
    comes_back(&site);
}

/// What is left of a push that died under one name is not deleted under another.
#[test]
fn what_a_dead_push_has_left_is_not_deleted_under_another_name() {
    let site = site();
    write(site.source.path(), "keep", "k");
    site.push();
    write(site.source.path(), "README", "text");
    site.proxy.rule(
        |request| if request.is("PUT", "/.scribe/commit.json") { Action::Answer("507 Insufficient Storage", "") } else { Action::Pass },
    );
    site.try_push().unwrap_err();
    site.proxy.behave();
    assert!(site.object("README").exists());
    fs::rename(site.source.path().join("README"), site.source.path().join("Readme")).unwrap();
    site.push();
    comes_back(&site);
}

/// Where upper and lower case are told apart, such names lie under themselves.
#[test]
fn names_that_are_alike_stay_readable_where_they_are_two() {
    let site = Site::on(Backend::WebDav);
    write(site.source.path(), "Makefile", "1");
    site.push();
    write(site.source.path(), "makefile", "2");
    site.push();
    fs::rename(site.source.path().join("Makefile"), site.source.path().join("MAKEFILE")).unwrap();
    site.push();
    assert_eq!(site.user_objects(), ["MAKEFILE", "makefile"]);
}

/// To such a remote our own folder is every folder of that name, whatever its case.
#[rstest]
fn a_folder_named_like_ours_but_for_case_leaves_it_alone(#[values(".Scribe", ".SCRIBE", ".\u{17f}cribe")] folder: &str) {
    let site = site();
    for name in ["commit.json", "claim.json", "manifests/x.zst"] {
        write(site.source.path(), format!("{folder}/{name}"), "the user's own");
    }
    write(site.source.path(), "keep", "k");
    site.push();
    comes_back(&site);
    write(site.source.path(), format!("{folder}/commit.json"), "another one of the user's");
    site.push();
    comes_back(&site);
}
