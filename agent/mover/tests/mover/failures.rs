//! Each failure gets its own name, in time.

use std::collections::HashSet;
use std::fs;
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

use rstest::rstest;
use scribe_mover::pull::PullOutcome;
use scribe_mover::report::{Outcome, Reason};

use crate::support::program::{mover, report};
use crate::support::proxy::{Action, Damage, Request, When};
use crate::support::server::{Backend, Server};
use crate::support::tree::{assert_same, varied, write};
use crate::support::{Layout, Site};

fn both_fail(site: &Site, reason: Reason) {
    write(site.source.path(), "a", "a");
    for result in [site.try_push().map(drop), site.try_pull().map(drop)] {
        let failure = result.unwrap_err();
        assert_eq!(failure.reason, reason, "{failure}");
        assert!(!failure.message.contains("secret-for-tests"), "{failure}");
    }
}

#[rstest]
#[case("503 Service Unavailable", "<Error><Code>SlowDown</Code></Error>", Reason::Throttled)]
#[case("429 Too Many Requests", "", Reason::Throttled)]
#[case("403 Forbidden", "<Error><Code>AccessDenied</Code></Error>", Reason::AccessDenied)]
#[case("500 Internal Server Error", "", Reason::Unreachable)]
fn a_server_that_answers_badly(#[case] status: &'static str, #[case] body: &'static str, #[case] reason: Reason) {
    let site = Site::new();
    site.proxy.rule(move |_| Action::Answer(status, body));
    both_fail(&site, reason);
}

/// Wherever in a sync the server begins to misbehave, the sync fails with the same name, and the live tree is not touched.
#[rstest]
#[case("503 Service Unavailable", "<Error><Code>SlowDown</Code></Error>", Reason::Throttled)]
#[case("403 Forbidden", "<Error><Code>AccessDenied</Code></Error>", Reason::AccessDenied)]
fn a_server_that_answers_badly_later(
    #[case] status: &'static str,
    #[case] body: &'static str,
    #[case] reason: Reason,
    #[values(Layout::Files, Layout::Packs)] layout: Layout,
) {
    let site = Site::with_bucket().of(layout);
    write(site.source.path(), "replaced", "old");
    site.push();
    write(site.source.path(), "replaced", "new");
    write(site.source.path(), "added", "new");
    // In the order of a push: what one has sent, the next one does not send again.
    let (keys, tidies): (&[&str], _) = match layout {
        Layout::Files => (&["manifests/", "claim.json", "path/added", "staged/", "path/replaced"], "path/replaced"),
        Layout::Packs => (&["manifests/", "claim.json", "packs/"], "claim.json once it has committed"),
    };
    for &key in keys {
        site.proxy.rule(move |request| if request.target.contains(key) { Action::Answer(status, body) } else { Action::Pass });
        assert_eq!(site.try_push().unwrap_err().reason, reason, "{key}");
        site.proxy.behave();
        let pulled = site.pull();
        assert_eq!(pulled.files, if key == tidies { 2 } else { 1 }, "{key}: whole, whatever it is");
    }
    site.push();
    write(site.dest.path(), "replaced", "live");
    for key in ["commit.json", "manifests/", if layout == Layout::Files { "path/replaced" } else { "packs/" }] {
        site.proxy.rule(move |request| if request.target.contains(key) { Action::Answer(status, body) } else { Action::Pass });
        assert_eq!(site.try_pull().unwrap_err().reason, reason, "{key}");
        assert_eq!(fs::read(site.dest.path().join("replaced")).unwrap(), b"live");
    }
    site.proxy.behave();
    site.pull();
    assert_same(site.source.path(), site.dest.path());
}

#[rstest]
#[case(When::Before)]
#[case(When::After)]
fn a_network_that_loses_every_request_once(#[case] when: When, #[values(Layout::Files, Layout::Packs)] layout: Layout) {
    let site = Site::with_bucket().of(layout);
    varied(site.source.path());
    let mut met = HashSet::new();
    site.proxy
        .rule(move |request| if met.insert((request.method.clone(), request.target.clone())) { Action::Cut(when) } else { Action::Pass });
    site.push();
    write(site.source.path(), "plain", "replaced");
    fs::remove_file(site.source.path().join("big")).unwrap();
    let pushed = site.push();
    site.pull();
    assert_same(site.source.path(), site.dest.path());
    site.assert_tidy(&pushed.revision);
}

