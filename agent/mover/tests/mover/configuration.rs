//! The configuration of rclone, as rclone reads it: encrypted, odd or broken, and what the user sets there before what the mover would.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use rstest::rstest;
use scribe_mover::report::{Outcome, Reason, Report};

use crate::support::program::{mover, mover_by, report};
use crate::support::server::{Backend, SECRET, Server, obscured};
use crate::support::tree::{assert_same, write};
use crate::support::{Site, rclone};

const PASSWORD: &str = "hunter2-of-the-file";

fn run(site: &Site, verb: &str) -> Report {
    let volume = if verb == "push" { site.source.path() } else { site.dest.path() };
    report(&mover(site, verb, volume, &[]).output().unwrap())
}

fn conf(site: &Site) -> String {
    fs::read_to_string(site.secret.path().join("rclone.conf")).unwrap()
}

fn set(site: &Site, key: &str, value: impl AsRef<[u8]>) {
    fs::write(site.secret.path().join(key), value).unwrap();
}

/// A site of this section, whose Secret has `[s3]` too.
fn of_section(section: &str) -> Site {
    let server = Server::start(Backend::S3);
    fs::create_dir(server.buckets.path().join("bucket")).unwrap();
    Site::at(&server.into(), &format!("{section}:bucket/path"))
}

/// A variable of ours comes before the file to rclone, whichever section the option stands in: a chunk of ours has 5 MiB.
#[rstest]
#[case::itself("s3", "\nchunk_size = 8Mi\n", "")]
#[case::behind_an_alias("al", "chunk_size = 8Mi\n[al]\ntype = alias\nremote = s3:\n", "")]
#[case::behind_crypt("enc", "chunk_size = 8Mi\n[enc]\ntype = crypt\nremote = s3:\npassword = OBSCURED\n", "")]
#[case::inherited("al", "[p]\nchunk_size = 8Mi\n[p.q]\nSECTION\n[al]\ntype = alias\nremote = p.q:\n", "")]
#[case::variable_of_a_section("al", "[al]\ntype = alias\nremote = s3:\n", "RCLONE_CONFIG_S3_CHUNK_SIZE")]
#[case::variable_of_the_backend("al", "[al]\ntype = alias\nremote = s3:\n", "RCLONE_S3_CHUNK_SIZE")]
#[case::after_the_name("al", "[al]\ntype = alias\nremote = s3,chunk_size=8Mi:\n", "")]
fn the_users_setting_comes_before_ours(#[case] section: &str, #[case] more: &str, #[case] variable: &str) {
    let site = of_section(section);
    let more = more.replace("OBSCURED", &obscured()).replace("SECTION", &site.server.section(&site.address(), crate::support::server::KEY));
    set(&site, "rclone.conf", conf(&site) + &more);
    set(&site, "RCLONE_S3_UPLOAD_CUTOFF", "5Mi");
    if !variable.is_empty() {
        set(&site, variable, "8Mi");
    }
    write(site.source.path(), "big", vec![b'x'; 14 << 20]);
    let pushed = run(&site, "push");
    assert_eq!(pushed.result, Outcome::Successful, "{}", pushed.message);
    let parts = site.proxy.take().iter().filter(|request| request.method == "PUT" && request.target.contains("partNumber=")).count();
    assert_eq!(parts, 2, "of 8 MiB");
}

fn encrypted() -> Site {
    let site = Site::with_bucket();
    write(site.source.path(), "a", "a");
    let encrypt = ["config", "encryption", "set", "--password-command"];
    let mut command = Command::new(rclone());
    command.args(encrypt).arg(format!("echo {PASSWORD}")).env("RCLONE_CONFIG", site.secret.path().join("rclone.conf"));
    assert!(command.output().unwrap().status.success());
    assert!(conf(&site).contains("RCLONE_ENCRYPT_V0") && !conf(&site).contains("type"));
    site
}

#[test]
fn an_encrypted_configuration_is_read_with_its_password() {
    let site = encrypted();
    set(&site, "RCLONE_CONFIG_PASS", format!("{PASSWORD}\n"));
    for verb in ["push", "pull"] {
        let report = run(&site, verb);
        assert_eq!(report.result, Outcome::Successful, "{verb}: {}", report.message);
    }
    assert_same(site.source.path(), site.dest.path());
}

/// What it holds is unknown before it is read, and no less secret.
#[test]
fn what_an_encrypted_configuration_holds_is_refused_and_redacted_all_the_same() {
    let site = Site::new();
    let text = format!("[s3]\ntype = alias\nremote = base,global.dry_run=true:x\n[base]\ntype = local\nkey = {SECRET}\n");
    set(&site, "rclone.conf", text);
    let mut command = Command::new(rclone());
    command.args(["config", "encryption", "set", "--password-command"]).arg(format!("echo {PASSWORD}"));
    assert!(command.env("RCLONE_CONFIG", site.secret.path().join("rclone.conf")).output().unwrap().status.success());
    set(&site, "RCLONE_CONFIG_PASS", PASSWORD);
    let report = run(&site, "push");
    assert_eq!(report.reason, Some(Reason::SecretInvalid));
    assert!(report.message.contains("global.dry_run in option remote of section [s3]"), "{}", report.message);
}

#[rstest]
#[case::missing("")]
#[case::wrong("another-password")]
fn the_password_that_an_encrypted_configuration_needs_is_named(#[case] password: &str) {
    let site = encrypted();
    if !password.is_empty() {
        set(&site, "RCLONE_CONFIG_PASS", password);
    }
    for verb in ["push", "pull"] {
        let report = run(&site, verb);
        assert_eq!(report.reason, Some(Reason::SecretInvalid), "{}", report.message);
        for word in ["RCLONE_CONFIG_PASS", "creds", "rclone.conf"] {
            assert!(report.message.contains(word), "{}", report.message);
        }
        assert!(password.is_empty() || !report.message.contains(password), "{}", report.message);
    }
}

