//! A remote that lies, and a push that dies, at any one verb: see [`crate::support::liar`].
//!
//! Each test is a history that once lost data, deleted what was not ours, or left a path that no later push could get out of.
//!
//! Of layout Files alone, each a history of what that stages, promotes and deletes. The simulation has such lies for both layouts.

use std::fs;
use std::mem::replace;

use rstest::rstest;
use scribe_mover::error::Result;
use scribe_mover::pull::{PullOutcome, Synced, pull};
use scribe_mover::push::{PushOptions, push};
use scribe_mover::report::Reason;
use scribe_mover::store::Listed;

use crate::support::liar::{
    Deed, Rule, Verb, always, announces, both, deletes, dies, dies_after, fetches_manifests, lists, lists_all, once, promotes, reads,
    sends, stages,
};
use crate::support::server::Backend;
use crate::support::tree::{assert_same, write};
use crate::support::{Site, done, owner};

/// A push whose remote lies, or which is killed, by this rule.
pub fn through(site: &Site, rule: Rule, change: impl FnOnce(&mut PushOptions)) -> Result<Synced> {
    let mut options = site.push_options();
    change(&mut options);
    let remote = site.lying(rule);
    let pushed = push(&remote, &options);
    // The reason, should the rule not have applied.
    println!("{pushed:?}");
    pushed
}

/// Dies instead of writing a commit.
pub fn dies_before_commit() -> Rule {
    dies(sends("commit.json"))
}

pub fn same(_: &mut PushOptions) {}

/// A directory as remote: every object is a file that a test can look at.
pub fn site() -> Site {
    Site::on(Backend::Local)
}

pub fn pulled(site: &Site) -> Synced {
    let fresh = assert_fs::TempDir::new().unwrap();
    let mut options = site.pull_options();
    options.volume = fresh.path().into();
    let pulled = done(pull(&site.remote(), &options));
    assert!(pulled.files > 0);
    pulled
}

/// The next pushes put everything right, and leave nothing behind.
pub fn heals(site: &Site) {
    site.push();
    site.pull();
    assert_same(site.source.path(), site.dest.path());
    // What a healed path has: a commit, and its manifest.
    let mut options = site.push_options();
    options.verify_now = true;
    push(&site.remote(), &options).unwrap();
    let control = site.control_objects();
    assert!(control.len() == 2 && !site.push().changed, "{control:?}");
}

#[rstest]
#[case::before_it_is_compared(fetches_manifests)]
#[case::before_anything_is_sent(announces)]
fn content_that_was_sent_before_is_sent_again_once_it_was_written_over(#[case] begins: fn(&Verb) -> bool) {
    let site = site();
    write(site.source.path(), "keep", "k");
    site.push();
    write(site.source.path(), "a", "AAAA");
    through(&site, dies_after(sends("a")), same).unwrap_err();
    assert!(site.object("a").exists());
    // It turns into something else while the push looks, and back while that is sent.
    let [before, back] = [0, 1].map(|_| site.source.path().to_owned());
    let rule = both(
        once(begins, move || Deed::before(move || write(&before, "a", "BBBB"))),
        once(sends("a"), move || Deed::after(move || write(&back, "a", "AAAA"))),
    );
    through(&site, rule, same).unwrap();
    assert_eq!(fs::read(site.object("a")).unwrap(), b"AAAA");
    pulled(&site);
    heals(&site);
}

/// Dies between its commit and the promotion of `x`.
pub fn dies_before_promotion(site: &Site) {
    through(site, dies(promotes), same).unwrap_err();
    let commit = fs::read_to_string(site.object(".scribe/commit.json")).unwrap();
    assert!(commit.contains("\"staged\": true"), "{commit}");
}

fn is_staged_x(name: &str) -> bool {
    name.starts_with(".scribe/staged/") && name.ends_with("/x")
}

fn leaves_out(hidden: fn(&str) -> bool) -> Deed {
    Deed::show(move |listed| (!hidden(&listed.name)).then_some(listed))
}

