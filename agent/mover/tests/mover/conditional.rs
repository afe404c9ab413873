//! Writes under a condition, by which one of two commits at the same moment wins: on a server that heeds them, and on one that does not.

use std::fs;
use std::sync::atomic::Ordering::Relaxed;

use scribe_mover::push::{PushOptions, push_packs};
use scribe_mover::store::Condition;
use scribe_mover::volume::hash::md5_hex;

use crate::requests::counted;
use crate::support::Site;
use crate::support::outsider::S3;
use crate::support::proxy::Action;
use crate::support::tree::write;

#[test]
fn a_write_whose_condition_does_not_hold_is_refused_where_the_server_heeds_it() {
    for site in [Site::of_outsider(false), Site::with_bucket()] {
        let remote = site.remote();
        let sum = |content: &[u8]| Condition::Sum(md5_hex(content));
        let written = |content: &[u8], condition| remote.write_object_if("commit.json", content, &condition).unwrap();
        assert!(written(b"one", Condition::Absent));
        let heeds = site.server.s3 == S3::Versity;
        if site.server.s3 == S3::SeaweedFs {
            continue;
        }
        assert_eq!(written(b"two", Condition::Absent), !heeds);
        assert_eq!(written(b"three", sum(b"other")), !heeds);
        let there = if heeds { b"one".as_slice() } else { b"three" };
        let requests = site.proxy.take();
        assert_eq!(requests.iter().filter(|request| request.method == "PUT" && request.target.contains("commit.json")).count(), 3);
        assert!(written(b"four", sum(there)));
    }
}

/// The commit costs no more requests for it.
#[test]
fn pushes_to_a_server_that_heeds_conditions_ask_as_much_as_to_others() {
    let counts = [Site::of_outsider(false), Site::with_bucket()].map(|site| {
        write(site.source.path(), "file", "one");
        let first = push_packs(&site.remote(), &site.push_options()).unwrap();
        fs::write(site.source.path().join("file"), "two").unwrap();
        site.proxy.take();
        let mut options = PushOptions { ..site.push_options() };
        options.pusher.pushed = Some(first.revision);
        assert!(push_packs(&site.remote(), &options).unwrap().changed);
        counted(&site).values().sum::<usize>()
    });
    assert_eq!(counts[0], counts[1]);
    assert!(counts[0] <= 12, "{counts:?}");
}

/// Two conditional writes that meet: S3 says so to one of them, which was held against nothing.
#[test]
fn a_write_that_meets_another_one_is_tried_again_under_its_condition() {
    let site = Site::of_outsider(false);
    if site.server.s3 != S3::Versity {
        return;
    }
    let remote = site.remote();
    let meets = |times: usize| {
        let xml = r#"<?xml version="1.0"?><Error><Code>ConditionalRequestConflict</Code><Message>conflict</Message></Error>"#;
        let left = std::sync::atomic::AtomicUsize::new(times);
        site.proxy.rule(move |request| {
            let meets = request.is("PUT", "commit.json") && left.fetch_update(Relaxed, Relaxed, |left| left.checked_sub(1)).is_ok();
            if meets { Action::Answer("409 Conflict", xml) } else { Action::Pass }
        });
    };
    assert!(remote.write_object_if("commit.json", b"one", &Condition::Absent).unwrap());
    meets(1);
    assert!(!remote.write_object_if("commit.json", b"two", &Condition::Absent).unwrap(), "the second try was held against it");
    meets(1);
    assert!(remote.write_object_if("commit.json", b"three", &Condition::Sum(md5_hex(b"one"))).unwrap(), "and this one fits");
    // One that meets others each time has not been refused: that would have it written without condition.
    meets(usize::MAX);
    remote.write_object_if("commit.json", b"four", &Condition::Sum(md5_hex(b"other"))).unwrap_err();
}
