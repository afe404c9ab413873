//! `list` and `check` by hand: what they print, by which code they end, and what a push that runs meanwhile does not make them say.
//!
//! Of layout Files; what they say of the other one is in `packs_push/checking`, `packs_push/damaged` and `packs_retained`.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use rstest::rstest;
use scribe_mover::digest::Digest;
use scribe_mover::format::documents::{ManifestRef, seal};
use scribe_mover::inspect::{Checked, Contents, Fault, Kind, check, list};
use scribe_mover::packs::commit::Commit;
use scribe_mover::packs::manifest::Manifest;
use scribe_mover::push::{PushOptions, push};
use scribe_mover::report::Reason;
use serde_json::Value;
use sha2::Digest as _;

use crate::support::Site;
use crate::support::liar::{Deed, Verb, always, dies, lists_all, once, promotes};
use crate::support::program::inspect;
use crate::support::server::{Backend, KEY, obscured};
use crate::support::tree::{varied, write};

const ODD: &str = "odd\n\u{1b}[2J";

/// A pushed tree: hard links, empty files, equal files, a file that lies under its hash.
fn site(backend: Backend) -> Site {
    let site = Site::on(backend);
    site.make_bucket();
    varied(site.source.path());
    write(site.source.path(), ODD, "odd");
    site.push();
    site
}

fn object_of(content: &str) -> String {
    format!(".scribe/objects/{}", Digest(sha2::Sha256::digest(content).into()).hex())
}

fn json(site: &Site, verb: &str, more: &[&str]) -> (Option<i32>, Value) {
    let (code, out, _) = inspect(site, verb, &[more, &["--output", "json"]].concat());
    assert!(out.is_ascii() && out.lines().count() == 1, "{out}");
    (code, serde_json::from_str(&out).unwrap())
}

fn faults(site: &Site, read: bool) -> Vec<(String, Kind)> {
    let Checked::Looked(looked) = check(&site.remote(), read).unwrap() else { panic!() };
    let shown = |fault: &Fault| (String::from_utf8(fault.name.to_vec()).unwrap(), fault.kind);
    looked.faults.iter().map(shown).collect()
}

#[rstest]
fn what_is_whole_is_said_to_be_and_nothing_is_written(#[values(Backend::S3, Backend::Local, Backend::Sftp)] backend: Backend) {
    let site = site(backend);
    site.proxy.take();
    for more in [&[][..], &["--read"]] {
        let (code, out, err) = inspect(&site, "check", more);
        assert_eq!(code, Some(0), "{out}{err}");
        assert!(out.starts_with("whole: all 9 objects of revision ") && out.lines().count() == 1, "{out}");
        assert!(out.contains(if more.is_empty() { "; 0 were read" } else { "; 9 were read" }), "{out}");
    }
    let (code, checked) = json(&site, "check", &[]);
    assert_eq!((code, &checked["result"], &checked["objects"], &checked["claim"]), (Some(0), &"Whole".into(), &9.into(), &Value::Null));
    let (code, out, err) = inspect(&site, "list", &["--sizes"]);
    assert_eq!(code, Some(0), "{out}{err}");
    assert!(out.contains("\nOwner          shop/db (UID uid-1)\n") && out.contains("\nPush           none\n"), "{out}");
    let changing: Vec<_> = site.proxy.take().into_iter().filter(|r| !["GET", "HEAD"].contains(&r.method.as_str())).collect();
    assert_eq!(changing, []);
}

