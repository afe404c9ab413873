//! The one commit of a path outlives every write of its successor that goes wrong.

use std::fs;

use rstest::rstest;
use scribe_mover::report::Reason;

use crate::support::proxy::{Action, Request};
use crate::support::server::{Backend, obscured};
use crate::support::tree::{assert_same, write};
use crate::support::{Layout, Site};

/// An alias of a WebDAV server whose section is not in the file, so that nothing is known of its type.
fn site_of_unknown_type() -> Site {
    let mut site = Site::on(Backend::WebDav);
    site.name = "view:path".into();
    let conf = site.secret.path().join("rclone.conf");
    let section = fs::read_to_string(&conf).unwrap();
    for line in section.lines().filter_map(|line| line.split_once('=')) {
        let (option, value) = (line.0.trim().to_uppercase(), line.1.trim());
        fs::write(site.secret.path().join(format!("RCLONE_CONFIG_HIDDEN_{option}")), value).unwrap();
    }
    fs::write(&conf, "[view]\ntype = alias\nremote = hidden:bucket\n").unwrap();
    site
}

/// What the file says of the chain is WebDAV nowhere; variables lead to it.
#[rstest]
#[case::type_of_the_base("view:", "s3:bucket", &[("RCLONE_CONFIG_S3_TYPE", "webdav")])]
#[case::type_of_the_section("s3:bucket/", "", &[("RCLONE_CONFIG_S3_TYPE", "webdav")])]
#[case::remote_of_the_section("view:", "dir:/srv", &[("RCLONE_CONFIG_VIEW_REMOTE", "s3:bucket")])]
#[case::remote_of_the_backend("view:", "dir:/srv", &[("RCLONE_ALIAS_REMOTE", "s3:bucket")])]
#[case::type_behind_the_name("view:", "s3,type=webdav:bucket", &[])]
#[case::composed_type("view:", "kinds:bucket", &[])]
fn a_refused_commit_leaves_the_one_before_where_variables_lead(#[case] name: &str, #[case] remote: &str, #[case] vars: &[(&str, &str)]) {
    let mut site = Site::on(Backend::WebDav);
    site.name = format!("{name}path");
    let conf = site.secret.path().join("rclone.conf");
    let dav = fs::read_to_string(&conf).unwrap();
    let kinds = dav.replace("[s3]", "[kinds]").replace("type = webdav", "type = %(kind)s\nkind = webdav");
    let hidden = if remote.starts_with("dir:") { dav } else { dav.replace("type = webdav", "type = local") };
    fs::write(&conf, format!("{hidden}\n{kinds}\n[dir]\ntype = local\n[view]\ntype = alias\nremote = {remote}\n")).unwrap();
    for (name, value) in vars {
        fs::write(site.secret.path().join(name), value).unwrap();
    }
    assert_a_refused_commit_leaves_the_one_before(&site);
}

#[test]
fn a_refused_commit_on_a_server_of_unknown_type_leaves_the_one_before() {
    assert_a_refused_commit_leaves_the_one_before(&site_of_unknown_type());
}

/// Refused or not, the second commit does not take the first one with it.
fn assert_a_refused_commit_leaves_the_one_before(site: &Site) {
    write(site.source.path(), "a", "one");
    let first = site.push();
    write(site.source.path(), "a", "second");
    site.proxy.rule(|request| if of_commit(request, "PUT") { Action::Answer("507 Insufficient Storage", "") } else { Action::Pass });
    let second = site.try_push();
    site.proxy.behave();
    let expected = second.map_or(first.revision, |second| second.revision);
    assert_eq!(site.pull().revision, expected);
}

/// A WebDAV server, perhaps behind encryption.
fn site(encrypted: bool) -> Site {
    let mut site = Site::on(Backend::WebDav);
    if encrypted {
        site.name = "crypt:path".into();
        let conf = site.secret.path().join("rclone.conf");
        let crypt = format!(
            "\n[crypt]\ntype = crypt\nremote = s3:bucket\nfilename_encryption = off\ndirectory_name_encryption = false\npassword = {}\n",
            obscured()
        );
        fs::write(&conf, fs::read_to_string(&conf).unwrap() + &crypt).unwrap();
    }
    site
}

fn of_commit(request: &Request, method: &str) -> bool {
    request.is(method, "/.scribe/commit.json")
}

