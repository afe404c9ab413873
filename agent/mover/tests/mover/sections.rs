//! Sections that lead nowhere, or to the mover's own memory or file system: refused before rclone runs, with the option to correct.

use std::fs;

use assert_fs::TempDir;
use rstest::rstest;
use scribe_mover::report::Reason;

use crate::support::Site;
use crate::support::program::{mover, report};
use crate::support::server::{Backend, obscured};
use crate::support::tree::write;

#[rstest]
#[case::memory("type = memory", "type in section [s3]")]
#[case::memory_behind("type = alias\nremote = base:x\n[base]\ntype = memory", "type in section [base]")]
#[case::memory_written_out("type = alias\nremote = :memory:x", "remote in section [s3]")]
#[case::wrong_name("type = combine\nupstreams = other=base:bucket more=base:x\n[base]\ntype = local", "upstreams in section [s3]")]
#[case::no_upstreams("type = union", "upstreams in section [s3]")]
#[case::no_remote("type = crypt\npassword = OBSCURED", "remote in section [s3]")]
#[case::empty_remote("type = alias\nremote =", "remote in section [s3]")]
#[case::no_such_section("type = alias\nremote = gone:x", "remote in section [s3]")]
#[case::relative_behind("type = crypt\npassword = OBSCURED\nremote = base:below\n[base]\ntype = local", "remote in section [s3]")]
#[case::relative_without_a_section("type = crypt\npassword = OBSCURED\nremote = below/this", "remote in section [s3]")]
#[case::relative("type = local", "bucket/path")]
fn a_section_that_leads_to_no_remote(#[case] section: &str, #[case] words: &str) {
    let site = Site::at(&Site::on(Backend::Local).server, "s3:bucket/path");
    write(site.source.path(), "a", "a");
    let conf = format!("[s3]\n{section}\n").replace("OBSCURED", &obscured());
    fs::write(site.secret.path().join("rclone.conf"), conf).unwrap();
    for (verb, volume) in [("pull", site.dest.path()), ("push", site.source.path())] {
        let here = TempDir::new().unwrap();
        let report = report(&mover(&site, verb, volume, &[]).current_dir(here.path()).output().unwrap());
        assert_eq!(report.reason, Some(Reason::SecretInvalid), "{verb}: {}", report.message);
        for words in [words, "rclone.conf", "creds"] {
            assert!(report.message.contains(words), "{verb}: {}", report.message);
        }
        assert_eq!(fs::read_dir(here.path()).unwrap().count(), 0, "{verb} wrote where the mover runs");
    }
}

/// A right one is not refused.
#[rstest]
#[case("type = combine\nupstreams = bucket=base:ROOT/x other=base:ROOT/y\n[base]\ntype = local")]
#[case("type = union\nupstreams = ROOT/x base:ROOT/y:ro\n[base]\ntype = local")]
#[case("type = hasher\nremote = al:\n[al]\ntype = alias\nremote = base:ROOT\n[base]\ntype = local")]
#[case("type = alias\nremote = :local:ROOT")]
fn a_section_that_leads_to_a_folder(#[case] section: &str) {
    let site = Site::at(&Site::on(Backend::Local).server, "s3:bucket/path");
    write(site.source.path(), "a", "a");
    let root = TempDir::new().unwrap();
    fs::create_dir(root.path().join("x")).unwrap();
    fs::create_dir(root.path().join("y")).unwrap();
    let conf = format!("[s3]\n{section}\n").replace("ROOT", root.path().to_str().unwrap());
    fs::write(site.secret.path().join("rclone.conf"), conf).unwrap();
    for (verb, volume) in [("push", site.source.path()), ("pull", site.dest.path())] {
        let output = mover(&site, verb, volume, &[]).output().unwrap();
        assert!(output.status.success(), "{verb}: {}", report(&output).message);
    }
    assert_eq!(fs::read(site.dest.path().join("a")).unwrap(), b"a");
}
