//! What syncs cost in requests, counted by the proxy.
//!
//! Of layout Files; those of the other one are counted in `packs_push` and `packs_pull`.

use std::collections::BTreeMap;

use std::fs;

use jiff::{SignedDuration, Timestamp};

use crate::support::Site;
use crate::support::limits::{exactly, figure};
use crate::support::tree::write;
use scribe_mover::pull::pull;
use scribe_mover::push::{PushOptions, Synced, push};

pub(crate) fn counted(site: &Site) -> BTreeMap<String, usize> {
    site.proxy.take().into_iter().fold(BTreeMap::new(), |mut count, request| {
        *count.entry(request.method).or_default() += 1;
        count
    })
}

fn total(count: &BTreeMap<String, usize>) -> usize {
    count.values().sum()
}

fn many(site: &Site, names: std::ops::Range<usize>, content: &str) {
    for n in names {
        write(site.source.path(), format!("d{}/f{n}", n % 7), format!("{content} {n}"));
    }
}

#[test]
fn each_kind_of_sync_costs_what_it_should() {
    let site = Site::with_bucket();
    many(&site, 0..60, "first");
    let first = site.push();
    let first_push = counted(&site);
    // Three of them look for another replication's path above this one, and two once more for a commit and a claim, which only a first push
    // does.
    exactly("first_push_of_60_files", total(&first_push), &first_push);

    site.pull();
    let first_pull = counted(&site);
    exactly("first_pull_of_60_files", total(&first_pull), &first_pull);

    assert_eq!(push(&site.remote(), &knowing(&site, &first)).unwrap().hashed, 0);
    let unchanged = counted(&site);
    assert_eq!(unchanged.keys().collect::<Vec<_>>(), ["GET"]);
    exactly("push_of_nothing_new", total(&unchanged), &unchanged);

    let mut options = site.pull_options();
    options.applied = Some(first.revision.clone());
    let pulled = crate::support::done(pull(&site.remote(), &options));
    assert_eq!((pulled.changed, pulled.hashed), (false, 0));
    let nothing_new = counted(&site);
    assert_eq!(nothing_new.keys().collect::<Vec<_>>(), ["GET"]);
    exactly("pull_of_nothing_new", total(&nothing_new), &nothing_new);

    // As an unchanged file's time is believed only across an applied revision, nothing unchanged is read.
    many(&site, 0..20, "replaced");
    site.push();
    let replaced = counted(&site);
    exactly("push_of_20_replaced_files", total(&replaced), &replaced);
    let pulled = crate::support::done(pull(&site.remote(), &options));
    assert_eq!((pulled.changed, pulled.hashed), (true, 0));
    let pull_replaced = counted(&site);
    exactly("pull_of_20_replaced_files", total(&pull_replaced), &pull_replaced);

    many(&site, 60..80, "added");
    site.push();
    let added = counted(&site);
    exactly("push_of_20_added_files", total(&added), &added);

    // Names that the server may store under other ones wait in the staged folder, as replaced files do, and are looked for there.
    for n in 0..20 {
        write(site.source.path(), format!("{n} (\u{e9}t\u{e9})"), "added");
    }
    site.push();
    let unusual = counted(&site);
    exactly("push_of_20_added_files_with_unusual_names", total(&unusual), &unusual);
}

/// Files written right before a capture are read once more by the next push, and then never again until they change.
#[test]
fn what_was_written_right_before_a_capture_is_read_once_more() {
    let site = Site::with_bucket();
    many(&site, 0..5, "young");
    let now = jiff::Timestamp::now();
    let first = push(&site.remote(), &PushOptions { data_time: now, started: now, ..site.push_options() }).unwrap();
    site.proxy.take();

    let second = push(&site.remote(), &knowing(&site, &first)).unwrap();
    assert_eq!((second.changed, second.hashed, &second.revision), (false, first.bytes, &first.revision));
    let read_again = counted(&site);
    assert_eq!(read_again["PUT"], 1, "{read_again:?}");
    exactly("push_that_reads_young_files_again", total(&read_again), &read_again);

    let third = push(&site.remote(), &knowing(&site, &first)).unwrap();
    assert_eq!((third.changed, third.hashed), (false, 0));
    let known = counted(&site);
    exactly("push_of_nothing_new", total(&known), &known);
    // What was pulled before is still known by its revision.
    assert_eq!(crate::support::done(pull(&site.remote(), &site.pull_options())).revision, first.revision);
}

