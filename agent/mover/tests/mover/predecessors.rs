//! Plain paths as Scribe and VolSync really wrote them: `rclone sync --create-empty-src-dirs` of the volume, and the output of `getfacl -R`
//! beside it, under its first or its second name.
//!
//! Of layout Plain, which nothing of ours pushes.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::Path;

use rstest::rstest;
use scribe_mover::pull::{PullOptions, pull_plain};
use scribe_mover::report::Reason;

use crate::plain::{by_hand, plain, try_plain};
use crate::support::server::Backend;
use crate::support::tree::{snapshot, write};
use crate::support::{Site, done};

/// What they did, with the facl under this name.
fn sync(site: &Site, facl_name: &str, facl: &str) {
    by_hand(site, &["sync", "--create-empty-src-dirs", site.source.path().to_str().unwrap(), &format!("{}/", site.name)]);
    copy(site, facl_name, facl);
}

fn copy(site: &Site, name: &str, content: &str) {
    write(site.scratch.path(), name, content);
    by_hand(site, &["copy", "--include", name, site.scratch.path().to_str().unwrap(), &format!("{}/", site.name)]);
}

/// As `getfacl -R` of these entries of a volume mounted at /data.
fn facl(entries: &[(&str, u32)]) -> String {
    let bits = |mode: u32| [(4, 'r'), (2, 'w'), (1, 'x')].map(|(bit, c)| if mode & bit == 0 { '-' } else { c }).iter().collect::<String>();
    let entry = |(name, mode): &(&str, u32)| {
        let path = if name.is_empty() { "data".to_owned() } else { format!("data/{name}") };
        format!("# file: {path}\n# owner: 7\n# group: 8\nuser::{}\ngroup::{}\nother::{}\n\n", bits(mode >> 6), bits(mode >> 3), bits(*mode))
    };
    entries.iter().map(entry).collect()
}

fn mode_and_owner(path: &Path) -> (u32, u32, u32) {
    let meta = path.symlink_metadata().unwrap();
    (meta.mode() & 0o7777, meta.uid(), meta.gid())
}

fn names(root: &Path) -> Vec<String> {
    snapshot(root).into_keys().filter(|name| !name.is_empty()).map(|name| String::from_utf8(name).unwrap()).collect()
}

#[rstest]
#[case::volsync("permissions.facl", None)]
#[case::scribe("permissons.facl", None)]
#[case::both("permissions.facl", Some("permissons.facl"))]
fn owners_and_modes_come_from_a_facl_of_either_name(#[case] name: &str, #[case] older: Option<&str>) {
    let site = Site::with_bucket();
    write(site.source.path(), "a", "a");
    // Written into the volume itself, it lists itself.
    sync(&site, name, &facl(&[("", 0o750), ("a", 0o640), ("permissons.facl", 0o644)]));
    if let Some(older) = older {
        copy(&site, older, &facl(&[("", 0o777), ("a", 0o777)]));
    }
    // As a pull left it that did not know the name.
    write(site.dest.path(), "permissons.facl", "old");
    plain(&site);
    assert_eq!(names(site.dest.path()), ["a"]);
    assert_eq!(mode_and_owner(site.dest.path()), (0o750, 7, 8));
    assert_eq!(mode_and_owner(&site.dest.path().join("a")), (0o640, 7, 8));
}

#[rstest]
fn empty_directories_are_made_and_kept(#[values(Backend::S3, Backend::WebDav, Backend::Sftp, Backend::Local)] backend: Backend) {
    let site = Site::on(backend);
    site.make_bucket();
    let source = site.source.path();
    write(source, "a", "a");
    for dir in ["deep/er/est", "pg_notify", "lost+found"] {
        fs::create_dir_all(source.join(dir)).unwrap();
    }
    let tree = [("", 0o755), ("a", 0o640), ("deep", 0o755), ("deep/er", 0o755), ("deep/er/est", 0o700), ("lost+found", 0o700)];
    let of_tree = |more: &[(&str, u32)]| facl(&[&tree[..], more].concat());
    sync(&site, "permissions.facl", &of_tree(&[("pg_notify", 0o700), ("mysqld.sock", 0o777), ("pipe", 0o644)]));
    let dest = site.dest.path();
    let first = plain(&site);
    assert_eq!(names(dest), ["a", "deep", "deep/er", "deep/er/est", "pg_notify"]);
    assert_eq!(mode_and_owner(&dest.join("pg_notify")), (0o700, 7, 8));
    assert!(first.skipped.is_empty(), "{:?}", first.skipped);
    let before = snapshot(dest);
    let again = done(pull_plain(&site.remote(), &PullOptions { private: false, ..site.pull_options() }));
    assert_eq!((again.changed, again.deleted, again.revision), (false, 0, first.revision.clone()));
    assert_eq!(snapshot(dest), before);

    // One goes and one comes: another revision, though no file is another one.
    fs::remove_dir(source.join("pg_notify")).unwrap();
    fs::create_dir(source.join("pg_wal")).unwrap();
    sync(&site, "permissions.facl", &of_tree(&[("pg_wal", 0o700)]));
    let second = plain(&site);
    assert_eq!(names(dest), ["a", "deep", "deep/er", "deep/er/est", "pg_wal"]);
    assert_eq!((second.changed, second.deleted), (true, 1));
    assert_ne!(second.revision, first.revision);
}

