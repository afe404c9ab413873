//! What is lost, or damaged, of our own folder: what it said does not count as nothing.
//!
//! Of layout Files alone, whose manifest is found again by the objects of a path. Of the other one, see `packs_push/damaged` and
//! `packs_push/owners`, which play on objects in memory.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::path::Path;

use jiff::Timestamp;
use rstest::rstest;
use scribe_mover::error::{Failure, Result};
use scribe_mover::format::documents::{Claim, seal};
use scribe_mover::pull::{PullOutcome, Synced};
use scribe_mover::push::push;
use scribe_mover::report::Reason;

use crate::support::server::Backend;
use crate::support::tree::{assert_same, write};
use crate::support::{Site, owner};

/// How a manifest is lost.
#[derive(Clone, Copy, Debug)]
enum Loss {
    Missing,
    Damaged,
}

/// A path with a pushed volume of 200 files, whose manifest was lost then.
fn without_manifest(loss: Loss, name: impl Fn(usize) -> Vec<u8>) -> Site {
    let site = Site::on(Backend::Local);
    for n in 0..200 {
        write(site.source.path(), Path::new("d").join(OsStr::from_bytes(&name(n))), format!("content {n}"));
    }
    site.push();
    lose_manifest(&site, loss);
    site
}

fn lose_manifest(site: &Site, loss: Loss) {
    let manifest = site.control_objects().into_iter().find(|name| name.starts_with("manifests/")).unwrap();
    let manifest = site.object(&format!(".scribe/{manifest}"));
    match loss {
        Loss::Missing => fs::remove_file(manifest).unwrap(),
        Loss::Damaged => fs::write(manifest, "x").unwrap(),
    }
}

fn approved(site: &Site, refused: &Failure) -> Result<Synced> {
    let mut options = site.push_options();
    options.guard.allowed = refused.message.rsplit(' ').next().map(str::to_owned);
    push(&site.remote(), &options)
}

fn plain(n: usize) -> Vec<u8> {
    n.to_string().into_bytes()
}

/// Stored under its hash.
fn mangled(n: usize) -> Vec<u8> {
    [b"\xff", plain(n).as_slice()].concat()
}

#[rstest]
#[case::emptied(0, "replace the 200 files")]
#[case::nearly(1, "delete 200 of the 200 files")]
fn a_lost_manifest_does_not_disable_the_guard(
    #[values(Loss::Missing, Loss::Damaged)] loss: Loss,
    #[values(true, false)] own_names: bool,
    #[case] left: usize,
    #[case] words: &str,
) {
    let name = if own_names { plain } else { mangled };
    let site = without_manifest(loss, name);
    fs::remove_dir_all(site.source.path().join("d")).unwrap();
    for n in 0..left {
        write(site.source.path(), format!("x{n}"), "x");
    }
    let refused = site.try_push().unwrap_err();
    assert!(refused.reason == Reason::DeletionGuard && refused.message.contains(words), "{refused}");
    assert!(!site.object(".scribe/claim.json").exists());
    assert_eq!(site.try_push().unwrap_err(), refused, "the token stays the same");

    let pushed = approved(&site, &refused).unwrap();
    assert_eq!((pushed.files, pushed.deleted), (left as u64, 0), "nothing says which objects are ours");
    site.pull();
    assert_same(site.source.path(), site.dest.path());
}

/// As many files as before, and none of them the same.
#[rstest]
fn files_that_replace_others_are_no_successors(#[values(true, false)] own_names: bool) {
    let site = without_manifest(Loss::Missing, if own_names { plain } else { mangled });
    fs::remove_dir_all(site.source.path().join("d")).unwrap();
    for n in 0..200 {
        write(site.source.path(), format!("other{n}"), "x");
    }
    let refused = site.try_push().unwrap_err();
    assert!(refused.reason == Reason::DeletionGuard && refused.message.contains("200 of the 200 files"), "{refused}");
    // The token is good for these names alone.
    write(&site.object(""), "d/200", "written by something else");
    assert_eq!(approved(&site, &refused).unwrap_err().reason, Reason::DeletionGuard);
}

