//! A remote that lies, and a push that dies, at any one command: a script stands between the mover and rclone.
//!
//! Each test is a history that once lost data, deleted what was not ours, or left a path that no later push could get out of.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use rstest::rstest;
use scribe_mover::error::Result;
use scribe_mover::pull::{PullOutcome, Synced, pull};
use scribe_mover::push::{PushOptions, push};
use scribe_mover::report::Reason;

use crate::support::server::Backend;
use crate::support::tree::{assert_same, write};
use crate::support::{Site, done, owner, rclone};

/// What every script can use: the verb, the names that the command is about, death, and a wrong answer.
const TOOLS: &str = r#"
verb=$1 names= last=
for argument in "$@"; do
  if [ "$last" = --files-from-raw ]; then names=$(tr '\0\n' '  ' <"$argument"); fi
  last=$argument
done
[ ! -e "$state/dead" ] || exit 1
die() { touch "$state/dead"; exit 1; }
absent() { echo '{"level":"error","msg":"object not found"}' >&2; exit 4; }
# once NAME: true the first time.
once() { [ ! -e "$state/$1" ] && touch "$state/$1"; }
about() { [[ " $names " == *" $1 "* ]]; }
"#;

/// A push whose rclone commands go through this script, which ends by itself or lets the command pass.
pub fn through(site: &Site, script: &str, change: impl FnOnce(&mut PushOptions)) -> Result<Synced> {
    let wrapper = site.scratch.path().join("rclone");
    let state = tempfile(site);
    let text = format!(
        "#!/usr/bin/env bash\nrclone={} state={state} volume={} path={}\n{TOOLS}\n{script}\nexec $rclone \"$@\"\n",
        rclone().display(),
        site.source.path().display(),
        site.object("").display(),
    );
    fs::write(&wrapper, text).unwrap();
    fs::set_permissions(&wrapper, fs::Permissions::from_mode(0o755)).unwrap();
    let remote = site.remote_by(&wrapper);
    let mut options = site.push_options();
    change(&mut options);
    push(&remote, &options)
}

