//! Credentials that rclone finds in its environment, as the cluster or a person provides them: in no Secret, and in no message.

use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::process::Command;
use std::time::Duration;

use scribe_mover::report::Outcome;

use crate::support::program::{clean, mover, program, report};
use crate::support::server::{KEY, SECRET};
use crate::support::token_service::token_service;
use crate::support::tree::write;
use crate::support::{Site, rclone};

/// The site's section, without keys in it.
fn keyless() -> Site {
    let site = Site::with_bucket();
    write(site.source.path(), "a", "a");
    let conf = format!("[s3]\ntype = s3\nprovider = Other\nendpoint = http://{}\nregion = us-east-1\nenv_auth = true\n", site.address());
    fs::write(site.secret.path().join("rclone.conf"), conf).unwrap();
    site
}

#[test]
fn keys_of_the_environment_reach_rclone() {
    let site = keyless();
    let mut push = mover(&site, "push", site.source.path(), &[]);
    let report = report(&push.env("AWS_ACCESS_KEY_ID", KEY).env("AWS_SECRET_ACCESS_KEY", SECRET).output().unwrap());
    assert_eq!(report.result, Outcome::Successful, "{}", report.message);
}

#[test]
fn keys_of_a_home_reach_rclone_by_hand() {
    let site = keyless();
    let home = site.scratch.path().join("home");
    fs::create_dir_all(home.join(".aws")).unwrap();
    fs::write(home.join(".aws/credentials"), format!("[me]\naws_access_key_id = {KEY}\naws_secret_access_key = {SECRET}\n")).unwrap();
    let mut push = Command::new(program());
    push.args(["push", "--remote", &site.name, "--owner", "shop/db", "--owner-uid", "uid-1", "--volume"]).arg(site.source.path());
    clean(&mut push).env("TMPDIR", site.scratch.path()).env("RCLONE_CONFIG", site.secret.path().join("rclone.conf"));
    let report = report(&push.arg("--rclone").arg(rclone()).env("HOME", &home).env("AWS_PROFILE", "me").output().unwrap());
    assert_eq!(report.result, Outcome::Successful, "{}", report.message);
}

/// What a cluster adds to the pods of a ServiceAccount: a role, and a file with a token for it.
#[test]
fn the_identity_of_a_service_account_reaches_rclone() {
    let site = keyless();
    let (service, asked) = token_service(IpAddr::V4(Ipv4Addr::LOCALHOST), KEY, SECRET);
    let token = site.scratch.path().join("token");
    fs::write(&token, "TOKENOFTHEACCOUNT").unwrap();
    let mut push = mover(&site, "push", site.source.path(), &[]);
    push.env("AWS_ROLE_ARN", "arn:aws:iam::123456789012:role/scribe").env("AWS_WEB_IDENTITY_TOKEN_FILE", &token);
    push.env("AWS_REGION", "us-east-1").env("AWS_ENDPOINT_URL_STS", service);
    let report = report(&push.output().unwrap());
    assert_eq!(report.result, Outcome::Successful, "{}", report.message);
    let asked = asked.recv_timeout(Duration::from_secs(1)).unwrap();
    for part in ["Action=AssumeRoleWithWebIdentity", "WebIdentityToken=TOKENOFTHEACCOUNT", "role%2Fscribe"] {
        assert!(asked.contains(part), "{asked}");
    }
}
