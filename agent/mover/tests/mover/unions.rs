//! Unions of several upstreams: a push has to know in which of them its files end up.

use std::fs;
use std::path::Path;

use rstest::rstest;
use scribe_mover::report::Reason;

use crate::support::program::{mover, report};
use crate::support::server::Backend;
use crate::support::tree::{assert_same, write};
use crate::support::{Layout, Site};

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
/// With `epff`, chance is the upstream that answers first.
#[rstest]
fn a_policy_that_may_choose_another_upstream_each_time(
    #[values("", "create_policy = mfs", "create_policy = eprand", "create_policy = lus", "create_policy = epff")] policy: &str,
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

/// What is deleted by such a policy is gone from one upstream alone.
#[rstest]
fn a_policy_that_deletes_in_one_upstream(#[values("ff", "epff", "eprand")] policy: &str) {
    let root = assert_fs::TempDir::new().unwrap();
    let site = site(&format!("create_policy = all\naction_policy = {policy}"), root.path());
    write(site.source.path(), "a", "a");
    let refused = report(&mover(&site, "push", site.source.path(), &[]).output().unwrap());
    assert_eq!(refused.reason, Some(Reason::SecretInvalid), "{}", refused.message);
    assert!(refused.message.contains("action_policy in section [s3]"), "{}", refused.message);
}

/// What such an upstream holds of the path can neither be replaced nor deleted, or is read instead of what is created behind it.
#[rstest]
#[case("OLD:ro NEW", "", "upstreams")]
#[case("NEW OLD:ro", "", "upstreams")]
#[case("NEW OLD:ro", "create_policy = all", "upstreams")]
#[case("OLD:nc NEW", "create_policy = all", "upstreams")]
#[case("NEW OLD:nc", "search_policy = newest", "search_policy")]
fn an_upstream_that_holds_the_path_and_is_not_written(#[case] upstreams: &str, #[case] policy: &str, #[case] option: &str) {
    let root = assert_fs::TempDir::new().unwrap();
    let site = site("create_policy = ff", root.path());
    write(site.source.path(), "a", "a");
    assert!(mover(&site, "push", site.source.path(), &[]).output().unwrap().status.success());
    let at = |upstream: &str| format!("base:{}/{upstream}", root.path().display());
    let upstreams = upstreams.replace("OLD", &at("1")).replace("NEW", &at("2"));
    let conf = format!("[base]\ntype = local\n[s3]\ntype = union\nupstreams = {upstreams}\n{policy}\n");
    fs::write(site.secret.path().join("rclone.conf"), conf).unwrap();
    write(site.source.path(), "b", "b");
    let refused = report(&mover(&site, "push", site.source.path(), &[]).output().unwrap());
    assert_eq!(refused.reason, Some(Reason::SecretInvalid), "{}", refused.message);
    assert!(refused.message.contains(&format!("{option} in section [s3]")), "{}", refused.message);
    let pulled = report(&mover(&site, "pull", site.dest.path(), &[]).output().unwrap());
    assert_eq!(pulled.reason, None, "{}", pulled.message);
    assert_eq!(fs::read(site.dest.path().join("a")).unwrap(), b"a");
}

/// A section that is written out, or has options behind its name, is a union like any other.
#[rstest]
#[case("[s3]\ntype = alias\nremote = :union,upstreams='ROOT/1 ROOT/2':\n", "remote in section [s3]")]
#[case(
    "[s3]\ntype = alias\nremote = u,create_policy=rand:\n[u]\ntype = union\nupstreams = ROOT/1 ROOT/2\ncreate_policy = all\n",
    "remote in section [s3]"
)]
#[case(
    "[s3]\ntype = alias\nremote = u,upstreams='ROOT/1 ROOT/2':\n[u]\ntype = union\nupstreams = ROOT/1 ROOT/2:nc\n",
    "create_policy in section [u]"
)]
fn a_union_by_options_behind_a_name(#[case] conf: &str, #[case] words: &str) {
    let root = assert_fs::TempDir::new().unwrap();
    let site = site("", root.path());
    fs::write(site.secret.path().join("rclone.conf"), conf.replace("ROOT", root.path().to_str().unwrap())).unwrap();
    let refused = report(&mover(&site, "push", site.source.path(), &[]).output().unwrap());
    assert_eq!(refused.reason, Some(Reason::SecretInvalid), "{}", refused.message);
    assert!(refused.message.contains(words), "{}", refused.message);
}

#[rstest]
fn a_policy_that_stays(#[values("all", "epall", "ff")] policy: &str, #[values(Layout::Files, Layout::Packs)] layout: Layout) {
    let root = assert_fs::TempDir::new().unwrap();
    let site = site(&format!("create_policy = {policy}"), root.path()).of(layout);
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
fn a_commit_that_is_hidden_by_an_older_one_costs_that_one_nothing(
    #[values("", "create_policy = ff", "create_policy = all")] policy: &str,
    #[values(Layout::Files, Layout::Packs)] layout: Layout,
) {
    let root = assert_fs::TempDir::new().unwrap();
    let site = site("", root.path()).of(layout);
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