/// Markers as other clients of S3 make them; rclone's own server knows none.
#[test]
fn a_directory_marker_on_s3_is_a_directory() {
    let site = Site::with_bucket();
    write(site.source.path(), "a", "");
    sync(&site, "permissions.facl", "");
    site.proxy.rule(|request| {
        if !request.target.contains("list-type=2") {
            return crate::support::proxy::Action::Pass;
        }
        crate::support::proxy::Action::Answer(
            "200 OK",
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?><ListBucketResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><Name>bucket</Name>\
            <Prefix>path/</Prefix><KeyCount>3</KeyCount><MaxKeys>1000</MaxKeys><IsTruncated>false</IsTruncated>\
            <Contents><Key>path/</Key><LastModified>2026-01-01T00:00:00.000Z</LastModified><Size>0</Size></Contents>\
            <Contents><Key>path/a</Key><LastModified>2026-01-01T00:00:00.000Z</LastModified><ETag>\"d41d8cd98f00b204e9800998ecf8427e\"</ETag><Size>0</Size></Contents>\
            <Contents><Key>path/empty/</Key><LastModified>2026-01-01T00:00:00.000Z</LastModified><Size>0</Size></Contents></ListBucketResult>",
        )
    });
    plain(&site);
    assert_eq!(names(site.dest.path()), ["a", "empty"]);
}

/// A socket of a running program is in the way of nothing, and what the facl has no type for replaces nothing.
#[test]
fn a_facl_makes_no_directory_where_the_volume_has_something_else() {
    let site = Site::with_bucket();
    write(site.source.path(), "a", "a");
    let dest = site.dest.path();
    fs::create_dir(dest.join("run")).unwrap();
    let _socket = UnixListener::bind(dest.join("run/control")).unwrap();
    symlink("a", dest.join("link")).unwrap();
    write(dest, "script", "gone at the source");
    sync(
        &site,
        "permissions.facl",
        &facl(&[("", 0o755), ("a", 0o644), ("run", 0o755), ("run/control", 0o755), ("link", 0o755), ("script", 0o755)]),
    );
    let pulled = plain(&site);
    assert_eq!(names(dest), ["a", "link", "run", "run/control"]);
    assert_eq!((pulled.deleted, pulled.skipped), (1, BTreeMap::from([("sockets".into(), 1)])));
}

/// The guard counts directories of such a path, too.
#[test]
fn removed_directories_are_guarded_and_counted() {
    let site = Site::with_bucket();
    for n in 0..40 {
        fs::create_dir_all(site.dest.path().join(format!("d{n}"))).unwrap();
    }
    write(site.source.path(), "a", "a");
    sync(&site, "permissions.facl", "");
    let refused = try_plain(&site).unwrap_err();
    assert_eq!(refused.reason, Reason::DeletionGuard);
    assert!(refused.message.contains("40 of the 40 entries"), "{refused}");
    assert!(!site.dest.path().join(".scribe-staging").exists() && site.dest.path().join("d39").exists());
    let mut options = site.pull_options();
    options.guard.allowed = refused.message.rsplit(' ').next().map(str::to_owned);
    assert_eq!(done(pull_plain(&site.remote(), &options)).deleted, 40);
    assert_eq!(names(site.dest.path()), ["a"]);
}

#[test]
fn names_too_long_for_us_to_write_are_pulled() {
    let site = Site::with_bucket();
    let long = ["a".repeat(203), "\u{65e5}".repeat(70), "x".repeat(255), "abcdefghi/".repeat(72)];
    for name in &long {
        write(site.source.path(), name.trim_end_matches('/'), "content");
    }
    sync(&site, "permissions.facl", "");
    let pulled = plain(&site);
    assert_eq!((pulled.files, pulled.skipped.len()), (4, 0));
    for name in &long {
        assert_eq!(fs::read(site.dest.path().join(name.trim_end_matches('/'))).unwrap(), b"content");
    }
    // What rclone makes another name of is still refused.
    write(site.source.path(), "x\u{240a}", "content");
    by_hand(&site, &["copyto", site.source.path().join(&long[0]).to_str().unwrap(), &format!("{}/x\u{240a}", site.name)]);
    let refused = try_plain(&site).unwrap_err();
    assert_eq!(refused.reason, Reason::RemoteInconsistent);
    assert!(refused.message.contains("cannot be trusted"), "{refused}");
}

