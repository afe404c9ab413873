//! What S3 servers do each in their own way: parts, long listings, the shape of keys. Rclone's own server is the most forgiving one.
//!
//! What concerns names, folders and copies is of layout Files alone: of the other one, no object has a name of the volume, and none is
//! copied.

use std::fs;

use scribe_mover::pull::{PullOptions, PullOutcome, pull, pull_plain};
use scribe_mover::push::{PushOptions, Synced, push};
use scribe_mover::report::Reason;

use crate::support::outsider::S3;
use crate::support::tree::{assert_same, touch, write};
use crate::support::{Site, done};

fn verified(site: &Site) -> Synced {
    push(&site.remote(), &PushOptions { verify_now: true, ..site.push_options() }).unwrap()
}

/// Adds options to the section.
fn options(site: &Site, more: &str) {
    let conf = site.secret.path().join("rclone.conf");
    fs::write(&conf, fs::read_to_string(&conf).unwrap() + more).unwrap();
}

/// An object that comes in parts has no MD5 sum for an ETag; promoted, it is copied in parts.
#[test]
fn a_file_that_is_sent_and_copied_in_parts() {
    let site = Site::with_bucket();
    // rclone's own server knows no copies of parts, and rclone itself goes down over its answer.
    let copies = if site.server.s3 == S3::Rclone { "1G" } else { "5M" };
    options(&site, &format!("upload_cutoff = 5M\ncopy_cutoff = {copies}\n"));
    let text = |seed: u8| (0..12 << 20).map(|n: u32| seed ^ n.to_le_bytes()[1] ^ n.to_le_bytes()[2]).collect::<Vec<u8>>();
    write(site.source.path(), "big", text(1));
    write(site.source.path(), "odd\nbig", text(2));
    site.push();
    assert!(site.proxy.take().iter().any(|request| request.target.contains("partNumber=")), "in parts");
    assert!(!verified(&site).changed, "no sum is another one");
    site.pull();
    assert_same(site.source.path(), site.dest.path());

    write(site.source.path(), "big", text(3));
    site.push();
    assert!(!verified(&site).changed);
    site.pull();
    assert_same(site.source.path(), site.dest.path());
    assert_eq!(site.user_objects(), ["big"]);

    // Other content of the same size and in one part.
    options(&site, "upload_cutoff = 1G\n");
    site.meddle("rcat", "big", &text(4));
    let repaired = verified(&site);
    assert!(repaired.changed && repaired.transferred == 12 << 20, "{repaired:?}");
    site.pull();
    assert_same(site.source.path(), site.dest.path());
}

/// A listing comes in pages of 1,000 names: what is on the second one counts like the rest.
#[test]
fn more_objects_than_one_listing_shows() {
    let site = Site::with_bucket();
    for n in 0..1_040 {
        write(site.source.path(), format!("{}/f{n:04}", n % 3), n.to_string());
    }
    site.push();
    assert!(!verified(&site).changed);
    site.proxy.take();
    site.meddle("deletefile", "2/f1037", b"");
    site.meddle("rcat", "2/f1034", b"NNNN");
    let repaired = verified(&site);
    assert_eq!((repaired.changed, repaired.transferred), (true, 8));
    site.pull();
    assert_same(site.source.path(), site.dest.path());
    // And a path of others, which is listed by itself.
    let plain = Site::at(&site.server, &site.name);
    site.meddle("purge", ".scribe", b"");
    done(pull_plain(&plain.remote(), &plain.pull_options()));
    assert_same_files(&site, &plain);
    // Nearly all of it goes.
    for n in 0..1_030 {
        fs::remove_file(site.source.path().join(format!("{}/f{n:04}", n % 3))).unwrap();
    }
    let mut options = site.push_options();
    (options.pusher.adopt, options.guard.percent) = (true, 100);
    push(&site.remote(), &options).unwrap();
    assert_eq!(site.user_objects().len(), 10);
}

fn assert_same_files(site: &Site, plain: &Site) {
    for n in 0..1_040 {
        let name = format!("{}/f{n:04}", n % 3);
        assert_eq!(fs::read(site.source.path().join(&name)).unwrap(), fs::read(plain.dest.path().join(&name)).unwrap(), "{name}");
    }
}

