//! A path that was emptied while the first pull from it was interrupted is not taken for one that nothing was pushed to yet: what that pull has left
//! on the volume shows that there was a commit.

use rstest::rstest;
use scribe_mover::error::Failure;
use scribe_mover::pull::{PullOptions, PullOutcome, pull, pull_plain};
use scribe_mover::push::{PushOptions, Synced, push, push_packs};
use scribe_mover::remote::Remote;
use scribe_mover::report::Reason;

use crate::packs_crash::killed_before;
use crate::support::tree::{assert_same_but_for_room, snapshot, write};
use crate::support::{Site, done};

type Push = fn(&Remote, &PushOptions) -> scribe_mover::error::Result<Synced>;

fn empty(site: &Site) {
    site.by_hand(&["delete", &site.name]);
}

fn refused(outcome: scribe_mover::error::Result<PullOutcome>, named: &[&str]) {
    let Failure { reason, message, .. } = outcome.unwrap_err();
    assert_eq!(reason, Reason::RemoteInconsistent, "{message}");
    assert!(named.iter().all(|named| message.contains(named)) && message.contains("is empty"), "{message}");
}

/// A pull that is stopped at its first step with something in the staging folder.
fn interrupted(site: &Site, options: &PullOptions, pull: fn(&Remote, &PullOptions) -> scribe_mover::error::Result<PullOutcome>) {
    let staging = options.volume.join(".scribe-staging");
    for steps in 1.. {
        let remote = site.remote();
        remote.context.stop.request_after(steps);
        assert_eq!(pull(&remote, options).unwrap_err().reason, Reason::MoverKilled);
        if staging.exists() {
            return;
        }
    }
}

#[rstest]
#[case::files(push as Push)]
#[case::packs(push_packs as Push)]
fn a_path_that_was_emptied_after_an_interrupted_first_pull(#[case] push: Push) {
    for private in [true, false] {
        let site = Site::with_bucket();
        write(site.source.path(), "db", vec![7; 100_000]);
        write(site.source.path(), "folder/b", "b");
        let options = PullOptions { private, ..site.pull_options() };
        assert_eq!(pull(&site.remote(), &options), Ok(PullOutcome::WaitingForFirstPush));
        push(&site.remote(), &site.push_options()).unwrap();
        interrupted(&site, &options, pull);
        let before = snapshot(site.dest.path());
        empty(&site);
        refused(pull(&site.remote(), &options), &[".scribe-staging", "a pull from it was interrupted before"]);
        assert_eq!(snapshot(site.dest.path()), before);
        push(&site.remote(), &site.push_options()).unwrap();
        done(pull(&site.remote(), &options));
        assert_same_but_for_room(site.source.path(), site.dest.path());
    }
}

/// What was finished from the journal is a revision that was pulled, though no report has said so.
#[test]
fn a_path_that_was_emptied_while_its_first_revision_was_put_in_place() {
    let site = Site::with_bucket();
    write(site.source.path(), "db", vec![7; 100_000]);
    let pushed = push_packs(&site.remote(), &site.push_options()).unwrap();
    killed_before(&site, site.dest.path(), "unlink .scribe-staging/holds");
    empty(&site);
    for _ in 0..2 {
        refused(pull(&site.remote(), &site.pull_options()), &[&format!("revision {} was pulled from it before", pushed.revision)]);
        assert_eq!(std::fs::read(site.dest.path().join("db")).unwrap(), vec![7; 100_000]);
    }
}

#[test]
fn a_plain_path_that_was_emptied_after_an_interrupted_first_pull() {
    let site = Site::with_bucket();
    site.meddle("rcat", "a", b"a");
    interrupted(&site, &site.pull_options(), pull_plain);
    empty(&site);
    refused(pull_plain(&site.remote(), &site.pull_options()), &[".scribe-staging"]);
    site.meddle("rcat", "a", b"a");
    done(pull_plain(&site.remote(), &site.pull_options()));
    assert_eq!(std::fs::read(site.dest.path().join("a")).unwrap(), b"a");
}

/// A folder that a person has made to have all compared proves nothing of a path.
#[test]
fn an_empty_staging_folder_is_no_sign_of_a_push() {
    let site = Site::with_bucket();
    std::fs::create_dir(site.dest.path().join(".scribe-staging")).unwrap();
    assert_eq!(site.try_pull(), Ok(PullOutcome::WaitingForFirstPush));
}

/// What lies in the volume is of the path that was pulled from before, and nothing was pushed to this one.
#[rstest]
#[case::files(push as Push)]
#[case::packs(push_packs as Push)]
fn another_path_that_nothing_was_pushed_to_is_waited_for(#[case] push: Push) {
    let mut site = Site::with_bucket();
    write(site.source.path(), "db", vec![7; 100_000]);
    push(&site.remote(), &site.push_options()).unwrap();
    let applied = done(pull(&site.remote(), &site.pull_options())).revision;
    write(site.source.path(), "db", vec![8; 100_000]);
    push(&site.remote(), &site.push_options()).unwrap();
    let staging = site.dest.path().join(".scribe-staging");
    for steps in 1.. {
        let remote = site.remote();
        remote.context.stop.request_after(steps);
        let options = PullOptions { applied: Some(applied.clone()), ..site.pull_options() };
        assert_eq!(pull(&remote, &options).unwrap_err().reason, Reason::MoverKilled);
        if staging.exists() {
            break;
        }
    }
    let another = format!("{}/another", site.name);
    let first = std::mem::replace(&mut site.name, another);
    // After an edit, the agent does not say what was applied.
    assert_eq!(pull(&site.remote(), &site.pull_options()), Ok(PullOutcome::WaitingForFirstPush));
    site.name = first;
    done(pull(&site.remote(), &site.pull_options()));
    assert_same_but_for_room(site.source.path(), site.dest.path());
}
