//! Single objects.

use std::fs::{self, File};
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use rstest::rstest;
use scribe_mover::rclone::daemon::{Check, Found, Kind};
use scribe_mover::store::stats::Stats;
use scribe_mover::store::{Class, DOCUMENT, Fetch};
use serde_json::json;

use crate::support::proxy::{Action, Damage};
use crate::support::server::Backend;

use super::{At, bytes, cost};

#[rstest]
fn a_small_object_is_written_and_read(#[values(Backend::S3, Backend::WebDav, Backend::Local)] backend: Backend) {
    let at = At::new(backend);
    assert_eq!(at.get("c/none"), None, "there is not even a folder");
    at.put("c/a", b"one");
    at.put("c/a", b"other");
    at.put("c/empty", b"");
    assert_eq!((at.get("c/a"), at.get("c/empty"), at.get("c/b")), (Some(b"other".to_vec()), Some(Vec::new()), None));
    assert_eq!(fs::read(at.site.object("c/a")).unwrap(), b"other");
    let missing = at.daemon.write(&PathBuf::from("/nowhere/file"), &at.fs, "c/x", Check::Ours).unwrap_err();
    assert_eq!(missing.kind, Kind::Refused, "a file of ours is no object that is missing: {missing}");
    at.daemon.rename(&at.fs, "c/a", "c/b").unwrap();
    assert_eq!((at.get("c/a"), at.get("c/b")), (None, Some(b"other".to_vec())));
}

/// However large it is: no more of it is fetched than three times what was asked for.
#[rstest]
fn an_object_that_is_too_large_is_not_read_to_its_end(#[values(Backend::S3, Backend::WebDav, Backend::Local)] backend: Backend) {
    let at = At::new(backend);
    at.put("a", &[7; 5000]);
    at.put("b", &vec![7; 5_000_000]);
    for name in ["a", "b"] {
        let to = at.files.fresh("got");
        let error = at.daemon.read(&at.fs, name, &to, 4999).unwrap_err();
        assert_eq!((error.class, to.exists()), (Class::TooLarge, false), "{error}");
    }
    let error = at.daemon.fetch(&at.fs, &at.files.fresh_dir("got").unwrap(), &bytes(&["a", "b"]), Fetch::Documents).unwrap_err();
    assert_eq!(error.class, Class::TooLarge, "{error}");
    let to = at.files.fresh("got");
    assert_eq!(at.daemon.read(&at.fs, "a", &to, 5000).unwrap(), Found::Content);
    let moved: Stats = serde_json::from_value(at.daemon.call("core/stats", json!({})).unwrap()).unwrap();
    assert!(moved.bytes < 4_000_000, "{moved:?}");
}

#[test]
fn a_small_object_costs_one_request_on_s3() {
    let at = At::new(Backend::S3);
    assert_eq!(at.cost(), cost(&[]), "starting asks nobody");
    for content in [b"one", b"two"] {
        at.put("c/a", content);
        assert_eq!(at.cost(), cost(&[("PUT", 1)]));
    }
    assert_eq!(at.get("c/a").unwrap(), b"two");
    assert_eq!(at.cost(), cost(&[("GET", 1)]));
    assert_eq!(at.get("c/none"), None);
    assert_eq!(at.cost(), cost(&[("GET", 1)]));
    at.daemon.rename(&at.fs, "c/a", "c/b").unwrap();
    assert_eq!(at.cost(), cost(&[("DELETE", 1), ("HEAD", 1), ("PUT", 1)]));
    at.daemon.features(&at.fs).unwrap();
    at.daemon.config_dump().unwrap();
    at.daemon.forget().unwrap();
    assert_eq!(at.cost(), cost(&[]));
}

#[test]
fn what_shows_the_objects_of_another_section_asks_first() {
    let at = At::encrypted();
    at.put("c/a", b"first");
    at.cost();
    at.put("c/a", b"other");
    assert_eq!(at.cost(), cost(&[("HEAD", 1), ("PUT", 1)]));
    assert_eq!(at.get("c/a").unwrap(), b"other");
    assert_eq!(at.cost(), cost(&[("GET", 1), ("HEAD", 1)]));
    assert_eq!(at.get("c/b"), None);
    assert_eq!(at.cost(), cost(&[("HEAD", 1)]));
    assert_eq!(at.daemon.range(&at.fs, "c/a", 1..3).unwrap(), b"th");
}

#[rstest]
fn a_written_object_keeps_the_time_of_its_file(#[values(Backend::S3, Backend::WebDav, Backend::Local)] backend: Backend) {
    let at = At::new(backend);
    let (path, time) = (at.file(b"x"), SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000));
    File::options().append(true).open(&path).unwrap().set_modified(time).unwrap();
    at.daemon.write(&path, &at.fs, "a", Check::Ours).unwrap();
    let to = at.files.fresh("got");
    at.daemon.read(&at.fs, "a", &to, DOCUMENT).unwrap();
    assert_eq!(fs::metadata(to).unwrap().modified().unwrap(), time);
}

#[rstest]
fn a_range_is_read_whole_or_not_at_all(#[values(Backend::S3, Backend::WebDav, Backend::Local)] backend: Backend) {
    let at = At::new(backend);
    at.put("d/a ?#%]ä", b"0123456789");
    let read = |name, range| at.daemon.range(&at.fs, name, range);
    at.cost();
    assert_eq!(read("d/a ?#%]ä", 3..6).unwrap(), b"345");
    if backend == Backend::S3 {
        assert_eq!(at.cost(), cost(&[("GET", 1), ("HEAD", 1)]));
    }
    assert_eq!(read("d/a ?#%]ä", 0..10).unwrap(), b"0123456789");
    for (name, range) in [("d/a ?#%]ä", 8..12), ("d/a ?#%]ä", 20..22), ("none", 0..1)] {
        let error = read(name, range).unwrap_err();
        assert!(matches!(error.kind, Kind::Garbled | Kind::TooLong) && !error.is_missing_object(), "{error:?}");
    }
    assert_eq!(read("d/a ?#%]ä", 3..3).unwrap_err().kind, Kind::Refused);
    assert_eq!(at.daemon.range(&at.fs.below("x]"), "a", 0..1).unwrap_err().kind, Kind::Refused);
}

#[test]
fn an_object_whose_connection_ends_is_not_half_an_object() {
    let at = At::new(Backend::S3);
    let content = vec![7; 300_000];
    at.put("a", &content);
    let mut left = 1;
    at.site.proxy.rule(move |request| {
        if request.is("GET", "/a") && left > 0 {
            left -= 1;
            return Action::Spoil(Damage::Cut);
        }
        Action::Pass
    });
    assert_eq!(at.get("a").unwrap(), content);
    at.site.proxy.rule(|request| if request.is("GET", "/a") { Action::Spoil(Damage::Cut) } else { Action::Pass });
    let to = at.files.fresh("got");
    at.daemon.read(&at.fs, "a", &to, DOCUMENT).unwrap_err();
    assert!(!to.exists());
    at.daemon.range(&at.fs, "a", 0..300_000).unwrap_err();
}