/// Options of an agent that knows what was pushed last: otherwise a push that finds nothing new looks for the claim of a dead one.
fn knowing(site: &Site, pushed: &Synced) -> PushOptions {
    let mut options = site.push_options();
    options.pusher.pushed = Some(pushed.revision.clone());
    options
}

/// A push of the live volume so many seconds after `began`.
fn push_after(site: &Site, last: Option<&Synced>, began: Timestamp, seconds: i64) -> (Synced, usize) {
    let started = began + SignedDuration::from_secs(seconds);
    let known = last.map_or_else(|| site.push_options(), |last| knowing(site, last));
    let options = PushOptions { data_time: started, started, verify_interval: SignedDuration::MAX, ..known };
    site.proxy.take();
    let pushed = push(&site.remote(), &options).unwrap();
    (pushed, total(&counted(site)))
}

/// Whatever else goes on in the volume: another file is written to all the time, or only its times are moved.
#[test]
fn files_at_rest_come_of_age_beside_restless_ones() {
    for written in [true, false] {
        let site = Site::with_bucket();
        many(&site, 0..5, "at rest");
        let restless = site.source.path().join("restless");
        fs::write(&restless, "0").unwrap();
        let began = Timestamp::now();
        let mut last = push_after(&site, None, began, 0).0;
        let mut read = Vec::new();
        for minute in 1..7 {
            if written {
                fs::write(&restless, minute.to_string()).unwrap();
            } else {
                fs::set_permissions(&restless, fs::metadata(&restless).unwrap().permissions()).unwrap();
            }
            let (pushed, requests) = push_after(&site, Some(&last), began, minute * 60);
            assert_eq!(pushed.changed, written);
            last = pushed.clone();
            read.push((pushed.hashed, requests));
        }
        // The other file's one byte, and once more after it was sent.
        assert!(read[3..].iter().all(|(hashed, _)| *hashed <= 2), "{read:?}");
        if !written {
            read[3..].iter().for_each(|(_, requests)| exactly("push_of_nothing_new", *requests, &read));
        }
    }
}

/// A source that is synced no more often than its path is verified never finds that there is nothing to do.
#[test]
fn files_come_of_age_in_verifying_pushes_too() {
    let site = Site::with_bucket();
    many(&site, 0..5, "at rest");
    let began = Timestamp::now();
    let verify = |seconds| {
        let started = began + SignedDuration::from_secs(seconds);
        push(&site.remote(), &PushOptions { data_time: started, started, verify_interval: SignedDuration::ZERO, ..site.push_options() })
            .unwrap()
    };
    let first = verify(0);
    let read = [60, 150, 300].map(|seconds| verify(seconds).hashed);
    assert_eq!(read, [first.bytes, first.bytes, 0]);
}

/// Reading every file once a week costs an idle source little: a slice at a time, and three requests for each slice.
#[test]
fn every_file_is_read_again_within_the_interval_and_not_all_at_once() {
    let site = Site::with_bucket();
    many(&site, 0..60, "at rest");
    let began = Timestamp::now();
    let (first, _) = push_after(&site, None, began, 150);
    let (mut read, mut extra) = (0, 0);
    for slice in 1..=28 {
        let (pushed, requests) = push_after(&site, Some(&first), began, 150 + slice * 6 * 3600);
        assert!(!pushed.changed && pushed.hashed < first.bytes / 4, "{pushed:?}");
        read += pushed.hashed;
        extra += requests - figure("push_of_nothing_new");
    }
    assert_eq!(read, first.bytes, "each file once");
    exactly("reading_every_file_again", extra, &"beside those of pushes of nothing new, within the interval");
}
