//! What syncs cost in requests, counted by the proxy.

use std::collections::BTreeMap;

use crate::support::Site;
use crate::support::tree::write;
use scribe_mover::pull::pull;
use scribe_mover::push::{PushOptions, push};

fn counted(site: &Site) -> BTreeMap<String, usize> {
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
    // Two of them look for another replication's path above this one, which only a first push does.
    assert!(total(&first_push) <= 60 + 10, "{first_push:?}");

    site.pull();
    let first_pull = counted(&site);
    assert_eq!(total(&first_pull), 60 + 2, "{first_pull:?}");

    assert_eq!(site.push().hashed, 0);
    let unchanged = counted(&site);
    assert_eq!(unchanged, BTreeMap::from([("GET".into(), 2)]));

    let mut options = site.pull_options();
    options.applied = Some(first.revision.clone());
    let pulled = crate::support::done(pull(&site.remote(), &options));
    assert_eq!((pulled.changed, pulled.hashed), (false, 0));
    assert_eq!(counted(&site), BTreeMap::from([("GET".into(), 1)]));

    // As an unchanged file's time is believed only across an applied revision, nothing unchanged is read.
    many(&site, 0..20, "replaced");
    site.push();
    let replaced = counted(&site);
    assert!(total(&replaced) <= 4 * 20 + 11, "{replaced:?}");
    let pulled = crate::support::done(pull(&site.remote(), &options));
    assert_eq!((pulled.changed, pulled.hashed), (true, 0));
    let pull_replaced = counted(&site);
    assert_eq!(total(&pull_replaced), 20 + 2, "{pull_replaced:?}");

    many(&site, 60..80, "added");
    site.push();
    let added = counted(&site);
    assert!(total(&added) <= 20 + 10, "{added:?}");
}

/// Files written right before a capture are read once more by the next push, and then never again until they change.
#[test]
fn what_was_written_right_before_a_capture_is_read_once_more() {
    let site = Site::with_bucket();
    many(&site, 0..5, "young");
    let now = jiff::Timestamp::now();
    let first = push(&site.remote(), &PushOptions { data_time: now, started: now, ..site.push_options() }).unwrap();
    site.proxy.take();

    let second = site.push();
    assert_eq!((second.changed, second.hashed, &second.revision), (false, first.bytes, &first.revision));
    assert_eq!(counted(&site), BTreeMap::from([("GET".into(), 3), ("PUT".into(), 1)]));

    let third = site.push();
    assert_eq!((third.changed, third.hashed), (false, 0));
    assert_eq!(counted(&site), BTreeMap::from([("GET".into(), 2)]));
    // What was pulled before is still known by its revision.
    assert_eq!(crate::support::done(pull(&site.remote(), &site.pull_options())).revision, first.revision);
}
