//! Paths that plain rclone, Scribe or VolSync wrote.
//!
//! Of layout Plain, which nothing of ours pushes.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::Command;

use assert_fs::TempDir;
use rstest::rstest;
use scribe_mover::error::Result;
use scribe_mover::pull::{PullOptions, PullOutcome, Synced, pull_plain};
use scribe_mover::report::{Outcome, Reason};

use crate::support::program::{Group, mover, report};
use crate::support::proxy::{Action, Damage, When};
use crate::support::server::Backend;
use crate::support::tree::{snapshot, touch, write};
use crate::support::{Site, done, rclone};

/// Runs rclone by hand on the site's path.
pub(crate) fn by_hand(site: &Site, args: &[&str]) {
    let status = Command::new(rclone()).args(args).env("RCLONE_CONFIG", site.secret.path().join("rclone.conf")).status().unwrap();
    assert!(status.success(), "{args:?}");
}

fn sync(site: &Site) {
    by_hand(site, &["sync", site.source.path().to_str().unwrap(), &format!("{}/", site.name)]);
}

pub(crate) fn try_plain(site: &Site) -> Result<PullOutcome> {
    pull_plain(&site.remote(), &site.pull_options())
}

pub(crate) fn plain(site: &Site) -> Synced {
    done(try_plain(site))
}

/// Names, content and times of the files: what plain rclone keeps.
fn files(root: &Path) -> Vec<(Vec<u8>, Vec<u8>, i64)> {
    let names = snapshot(root).into_iter().filter(|(name, what)| what.starts_with("file") && name != b"permissions.facl");
    names
        .map(|(name, _)| {
            let path = root.join(std::str::from_utf8(&name).unwrap());
            (name, fs::read(&path).unwrap(), path.metadata().unwrap().mtime())
        })
        .collect()
}

fn fill(root: &Path) {
    for name in ["a", "deep/b", "deep/er/c", "with space", "é"] {
        write(root, name, format!("content of {name}"));
    }
    write(root, "empty", "");
    write(root, "twin", "content of a");
    touch(&root.join("a"), 1_000_000_000, 5);
}

#[rstest]
fn what_rclone_wrote_is_pulled_and_followed(#[values(Backend::S3, Backend::WebDav, Backend::Sftp, Backend::Local)] backend: Backend) {
    let site = Site::on(backend);
    site.make_bucket();
    fill(site.source.path());
    sync(&site);
    let first = plain(&site);
    assert!(first.changed && first.revision.starts_with("plain-"));
    assert_eq!(files(site.dest.path()), files(site.source.path()));
    assert!(!site.dest.path().join(".scribe-staging").exists());
    let mut options = PullOptions { applied: Some(first.revision.clone()), ..site.pull_options() };
    let again = done(pull_plain(&site.remote(), &options));
    assert!(!again.changed && again.hashed == 0 && again.revision == first.revision);

    write(site.source.path(), "deep/b", "CONTENT of deep/b");
    // Some backends keep whole seconds, and then a second edit within one is not to be seen.
    touch(&site.source.path().join("deep/b"), 1_500_000_000, 0);
    fs::remove_dir_all(site.source.path().join("deep/er")).unwrap();
    fs::remove_file(site.source.path().join("with space")).unwrap();
    write(site.source.path(), "new/one", "x");
    sync(&site);
    let second = done(pull_plain(&site.remote(), &options));
    assert!(second.changed && second.revision != first.revision);
    assert_eq!(files(site.dest.path()), files(site.source.path()));
    assert!(!site.dest.path().join("deep/er").exists());
    if backend == Backend::S3 {
        assert_eq!(second.transferred, 17 + 1, "the rest is known by its MD5 sum");
        site.proxy.take();
        options.applied = Some(second.revision);
        pull_plain(&site.remote(), &options).unwrap();
        let requests = site.proxy.take();
        assert!(requests.len() == 1 && requests[0].method == "GET", "{requests:?}");
    }
}

#[test]
fn a_mistyped_or_emptied_path_deletes_nothing() {
    let mut site = Site::with_bucket();
    fill(site.source.path());
    sync(&site);
    plain(&site);
    let before = snapshot(site.dest.path());
    let name = std::mem::replace(&mut site.name, format!("s3:{}/pat", site.server.bucket));
    assert_eq!(try_plain(&site), Ok(PullOutcome::WaitingForFirstPush));
    site.name = format!("s3:{}s/path", site.server.bucket);
    assert_eq!(try_plain(&site), Ok(PullOutcome::WaitingForFirstPush));
    site.name = name;
    by_hand(&site, &["delete", &format!("{}/", site.name)]);
    assert_eq!(try_plain(&site), Ok(PullOutcome::WaitingForFirstPush));
    assert_eq!(snapshot(site.dest.path()), before);
}