fn shows_wrong_size() -> Deed {
    Deed::show(|listed| Some(if is_staged_x(&listed.name) { Listed { size: Some(1), ..listed } } else { listed }))
}

/// What a listing leaves out, or shows wrongly, of a commit that waits to be promoted is not given up.
#[rstest]
#[case::nothing_listed(once(lists, || Deed::Absent))]
#[case::left_out(once(lists, || leaves_out(is_staged_x)))]
#[case::wrong_size(once(lists, shows_wrong_size))]
#[case::left_out_each_time(always(lists, || leaves_out(|name| name == "x" || is_staged_x(name))))]
fn a_commit_that_waits_for_its_promotion_survives_a_wrong_listing(#[case] lie: Rule, #[values(false, true)] changed: bool) {
    let site = site();
    write(site.source.path(), "x", "one");
    write(site.source.path(), "keep", "k");
    site.push();
    write(site.source.path(), "x", "two2");
    dies_before_promotion(&site);
    pulled(&site);
    if changed {
        write(site.source.path(), "x", "three");
    }
    // And a push of something new dies before its commit.
    let mut announced = false;
    let dies: Rule = Box::new(move |verb| {
        announced |= announces(verb);
        if announced && sends("commit.json")(verb) { Deed::Die } else { Deed::Pass }
    });
    let ended = through(&site, if changed { both(lie, dies) } else { lie }, same);
    assert!(!changed || ended.is_err(), "{ended:?}");
    pulled(&site);
    heals(&site);
}

/// A predecessor whose mover still runs keeps what it has staged, or stops before its commit.
#[test]
fn nothing_is_recovered_before_the_path_is_claimed() {
    let site = site();
    write(site.source.path(), "x", "one");
    write(site.source.path(), "keep", "k");
    site.push();
    write(site.source.path(), "x", "two2");
    // In the middle of the predecessor's last look, its successor begins, and dies before it has claimed the path.
    let successor = Site::at(&site.server, &site.name);
    write(successor.source.path(), "x", "other");
    let dying = move || {
        let rule = dies(sends("claim.json"));
        through(&successor, rule, |options| options.pusher.owner = owner("db", "uid-2")).unwrap_err();
    };
    through(&site, once(|verb| lists(verb) && !lists_all(verb), || Deed::before(dying)), same).unwrap();
    pulled(&site);
    heals(&site);
}

/// A repair that was overtaken by a push of the same source does not bring the older revision back.
#[test]
fn a_repair_gives_way_to_a_newer_commit() {
    let site = site();
    write(site.source.path(), "x", "one");
    write(site.source.path(), "keep", "k");
    site.push();
    fs::remove_file(site.object("x")).unwrap();
    let newer = Site::at(&site.server, &site.name);
    write(newer.source.path(), "x", "two2");
    write(newer.source.path(), "keep", "k");
    let rule = once(stages, || Deed::after(move || drop(newer.push())));
    let failure = through(&site, rule, |options| options.verify_now = true).unwrap_err();
    assert_eq!(failure.reason, Reason::RemoteInconsistent);
    // Not only because the newer push has taken away what was staged.
    assert!(failure.message.contains("has another revision of this object"), "{failure}");
    assert_eq!(fs::read(site.object("x")).unwrap(), b"two2");
    pulled(&site);
}

/// Both witnesses say for a moment that nothing is there: nothing is written over before a third look.
#[rstest]
fn an_outage_makes_no_first_push(#[values(false, true)] known: bool) {
    let site = site();
    write(site.source.path(), "x", "one");
    write(site.source.path(), "keep", "k");
    let first = site.push();
    write(site.source.path(), "x", "two2");
    let mut over = false;
    let outage: Rule = Box::new(move |verb| match verb {
        Verb::Read(_) if !over => Deed::Absent,
        verb if lists_all(verb) && !replace(&mut over, true) => Deed::Absent,
        _ => Deed::Pass,
    });
    let failure = through(&site, outage, |options| options.pusher.pushed = Some(first.revision.clone()).filter(|_| known)).unwrap_err();
    assert_eq!(failure.reason, Reason::RemoteInconsistent, "{failure}");
    assert_eq!(fs::read(site.object("x")).unwrap(), b"one");
    assert_eq!(pulled(&site).revision, first.revision);
    heals(&site);
}