/// rclone follows an upload that a WebDAV server refuses by a DELETE of that name.
#[rstest]
fn a_refused_commit_leaves_the_one_before(
    #[values(false, true)] encrypted: bool,
    #[values("PUT", "MOVE")] method: &'static str,
    #[values(
        (Layout::Files, "500 Internal Server Error"),
        (Layout::Files, "507 Insufficient Storage"),
        (Layout::Packs, "507 Insufficient Storage")
    )]
    (layout, status): (Layout, &'static str),
) {
    let site = site(encrypted).of(layout);
    write(site.source.path(), "a", "one");
    let first = site.push();
    write(site.source.path(), "a", "second");
    let refused = site.proxy.watch(move |request| if of_commit(request, method) { Action::Answer(status, "") } else { Action::Pass });
    site.try_push().unwrap_err();
    assert!(refused.try_recv().is_ok(), "no {method} of the commit");
    site.proxy.behave();
    assert_eq!(site.pull().revision, first.revision);
    site.push();
    site.pull();
    assert_same(site.source.path(), site.dest.path());
    // What the refused one has left goes with a push that lists the path; of layout Packs a week later, see `packs_push/leftovers`.
    if layout == Layout::Packs {
        return;
    }
    let mut options = site.push_options();
    options.verify_now = true;
    site.push_by(&options).unwrap();
    let partial = |entry: &walkdir::DirEntry| entry.file_name().to_string_lossy().contains("partial");
    let left: Vec<_> = walkdir::WalkDir::new(site.server.buckets.path()).into_iter().map(|entry| entry.unwrap()).filter(partial).collect();
    assert!(left.is_empty(), "{left:?}");
}

/// A look after the upload that shows what was there before, as an outdated cache does: rclone would remove what it takes for damaged.
#[rstest]
fn an_outdated_look_at_a_new_commit_removes_nothing(
    #[values("commit.json", "claim.json")] name: &'static str,
    #[values(Layout::Files, Layout::Packs)] layout: Layout,
) {
    let site = site(false).of(layout);
    write(site.source.path(), "a", "one");
    let first = site.push();
    write(site.source.path(), "a", "second");
    let outdated: &'static str = format!(
        r#"<?xml version="1.0"?><d:multistatus xmlns:d="DAV:"><d:response><d:href>/bucket/path/.scribe/{name}</d:href><d:propstat><d:prop><d:getcontentlength>7</d:getcontentlength><d:getlastmodified>Mon, 02 Nov 2026 10:00:00 GMT</d:getlastmodified><d:resourcetype/></d:prop><d:status>HTTP/1.1 200 OK</d:status></d:propstat></d:response></d:multistatus>"#
    )
    .leak();
    // The first look after it has come.
    let (mut written, mut listed) = (false, false);
    let target = format!("/.scribe/{name}");
    let seen = site.proxy.watch(move |request| {
        let named = request.target.ends_with(&target);
        written |= request.method == "MOVE" && request.target.contains(&format!("{target}."));
        if written && !listed && named && request.method == "PROPFIND" {
            listed = true;
            return Action::Answer("207 Multi-Status", outdated);
        }
        Action::Pass
    });
    let pushed = site.push();
    assert!(seen.try_recv().is_ok(), "rclone did not look");
    assert_ne!(pushed.revision, first.revision);
    assert_eq!(site.pull().revision, pushed.revision);
    assert_same(site.source.path(), site.dest.path());
}

/// A server that acknowledges a commit and does not store it.
#[rstest]
fn a_commit_that_is_not_stored_costs_the_one_before_nothing(
    #[values(Backend::S3, Backend::WebDav)] backend: Backend,
    #[values(true, false)] replaces: bool,
    #[values(Layout::Files, Layout::Packs)] layout: Layout,
) {
    let site = Site::on(backend).of(layout);
    for name in ["deleted", "replaced", "kept"] {
        write(site.source.path(), name, format!("first {name}"));
    }
    let first = site.push();
    fs::remove_file(site.source.path().join("deleted")).unwrap();
    if replaces {
        write(site.source.path(), "replaced", "second content");
    }
    let lost = site.proxy.watch(|request| match request.method.as_str() {
        "PUT" if request.target.contains("/.scribe/commit.json") && !request.target.contains(".partial") => Action::Answer("200 OK", ""),
        "MOVE" if request.target.contains("/.scribe/commit.json") => Action::Answer("201 Created", ""),
        _ => Action::Pass,
    });
    let failure = site.try_push().unwrap_err();
    assert!(lost.try_recv().is_ok(), "no commit was written");
    assert_eq!(failure.reason, Reason::RemoteInconsistent, "{failure}");
    site.proxy.behave();
    assert_eq!(site.pull().revision, first.revision);
    for name in ["deleted", "replaced", "kept"] {
        assert_eq!(fs::read_to_string(site.dest.path().join(name)).unwrap(), format!("first {name}"));
    }
    site.push();
    site.pull();
    assert_same(site.source.path(), site.dest.path());
}