#[test]
fn a_large_deletion_needs_its_token() {
    let site = Site::with_bucket();
    for n in 0..30 {
        write(site.source.path(), format!("f{n}"), format!("{n}"));
    }
    sync(&site);
    plain(&site);
    for n in 0..29 {
        fs::remove_file(site.source.path().join(format!("f{n}"))).unwrap();
    }
    sync(&site);
    let refused = try_plain(&site).unwrap_err();
    assert_eq!(refused.reason, Reason::DeletionGuard);
    assert_eq!(files(site.dest.path()).len(), 30);
    let mut options = site.pull_options();
    options.guard.allowed = refused.message.rsplit(' ').next().map(str::to_owned);
    done(pull_plain(&site.remote(), &options));
    assert_eq!(files(site.dest.path()), files(site.source.path()));
}

/// The path changes while it is pulled: what comes is one state of it.
#[test]
fn a_path_that_moves_under_the_pull_is_pulled_again() {
    let site = Site::with_bucket();
    for name in ["a", "b", "c"] {
        write(site.source.path(), name, format!("version 1 of {name}"));
    }
    sync(&site);
    let other = Site::at(&site.server, &site.name);
    let source = site.source.path().to_owned();
    let mut moved = false;
    site.proxy.rule(move |request| {
        if request.is("GET", "path/b") && !moved {
            moved = true;
            for name in ["a", "b", "c"] {
                write(&source, name, format!("version 2 of {name}"));
            }
            by_hand(&other, &["sync", source.to_str().unwrap(), &format!("{}/", other.name)]);
        }
        Action::Pass
    });
    plain(&site);
    assert_eq!(files(site.dest.path()), files(site.source.path()));
}

#[rstest]
fn a_body_that_is_not_what_was_sent(#[values(Damage::Flipped, Damage::Shortened)] damage: Damage) {
    let site = Site::with_bucket();
    write(site.source.path(), "a", "the right content of a");
    sync(&site);
    write(site.dest.path(), "a", "live");
    site.proxy.rule(move |request| if request.is("GET", "path/a") { Action::Spoil(damage) } else { Action::Pass });
    try_plain(&site).unwrap_err();
    assert_eq!(fs::read(site.dest.path().join("a")).unwrap(), b"live");
    site.proxy.behave();
    plain(&site);
    assert_eq!(files(site.dest.path()), files(site.source.path()));
}

#[rstest]
fn a_pull_that_dies_is_completed_by_the_next(#[values(When::Before, When::After)] when: When) {
    let site = Site::with_bucket();
    fill(site.source.path());
    sync(&site);
    let old = files(site.source.path());
    let before = TempDir::new().unwrap();
    done(pull_plain(&site.remote(), &PullOptions { volume: before.path().into(), ..site.pull_options() }));
    write(site.source.path(), "a", "another content of a");
    fs::remove_file(site.source.path().join("twin")).unwrap();
    sync(&site);
    for n in 1.. {
        let round = Site::at(&site.server, &site.name);
        let copied = Command::new("cp").arg("-a").arg(before.path().join(".")).arg(round.dest.path()).status().unwrap();
        assert!(copied.success());
        let reached = round.proxy.watch(move |request| if request.number == n { Action::Kill(when) } else { Action::Pass });
        let mut pull = Group::spawn(mover(&round, "pull", round.dest.path(), &["--layout", "plain", "--private-volume"]));
        round.proxy.victim(pull.pid);
        pull.wait();
        round.proxy.settle();
        if reached.try_recv().is_err() {
            assert!(n > 3);
            return;
        }
        round.proxy.behave();
        let live: Vec<_> = files(round.dest.path()).into_iter().filter(|(name, ..)| !name.starts_with(b".scribe-staging")).collect();
        assert_eq!(live, old, "nothing was verified yet");
        plain(&round);
        assert_eq!(files(round.dest.path()), files(site.source.path()));
    }
}

/// Of a user who does not exist here. And without a list, a file that is replaced stays its owner's, and as private as it was.
#[test]
fn nobody_else_gets_the_power_of_an_unknown_owner() {
    let site = Site::with_bucket();
    write(site.source.path(), "tool", "content");
    let entry = |name: &str| {
        format!("# file: {name}\n# owner: nobody-here\n# group: none-here\n# flags: ss-\nuser::rwx\ngroup::rwx\nother::r-x\n\n")
    };
    write(site.source.path(), "permissions.facl", entry(".") + &entry("tool"));
    sync(&site);
    let pulled = plain(&site);
    let mode = |name: &str| site.dest.path().join(name).symlink_metadata().unwrap().mode() & 0o7777;
    assert_eq!(mode("tool"), 0o775, "{:?}", pulled.skipped);
    assert_eq!(pulled.skipped.get("owners"), Some(&4));

    fs::remove_file(site.source.path().join("permissions.facl")).unwrap();
    write(site.source.path(), "tool", "another content");
    sync(&site);
    let tool = site.dest.path().join("tool");
    std::os::unix::fs::chown(&tool, Some(1000), Some(2000)).unwrap();
    fs::set_permissions(&tool, fs::Permissions::from_mode(0o4700)).unwrap();
    plain(&site);
    let meta = tool.symlink_metadata().unwrap();
    assert_eq!((meta.mode() & 0o7777, meta.uid(), meta.gid()), (0o700, 1000, 2000));
    assert_eq!(fs::read(&tool).unwrap(), b"another content");
}