/// Names that servers over a file system, and such that clean paths, take for something else.
#[test]
fn names_that_a_server_may_take_for_others_come_back_under_themselves() {
    let site = Site::with_bucket();
    let long = "l".repeat(200);
    let names = [
        "back\\slash",
        // Two files, to servers of which this is one name.
        "a\\b/c",
        "a/b/c",
        "x\\..\\y",
        "trailing.",
        "trailing../x",
        "...",
        "....",
        " lead",
        "trail ",
        "a+b c",
        "100%",
        "%2F",
        "%5C",
        "q?x=1&y",
        "semi;colon",
        "col:on",
        "é",
        "e\u{301}",
        "Case",
        "case",
        "~",
        "*",
        "<>|\"'",
        "{}[]^`",
        "@",
        "=",
        ",",
        "$",
        "!",
        "#",
        "a.b.",
        ".hidden",
        "-",
        long.as_str(),
        "\u{1f4be}",
        "\u{202e}rtl",
        "\u{feff}bom",
        "name.partial",
        "file.zst",
        // Folders that servers keep for themselves.
        ".sgwtmp/x",
        ".versions",
        "x.versions/y",
        ".uploads/z",
        ".system/z",
    ];
    for name in names {
        write(site.source.path(), name, format!("content of {name}"));
    }
    let deep = vec!["deep".to_owned(); 139].join("/");
    write(site.source.path(), &deep, "deep");
    write(site.source.path(), "same/empty", "");
    site.push();
    assert!(!verified(&site).changed);
    site.pull();
    assert_same(site.source.path(), site.dest.path());
    for name in names {
        write(site.source.path(), name, format!("other content of {name}"));
    }
    site.push();
    assert!(!verified(&site).changed);
    site.pull();
    assert_same(site.source.path(), site.dest.path());
    // Gone means gone: nothing of them is left that a listing shows.
    for entry in fs::read_dir(site.source.path()).unwrap().map(|entry| entry.unwrap().path()) {
        if entry.is_dir() { fs::remove_dir_all(entry).unwrap() } else { fs::remove_file(entry).unwrap() }
    }
    write(site.source.path(), "left", "x");
    let mut options = site.push_options();
    options.guard.percent = 100;
    push(&site.remote(), &options).unwrap();
    assert_eq!(site.user_objects(), ["left"]);
    assert_eq!(site.control_objects().len(), 2, "{:?}", site.control_objects());
}

/// A file takes the place of a folder, and a folder that of a file, again and again.
#[test]
fn files_and_folders_that_take_the_place_of_one_another() {
    let site = Site::with_bucket();
    for round in 0..3 {
        swap(&site, round);
        site.push();
        site.pull();
        assert_same(site.source.path(), site.dest.path());
        assert!(!verified(&site).changed, "round {round}");
    }
    assert_eq!(site.user_objects(), ["one/x/y", "two"]);
}

fn swap(site: &Site, round: usize) {
    for name in ["one", "two"] {
        let top = site.source.path().join(name);
        if top.is_dir() {
            fs::remove_dir_all(&top).unwrap();
        } else if top.exists() {
            fs::remove_file(&top).unwrap();
        }
        let folder = (name == "one") == round.is_multiple_of(2);
        write(site.source.path(), if folder { format!("{name}/x/y") } else { name.to_owned() }, format!("{name} in round {round}"));
    }
}

/// versitygw keeps the marker of a deleted version as a file, which no folder can take the place of: what is committed is pulled all the
/// same, and what is in the way is named.
#[test]
fn files_and_folders_that_take_the_place_of_one_another_where_versions_are_kept() {
    let site = Site::of_outsider(true);
    swap(&site, 0);
    site.push();
    swap(&site, 1);
    if site.server.s3 == S3::Versity {
        for _ in 0..2 {
            let failure = site.try_push().unwrap_err();
            assert!(
                failure.reason == Reason::RemoteInconsistent && ["one: ", "two/x/y: "].iter().any(|name| failure.message.contains(name)),
                "{failure}"
            );
            site.pull();
            assert_same(site.source.path(), site.dest.path());
        }
        return;
    }
    site.push();
    site.pull();
    assert_same(site.source.path(), site.dest.path());
    assert!(!verified(&site).changed);
}