#[rstest]
fn sizes_tell_what_is_needed_from_what_is_left(#[values(Backend::S3, Backend::Local)] backend: Backend) {
    let site = site(backend);
    site.meddle("rcat", "stray/of another", b"12345");
    site.meddle("rcat", ".scribe/staged/20261127T000000Z-00000000-9-0000/x", b"123");
    site.meddle("deletefile", "sub/hard", b"");
    let (code, listed) = json(&site, "list", &["--sizes"]);
    let sizes = &listed["sizes"];
    assert_eq!((code, &listed["result"], &listed["layout"]), (Some(0), &"Committed".into(), &"Files".into()));
    assert_eq!((&sizes["rest"]["objects"], &sizes["rest"]["bytes"], &sizes["missing"]), (&2.into(), &8.into(), &1.into()));
    // Eight files, commit and manifest.
    assert_eq!((&sizes["needed"]["objects"], &sizes["all"]["objects"]), (&10.into(), &12.into()));
    assert!(!check(&site.remote(), true).unwrap().is_whole(), "a stray does not stand for what is lost");
}

#[rstest]
fn what_is_damaged_is_named(#[values(Backend::S3, Backend::Local)] backend: Backend, #[values(false, true)] read: bool) {
    let site = site(backend);
    let odd = object_of("odd");
    site.meddle("deletefile", "sub/hard", b"");
    site.meddle("deletefile", &odd, b"");
    site.meddle("rcat", "big", b"short");
    site.meddle("rcat", "empty", b"not");
    let (code, out, err) = inspect(&site, "check", if read { &["--read"] } else { &[] });
    assert_eq!(code, Some(1), "{out}{err}");
    let expected = [
        "other size: \"big\" has 5 bytes, not 3145728".to_owned(),
        "other size: \"empty\" has 3 bytes, not 0".to_owned(),
        format!("missing: \"{odd}\" of file \"odd\\n\\u{{1b}}[2J\""),
        "missing: \"sub/hard\"".to_owned(),
    ];
    assert_eq!(out.lines().take(4).collect::<Vec<_>>(), expected);
    let last = out.lines().last().unwrap();
    assert!(out.lines().count() == 5 && last.starts_with("damaged: 4 of 9 objects of revision "), "{out}");
    assert!(!out.trim_end().chars().any(|c| c.is_control() && c != '\n'), "{out:?}");
    let (_, checked) = json(&site, "check", &[]);
    assert_eq!(
        (&checked["result"], &checked["faults"][2]["fault"], &checked["faults"][2]["name"]),
        (&"Damaged".into(), &"Missing".into(), &odd.into())
    );
    let mut options = site.push_options();
    options.verify_now = true;
    push(&site.remote(), &options).unwrap();
    assert!(check(&site.remote(), true).unwrap().is_whole());
}

/// The manifest has no sum that a listing shows: what is alone with its content has to be read.
#[rstest]
fn other_content_of_the_same_size_is_found(#[values(Backend::S3, Backend::Local, Backend::WebDav)] backend: Backend) {
    let site = site(backend);
    let odd = object_of("odd");
    site.meddle("rcat", &odd, b"ODD");
    site.meddle("rcat", "same/two", b"twice the SAME");
    site.meddle("rcat", "sub/hard", b"CONTENT");
    let altered = |names: &[&str]| names.iter().map(|name| ((*name).to_owned(), Kind::Altered)).collect::<Vec<_>>();
    assert_eq!(faults(&site, true), altered(&[&odd, "same/two", "sub/hard"]));
    let (listed, code) = if backend == Backend::S3 { (altered(&["same/two", "sub/hard"]), 1) } else { (vec![], 0) };
    assert_eq!(faults(&site, false), listed, "equal files have equal sums, where sums are told");
    assert_eq!(inspect(&site, "check", &[]).0, Some(code));
    assert_eq!(inspect(&site, "check", &["--read"]).0, Some(1));
}

#[test]
fn many_faults_are_counted() {
    let site = Site::on(Backend::Local);
    site.make_bucket();
    for n in 0..250 {
        write(site.source.path(), format!("f{n:03}"), "x");
    }
    site.push();
    for n in 0..230 {
        fs::remove_file(site.object(&format!("f{n:03}"))).unwrap();
    }
    let (code, out, _) = inspect(&site, "check", &[]);
    let lines: Vec<&str> = out.lines().collect();
    assert_eq!((code, lines.len(), lines[199], lines[200]), (Some(1), 202, "missing: \"f199\"", "and 30 more"));
    assert!(lines[201].starts_with("damaged: 230 of 250"), "{out}");
}