#[rstest]
fn a_whole_volume_heals_its_path(#[values(Loss::Missing, Loss::Damaged)] loss: Loss, #[values(true, false)] own_names: bool) {
    let site = without_manifest(loss, if own_names { plain } else { mangled });
    for n in 0..10 {
        write(&site.object(""), format!("stranger{n}"), "not ours");
    }
    assert_eq!(site.push().deleted, 0);
    site.pull();
    assert_same(site.source.path(), site.dest.path());
}

/// Objects of others look like those of files that are gone, and a file whose object is lost like one that is new.
#[rstest]
fn what_nothing_accounts_for_needs_approval(#[values(Loss::Missing, Loss::Damaged)] loss: Loss, #[values(true, false)] objects_lost: bool) {
    let site = without_manifest(loss, plain);
    if objects_lost {
        fs::remove_dir_all(site.object("d")).unwrap();
    } else {
        for n in 0..200 {
            write(&site.object(""), format!("stranger{n}"), "not ours");
        }
    }
    let refused = site.try_push().unwrap_err();
    assert!(refused.reason == Reason::DeletionGuard && refused.message.contains("200 of the 200 files"), "{refused}");
    assert_eq!(approved(&site, &refused).unwrap().deleted, 0);
    site.pull();
    assert_same(site.source.path(), site.dest.path());
}

/// An object under its hash may be that of any number of files.
#[test]
fn files_of_one_content_count_one_by_one() {
    let site = Site::on(Backend::Local);
    for n in 0..200 {
        write(site.source.path(), Path::new("d").join(OsStr::from_bytes(&mangled(n))), "the same content");
    }
    site.push();
    lose_manifest(&site, Loss::Missing);
    let old = site.source.path().join("d");
    fs::rename(&old, site.source.path().join("e")).unwrap();
    assert_eq!(site.push().deleted, 0, "all of them are there");

    lose_manifest(&site, Loss::Missing);
    fs::remove_dir_all(site.source.path().join("e")).unwrap();
    for n in 0..200 {
        write(site.source.path(), format!("other{n}"), "x");
    }
    let refused = site.try_push().unwrap_err();
    assert!(refused.reason == Reason::DeletionGuard && refused.message.contains("200 of the 200 files"), "{refused}");
}

/// A push that was killed, or something else, has put objects where files of the new tree go.
#[test]
fn objects_under_the_names_of_new_files_are_none_of_the_old_ones() {
    let site = without_manifest(Loss::Missing, plain);
    fs::remove_dir_all(site.source.path().join("d")).unwrap();
    for n in 0..200 {
        write(site.source.path(), format!("other{n}"), format!("content {n}"));
        write(&site.object(""), format!("other{n}"), format!("content {n}"));
    }
    let refused = site.try_push().unwrap_err();
    assert!(refused.reason == Reason::DeletionGuard && refused.message.contains("200 of the 200 files"), "{refused}");
}

/// The same names, and no commit that says which revision they are of.
#[test]
fn a_token_without_a_commit_is_good_for_its_path_alone() {
    let refused = [(), ()].map(|()| {
        let site = Site::on(Backend::Local);
        write(site.source.path(), "a", "a");
        site.push();
        fs::write(site.object(".scribe/commit.json"), "x").unwrap();
        fs::remove_file(site.source.path().join("a")).unwrap();
        let mut options = site.push_options();
        options.pusher.adopt = true;
        push(&site.remote(), &options).unwrap_err()
    });
    assert_eq!(refused.clone().map(|refused| refused.reason), [Reason::DeletionGuard; 2]);
    assert_ne!(refused[0].message, refused[1].message);
}