/// As VolSync writes it: with the path of the mount, and beside the data.
#[test]
fn owners_modes_and_acls_come_from_permissions_facl() {
    let site = Site::with_bucket();
    for name in ["app/conf", "app/run", "plain"] {
        write(site.source.path(), name, format!("content of {name}"));
    }
    let facl = "# file: data\n# owner: 1000\n# group: 2000\n# flags: -s-\nuser::rwx\ngroup::rwx\nother::r-x\n\n\
        # file: data/app\n# owner: root\n# group: root\nuser::rwx\nuser:1234:r-x\ngroup::r-x\nmask::r-x\nother::---\ndefault:user::rwx\ndefault:group::r-x\ndefault:other::---\n\n\
        # file: data/app/conf\n# owner: 7\n# group: 8\nuser::rw-\ngroup::r--\nother::---\n\n\
        # file: data/app/run\n# owner: 7\n# group: 8\n# flags: s--\nuser::rwx\ngroup::r-x\nother::r-x\n\n";
    write(site.source.path(), "permissions.facl", facl);
    sync(&site);
    plain(&site);
    let root = site.dest.path();
    assert!(!root.join("permissions.facl").exists(), "no file of the volume's own");
    let meta = |name: &str| {
        let meta = root.join(name).symlink_metadata().unwrap();
        (meta.mode() & 0o7777, meta.uid(), meta.gid())
    };
    assert_eq!(meta(""), (0o2775, 1000, 2000));
    assert_eq!(meta("app"), (0o750, 0, 0));
    assert_eq!(meta("app/conf"), (0o640, 7, 8));
    assert_eq!(meta("app/run"), (0o4755, 7, 8));
    let mut acl = [0; 100];
    assert_eq!(rustix::fs::lgetxattr(root.join("app"), "system.posix_acl_access", &mut acl[..]).unwrap(), 4 + 5 * 8);
    assert_eq!(rustix::fs::lgetxattr(root.join("app"), "system.posix_acl_default", &mut acl[..]).unwrap(), 4 + 3 * 8);

    // Access alone changes: nothing is fetched but the list.
    write(site.source.path(), "permissions.facl", facl.replace("# owner: 7\n", "# owner: 9\n"));
    sync(&site);
    let pulled = plain(&site);
    assert!(pulled.changed && pulled.transferred == 0);
    assert_eq!(meta("app/conf"), (0o640, 9, 8));

    write(site.source.path(), "permissions.facl", "# file: data\nuser::rwx\n");
    sync(&site);
    assert_eq!(try_plain(&site).unwrap_err().reason, Reason::RemoteInconsistent);
    assert_eq!(meta("app/conf"), (0o640, 9, 8));
}

#[test]
fn links_and_pipes_of_the_volume_stay() {
    let site = Site::with_bucket();
    fill(site.source.path());
    sync(&site);
    std::os::unix::fs::symlink("a", site.dest.path().join("link")).unwrap();
    plain(&site);
    plain(&site);
    assert!(site.dest.path().join("link").is_symlink());
}

/// Both layouts know one another's paths.
#[test]
fn a_path_of_ours_is_pulled_as_committed_and_read_by_plain_rclone() {
    let site = Site::with_bucket();
    fill(site.source.path());
    write(site.source.path(), "odd\nname", "not for rclone");
    site.push();
    write(site.source.path(), "a", "replaced");
    site.push();
    let refused = try_plain(&site).unwrap_err();
    assert_eq!(refused.reason, Reason::PathNotOurs);
    assert!(refused.message.contains("layout: Plain"), "{refused}");
    let dir = site.dest.path().join("copied");
    by_hand(&site, &["copy", "--exclude", ".scribe/**", &format!("{}/", site.name), dir.to_str().unwrap()]);
    let contents = |root: &Path| files(root).into_iter().map(|(name, content, _)| (name, content)).collect::<Vec<_>>();
    let expected: Vec<_> = contents(site.source.path()).into_iter().filter(|(name, _)| !name.contains(&b'\n')).collect();
    assert_eq!(contents(&dir), expected);
}

#[test]
fn the_program_takes_the_layout() {
    let site = Site::with_bucket();
    fill(site.source.path());
    sync(&site);
    let refused = report(&mover(&site, "pull", site.dest.path(), &[]).output().unwrap());
    assert_eq!((refused.result, refused.reason), (Outcome::Failed, Some(Reason::PathNotOurs)));
    let pulled = report(&mover(&site, "pull", site.dest.path(), &["--layout", "plain"]).output().unwrap());
    assert_eq!((pulled.result, pulled.files), (Outcome::Successful, 7));
    assert_eq!(files(site.dest.path()), files(site.source.path()));
}