pub fn tempfile(site: &Site) -> String {
    let used = fs::read_dir(site.scratch.path()).unwrap().count();
    let dir = site.scratch.path().join(format!("state-{used}"));
    fs::create_dir(&dir).unwrap();
    dir.to_str().unwrap().to_owned()
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

#[test]
fn content_that_was_sent_before_is_sent_again_once_it_was_written_over() {
    let site = site();
    write(site.source.path(), "keep", "k");
    site.push();
    write(site.source.path(), "a", "AAAA");
    through(&site, "if [ $verb = copy ] && about a; then $rclone \"$@\"; die; fi", same).unwrap_err();
    assert!(site.object("a").exists());
    // It turns into something else while the push looks, and back while that is sent.
    let script = r#"
        if [ $verb = copy ] && [[ $names == *manifests/* ]] && once before; then echo -n BBBB >"$volume/a"; fi
        if [ $verb = copy ] && about a && once sent; then $rclone "$@"; result=$?; echo -n AAAA >"$volume/a"; exit $result; fi
    "#;
    through(&site, script, same).unwrap();
    assert_eq!(fs::read(site.object("a")).unwrap(), b"AAAA");
    pulled(&site);
    heals(&site);
}

/// Dies between its commit and the promotion of `x`.
pub fn dies_before_promotion(site: &Site) {
    through(site, r"if [ $verb = copy ] && [[ $2 == */staged/* ]]; then die; fi", same).unwrap_err();
    let commit = fs::read_to_string(site.object(".scribe/commit.json")).unwrap();
    assert!(commit.contains("\"staged\": true"), "{commit}");
}

/// What a listing leaves out, or shows wrongly, of a commit that waits to be promoted is not given up.
#[rstest]
#[case::nothing_listed(
    r#"if [ $verb = lsjson ] && once lie; then echo '{"level":"error","msg":"error listing: directory not found"}' >&2; exit 3; fi"#
)]
#[case::left_out(r#"if [ $verb = lsjson ] && once lie; then $rclone "$@" | sed '/staged.*"x"/d'; exit ${PIPESTATUS[0]}; fi"#)]
#[case::wrong_size(
    r#"if [ $verb = lsjson ] && once lie; then $rclone "$@" | sed '/staged.*"x"/s/"Size":[0-9]*/"Size":1/'; exit ${PIPESTATUS[0]}; fi"#
)]
#[case::left_out_each_time(
    r#"if [ $verb = lsjson ]; then $rclone "$@" | sed '/"x"/{/staged/d}' | sed '/^{"Path":"x"/d'; exit ${PIPESTATUS[0]}; fi"#
)]
fn a_commit_that_waits_for_its_promotion_survives_a_wrong_listing(#[case] lie: &str, #[values(false, true)] changed: bool) {
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
    let dies = r#"
        if [ $verb = copy ] && [[ $names == *manifests/* && $3 == *:* ]]; then touch "$state/announced"; fi
        if [ $verb = copy ] && about commit.json && [[ $3 == *:* ]] && [ -e "$state/announced" ]; then die; fi
    "#;
    let ended = through(&site, &format!("{lie}\n{}", if changed { dies } else { "" }), same);
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
    let begin = successor.scratch.path().join("begin");
    let script = format!(
        r"if [ $verb = lsjson ] && [[ $* != *-R* ]] && once look; then touch {0}; while [ ! -e {0}.done ]; do read -t 0.05 <> <(:) || true; done; fi",
        begin.display()
    );
    std::thread::scope(|scope| {
        let predecessor = scope.spawn(|| through(&site, &script, same));
        while !begin.exists() {
            std::thread::yield_now();
        }
        let dying = r"if [ $verb = copy ] && about claim.json && [[ $3 == *:* ]]; then die; fi";
        through(&successor, dying, |options| options.pusher.owner = owner("db", "uid-2")).unwrap_err();
        fs::write(begin.with_extension("done"), "").unwrap();
        predecessor.join().unwrap().unwrap();
    });
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
    let begin = site.scratch.path().join("begin");
    let script = format!(
        r#"if [ $verb = copy ] && [[ $3 == *staged* ]] && once sent; then $rclone "$@"; touch {0}; while [ ! -e {0}.done ]; do read -t 0.05 <> <(:) || true; done; exit 0; fi"#,
        begin.display()
    );
    let newer = Site::at(&site.server, &site.name);
    write(newer.source.path(), "x", "two2");
    write(newer.source.path(), "keep", "k");
    std::thread::scope(|scope| {
        let repair = scope.spawn(|| through(&site, &script, |options| options.verify_now = true));
        while !begin.exists() {
            std::thread::yield_now();
        }
        newer.push();
        fs::write(begin.with_extension("done"), "").unwrap();
        assert_eq!(repair.join().unwrap().unwrap_err().reason, Reason::RemoteInconsistent);
    });
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
    let script = r#"
        if [ $verb = cat ] && [ ! -e "$state/over" ]; then absent; fi
        if [ $verb = lsjson ] && [[ $* == *-R* ]] && once over; then echo '{"level":"error","msg":"error listing: directory not found"}' >&2; exit 3; fi
    "#;
    let failure = through(&site, script, |options| options.pusher.pushed = Some(first.revision.clone()).filter(|_| known)).unwrap_err();
    assert_eq!(failure.reason, Reason::RemoteInconsistent, "{failure}");
    assert_eq!(fs::read(site.object("x")).unwrap(), b"one");
    assert_eq!(pulled(&site).revision, first.revision);
    heals(&site);
}

/// A volume may hold a copy of a replicated path; a push of it that dies anywhere is no other replication.
#[rstest]
#[case::first_push("if [ $verb = copy ] && about backup/.scribe/commit.json; then $rclone \"$@\"; die; fi", false)]
#[case::staged("if [ $verb = copy ] && about backup/.scribe/commit.json; then $rclone \"$@\"; die; fi", true)]
fn a_copy_of_a_replicated_path_is_no_neighbour(#[case] dies: &str, #[case] committed: bool) {
    let site = site();
    write(site.source.path(), "keep", "k");
    write(site.source.path(), "backup/.scribe/commit.json", "{}");
    if committed {
        site.push();
        write(site.source.path(), "backup/.scribe/commit.json", "{ }");
    }
    through(&site, dies, same).unwrap_err();
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
    through(&site, "if [ $verb = delete ] && about backup/.scribe/commit.json; then die; fi", same).unwrap_err();
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
    through(&site, "if [ $verb = copy ] && about commit.json && [[ $3 == *:* ]]; then die; fi", adopt).unwrap_err();
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
    let dies = "if [ $verb = copy ] && about commit.json && [[ $3 == *:* ]]; then die; fi";
    through(&site, dies, same).unwrap_err();
    write(site.source.path(), "a", "ours");
    let attempt = |script: &str, state: Option<String>| {
        through(&site, script, |options| {
            (options.pusher.owner, options.pusher.adopt, options.pusher.adopt_state) = (owner("other", "uid-9"), true, state);
        })
    };
    attempt(dies, None).unwrap_err();
    let mut options = site.push_options();
    (options.pusher.owner, options.pusher.adopt) = (owner("other", "uid-9"), true);
    // What the first attempt would have reported: found anew, by an object that sees what it saw.
    assert_eq!(attempt("", Some("0".repeat(12) + "-")).unwrap_err().reason, Reason::PathNotOurs, "of another state");
    assert!(push(&site.remote(), &options).unwrap().took_over);
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

/// One wrong answer for our own claim in the last look is no rival.
#[test]
fn one_wrong_answer_is_no_rival() {
    let site = site();
    write(site.source.path(), "keep", "k");
    through(&site, "if [ $verb = cat ] && about claim.json && once lie; then absent; fi", same).unwrap();
    pulled(&site);
}