#[test]
fn a_server_that_cuts_every_connection() {
    let site = Site::with_bucket();
    site.proxy.rule(|_| Action::Cut(When::Before));
    both_fail(&site, Reason::Unreachable);
}

/// What an answer may suffer on its way: never does a byte of it get into the live tree.
#[rstest]
fn a_body_that_is_not_what_was_sent(
    #[values(Damage::Flipped, Damage::Shortened, Damage::Cut)] damage: Damage,
    #[values(true, false)] once: bool,
    #[values(Layout::Files, Layout::Packs)] layout: Layout,
) {
    let site = Site::with_bucket().of(layout);
    // So long that what is altered in the middle of a pack is content.
    for (name, factor) in [("a", 2_654_435_761_u32), ("b", 2_246_822_519)] {
        write(site.source.path(), name, format!("{:?}", (0..200_u32).map(|n| n.wrapping_mul(factor)).collect::<Vec<_>>()));
    }
    site.push();
    write(site.dest.path(), "a", "live");
    let mut spoilt = 0;
    site.proxy.rule(move |request| {
        let spoil = layout.fetches(request, "a") && (!once || spoilt == 0);
        spoilt += usize::from(spoil);
        if spoil { Action::Spoil(damage) } else { Action::Pass }
    });
    if once {
        site.pull();
        assert_same(site.source.path(), site.dest.path());
        return;
    }
    let failure = site.try_pull().unwrap_err();
    let expected = if damage == Damage::Cut { Reason::Unreachable } else { Reason::RemoteInconsistent };
    assert_eq!(failure.reason, expected, "{failure}");
    assert_eq!(fs::read(site.dest.path().join("a")).unwrap(), b"live");
    assert!(!site.dest.path().join("b").exists());
    site.proxy.behave();
    site.proxy.take();
    site.pull();
    assert_same(site.source.path(), site.dest.path());
    let kept = |request: &Request| !request.target.contains("path/b");
    assert!(layout == Layout::Packs || site.proxy.take().iter().all(kept), "verified before, and kept");
}

/// A control object that is cut or altered is never taken for one that is not there.
#[rstest]
fn a_control_object_that_is_not_what_was_sent(
    #[values(Damage::Flipped, Damage::Shortened)] damage: Damage,
    #[values("commit.json", "manifests/")] key: &'static str,
    #[values(Layout::Files, Layout::Packs)] layout: Layout,
) {
    let site = Site::with_bucket().of(layout);
    write(site.source.path(), "a", "a");
    site.push();
    site.pull();
    let rule = move |request: &Request| if request.is("GET", key) { Action::Spoil(damage) } else { Action::Pass };
    site.proxy.rule(rule);
    let failure = site.try_pull().unwrap_err();
    assert_eq!(failure.reason, Reason::RemoteInconsistent, "{failure}");
    assert_same(site.source.path(), site.dest.path());
    // The other layout mends it, see `packs_push/damaged`.
    if key == "commit.json" && layout == Layout::Files {
        let failure = site.try_push().unwrap_err();
        assert_eq!(failure.reason, Reason::RemoteInconsistent, "{failure}");
    }
    site.proxy.behave();
    assert!(!site.push().changed);
}

#[test]
fn a_wrong_key() {
    let site = Site::new();
    site.write_secret(&site.proxy.address(), "SOMEBODYELSE");
    both_fail(&site, Reason::AccessDenied);
}

#[test]
fn a_port_without_a_listener() {
    let site = Site::new();
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    site.write_secret(&port.to_string(), "AKIDFORTESTS");
    let began = Instant::now();
    both_fail(&site, Reason::Unreachable);
    assert!(began.elapsed() < Duration::from_secs(60), "{:?}", began.elapsed());
}

#[test]
fn a_server_that_never_answers() {
    let site = Site::new();
    site.proxy.rule(|_| Action::Hang);
    let began = Instant::now();
    let failure = site.try_pull().unwrap_err();
    assert_eq!(failure.reason, Reason::Unreachable, "{failure}");
    assert!(began.elapsed() < Duration::from_secs(30), "{:?}", began.elapsed());
}

