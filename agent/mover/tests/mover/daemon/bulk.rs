//! Many objects by their names.

use std::fs::{self, File};
use std::io::Write;
use std::time::{Duration, Instant, SystemTime};

use rstest::rstest;
use scribe_mover::rclone::daemon::{Check, Kind, Side, Sides};
use scribe_mover::store::{Fetch, List};
use serde_json::json;

use crate::support::proxy::Action;
use crate::support::server::Backend;

use super::{At, bytes, cost};

/// Also where something was read before: a backend keeps how it was set up.
#[rstest]
fn a_copy_keeps_the_time(#[values(Backend::S3, Backend::WebDav, Backend::Local)] backend: Backend) {
    let at = At::new(backend);
    let (path, time) = (at.file(b"x"), SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000));
    File::options().append(true).open(&path).unwrap().set_modified(time).unwrap();
    assert_eq!(at.get("none"), None);
    at.daemon.write(&path, &at.fs, "a", Check::Ours).unwrap();
    at.daemon.list(&at.fs, List { times: true, ..List::default() }).unwrap();
    let to = at.files.fresh_dir("to").unwrap();
    at.daemon.fetch(&at.fs, &to, &bytes(&["a"]), Fetch::Content).unwrap();
    at.daemon.copy(&at.fs, &at.fs.below("copy"), &bytes(&["a"])).unwrap();
    at.daemon.rename(&at.fs.below("copy"), "a", "b").unwrap();
    at.daemon.fetch(&at.fs.below("copy"), &to, &bytes(&["b"]), Fetch::Large).unwrap();
    for name in ["a", "b"] {
        assert_eq!(fs::metadata(to.join(name)).unwrap().modified().unwrap(), time, "{name}");
    }
}

/// Longer than any other answer.
#[test]
fn a_server_that_copies_is_waited_for() {
    let at = At::new(Backend::S3);
    at.put("a", b"a");
    let (mut slow, delay) = (true, Duration::from_secs(23));
    at.site.proxy.rule(move |request| {
        let delayed = request.is("PUT", "CopyObject") && std::mem::take(&mut slow);
        if delayed { Action::Delay(delay) } else { Action::Pass }
    });
    let began = Instant::now();
    at.daemon.copy(&at.fs, &at.fs.below("copy"), &bytes(&["a"])).unwrap();
    assert!(began.elapsed() >= delay, "it was asked again: {:?}", began.elapsed());
}

/// The files have no name any more, and one never had content on a disk.
#[rstest]
fn many_are_sent_fetched_copied_and_deleted(#[values(Backend::S3, Backend::WebDav, Backend::Local)] backend: Backend) {
    let at = At::new(backend);
    let names = ["a", "d/b", "d/e/c", "with space #1"];
    let mut links = at.links(&names);
    let mut gone = tempfile(&at);
    gone.write_all(b"nameless").unwrap();
    links.add(b"nameless", gone).unwrap();
    let five: Vec<&str> = names.into_iter().chain(["nameless"]).collect();

    assert_eq!(at.daemon.send(&links, &at.fs).unwrap().transfers, 5);
    let sent = at.cost();
    assert_eq!(at.get("nameless").unwrap(), b"nameless");
    assert_eq!(at.get("d/e/c").unwrap(), b"d/e/c");
    at.cost();
    let to = at.files.fresh_dir("to").unwrap();
    at.daemon.fetch(&at.fs, &to, &bytes(&five), Fetch::Content).unwrap();
    let fetched = at.cost();
    assert_eq!(fs::read(to.join("d/e/c")).unwrap(), b"d/e/c");
    assert_eq!(at.daemon.copy(&at.fs, &at.fs.below("copy"), &bytes(&five)).unwrap().transfers, 5);
    let copied = at.cost();
    assert_eq!(at.names().len(), 10);
    at.cost();
    at.daemon.delete(&at.fs, &bytes(&["a", "d/b", "copy/a"])).unwrap();
    let deleted = at.cost();
    assert_eq!(at.names(), ["copy/d/b", "copy/d/e/c", "copy/nameless", "copy/with space #1", "d/e/c", "nameless", "with space #1"]);
    at.daemon.delete(&at.fs, &bytes(&["a", "with space #1"])).unwrap();
    assert_eq!(at.names().len(), 6, "one that is gone is no failure");
    if backend == Backend::S3 {
        let expected = [cost(&[("PUT", 5)]), cost(&[("GET", 5)]), cost(&[("HEAD", 5), ("PUT", 5)]), cost(&[("DELETE", 3)])];
        assert_eq!([sent, fetched, copied, deleted], expected);
    }
    at.cost();
    at.daemon.delete(&at.fs, &bytes(&[])).unwrap();
    at.daemon.copy(&at.fs, &at.fs.below("copy"), &bytes(&[])).unwrap();
    at.daemon.fetch(&at.fs, &to, &bytes(&[]), Fetch::Large).unwrap();
    at.daemon.send(&at.links(&[]), &at.fs).unwrap();
    assert_eq!(at.cost(), cost(&[]), "nothing to do is done without rclone");
}

