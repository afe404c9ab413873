//! A source whose volume does not change says from time to time that it is alive, and destinations see that.
//!
//! Of layout Files, whose commit is read here; that of the other one is in `packs_push/changing`.

use jiff::{SignedDuration, Timestamp};
use scribe_mover::format::documents::{Commit, Control, seal, unseal};
use scribe_mover::pull::pull;
use scribe_mover::push::{PushOptions, Synced, push};

use crate::support::limits::exactly;
use crate::support::tree::write;
use crate::support::{Site, done};

const HOUR: SignedDuration = SignedDuration::from_hours(1);

fn commit(site: &Site) -> Commit {
    let Control::Present(commit) = unseal(&std::fs::read(site.object(".scribe/commit.json")).unwrap()).unwrap() else { panic!() };
    commit
}

/// A push so long after the first one, with the number of PUTs that it made, and of requests.
fn push_at(site: &Site, began: Timestamp, last: Option<&Synced>, after: SignedDuration) -> (Synced, usize, usize) {
    let started = began + after;
    let mut options = PushOptions { data_time: started, started, heartbeat_interval: HOUR, ..site.push_options() };
    options.pusher.pushed = last.map(|last| last.revision.clone());
    site.proxy.take();
    let pushed = push(&site.remote(), &options).unwrap();
    let requests = site.proxy.take();
    (pushed, requests.iter().filter(|request| request.method == "PUT").count(), requests.len())
}

#[test]
fn an_unchanged_source_renews_the_time_at_which_it_was_checked() {
    let site = Site::with_bucket();
    write(site.source.path(), "a", "content");
    let began = Timestamp::now() + SignedDuration::from_mins(3);
    let (first, ..) = push_at(&site, began, None, SignedDuration::ZERO);
    assert_eq!((first.checked_time, commit(&site).checked_time), (Some(began), Some(began)));
    let pull_it = || {
        let mut options = site.pull_options();
        options.applied = site.dest.path().join("a").exists().then(|| first.revision.clone());
        done(pull(&site.remote(), &options))
    };
    assert_eq!(pull_it().checked_time, Some(began));

    // Before it is time for that, nothing is written.
    let (early, puts, requests) = push_at(&site, began, Some(&first), SignedDuration::from_mins(59));
    assert_eq!((early.checked_time, puts), (Some(began), 0));
    exactly("push_of_nothing_new", requests, &early);
    // Then one write, under the same revision.
    let (later, puts, requests) = push_at(&site, began, Some(&first), HOUR);
    assert_eq!((later.changed, &later.revision, later.data_time), (false, &first.revision, first.data_time));
    assert_eq!((later.checked_time, puts), (Some(began + HOUR), 1));
    exactly("push_of_nothing_new_with_a_heartbeat", requests, &later);
    let renewed = commit(&site);
    assert_eq!((renewed.checked_time, renewed.data_time), (Some(began + HOUR), began));
    site.proxy.take();
    let pulled = pull_it();
    assert_eq!((pulled.changed, pulled.checked_time), (false, Some(began + HOUR)));
    // A destination learns of it without a request more.
    exactly("pull_of_nothing_new", site.proxy.take().len(), &pulled);

    // A copy that was captured before: the latest one is still known.
    let mut older = PushOptions { data_time: began, started: began + HOUR * 3, heartbeat_interval: HOUR, ..site.push_options() };
    older.pusher.pushed = Some(first.revision.clone());
    assert_eq!(push(&site.remote(), &older).unwrap().checked_time, Some(began + HOUR));
    assert_eq!(commit(&site).checked_time, Some(began + HOUR));

    // A clock that was ahead: the time is put right by the next push.
    let ahead = Commit { checked_time: Some(began + HOUR * 10_000), ..renewed };
    site.meddle("rcat", ".scribe/commit.json", &seal(&ahead).unwrap());
    let (right, puts, _) = push_at(&site, began, Some(&first), HOUR * 2);
    assert_eq!((right.checked_time, puts), (Some(began + HOUR * 2), 1));
}

/// What an older program knows of a commit.
#[derive(serde::Deserialize)]
#[serde(rename_all = "camelCase")]
struct Older {
    revision: String,
    data_time: Timestamp,
}

/// A commit without the time is renewed by its age; one with it is read by programs that do not know it.
#[test]
fn older_commits_and_older_readers() {
    let site = Site::with_bucket();
    write(site.source.path(), "a", "content");
    let began = Timestamp::now() + SignedDuration::from_mins(3);
    let (first, ..) = push_at(&site, began, None, SignedDuration::ZERO);
    let older = Commit { checked_time: None, ..commit(&site) };
    site.meddle("rcat", ".scribe/commit.json", &seal(&older).unwrap());
    assert_eq!(site.pull().checked_time, Some(began), "the capture itself");
    let (renewed, puts, _) = push_at(&site, began, Some(&first), HOUR);
    assert_eq!((renewed.checked_time, puts), (Some(began + HOUR), 1));

    let text = std::fs::read(site.object(".scribe/commit.json")).unwrap();
    let Control::Present(read) = unseal::<Older>(&text).unwrap() else { panic!() };
    assert_eq!((read.revision, read.data_time), (first.revision, began));
}
