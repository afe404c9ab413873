//! Each failure gets its own name, in time.

use std::net::TcpListener;
use std::time::{Duration, Instant};

use rstest::rstest;
use scribe_mover::report::Reason;

use crate::support::Site;
use crate::support::proxy::Action;
use crate::support::tree::write;

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
#[case("403 Forbidden", "<Error><Code>AccessDenied</Code></Error>", Reason::AccessDenied)]
#[case("500 Internal Server Error", "", Reason::Unreachable)]
fn a_server_that_answers_badly(#[case] status: &'static str, #[case] body: &'static str, #[case] reason: Reason) {
    let site = Site::new();
    site.proxy.rule(move |_| Action::Answer(status, body));
    both_fail(&site, reason);
}

#[test]
fn a_wrong_key() {
    let site = Site::new();
    site.write_secret(&site.proxy.address(), "SOMEBODYELSE");
    both_fail(&site, Reason::AccessDenied);
}

#[test]
fn a_port_nobody_listens_on() {
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

#[test]
fn a_bucket_that_may_not_be_made() {
    let site = Site::new();
    write(site.source.path(), "a", "a");
    site.proxy.rule(|request| {
        let make = request.method == "PUT" && request.target.matches('/').count() == 1;
        if make { Action::Answer("403 Forbidden", "<Error><Code>AccessDenied</Code></Error>") } else { Action::Pass }
    });
    assert_eq!(site.try_push().unwrap_err().reason, Reason::BucketMissing);
}