/// A host that is switched off, or behind a firewall that drops: not even the first packet is answered.
#[test]
fn a_host_that_is_gone() {
    let site = Site::new();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    // Linux drops the first packets of further connections once those that wait to be accepted are this many.
    rustix::net::listen(&listener, 0).unwrap();
    let address = listener.local_addr().unwrap();
    let mut waiting = Vec::new();
    while let Ok(connection) = TcpStream::connect_timeout(&address, Duration::from_secs(1)) {
        waiting.push(connection);
    }
    site.write_secret(&address.to_string(), "AKIDFORTESTS");
    write(site.source.path(), "a", "a");
    for sync in [|site: &Site| site.try_push().map(drop), |site: &Site| site.try_pull().map(drop)] {
        let began = Instant::now();
        let failure = sync(&site).unwrap_err();
        assert_eq!(failure.reason, Reason::Unreachable, "{failure}");
        assert!(began.elapsed() < Duration::from_secs(30), "{:?}", began.elapsed());
    }
}

#[rstest]
fn a_bucket_that_is_not_there(#[values(Layout::Files, Layout::Packs)] layout: Layout) {
    let site = Site::new().of(layout);
    write(site.source.path(), "a", "a");
    site.proxy.rule(|_| Action::Answer("404 Not Found", "<Error><Code>NoSuchBucket</Code></Error>"));
    assert_eq!(site.try_pull(), Ok(PullOutcome::WaitingForFirstPush));
    assert_eq!(site.try_push().unwrap_err().reason, Reason::BucketMissing);
    site.proxy.behave();
    assert_eq!(site.try_pull(), Ok(PullOutcome::WaitingForFirstPush));
    site.push();
    site.pull();
    assert_same(site.source.path(), site.dest.path());
}

/// A typing error looks like success: the report says that there was none before, and only that of the push that made it.
#[rstest]
fn a_bucket_that_was_made_is_reported(#[values(Layout::Files, Layout::Packs)] layout: Layout) {
    let site = Site::new().of(layout);
    write(site.source.path(), "a", "a");
    let made = || report(&mover(&site, "push", site.source.path(), &[]).output().unwrap()).made_bucket;
    assert_eq!((made(), made()), (Some(site.server.bucket.clone()), None));
}

/// Servers answer it in many ways, as if the key were wrong among them.
#[rstest]
#[case("403 Forbidden", "<Error><Code>AccessDenied</Code></Error>")]
#[case("400 Bad Request", "<Error><Code>InvalidBucketName</Code></Error>")]
#[case("404 Not Found", "<Error><Code>NoSuchBucket</Code></Error>")]
#[case::as_the_server_does("", "")]
fn a_bucket_of_a_name_that_cannot_be(#[case] status: &'static str, #[case] body: &'static str) {
    for (bucket, told) in [("My_Bucket", true), ("my-bucket", false)] {
        let site = Site::at(&Server::start(Backend::S3).into(), &format!("s3:{bucket}/path"));
        if !status.is_empty() {
            site.proxy.rule(move |_| Action::Answer(status, body));
        }
        write(site.source.path(), "a", "a");
        for (verb, volume) in [("pull", &site.dest), ("push", &site.source)] {
            let report = report(&mover(&site, verb, volume.path(), &[]).output().unwrap());
            let message = &report.message;
            assert_eq!(report.result == Outcome::Successful, !told && status.is_empty() && verb == "push", "{message}");
            assert_eq!(message.contains("\"My_Bucket\", with which rcloneDestPath begins"), told, "{verb} {bucket}: {message}");
            assert_eq!(message.contains("lower case letters"), told, "{verb} {bucket}: {message}");
        }
    }
}

/// One that takes such a name is taken at its word.
#[test]
fn a_bucket_whose_name_breaks_a_rule_and_that_is_there() {
    let server = Server::start(Backend::S3);
    fs::create_dir(server.buckets.path().join("My_Bucket")).unwrap();
    let site = Site::at(&server.into(), "s3:My_Bucket/path");
    write(site.source.path(), "a", "a");
    for (verb, volume) in [("pull", &site.dest), ("push", &site.source)] {
        let report = report(&mover(&site, verb, volume.path(), &[]).output().unwrap());
        assert!(report.result != Outcome::Failed && !report.message.contains("lower case"), "{verb}: {}", report.message);
    }
}

#[rstest]
fn a_bucket_that_may_not_be_made(#[values(Layout::Files, Layout::Packs)] layout: Layout) {
    let site = Site::new().of(layout);
    write(site.source.path(), "a", "a");
    site.proxy.rule(|request| {
        let make = request.method == "PUT" && request.target.matches('/').count() == 1;
        if make { Action::Answer("403 Forbidden", "<Error><Code>AccessDenied</Code></Error>") } else { Action::Pass }
    });
    assert_eq!(site.try_push().unwrap_err().reason, Reason::BucketMissing);
}
