//! Unions of several upstreams: a push has to know in which of them its files end up.

use std::fs;
use std::path::Path;

use rstest::rstest;
use scribe_mover::report::Reason;

use crate::support::Site;
use crate::support::program::{mover, report};
use crate::support::server::Backend;
use crate::support::tree::{assert_same, write};

/// A site whose section is a union of two folders.
fn site(options: &str, root: &Path) -> Site {
    let site = Site::at(&Site::on(Backend::Local).server, "s3:bucket/path");
    for upstream in ["1", "2"] {
        fs::create_dir(root.join(upstream)).unwrap();
    }
    let conf = format!("[base]\ntype = local\n[s3]\ntype = union\nupstreams = base:{0}/1 base:{0}/2\n{options}\n", root.display());
    fs::write(site.secret.path().join("rclone.conf"), conf).unwrap();
    site
}

/// By free space or by chance, a promoted file may end up in another upstream than the file that it replaces, which is read instead of it.
#[rstest]
fn a_policy_that_may_choose_another_upstream_each_time(
    #[values("", "create_policy = mfs", "create_policy = eprand", "create_policy = lus")] policy: &str,
) {
    let root = assert_fs::TempDir::new().unwrap();
    let site = site(policy, root.path());
    write(site.source.path(), "a", "a");
    let refused = report(&mover(&site, "push", site.source.path(), &[]).output().unwrap());
    assert_eq!(refused.reason, Some(Reason::SecretInvalid), "{}", refused.message);
    assert!(refused.message.contains("create_policy in section [s3]"), "{}", refused.message);
    // What there is can still be restored.
    let output = mover(&site, "pull", site.dest.path(), &[]).output().unwrap();
    assert_eq!(report(&output).reason, None, "{}", report(&output).message);
}

#[rstest]
fn a_policy_that_stays(#[values("all", "epall", "ff", "epff")] policy: &str) {
    let root = assert_fs::TempDir::new().unwrap();
    let site = site(&format!("create_policy = {policy}"), root.path());
    for round in 1..4 {
        for name in ["a", "b", "c/d"] {
            write(site.source.path(), name, format!("{name} {}", "x".repeat(round)));
        }
        if round == 2 {
            fs::remove_file(site.source.path().join("b")).unwrap();
        }
        for (verb, volume) in [("push", site.source.path()), ("pull", site.dest.path())] {
            let output = mover(&site, verb, volume, &[]).output().unwrap();
            assert!(output.status.success(), "{verb}: {}", report(&output).message);
        }
        assert_same(site.source.path(), site.dest.path());
    }
}

/// The commit is written to the upstream that creates, and the older one is read from the other: nothing that it needs may go.
#[rstest]
fn a_commit_that_is_hidden_by_an_older_one_costs_that_one_nothing(#[values("", "create_policy = ff", "create_policy = all")] policy: &str) {
    let root = assert_fs::TempDir::new().unwrap();
    let site = site("", root.path());
    let conf = |section: &str| {
        let section = section.replace("ROOT", &root.path().display().to_string());
        fs::write(site.secret.path().join("rclone.conf"), format!("[s3]\n{section}\n")).unwrap();
    };
    conf("type = alias\nremote = ROOT/1");
    for name in ["deleted", "replaced"] {
        write(site.source.path(), name, format!("first {name}"));
    }
    let first = report(&mover(&site, "push", site.source.path(), &[]).output().unwrap());
    assert_eq!(first.reason, None, "{}", first.message);
    conf(&format!("type = union\nupstreams = ROOT/1:nc ROOT/2\n{policy}"));
    fs::remove_file(site.source.path().join("deleted")).unwrap();
    write(site.source.path(), "replaced", "second content");
    for _ in 0..2 {
        let second = report(&mover(&site, "push", site.source.path(), &[]).output().unwrap());
        assert!(second.reason.is_some(), "{}", second.message);
        let pulled = report(&mover(&site, "pull", site.dest.path(), &[]).output().unwrap());
        assert_eq!(pulled.reason, None, "{}", pulled.message);
        for name in ["deleted", "replaced"] {
            assert_eq!(fs::read_to_string(site.dest.path().join(name)).unwrap(), format!("first {name}"));
        }
    }
}