/// Whatever its spelling.
#[rstest]
#[case(|text: &str| text.replace("[s3]", "[ s3 ]"))]
#[case(|text: &str| text.replace(" = ", ": "))]
#[case(|text: &str| format!("\u{feff}; note\r\n{}", text.replace('\n', "\r\n")))]
#[case(|text: &str| format!("kind = s3\n{}", text.replace("type = s3", "type = %(kind)s")))]
fn a_section_is_what_rclone_reads(#[case] spelled: fn(&str) -> String) {
    let site = Site::with_bucket();
    write(site.source.path(), "a", "a");
    set(&site, "rclone.conf", spelled(&conf(&site)));
    let report = run(&site, "push");
    assert_eq!(report.result, Outcome::Successful, "{}", report.message);
}

/// rclone quotes the line, which may be a part of a key: the rest of its sentence is shown.
#[rstest]
#[case::of_a_key("[s3]\ntype = s3\nkey_pem = -----BEGIN\nHUNTER2HUNTER2\n", "could not parse line 4")]
#[case::short("[s3]\ntype = s3\nHUNT\n", "could not parse line 3")]
#[case::without_a_section("[]\nHUNTER2 = 1\n", "empty section name")]
#[case::binary("[s3]\ntype = s3\n\u{0}HUNTER2\n", "could not parse line 3")]
fn a_line_that_rclone_cannot_read_is_named_and_not_shown(#[case] text: &str, #[case] words: &str) {
    let site = Site::new();
    set(&site, "rclone.conf", text);
    let output = mover(&site, "pull", site.dest.path(), &[]).env("RUST_LOG", "debug").output().unwrap();
    let report = report(&output);
    assert_eq!(report.reason, Some(Reason::SecretInvalid), "{}", report.message);
    assert!(report.message.contains(words) && report.message.contains("creds"), "{}", report.message);
    let all = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(!all.contains("HUNT"), "{all}");
}

#[rstest]
#[case("RCLONE_TRANSFERS", "ten")]
#[case("RCLONE_S3_CHUNK_SIZE", "ten")]
#[case("RCLONE_BWLIMIT", "a lot")]
fn a_variable_that_rclone_does_not_understand_is_named(#[case] name: &str, #[case] value: &str) {
    let site = Site::new();
    set(&site, name, value);
    let report = run(&site, "pull");
    assert_eq!(report.reason, Some(Reason::SecretInvalid), "{}", report.message);
    assert!(report.message.contains(name) && report.message.contains("creds"), "{}", report.message);
}

/// They change what rclone prints now and then, which only the mover reads.
#[test]
fn how_statistics_are_shown_is_no_matter() {
    let site = Site::with_bucket();
    write(site.source.path(), "a", "a");
    for (name, value) in [("RCLONE_STATS", "1s"), ("RCLONE_STATS_LOG_LEVEL", "ERROR"), ("RCLONE_STATS_ONE_LINE", "true")] {
        set(&site, name, value);
    }
    for verb in ["push", "pull"] {
        let report = run(&site, verb);
        assert_eq!(report.result, Outcome::Successful, "{verb}: {}", report.message);
    }
}

/// As kubelet replaces a mounted Secret, right before rclone begins with this: what was read and checked counts, for each rclone of the sync.
#[rstest]
#[case::before_rclone_reads_it("rcd")]
#[case::before_another_rclone_starts("lsjson")]
fn a_secret_that_is_replaced_during_a_sync(#[case] command: &str) {
    let site = Site::with_bucket();
    write(site.source.path(), "a", "a");
    let (old, new) = (site.secret.path().join("..old"), site.secret.path().join("..new"));
    for version in [&old, &new] {
        fs::create_dir(version).unwrap();
    }
    fs::write(old.join("rclone.conf"), conf(&site)).unwrap();
    fs::write(new.join("rclone.conf"), format!("[s3]\ntype = alias\nremote = {}\n", site.dest.path().display())).unwrap();
    fs::create_dir_all(site.dest.path().join("bucket/path")).unwrap();
    write(site.dest.path(), "bucket/path/another", "replication's");
    std::os::unix::fs::symlink("..old", site.secret.path().join("..data")).unwrap();
    fs::remove_file(site.secret.path().join("rclone.conf")).unwrap();
    std::os::unix::fs::symlink("..data/rclone.conf", site.secret.path().join("rclone.conf")).unwrap();

    let wrapper = site.scratch.path().join("rclone");
    let swap = format!("ln -sfn ..new {}", site.secret.path().join("..data").display());
    fs::write(&wrapper, format!("#!/bin/sh\n[ \"$1\" = {command} ] && {swap}\nexec {} \"$@\"\n", rclone().display())).unwrap();
    fs::set_permissions(&wrapper, fs::Permissions::from_mode(0o755)).unwrap();
    let pushed = report(&mover_by(&wrapper, &site, "push", site.source.path(), &[]).output().unwrap());
    assert_eq!(pushed.result, Outcome::Successful, "{}", pushed.message);
    assert_eq!(fs::read_link(site.secret.path().join("..data")).unwrap(), Path::new("..new"), "it was replaced");
    assert_eq!(fs::read(site.object("a")).unwrap(), b"a");
    assert!(!site.dest.path().join("bucket/path/a").exists());
}
