//! A wrong server, a broken configuration and a path that was pulled from are no empty paths.

use std::fs;

use rstest::rstest;
use scribe_mover::report::Reason;

use crate::support::program::{mover, report};
use crate::support::proxy::Action;
use crate::support::server::{Backend, KEY};
use crate::support::tree::write;
use crate::support::{Layout, Site};

/// A server that is not what the configuration says is no empty path.
#[rstest]
fn another_kind_of_server_has_no_empty_path(#[values(Layout::Files, Layout::Packs)] layout: Layout) {
    let site = Site::new().of(layout);
    site.proxy.rule(|_| Action::Answer("404 Not Found", "<html>no such page</html>"));
    for failure in [site.try_pull().unwrap_err(), site.try_push().unwrap_err()] {
        assert_eq!(failure.reason, Reason::SecretInvalid, "{failure}");
        assert!(failure.message.contains("endpoint"), "{failure}");
    }
    site.proxy.rule(|request| {
        let root = request.target.split('?').next() == Some("/");
        if root { Action::Answer("200 OK", "<html><meta></html>") } else { Action::Answer("404 Not Found", "<html>no such page</html>") }
    });
    assert_eq!(site.try_pull().unwrap_err().reason, Reason::SecretInvalid);
    // A key that may not list the buckets is no obstacle.
    site.proxy.rule(|request| {
        let root = request.target.split('?').next() == Some("/");
        if root { Action::Answer("403 Forbidden", "<?xml version=\"1.0\"?><Error><Code>AccessDenied</Code></Error>") } else { Action::Pass }
    });
    assert_eq!(site.try_pull(), Ok(scribe_mover::pull::PullOutcome::WaitingForFirstPush));
    write(site.source.path(), "a", "a");
    site.push();
    site.pull();
}

/// What the program reports of a push or pull.
fn reported(site: &Site, verb: &str) -> serde_json::Value {
    let output = mover(site, verb, site.dest.path(), &[]).output().unwrap();
    serde_json::to_value(report(&output)).unwrap()
}

/// A missing file that the configuration names is no missing object.
#[rstest]
#[case::key_file(Backend::Sftp, "key_file = /nowhere/id\n", "key_file")]
#[case::known_hosts(Backend::Sftp, "known_hosts_file = /nowhere/known_hosts\n", "known_hosts_file")]
#[case::helper(Backend::Sftp, "ssh = /nowhere/ssh host\n", "/nowhere/ssh")]
#[case::service_account(Backend::Local, "type = google cloud storage\nservice_account_file = /nowhere/sa.json\n", "service_account_file")]
#[case::wrapped(Backend::Local, "type = crypt\nremote = nowhere:x\npassword = ", "remote in section [s3]")]
fn a_broken_configuration_is_no_empty_path(#[case] backend: Backend, #[case] section: &str, #[case] names: &str) {
    let site = Site::on(backend);
    let whole = if section.starts_with("type") { String::new() } else { site.server.section(&site.address(), KEY) };
    let password = if section.ends_with("= ") { crate::support::server::obscured() } else { String::new() };
    fs::write(site.secret.path().join("rclone.conf"), format!("[s3]\n{whole}{section}{password}\n")).unwrap();
    for verb in ["pull", "push"] {
        let report = reported(&site, verb);
        assert_eq!(report["reason"], "SecretInvalid", "{verb}: {report}");
        assert!(report["message"].as_str().unwrap().contains(names), "{verb}: {report}");
    }
}

#[rstest]
#[case("RCLONE_CA_CERT")]
#[case("RCLONE_CLIENT_CERT")]
fn a_missing_certificate_is_no_empty_path(#[case] variable: &str) {
    let site = Site::with_bucket();
    fs::write(site.secret.path().join(variable), "/nowhere/ca.pem").unwrap();
    if variable == "RCLONE_CLIENT_CERT" {
        fs::write(site.secret.path().join("RCLONE_CLIENT_KEY"), "/nowhere/key.pem").unwrap();
    }
    for verb in ["pull", "push"] {
        let report = reported(&site, verb);
        assert_eq!(report["reason"], "SecretInvalid", "{verb}: {report}");
        assert!(report["message"].as_str().unwrap().contains(variable), "{verb}: {report}");
    }
}

/// Where a revision was pulled before, nothing is not "nothing yet".
#[rstest]
fn a_destination_that_has_pulled_does_not_wait_for_a_first_push(#[values(Layout::Files, Layout::Packs)] layout: Layout) {
    let site = Site::with_bucket().of(layout);
    write(site.source.path(), "a", "a");
    site.push();
    let pulled = site.pull();
    site.meddle("purge", "", b"");
    let mut options = site.pull_options();
    options.applied = Some(pulled.revision);
    let failure = scribe_mover::pull::pull(&site.remote(), &options).unwrap_err();
    assert_eq!(failure.reason, Reason::RemoteInconsistent, "{failure}");
    assert!(site.dest.path().join("a").exists());
}