/// A file that lost its name.
fn tempfile(at: &At) -> File {
    let path = at.files.fresh("nameless");
    let file = File::options().read(true).write(true).create_new(true).open(&path).unwrap();
    fs::remove_file(path).unwrap();
    file
}

/// rclone passes over what it does not find, on nearly every backend.
#[rstest]
fn what_was_left_out_is_no_success(#[values(Backend::S3, Backend::WebDav, Backend::Local)] backend: Backend) {
    let at = At::new(backend);
    at.daemon.send(&at.links(&["a", "b"]), &at.fs).unwrap();
    let to = at.files.fresh_dir("to").unwrap();
    let names = ["a", "gone", "b"];
    if let Err(error) = at.daemon.fetch(&at.fs, &to, &bytes(&names), Fetch::Content) {
        assert!(error.is_missing_object(), "{error:?}");
    }
    assert!(to.join("a").exists() && to.join("b").exists() && !to.join("gone").exists());
    at.daemon.copy(&at.fs, &at.fs.below("c"), &bytes(&names)).unwrap_err();
    let links = at.links(&["x", "y"]);
    fs::remove_file(
        fs::read_dir(at.files.dir()).unwrap().map(|entry| entry.unwrap().path().join("y")).find(|path| path.is_symlink()).unwrap(),
    )
    .unwrap();
    let error = at.daemon.send(&links, &at.fs).unwrap_err();
    assert_eq!(error.kind, Kind::Incomplete { moved: 1, asked: 2 });
    assert_eq!(error.sides, Sides { reads: Some(Side::Mover), writes: Some(Side::Remote) });
}

#[test]
fn names_that_could_mean_others_are_refused() {
    let at = At::new(Backend::Local);
    at.put("a", b"a");
    at.put("b", b"b");
    for names in [["a\nb"], [""]] {
        assert_eq!(at.daemon.delete(&at.fs, &bytes(&names)).unwrap_err().kind, Kind::Refused);
    }
    assert_eq!(at.names(), ["a", "b"]);
    let mut links = at.links(&[]);
    for name in ["/etc/x", "../x", "a/../x", "a//b", "a/", "./a", "", "a\nb"] {
        links.add(name.as_bytes(), File::open("/dev/null").unwrap()).unwrap_err();
    }
    assert!(links.is_empty());
}

/// rclone ignores parameters that it does not know: only the limit keeps it from deleting all there is.
#[test]
fn a_filter_that_is_not_understood_deletes_no_more_than_was_asked_for() {
    let at = At::new(Backend::Local);
    at.daemon.send(&at.links(&["a", "b", "c", "d"]), &at.fs).unwrap();
    let fs = at.site.name.clone() + "/";
    let params = json!({ "fs": fs, "_filter": { "FilesFromRow": ["/nowhere"] }, "_config": { "MaxDelete": 1 } });
    at.daemon.call("operations/delete", params).unwrap_err();
    assert_eq!(at.names().len(), 3);
}
