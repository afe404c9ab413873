//! What a push that died has left: kept while something needs it, gone in the end, and never taken for what others have put there.
//!
//! Of layout Files alone; what dead pushes of the other one leave is in `packs_push/leftovers` and `packs_push/resuming`.

use std::fs;

use rstest::rstest;
use scribe_mover::push::push;
use scribe_mover::report::Reason;

use crate::lying::{dies_before_commit, heals, pulled, same, site, through};
use crate::support::Site;
use crate::support::liar::{Deed, Rule, Verb, deletes, dies, dies_after, fetches_manifests, once, reads, sends};
use crate::support::server::Backend;
use crate::support::tree::write;

/// An object under its hash is lost; the push that sends it again dies after its commit, and the next one before its own.
#[test]
fn a_lost_object_that_waits_for_its_promotion_is_pulled_and_kept() {
    let site = site();
    write(site.source.path(), "keep", "k");
    write(site.source.path(), "a\nb", "odd");
    site.push();
    fs::remove_dir_all(site.object(".scribe/objects")).unwrap();
    write(site.source.path(), "other", "kk");
    let rule = dies(|verb| matches!(verb, Verb::Copy { from, .. } if from.ends_with(".objects/")));
    through(&site, rule, |options| options.verify_now = true).unwrap_err();
    let committed = pulled(&site);
    fs::remove_file(site.source.path().join("a\nb")).unwrap();
    let mut commits = 0;
    let second: Rule = Box::new(move |verb| {
        commits += usize::from(sends("commit.json")(verb));
        if commits == 2 { Deed::Die } else { Deed::Pass }
    });
    through(&site, second, same).unwrap_err();
    assert_eq!(pulled(&site).revision, committed.revision);
    heals(&site);
}

/// A dead push has sent a file where the volume has a folder by now, or the reverse; on remotes whose objects are files.
#[rstest]
fn what_a_dead_push_has_put_in_the_way_goes(
    #[values(Backend::Local, Backend::WebDav)] backend: Backend,
    #[values(false, true)] folder_first: bool,
    #[values(false, true)] committed: bool,
) {
    let site = Site::on(backend);
    let source = site.source.path();
    write(source, "keep", "k");
    if committed {
        site.push();
    }
    let (first, then) = if folder_first { ("a/x", "a") } else { ("a", "a/x") };
    write(source, first, "first");
    through(&site, dies_after(sends(first)), same).unwrap_err();
    let top = source.join("a");
    if folder_first { fs::remove_dir_all(top) } else { fs::remove_file(top) }.unwrap();
    write(source, then, "then");
    let mut options = site.push_options();
    options.guard.floor = 100;
    push(&site.remote(), &options).unwrap();
    heals(&site);
}

/// A push dies after its commit, before it has deleted a file in whose place the volume then has a folder.
#[test]
fn what_a_dead_push_has_not_deleted_goes() {
    let site = site();
    write(site.source.path(), "keep", "k");
    write(site.source.path(), "a", "file");
    site.push();
    fs::remove_file(site.source.path().join("a")).unwrap();
    through(&site, dies(deletes("a")), same).unwrap_err();
    write(site.source.path(), "a/x", "in a folder");
    site.push();
    heals(&site);
}

/// What other hands have put in the way is named before anything is committed, and nothing is deleted.
#[rstest]
fn what_others_have_put_in_the_way_is_named(#[values(false, true)] folder: bool) {
    let site = site();
    write(site.source.path(), "keep", "k");
    if folder {
        write(site.source.path(), "d/mine", "m");
    }
    let first = site.push();
    let (foreign, new) = if folder { ("d/note", "d") } else { ("d", "d/x") };
    write(&site.object(""), foreign, "not ours");
    if folder {
        fs::remove_dir_all(site.source.path().join("d")).unwrap();
    }
    write(site.source.path(), new, "new");
    let mut options = site.push_options();
    options.verify_now = true;
    let failure = push(&site.remote(), &options).unwrap_err();
    assert_eq!(failure.reason, Reason::RemoteInconsistent, "{failure}");
    assert!(failure.message.contains(foreign), "{failure}");
    assert_eq!(pulled(&site).revision, first.revision);
    assert_eq!(fs::read(site.object(foreign)).unwrap(), b"not ours");
    fs::remove_file(site.object(foreign)).unwrap();
    push(&site.remote(), &options).unwrap();
    heals(&site);
}

/// One wrong answer for what a dead push has left does not leave it there for ever.
#[rstest]
#[case::claim(once(reads("claim.json"), || Deed::Absent))]
#[case::manifest(once(fetches_manifests, || Deed::Absent))]
fn what_a_dead_push_has_left_goes_in_the_end(#[case] lie: Rule) {
    let site = site();
    write(site.source.path(), "keep", "k");
    site.push();
    for n in 0..3 {
        write(site.source.path(), format!("new{n}"), "new");
    }
    through(&site, dies_after(sends("new1")), same).unwrap_err();
    for n in 0..3 {
        fs::remove_file(site.source.path().join(format!("new{n}"))).unwrap();
    }
    write(site.source.path(), "keep", "kk");
    through(&site, lie, same).unwrap();
    write(site.source.path(), "keep", "kkk");
    heals(&site);
    assert_eq!(site.user_objects(), ["keep"]);
}

/// A push that fails again and again leaves one manifest, not one each time.
#[test]
fn failing_pushes_do_not_pile_up() {
    let site = site();
    write(site.source.path(), "keep", "k");
    site.push();
    write(site.source.path(), "new", "new");
    for _ in 0..5 {
        through(&site, dies_before_commit(), same).unwrap_err();
    }
    let manifests = site.control_objects().into_iter().filter(|name| name.starts_with("manifests/")).count();
    assert!(manifests <= 3, "{:?}", site.control_objects());
    heals(&site);
}

/// What only looks like a file that rclone left half-written is left alone.
#[test]
fn a_foreign_partial_file_is_left_alone() {
    let site = site();
    write(site.source.path(), "keep", "k");
    site.push();
    write(site.source.path(), "dump", "d");
    through(&site, dies_after(sends("dump")), same).unwrap_err();
    write(&site.object(""), "dump_20251126.partial", "not ours");
    write(&site.object(""), "dump.1a2b3c4d.partial", "half of ours");
    fs::remove_file(site.source.path().join("dump")).unwrap();
    site.push();
    assert_eq!(site.user_objects(), ["dump_20251126.partial", "keep"]);
}

/// What a dead first push was going to send was never there: that it is gone from the volume deletes nothing.
#[test]
fn what_was_never_sent_is_no_deletion() {
    let site = site();
    write(site.source.path(), "keep", "k");
    for n in 0..30 {
        write(site.source.path(), format!("cache/{n}"), "c");
    }
    through(&site, dies(|verb| matches!(verb, Verb::Put { to, .. } if !to.starts_with(".scribe"))), same).unwrap_err();
    assert!(site.user_objects().is_empty());
    fs::remove_dir_all(site.source.path().join("cache")).unwrap();
    site.push();
    heals(&site);
}