/// In a bucket that keeps versions, what was deleted is no object, however often.
#[test]
fn a_bucket_that_keeps_versions() {
    let site = Site::of_outsider(true);
    let source = site.source.path();
    assert_eq!(site.try_pull(), Ok(PullOutcome::WaitingForFirstPush));
    for name in ["replaced", "deleted", "again", "odd\nname", "empty", "dir/in"] {
        write(source, name, format!("first {name}"));
    }
    write(source, "empty", "");
    let first = site.push();
    site.pull();
    write(source, "replaced", "second");
    write(source, "odd\nname", "second");
    for name in ["deleted", "again", "dir/in"] {
        fs::remove_file(source.join(name)).unwrap();
    }
    site.push();
    site.pull();
    assert_same(source, site.dest.path());
    assert_eq!(site.user_objects(), ["empty", "replaced"]);
    write(source, "again", "is back");
    write(source, "dir/in", "is back");
    let third = site.push();
    assert!(!verified(&site).changed);
    site.pull();
    assert_same(source, site.dest.path());
    assert_eq!(site.user_objects(), ["again", "dir/in", "empty", "replaced"]);
    let control: Vec<_> = site.control_objects().into_iter().filter(|name| !name.starts_with("objects/")).collect();
    assert_eq!(control, ["commit.json".to_owned(), format!("manifests/{}.zst", third.revision)]);

    // What somebody deletes there is lost to us, whatever versions there are.
    site.meddle("deletefile", "replaced", b"");
    assert!(verified(&site).changed);
    let fresh = assert_fs::TempDir::new().unwrap();
    done(pull(&site.remote(), &PullOptions { volume: fresh.path().into(), ..site.pull_options() }));
    assert_same(source, fresh.path());
    site.meddle("deletefile", ".scribe/commit.json", b"");
    let failure = site.try_pull().unwrap_err();
    assert_eq!(failure.reason, Reason::RemoteInconsistent, "{failure}");
    // Emptied by hand, it is as nothing had been pushed.
    site.meddle("delete", "", b"");
    assert_eq!(site.try_pull(), Ok(PullOutcome::WaitingForFirstPush));
    assert_ne!(site.push().revision, first.revision);
    site.pull();
    assert_same(source, site.dest.path());
}

/// Markers of folders, as other clients leave them, inside a path of ours: they are no files. Where objects are files of a file system,
/// they are in the way of a file, and that is said.
#[test]
fn markers_of_folders_are_no_files() {
    let site = Site::of_outsider(false);
    write(site.source.path(), "dir/a", "a");
    site.push();
    mark(&site, "dir");
    mark(&site, "hollow");
    assert!(!verified(&site).changed);
    site.pull();
    assert_same(site.source.path(), site.dest.path());
    write(site.source.path(), "hollow", "a file");
    if let Err(failure) = site.try_push() {
        assert!(failure.reason == Reason::RemoteInconsistent && failure.message.contains("hollow"), "{failure}");
        site.by_hand(&["purge", "--s3-directory-markers", &format!("{}/hollow", site.name)]);
        site.push();
    }
    site.pull();
    assert_same(site.source.path(), site.dest.path());
    assert!(!verified(&site).changed);
}

/// An empty object whose key ends in a slash.
fn mark(site: &Site, folder: &str) {
    site.by_hand(&["mkdir", "--s3-directory-markers", &format!("{}/{folder}", site.name)]);
}

/// Times of a listing are the server's: what changes within one second of a verification is found by the next one all the same.
#[test]
fn what_is_altered_right_after_a_verification_is_found() {
    let site = Site::with_bucket();
    write(site.source.path(), "a", "content");
    touch(&site.source.path().join("a"), 1_000_000_000, 5);
    site.push();
    verified(&site);
    site.meddle("rcat", "a", b"CONTENT");
    assert!(verified(&site).changed);
    assert_eq!(site.read("a").as_deref(), Some(&b"content"[..]));
}

/// A path of plain files with what a server may make of it: empty ones, twins, names of its own.
#[test]
fn a_plain_path_of_odd_files() {
    let site = Site::with_bucket();
    let files = [("empty", ""), ("twin", "twice"), ("twin two", "twice"), ("deep/er/é+ü", "text"), ("dot.", "dot"), ("a\\b", "back")];
    // To SeaweedFS, the last one is a/b.
    let files = &files[..files.len() - usize::from(site.server.s3 == S3::SeaweedFs)];
    for (name, content) in files {
        write(site.source.path(), name, content);
        site.meddle("rcat", name, content.as_bytes());
    }
    let pulled = done(pull_plain(&site.remote(), &site.pull_options()));
    assert_eq!(pulled.files, files.len() as u64);
    for (name, content) in files {
        assert_eq!(fs::read(site.dest.path().join(name)).unwrap(), content.as_bytes(), "{name}");
    }
    let again = done(pull_plain(&site.remote(), &PullOptions { applied: Some(pulled.revision), ..site.pull_options() }));
    assert!(!again.changed && again.hashed == 0);
}
