//! The verbs of rclone's daemon: what they do, and what they cost in requests.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write;
use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime};

use rstest::rstest;
use scribe_mover::rclone::daemon::{Check, Daemon, Found, Fs, Kind, Links, Side, Sides};
use scribe_mover::scratch::Scratch;
use scribe_mover::store::stats::Stats;
use scribe_mover::store::{Class, Fetch, List};
use serde_json::json;

use crate::support::Site;
use crate::support::proxy::{Action, Damage};
use crate::support::server::Backend;

/// A daemon for a path of a site that has its bucket, and a folder for files.
struct At {
    site: Site,
    daemon: Daemon,
    fs: Fs,
    files: Scratch,
}

impl At {
    fn new(backend: Backend) -> Self {
        let site = Site::on(backend);
        fs::create_dir(site.server.buckets.path().join("bucket")).unwrap();
        Self::of(site, None)
    }

    fn of(site: Site, root: Option<&str>) -> Self {
        let root = root.map_or_else(|| site.name.clone(), str::to_owned);
        let rclone = site.rclone_of(root.split(':').next().unwrap());
        let daemon = Daemon::start(&rclone).unwrap();
        let fs = daemon.fs(&root);
        Self { site, daemon, fs, files: Scratch::new().unwrap() }
    }

    fn encrypted() -> Self {
        let site = Site::with_bucket();
        site.encrypt();
        Self::of(site, Some("enc:path"))
    }

    fn file(&self, content: &[u8]) -> PathBuf {
        let path = self.files.fresh("file");
        fs::write(&path, content).unwrap();
        path
    }

    fn put(&self, name: &str, content: &[u8]) {
        self.daemon.write(&self.file(content), &self.fs, name, Check::Rclone).unwrap();
    }

    fn get(&self, name: &str) -> Option<Vec<u8>> {
        let to = self.files.fresh("got");
        match self.daemon.read(&self.fs, name, &to).unwrap() {
            Found::Content => Some(fs::read(to).unwrap()),
            Found::Absent => {
                assert!(!to.exists());
                None
            }
        }
    }

    /// Sends these under their own names.
    fn links(&self, names: &[&str]) -> Links {
        let mut links = Links::new(&self.files).unwrap();
        for name in names {
            links.add(name.as_bytes(), File::open(self.file(name.as_bytes())).unwrap()).unwrap();
        }
        links
    }

    fn names(&self) -> Vec<String> {
        let listed = self.daemon.list(&self.fs, List { recursive: true, ..List::default() }).unwrap().unwrap_or_default();
        let mut names: Vec<String> = listed.into_iter().filter(|item| !item.is_folder).map(|item| item.name).collect();
        names.sort();
        names
    }

    /// The requests since the last time, by method.
    fn cost(&self) -> BTreeMap<String, usize> {
        self.site.proxy.take().into_iter().fold(BTreeMap::new(), |mut count, request| {
            *count.entry(request.method).or_default() += 1;
            count
        })
    }
}

fn cost(of: &[(&str, usize)]) -> BTreeMap<String, usize> {
    of.iter().map(|(method, count)| ((*method).to_owned(), *count)).collect()
}

fn bytes<'a>(names: &[&'a str]) -> Vec<&'a [u8]> {
    names.iter().map(|name| name.as_bytes()).collect()
}

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
    at.daemon.read(&at.fs, "a", &to).unwrap();
    assert_eq!(fs::metadata(to).unwrap().modified().unwrap(), time);
}

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

#[rstest]
fn folders_are_made_listed_and_removed(#[values(Backend::S3, Backend::WebDav, Backend::Local)] backend: Backend) {
    let at = At::of(Site::on(backend), None);
    let deep = at.fs.below("d/e");
    assert_eq!(at.daemon.list(&deep, List::default()).unwrap(), None, "there is not even a bucket");
    at.daemon.mkdir(&deep).unwrap();
    assert!(at.site.server.buckets.path().join("bucket").is_dir());
    at.put("d/a", b"12345");
    let all = List { recursive: true, times: true, sums: true, folders: true, few: true, strict: false };
    let listed = at.daemon.list(&at.fs, all).unwrap().unwrap();
    let item = listed.iter().find(|item| !item.is_folder).unwrap();
    assert_eq!((item.name.as_str(), item.size), ("d/a", Some(5)));
    assert!(item.time.starts_with("20"), "{item:?}");
    if backend != Backend::WebDav {
        assert_eq!(item.md5.as_deref(), Some("827ccb0eea8a706c4c34a16891f84e7b"));
    }
    assert!(at.daemon.list(&at.fs, List::default()).unwrap().unwrap().iter().all(|item| item.is_folder && item.name == "d"));
    at.daemon.rmdirs(&at.fs, false).unwrap();
    at.daemon.rmdirs(&at.fs.below("none"), true).unwrap();
    assert_eq!(at.names(), ["d/a"]);
    assert!(!at.site.object("d/e").exists());
    let about = at.daemon.features(&at.fs).unwrap();
    assert_eq!(about.features().keeps_folders, backend != Backend::S3);
}

#[test]
fn a_listing_costs_a_request_and_a_bucket_is_made_by_one() {
    let at = At::of(Site::new(), None);
    at.daemon.mkdir(&at.fs).unwrap();
    assert_eq!(at.cost(), cost(&[("PUT", 1)]));
    at.put("d/a", b"12345");
    at.cost();
    let all = List { recursive: true, times: true, sums: true, folders: true, few: true, strict: false };
    for n in 0..10 {
        at.put(&format!("d/e{n}/f"), b"1");
    }
    at.cost();
    assert_eq!(at.daemon.list(&at.fs, all).unwrap().unwrap().iter().filter(|item| !item.is_folder).count(), 11);
    assert_eq!(at.cost(), cost(&[("GET", 1)]));
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
fn a_refusal_is_no_absence_and_names_the_side() {
    let at = At::new(Backend::S3);
    at.put("a", b"a");
    at.site.proxy.rule(|_| Action::Answer("403 Forbidden", ""));
    let to = at.files.fresh("got");
    let error = at.daemon.read(&at.fs, "a", &to).unwrap_err();
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
    at.daemon.read(&at.fs, "a", &to).unwrap_err();
    assert!(!to.exists());
    at.daemon.range(&at.fs, "a", 0..300_000).unwrap_err();
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
    daemon.read(&fs, "a", &files.fresh("got")).unwrap();
    daemon.read(&fs, "none", &files.fresh("got")).unwrap();
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