#[test]
fn behind_encryption_what_cannot_be_decrypted_is_named() {
    let mut site = Site::on(Backend::Local);
    let remote = site.server.buckets.path().display().to_string();
    let password = obscured();
    let crypt = "[crypt]\ntype = crypt\nfilename_encryption = off\ndirectory_name_encryption = false\nsuffix = none";
    let conf = format!("[s3]\ntype = local\n{crypt}\nremote = s3:{remote}\npassword = {password}\n");
    fs::write(site.secret.path().join("rclone.conf"), &conf).unwrap();
    site.name = "crypt:path".into();
    varied(site.source.path());
    site.push();
    assert!(check(&site.remote(), true).unwrap().is_whole());
    let path = site.object("plain");
    let mut content = fs::read(&path).unwrap();
    *content.last_mut().unwrap() ^= 1;
    fs::write(path, content).unwrap();
    assert_eq!((faults(&site, false), faults(&site, true)), (vec![], vec![("plain".into(), Kind::Unreadable)]));
    fs::write(site.object("big"), "").unwrap();
    fs::remove_file(site.object("same/one")).unwrap();
    let wrong = faults(&site, true);
    assert_eq!((wrong.len(), &wrong[2]), (3, &("same/one".into(), Kind::Missing)), "{wrong:?}");
    // What rclone makes of "wrong": nothing can be read, which says nothing of the path.
    let wrong = conf.replace(&password, "A2RfhcLg19an1rWrE3nw353TOv08");
    fs::write(site.secret.path().join("rclone.conf"), wrong).unwrap();
    let (code, out, err) = inspect(&site, "check", &["--read"]);
    assert!(code == Some(2) && err.contains("bad password"), "{out}{err}");
}

#[rstest]
fn where_nothing_is_committed(#[values("check", "list")] verb: &str, #[values(false, true)] bucket: bool) {
    let site = if bucket { Site::with_bucket() } else { Site::new() };
    let (code, out, err) = inspect(&site, verb, &[]);
    assert_eq!((code, out.starts_with("nothing: s3:bucket/path has no commit, and 0 objects")), (Some(1), true), "{out}{err}");
    assert_eq!(json(&site, verb, &[]).1["result"], "Nothing");
    site.proxy.behave();
    let lost = self::site(Backend::S3);
    lost.meddle("deletefile", ".scribe/commit.json", b"");
    let (code, out, _) = inspect(&lost, verb, &[]);
    assert!(code == Some(1) && out.contains("it has lost its commit"), "{out}");
}

#[rstest]
fn a_damaged_document_is_damage(#[values(false, true)] commit: bool) {
    let site = site(Backend::S3);
    let manifest = site.control_objects().into_iter().find(|name| name.starts_with("manifests/")).unwrap();
    let name = if commit { "commit.json" } else { &manifest };
    site.meddle("rcat", &format!(".scribe/{name}"), b"no such document");
    for (verb, more) in [("check", &[][..]), ("list", &["--sizes"])] {
        let (code, out, err) = inspect(&site, verb, more);
        assert!(code == Some(1) && out.starts_with("damaged: s3:bucket/path: "), "{out}{err}");
    }
    site.meddle("deletefile", &format!(".scribe/{name}"), b"");
    assert_eq!(inspect(&site, "check", &[]).0, Some(1));
}

#[rstest]
fn what_cannot_be_looked_at_is_not_called_damaged(#[values("check", "list")] verb: &str) {
    let site = site(Backend::S3);
    site.write_secret(&site.address(), "WRONGKEY");
    let (code, out, err) = inspect(&site, verb, &[]);
    assert_eq!((code, out.as_str()), (Some(2), ""), "{err}");
    assert!(err.contains("failed: the remote refused the credentials: correct section s3 in rclone.conf of Secret creds"), "{err}");
    let (code, failed) = json(&site, verb, &[]);
    assert_eq!((code, &failed["result"], &failed["reason"]), (Some(2), &"Failed".into(), &"AccessDenied".into()));
    site.write_secret("127.0.0.1:1", KEY);
    assert_eq!(inspect(&site, verb, &[]).0, Some(2));
}