/// ext4 has a directory `lost+found` in the root of every volume.
#[test]
fn lost_and_found_is_left_out_and_counted() {
    let site = Site::with_bucket();
    write(site.source.path(), "a", "a");
    write(site.source.path(), "lost+found/#12", "what fsck found");
    sync(&site, "permissions.facl", &facl(&[("", 0o755), ("a", 0o644), ("lost+found", 0o700), ("lost+found/#12", 0o600)]));
    let dest = site.dest.path();
    fs::create_dir(dest.join("lost+found")).unwrap();
    let own = mode_and_owner(&dest.join("lost+found"));
    let pulled = plain(&site);
    assert_eq!((pulled.files, pulled.skipped), (1, BTreeMap::from([("lostAndFound".into(), 1)])));
    assert_eq!((names(dest), mode_and_owner(&dest.join("lost+found"))), (vec!["a".into(), "lost+found".into()], own));

    // A file of that name.
    by_hand(&site, &["purge", &format!("{}/lost+found", site.name)]);
    fs::remove_dir_all(site.source.path().join("lost+found")).unwrap();
    write(site.source.path(), "lost+found", "a file");
    sync(&site, "permissions.facl", "");
    let pulled = plain(&site);
    assert_eq!((pulled.files, pulled.skipped), (1, BTreeMap::from([("lostAndFound".into(), 1)])));
    fs::remove_dir(dest.join("lost+found")).unwrap();
    assert_eq!(plain(&site).files, 2);
    assert_eq!(fs::read(dest.join("lost+found")).unwrap(), b"a file");
}

/// The same of our own layout: the file lies on the remote, and comes wherever it can.
#[test]
fn a_file_called_lost_and_found_is_pulled_where_it_can_be() {
    let site = Site::with_bucket();
    for name in ["a", "lost+found"] {
        write(site.source.path(), name, format!("content of {name}"));
    }
    fs::hard_link(site.source.path().join("lost+found"), site.source.path().join("z")).unwrap();
    site.push();
    let dest = site.dest.path();
    fs::create_dir(dest.join("lost+found")).unwrap();
    for _ in 0..2 {
        let pulled = site.pull();
        assert_eq!(pulled.skipped, BTreeMap::from([("lostAndFound".into(), 1)]));
        assert!(dest.join("lost+found").is_dir());
        assert_eq!(fs::read(dest.join("z")).unwrap(), b"content of lost+found");
    }
    fs::remove_dir(dest.join("lost+found")).unwrap();
    let pulled = site.pull();
    assert!(pulled.changed && pulled.skipped.is_empty(), "{:?}", pulled.skipped);
    assert_eq!(fs::read(dest.join("lost+found")).unwrap(), b"content of lost+found");
}

/// As getfacl 2.3 writes them, with a slash at the end of the folder it was given.
#[test]
fn entries_of_any_name_find_their_files() {
    let site = Site::with_bucket();
    let odd = [
        ("trail ", "trail "),
        ("# file: x", "# file: x"),
        ("back\\slash", "back\\\\slash"),
        (" lead", " lead"),
        ("user::rwx", "user::rwx"),
    ];
    let mut text = "# file: /data/\n# owner: 1\n# group: 1\nuser::rwx\ngroup::r-x\nother::r-x\n\n".to_owned();
    for (name, written) in odd {
        write(site.source.path(), name, name);
        write!(text, "# file: /data//{written}\n# owner: 7\n# group: 8\nuser::rw-\ngroup::r--\nother::---\n\n").unwrap();
    }
    // What was there when getfacl ran, and cannot be on such a path: a line's end in a name.
    text += "# file: /data//n\\012l\n# owner: 7\n# group: 8\nuser::rw-\ngroup::r--\nother::---\n\n";
    sync(&site, "permissions.facl", &text);
    plain(&site);
    for (name, _) in odd {
        assert_eq!(mode_and_owner(&site.dest.path().join(name)), (0o640, 7, 8), "{name:?}");
    }
    assert_eq!(mode_and_owner(site.dest.path()), (0o755, 1, 1));
}