/// Links are objects nowhere: the commit alone knows of them.
#[test]
fn a_tree_without_files_is_guarded_by_its_commit() {
    let site = Site::on(Backend::Local);
    let link = |n: usize| site.source.path().join(format!("l{n}"));
    for n in 0..200 {
        symlink("anywhere", link(n)).unwrap();
    }
    site.push();
    lose_manifest(&site, Loss::Missing);
    for n in 1..200 {
        fs::remove_file(link(n)).unwrap();
    }
    let refused = site.try_push().unwrap_err();
    assert!(refused.reason == Reason::DeletionGuard && refused.message.contains("199 of the 200 entries"), "{refused}");
    fs::remove_file(link(0)).unwrap();
    let refused = site.try_push().unwrap_err();
    assert!(refused.reason == Reason::DeletionGuard && refused.message.contains("the 200 entries"), "{refused}");
    assert_eq!(approved(&site, &refused).unwrap().files, 0);
}

/// A claim, and manifests, that no first push leaves: there was a commit.
#[rstest]
#[case::first(Some(1), &[1], true)]
#[case::first_again(Some(1), &[1, 1], true)]
#[case::not_begun(Some(1), &[], true)]
#[case::second(Some(2), &[1, 2], false)]
#[case::all_manifests_lost(Some(2), &[], false)]
#[case::pushed_anew(Some(1), &[1, 2], false)]
#[case::no_claim(None, &[1], false)]
fn a_path_that_has_lost_its_commit_is_not_waited_for(#[case] claim: Option<u64>, #[case] manifests: &[u64], #[case] waits: bool) {
    let site = Site::on(Backend::Local);
    let revision = |salt: usize, generation: u64| format!("20261123T042858Z-1c9a77e0-{generation}-{salt:04x}");
    if let Some(generation) = claim {
        let claim = Claim::new(&revision(0, generation), owner("db", "uid-1"), Timestamp::UNIX_EPOCH);
        write(&site.object(".scribe"), "claim.json", seal(&claim).unwrap());
    }
    for (salt, generation) in manifests.iter().enumerate() {
        write(&site.object(".scribe/manifests"), format!("{}.zst", revision(salt, *generation)), "x");
    }
    write(site.dest.path(), "mine", "kept");
    match site.try_pull() {
        Ok(outcome) => assert!(waits && outcome == PullOutcome::WaitingForFirstPush),
        Err(failure) => {
            assert!(!waits && failure.reason == Reason::RemoteInconsistent && failure.message.contains("commit.json"), "{failure}");
        }
    }
    assert_eq!(fs::read(site.dest.path().join("mine")).unwrap(), b"kept");
}

/// Objects lie there, and no manifest names them: no first push is under way.
#[rstest]
fn objects_without_a_commit_or_manifest_are_not_waited_for(#[values("damaged", "of a first push")] claim: &str) {
    let site = Site::on(Backend::Local);
    write(site.source.path(), "a", "1");
    site.push();
    fs::remove_file(site.object(".scribe/commit.json")).unwrap();
    lose_manifest(&site, Loss::Missing);
    let first = Claim::new("20261123T042858Z-1c9a77e0-1-5f2e", owner("db", "uid-1"), Timestamp::now());
    let content = if claim == "damaged" { b"x".to_vec() } else { seal(&first).unwrap() };
    write(&site.object(".scribe"), "claim.json", content);
    let failure = site.try_pull().unwrap_err();
    assert_eq!(failure.reason, Reason::RemoteInconsistent, "{failure}");

    // One that adopts what it finds has its claim there before its manifest.
    let adopting = Claim { adopts: true, ..first };
    write(&site.object(".scribe"), "claim.json", seal(&adopting).unwrap());
    assert!(matches!(site.try_pull(), Ok(PullOutcome::WaitingForFirstPush)));
    // And one that is about to write its claim has nothing there.
    write(&site.object(".scribe"), "claim.json", "x");
    fs::remove_file(site.object("a")).unwrap();
    assert!(matches!(site.try_pull(), Ok(PullOutcome::WaitingForFirstPush)));
}
