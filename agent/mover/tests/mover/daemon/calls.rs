//! What holds for calls of every kind.

use std::fs;
use std::time::Duration;

use scribe_mover::rclone::daemon::{Check, Daemon, Kind, Side, Sides};
use scribe_mover::scratch::Scratch;
use scribe_mover::store::stats::Stats;
use scribe_mover::store::{Class, DOCUMENT, List};
use serde_json::json;

use crate::support::Site;
use crate::support::proxy::Action;
use crate::support::server::Backend;

use super::At;

#[test]
fn a_refusal_is_no_absence_and_names_the_side() {
    let at = At::new(Backend::S3);
    at.put("a", b"a");
    at.site.proxy.rule(|_| Action::Answer("403 Forbidden", ""));
    let to = at.files.fresh("got");
    let error = at.daemon.read(&at.fs, "a", &to, DOCUMENT).unwrap_err();
    let Kind::Answered(answer) = &error.kind else { panic!("{error:?}") };
    assert_eq!((answer.http, answer.status, answer.path.as_deref()), (500, Some(500), Some("operations/copyfile")));
    assert!(error.class == Class::AccessDenied && answer.error.contains("StatusCode: 403"), "{error:?}");
    assert_eq!(error.sides, Sides { reads: Some(Side::Remote), writes: Some(Side::Mover) });
    assert_eq!(at.daemon.list(&at.fs, List::default()).unwrap_err().sides.only(), Some(Side::Remote));
    assert!(!at.daemon.range(&at.fs, "a", 0..1).unwrap_err().is_missing_object());
    let unknown = at.daemon.call("operations/nonsense", json!({})).unwrap_err();
    assert!(!unknown.is_missing_object() && matches!(&unknown.kind, Kind::Answered(answer) if answer.http == 404), "{unknown:?}");
}

#[test]
fn what_calls_have_moved_is_counted_and_absence_is_no_error() {
    let site = Site::with_bucket();
    let rclone = site.rclone_of("s3");
    let daemon = Daemon::start(&rclone).unwrap();
    let files = Scratch::new().unwrap();
    let (from, fs) = (files.fresh("from"), daemon.fs(&site.name));
    fs::write(&from, "12345").unwrap();
    daemon.write(&from, &fs, "a", Check::Ours).unwrap();
    daemon.read(&fs, "a", &files.fresh("got"), DOCUMENT).unwrap();
    daemon.read(&fs, "none", &files.fresh("got"), DOCUMENT).unwrap();
    let sum = rclone.context.progress.sum();
    assert_eq!((sum.bytes, sum.transfers, sum.errors), (10, 2, 0));
    let groups = daemon.call("core/group-list", json!({})).unwrap();
    assert!(groups["groups"].as_array().is_none_or(|groups| groups.len() <= 1), "rclone keeps none: {groups}");
    let stats: Stats = serde_json::from_value(daemon.call("core/stats", json!({ "group": "mover/0" })).unwrap()).unwrap();
    assert_eq!(stats.transfers, 0);
}

#[test]
fn calls_run_side_by_side() {
    let at = At::new(Backend::S3);
    at.put("a", b"a");
    let held = at.site.proxy.watch(|request| if request.is("GET", "/held") { Action::Hang } else { Action::Pass });
    std::thread::scope(|scope| {
        let slow = scope.spawn(|| at.daemon.call_for("operations/copyfile", copy(&at, "held"), Duration::from_secs(5)));
        held.recv_timeout(Duration::from_secs(30)).unwrap();
        let others: Vec<_> = (0..4).map(|_| scope.spawn(|| at.get("a"))).collect();
        assert!(others.into_iter().all(|other| other.join().unwrap().is_some()));
        assert!(!slow.is_finished());
        assert_eq!(slow.join().unwrap().unwrap_err().kind, Kind::GivenUp);
    });
}

fn copy(at: &At, name: &str) -> serde_json::Value {
    json!({
        "srcFs": "s3,no_head_object=true:bucket/path/", "srcRemote": name,
        "dstFs": format!("{}/", at.files.dir().display()), "dstRemote": "copy",
    })
}