/// The listing misses what a read finds.
#[test]
fn one_witness_is_not_enough() {
    let site = site(Backend::S3);
    let hides = |listed: scribe_mover::store::Listed| Some(listed).filter(|listed| listed.name != "big");
    let lying = site.lying(always(lists_all, move || Deed::Show(Box::new(hides))));
    let failure = check(&lying, false).unwrap_err();
    assert!(failure.reason == Reason::RemoteInconsistent && failure.message.contains("big"), "{failure}");
    let lying = site.lying(always(lists_all, move || Deed::Show(Box::new(hides))));
    assert!(check(&lying, true).is_err());
}

/// The commit or its manifest, too: a read does not find what the listing shows.
#[rstest]
fn what_a_listing_shows_is_not_said_to_be_missing(#[values(false, true)] commit: bool) {
    let site = site(Backend::S3);
    let is_read = move |verb: &Verb| match verb {
        Verb::Read(name) => name.starts_with(if commit { ".scribe/commit.json" } else { ".scribe/manifests/" }),
        _ => false,
    };
    let lying = || site.lying(always(is_read, || Deed::Absent));
    for failure in [check(&lying(), true).unwrap_err(), list(&lying(), true).unwrap_err()] {
        assert!(failure.message.contains("but reports that it does not exist when it is read"), "{failure}");
    }
}

/// A push that commits between the manifest and the listing has deleted what the older revision needs.
#[rstest]
fn a_push_that_commits_meanwhile_is_no_damage(#[values(Backend::S3, Backend::Local)] backend: Backend, #[values(false, true)] read: bool) {
    let site = Arc::new(site(backend));
    let pushing = Arc::clone(&site);
    let meanwhile = move || {
        fs::remove_file(pushing.source.path().join("big")).unwrap();
        write(pushing.source.path(), "plain", "other content");
        write(pushing.source.path(), "new", "new");
        pushing.push();
    };
    let remote = site.lying(once(lists_all, move || Deed::before(meanwhile)));
    let Checked::Looked(looked) = check(&remote, read).unwrap() else { panic!() };
    assert_eq!((looked.faults, looked.objects), (vec![], 9), "the new revision");
}

/// It repairs what the listing showed, under the revision that is there.
#[test]
fn a_repair_that_comes_meanwhile_is_seen() {
    let site = Arc::new(site(Backend::S3));
    site.meddle("deletefile", "big", b"");
    let repairing = Arc::clone(&site);
    let meanwhile = move || {
        let repaired = push(&repairing.remote(), &PushOptions { verify_now: true, ..repairing.push_options() }).unwrap();
        assert!(repaired.changed);
    };
    let remote = site.lying(once(lists_all, move || Deed::after(meanwhile)));
    assert!(check(&remote, false).unwrap().is_whole());
}

#[test]
fn pushes_without_end_are_said_to_be() {
    let site = Arc::new(site(Backend::Local));
    let (pushing, rounds) = (Arc::clone(&site), Arc::new(AtomicUsize::new(0)));
    let counted = Arc::clone(&rounds);
    let meanwhile = move || {
        let (pushing, rounds) = (Arc::clone(&pushing), Arc::clone(&rounds));
        Deed::before(move || {
            let round = rounds.fetch_add(1, Ordering::Relaxed);
            write(pushing.source.path(), "new", "n".repeat(round + 1));
            pushing.push();
        })
    };
    let failure = check(&site.lying(always(lists_all, meanwhile)), false).unwrap_err();
    assert!(failure.message.contains("a push commits while the path is looked at"), "{failure}");
    assert_eq!(counted.load(Ordering::Relaxed), 3);
}