/// A volume may hold a copy of a replicated path; a push of it that dies anywhere is no other replication.
#[rstest]
fn a_copy_of_a_replicated_path_is_no_neighbour(#[values(false, true)] committed: bool) {
    let site = site();
    write(site.source.path(), "keep", "k");
    write(site.source.path(), "backup/.scribe/commit.json", "{}");
    if committed {
        site.push();
        write(site.source.path(), "backup/.scribe/commit.json", "{ }");
    }
    through(&site, dies_after(sends("backup/.scribe/commit.json")), same).unwrap_err();
    site.push();
    heals(&site);
}

#[test]
fn a_copy_of_a_replicated_path_that_was_removed_is_no_neighbour() {
    let site = site();
    write(site.source.path(), "keep", "k");
    write(site.source.path(), "backup/.scribe/commit.json", "{}");
    site.push();
    fs::remove_dir_all(site.source.path().join("backup")).unwrap();
    through(&site, dies(deletes("backup/.scribe/commit.json")), same).unwrap_err();
    write(site.source.path(), "keep", "changed");
    site.push();
    heals(&site);
}

/// An adoption that dies is an adoption still: it replaces everything there.
#[rstest]
fn an_adoption_that_dies_goes_on(#[values(false, true)] in_the_way: bool) {
    let site = site();
    write(&site.object(""), "foreign", "f");
    write(&site.object(""), "x", "f");
    write(site.source.path(), if in_the_way { "x/y" } else { "x" }, "ours");
    let adopt = |options: &mut PushOptions| options.pusher.adopt = true;
    through(&site, dies_before_commit(), adopt).unwrap_err();
    let mut options = site.push_options();
    adopt(&mut options);
    push(&site.remote(), &options).unwrap();
    assert_eq!(site.user_objects().len(), 1, "{:?}", site.user_objects());
    heals(&site);
}

/// The first attempt of an adoption replaces the claim that it saw; the next one knows that.
#[test]
fn an_adoption_of_a_claimed_path_goes_on() {
    let site = site();
    write(site.source.path(), "a", "theirs");
    site.push();
    write(site.source.path(), "a", "newer");
    through(&site, dies_before_commit(), same).unwrap_err();
    let adopting = |state: Option<String>| {
        let mut options = site.push_options();
        (options.pusher.owner, options.pusher.adopt, options.pusher.adopt_state) = (owner("other", "uid-9"), true, state);
        options
    };
    push(&site.lying(dies_before_commit()), &adopting(None)).unwrap_err();
    // What the first attempt would have reported: found anew, by an object that sees what it saw.
    let of_another = adopting(Some("0".repeat(12) + "-"));
    assert_eq!(push(&site.remote(), &of_another).unwrap_err().reason, Reason::PathNotOurs, "of another state");
    assert!(push(&site.remote(), &adopting(None)).unwrap().took_over);
}

#[test]
fn a_half_written_claim_is_no_foreign_file() {
    let site = site();
    write(&site.object(""), ".scribe/claim.json.1a2b3c4d.partial", "{");
    assert_eq!(site.try_pull(), Ok(PullOutcome::WaitingForFirstPush));
    write(site.source.path(), "a", "a");
    site.push();
    heals(&site);
}

/// One wrong answer for our own claim in the last look is no rival. It is read where a listing shows no sums.
#[test]
fn one_wrong_answer_is_no_rival() {
    let site = site();
    write(site.source.path(), "keep", "k");
    let no_sums = always(lists, || Deed::show(|listed| Some(Listed { md5: None, ..listed })));
    through(&site, both(once(reads("claim.json"), || Deed::Absent), no_sums), same).unwrap();
    pulled(&site);
}
