//! Paths inside one another: refused in either order, before the first write, and without advice that would wipe the neighbour.

use std::fs;

use rstest::rstest;
use scribe_mover::report::Reason;

use crate::support::proxy::Action;
use crate::support::server::Backend;
use crate::support::tree::write;
use crate::support::{Layout, Site, owner};

/// A second source on the same server, on this path.
fn neighbour(site: &Site, path: &str) -> Site {
    let other = Site::at(&site.server, &format!("s3:{}", site.server.path(path))).of(site.layout);
    write(other.source.path(), "a", "the neighbour's");
    other
}

fn refused_without_a_trace(site: &Site, adopt: bool) {
    let mut options = site.push_options();
    options.pusher.owner = owner("second", "uid-2");
    options.pusher.adopt = adopt;
    let failure = site.push_by(&options).unwrap_err();
    assert_eq!(failure.reason, Reason::PathNotOurs, "{failure}");
    assert!(failure.message.contains("none inside another") && !failure.message.contains("adopt"), "{failure}");
    assert!(site.control_objects().is_empty());
}

#[rstest]
fn a_path_inside_anothers_is_refused(
    #[values(Backend::S3, Backend::Local, Backend::WebDav)] backend: Backend,
    #[values("two", "deeper/two")] path: &str,
    #[values(false, true)] adopt: bool,
) {
    let first = Site::on(backend);
    write(first.source.path(), "a", "a");
    first.push();
    refused_without_a_trace(&neighbour(&first, &format!("{}/path/{path}", first.server.bucket)), adopt);
    first.push();
    first.pull();
}

/// Whichever of the two layouts they have.
#[rstest]
fn a_path_of_any_layout_inside_anothers_is_refused(
    #[values(Layout::Files, Layout::Packs)] outer: Layout,
    #[values(Layout::Files, Layout::Packs)] inner: Layout,
) {
    let first = Site::with_bucket().of(outer);
    write(first.source.path(), "a", "a");
    first.push();
    refused_without_a_trace(&neighbour(&first, &format!("{}/path/two", first.server.bucket)).of(inner), false);
}

/// The root of a view of another section is a folder there, and may be somebody's path.
#[rstest]
fn a_path_inside_anothers_is_refused_behind_an_alias(
    #[values(Backend::S3, Backend::Local, Backend::WebDav)] backend: Backend,
    #[values("two", "deeper/two")] path: &str,
) {
    let first = Site::on(backend);
    write(first.source.path(), "a", "a");
    first.push();
    let second = behind_an_alias(&first, &format!("{}/path", first.server.bucket), path);
    refused_without_a_trace(&second, false);
}

#[rstest]
fn behind_an_alias_that_is_nobodys_path_a_push_is_free(
    #[values(Backend::S3, Backend::Local, Backend::WebDav)] backend: Backend,
    #[values("", "bucket", "bucket/other")] root: &str,
) {
    let first = Site::on(backend);
    write(first.source.path(), "a", "a");
    first.push();
    let below = if root.is_empty() { "bucket/other/two" } else { "two" };
    behind_an_alias(&first, root, below).push();
}

/// A second source, whose section is a view of this folder on the first one's server.
fn behind_an_alias(first: &Site, root: &str, path: &str) -> Site {
    let second = Site::at(&first.server, &format!("alias:{path}"));
    write(second.source.path(), "a", "the neighbour's");
    let conf = second.secret.path().join("rclone.conf");
    let alias = format!("[alias]\ntype = alias\nremote = s3:{}\n", first.server.path(root));
    fs::write(&conf, fs::read_to_string(&conf).unwrap() + &alias).unwrap();
    second
}

#[rstest]
fn a_path_around_anothers_is_refused(
    #[values("", "/pa")] below: &str,
    #[values(false, true)] adopt: bool,
    #[values(Layout::Files, Layout::Packs)] layout: Layout,
) {
    let first = Site::with_bucket().of(layout);
    write(first.source.path(), "a", "a");
    first.push();
    let around = neighbour(&first, &format!("{}{below}", first.server.bucket));
    if below.is_empty() {
        refused_without_a_trace(&around, adopt);
    } else {
        around.push();
    }
    assert_eq!(first.read("a"), (layout == Layout::Files).then(|| b"a".to_vec()));
    assert!(!first.push().changed);
}

/// Both begin at the same moment: the inner one sees that of the outer one before it sends anything.
#[rstest]
fn of_two_that_begin_together_the_inner_one_gives_way(#[values(Layout::Files, Layout::Packs)] layout: Layout) {
    let outer = Site::with_bucket().of(layout);
    write(outer.source.path(), "two/a", "the outer one's");
    let inner = neighbour(&outer, &format!("{}/path/two", outer.server.bucket));
    let (remote, options) = (outer.remote(), outer.push_options());
    let mut begun = false;
    inner.proxy.rule(move |request| {
        if !begun && request.is("PUT", "claim.json") {
            begun = true;
            layout.push(&remote, &options).unwrap();
        }
        Action::Pass
    });
    let mut options = inner.push_options();
    options.pusher.owner = owner("second", "uid-2");
    assert_eq!(inner.push_by(&options).unwrap_err().reason, Reason::PathNotOurs);
    assert!(!inner.has(".scribe/claim.json"));
    assert_eq!(outer.read("two/a"), (layout == Layout::Files).then(|| b"the outer one's".to_vec()));
    outer.push();
}

/// A key that sees its own path alone is no obstacle.
#[rstest]
fn a_key_that_may_not_look_above_can_push(#[values(Layout::Files, Layout::Packs)] layout: Layout) {
    let site = Site::with_bucket().of(layout);
    write(site.source.path(), "a", "a");
    site.proxy.rule(|request| {
        let above = request.lists() && request.target.contains("prefix=.scribe");
        if above {
            Action::Answer("403 Forbidden", "<?xml version=\"1.0\"?><Error><Code>AccessDenied</Code></Error>")
        } else {
            Action::Pass
        }
    });
    site.push();
}