/// A push that died after its commit: what replaces files still waits.
#[rstest]
fn staged_files_count_where_they_are(#[values(Backend::S3, Backend::Local)] backend: Backend) {
    let site = site(backend);
    write(site.source.path(), "plain", "CONTENT");
    write(site.source.path(), "same/one", "another size");
    push(&site.lying(dies(promotes)), &site.push_options()).unwrap_err();
    // What waits to be put in place does not need its place.
    site.meddle("deletefile", "zz-hard", b"");
    for read in [false, true] {
        assert_eq!(faults(&site, read), []);
    }
    let (code, listed) = json(&site, "list", &["--sizes"]);
    assert_eq!((code, &listed["staged"], &listed["claim"]["owner"]["name"]), (Some(0), &true.into(), &"db".into()));
    assert_eq!((&listed["sizes"]["missing"], &listed["claim"]["revision"]), (&0.into(), &listed["revision"]));
    let (_, out, _) = inspect(&site, "list", &[]);
    assert!(out.contains("\nPush           under way, or died: ") && out.contains("\nStaged         yes\n"), "{out}");
    let Contents::Committed(standing) = list(&site.remote(), false).unwrap() else { panic!() };
    let staged = format!(".scribe/staged/{}", standing.revision);
    site.meddle("deletefile", &format!("{staged}/same/one"), b"");
    // Older content of the same size lies in the file's place: all names of the inode.
    site.meddle("deletefile", &format!("{staged}/plain"), b"");
    let expected = [("plain".into(), Kind::Altered), (format!("{staged}/same/one"), Kind::Missing)];
    for read in [false, true] {
        let mut found = faults(&site, read);
        found.sort_by(|a, b| b.0.cmp(&a.0));
        assert_eq!(found, expected);
    }
    let (code, out, _) = inspect(&site, "check", &[]);
    assert!(code == Some(1) && out.lines().last().unwrap().contains("a push is under way, or died: "), "{out}");
    site.push();
    assert!(check(&site.remote(), true).unwrap().is_whole());
}

#[test]
fn of_layout_packs_the_revisions_are_listed() {
    let site = Site::on(Backend::Local);
    let golden = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/packs/golden");
    let bytes = fs::read(format!("{golden}/manifest.zst")).unwrap();
    let document: Value = serde_json::from_slice(&fs::read(format!("{golden}/manifest.json")).unwrap()).unwrap();
    let revision = document["revision"].as_str().unwrap();
    let statement = Manifest::read(&bytes[..], revision).unwrap().document.statement;
    let manifest = ManifestRef { size: bytes.len() as u64, sha256: Digest(sha2::Sha256::digest(&bytes).into()).hex() };
    fs::create_dir_all(site.object(".scribe/manifests")).unwrap();
    fs::write(site.object(&format!(".scribe/manifests/{revision}.zst")), &bytes).unwrap();
    fs::write(site.object(".scribe/commit.json"), seal(&Commit::new(statement, manifest)).unwrap()).unwrap();
    let (code, listed) = json(&site, "list", &[]);
    assert_eq!((code, &listed["layout"], &listed["revision"]), (Some(0), &"Packs".into(), &document["revision"]));
    let names = |value: &Value| value.as_array().unwrap().iter().map(|kept| kept["revision"].clone()).collect::<Vec<_>>();
    assert_eq!(names(&listed["retained"]), names(&document["retained"]));
    assert!(!names(&listed["retained"]).is_empty());
    let (code, checked) = json(&site, "check", &[]);
    assert_eq!((code, &checked["result"], &checked["faults"][0]["fault"]), (Some(1), &"Damaged".into(), &"Missing".into()), "{checked}");
    assert!(checked["files"].as_array().is_some_and(|files| files.len() == 6), "the files that need the pack: {checked}");
    assert_eq!(checked["retained"][0]["whole"], false, "its manifest is not there: {checked}");
    let (code, _, err) = inspect(&site, "list", &["--sizes"]);
    assert!(code == Some(2) && err.contains("its layout is Packs, "), "{err}");
}
