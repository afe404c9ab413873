//! A server whose certificate the system does not know: its CA comes from `customCA`, or the reason says what is wrong with that.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rstest::rstest;
use scribe_mover::report::{Outcome, Reason, Report};

use crate::support::Site;
use crate::support::program::{mover, report};
use crate::support::server::{KEY, SECRET, Server};
use crate::support::tree::{assert_same, write};

const HOLDER: &str = "key \"ca.crt\" of Secret \"ca\"";

fn openssl(dir: &Path, line: &str) {
    let made = Command::new("openssl").args(line.split(' ')).current_dir(dir).stderr(Stdio::null()).stdout(Stdio::null()).status();
    assert!(made.is_ok_and(|status| status.success()), "openssl {line}");
}

/// A site at a server whose certificate comes from a CA of its own, and the file of that.
fn secured() -> (Site, Server, PathBuf) {
    let site = Site::new();
    write(site.source.path(), "a", "a");
    let dir = site.scratch.path().join("pki");
    fs::create_dir(&dir).unwrap();
    openssl(&dir, "req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=our-own -keyout ca.key -out ca.crt");
    openssl(&dir, "req -newkey rsa:2048 -nodes -subj /CN=storage -keyout server.key -out server.csr");
    fs::write(dir.join("names"), "subjectAltName=IP:127.0.0.1\nbasicConstraints=CA:FALSE\n").unwrap();
    openssl(&dir, "x509 -req -in server.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 2 -extfile names -out server.crt");
    let server = Server::secured(&dir.join("server.crt"), &dir.join("server.key"));
    let section = server.section(&server.address, KEY).replace("http://", "https://");
    fs::write(site.secret.path().join("rclone.conf"), format!("[s3]\n{section}")).unwrap();
    (site, server, dir.join("ca.crt"))
}

fn run(site: &Site, verb: &str, volume: &Path, file: &Path) -> Report {
    report(&mover(site, verb, volume, &["--custom-ca", file.to_str().unwrap(), "--custom-ca-name", HOLDER]).output().unwrap())
}

#[test]
fn a_servers_own_authority_is_trusted() {
    let (site, _server, file) = secured();
    let unknown = report(&mover(&site, "push", site.source.path(), &[]).output().unwrap());
    assert_eq!(unknown.result, Outcome::Failed, "{}", unknown.message);
    assert!(unknown.message.contains("certificate"), "{}", unknown.message);
    for (verb, volume) in [("push", &site.source), ("pull", &site.dest)] {
        let report = run(&site, verb, volume.path(), &file);
        assert_eq!(report.result, Outcome::Successful, "{verb}: {}", report.message);
    }
    assert_same(site.source.path(), site.dest.path());
}

/// The system's own certificates stay, and folders that the pod has been given.
#[rstest]
#[case::the_systems("SSL_CERT_FILE")]
#[case::of_the_environment("SSL_CERT_DIR")]
fn it_is_trusted_beside_others(#[case] variable: &str) {
    let (site, _server, file) = secured();
    let others = site.scratch.path().join("others");
    fs::create_dir(&others).unwrap();
    fs::copy(&file, others.join("other.crt")).unwrap();
    openssl(file.parent().unwrap(), "req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=another -keyout another.key -out another.crt");
    let another = file.parent().unwrap().join("another.crt");
    let mut push = mover(&site, "push", site.source.path(), &["--custom-ca", another.to_str().unwrap()]);
    let wrong = report(&push.output().unwrap());
    assert_eq!(wrong.result, Outcome::Failed, "{}", wrong.message);
    let others = if variable == "SSL_CERT_DIR" { others } else { others.join("other.crt") };
    let report = report(&push.env(variable, &others).output().unwrap());
    assert_eq!(report.result, Outcome::Successful, "{}", report.message);
}

#[rstest]
#[case::not_there(None, "there is no key \"ca.crt\" of Secret \"ca\"")]
#[case::empty(Some(" \n"), "key \"ca.crt\" of Secret \"ca\" is empty")]
#[case::something_else(Some("-----BEGIN PRIVATE KEY-----\nMIIB\n-----END PRIVATE KEY-----\n"), "holds no certificate in PEM")]
fn what_cannot_be_trusted_is_never_ignored(#[case] content: Option<&str>, #[case] words: &str) {
    let site = Site::with_bucket();
    write(site.source.path(), "a", "a");
    let file = site.scratch.path().join("ca.crt");
    if let Some(content) = content {
        fs::write(&file, content).unwrap();
    }
    for (verb, volume) in [("push", &site.source), ("pull", &site.dest)] {
        let report = run(&site, verb, volume.path(), &file);
        assert_eq!((report.result, report.reason), (Outcome::Failed, Some(Reason::SecretInvalid)), "{verb}: {}", report.message);
        assert!(report.message.starts_with("customCA: ") && report.message.contains(words), "{verb}: {}", report.message);
    }
    assert!(site.proxy.take().is_empty(), "nothing was asked");
}

/// rclone's own option would beat it.
#[rstest]
#[case::a_variable(true)]
#[case::an_option(false)]
fn an_option_that_overrules_it_is_refused(#[case] variable: bool) {
    let (site, _server, file) = secured();
    let (secret, path) = (site.secret.path(), file.to_str().unwrap());
    if variable {
        fs::write(secret.join("RCLONE_CA_CERT"), path).unwrap();
    } else {
        let conf = fs::read_to_string(secret.join("rclone.conf")).unwrap();
        fs::write(secret.join("rclone.conf"), format!("{conf}override.ca_cert = {path}\n")).unwrap();
    }
    let report = run(&site, "push", site.source.path(), &file);
    assert_eq!(report.reason, Some(Reason::SecretInvalid), "{}", report.message);
    assert!(report.message.contains("RCLONE_CA_CERT") && report.message.contains("customCA"), "{}", report.message);
    assert!(!report.message.contains(SECRET), "{}", report.message);
}
