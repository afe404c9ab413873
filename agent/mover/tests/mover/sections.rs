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
#[case::quoted("type = alias\nremote = \"/srv\"", "remote in section [s3]")]
#[case::quoted_otherwise("type = crypt\npassword = OBSCURED\nremote = '/srv'", "remote in section [s3]")]
#[case::quoted_upstream("type = combine\nupstreams = bucket='/srv'", "upstreams in section [s3]")]
#[case::relative_written_out("type = alias\nremote = :crypt,remote=below,password=OBSCURED:", "remote in section [s3]")]
#[case::relative_after_the_name("type = alias\nremote = base,remote=below:\n[base]\ntype = alias\nremote = /srv", "remote in section [s3]")]
#[case::relative_inherited("type = alias\nremote = p.k:x\n[p]\nremote = below\n[p.k]\ntype = alias", "remote in section [p.k]")]
#[case::archive("type = archive\nremote = below", "remote in section [s3]")]
#[case::archive_alone("type = archive", "remote in section [s3]")]
#[case::memory_with_options("type = alias\nremote = base,description='type=':x\n[base]\ntype = memory", "type in section [base]")]
#[case::memory_written_out_twice("type = alias\nremote = :alias,remote=':memory:':x", "remote in section [s3]")]
#[case::memory_composed("type = alias\nremote = %(a)s:x\na = :memory", "remote in section [s3]")]
#[case::memory_in_a_note("type = alias\nremote = base:x\n[note]\ndescription = `\n[base]\ntype = memory", "type in section [base]")]
#[case::circle("type = alias\nremote = base:\n[base]\ntype = hasher\nremote = s3:", "remote in section [")]
#[case::no_connection_string("type = alias\nremote = base,x='y:z\n[base]\ntype = local", "remote in section [s3]")]
fn a_section_that_leads_to_no_remote(#[case] section: &str, #[case] words: &str) {
    leads_to_no_remote(section, &[], words);
}

#[rstest]
#[case::empty("type = crypt\npassword = OBSCURED\nremote = /srv", ("RCLONE_CONFIG_S3_REMOTE", ""), "remote in section [s3]")]
#[case::blank("type = crypt\npassword = OBSCURED\nremote = /srv", ("RCLONE_CONFIG_S3_REMOTE", " /srv"), "remote in section [s3]")]
#[case::of_another_section(
    "type = alias\nremote = my-base:/srv\n[my-base]\ntype = memory",
    ("RCLONE_CONFIG_MY_BASE_TYPE", "local"),
    "type in section [my-base]"
)]
#[case::of_the_backend("type = alias\nremote = /srv", ("RCLONE_ALIAS_REMOTE", "below"), "remote in section [s3]")]
fn a_variable_that_leads_to_no_remote(#[case] section: &str, #[case] variable: (&str, &str), #[case] words: &str) {
    leads_to_no_remote(section, &[variable], words);
}

fn leads_to_no_remote(section: &str, vars: &[(&str, &str)], words: &str) {
    let site = Site::at(&Site::on(Backend::Local).server, "s3:bucket/path");
    write(site.source.path(), "a", "a");
    let conf = format!("[s3]\n{section}\n").replace("OBSCURED", &obscured());
    fs::write(site.secret.path().join("rclone.conf"), conf).unwrap();
    for (name, value) in vars {
        fs::write(site.secret.path().join(name), value).unwrap();
    }
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
#[case("type = union\nupstreams = ROOT/x base:ROOT/y:nc\n[base]\ntype = local")]
#[case("type = hasher\nremote = al:\n[al]\ntype = alias\nremote = base:ROOT\n[base]\ntype = local")]
#[case("type = alias\nremote = :local:ROOT")]
#[case("type = alias\nremote = :alias,remote='ROOT/x':")]
#[case("type = alias\nremote = %(where)s\nwhere = ROOT")]
#[case("type = alias\nremote = base.kid:ROOT\n[base]\ntype = local\n[ base.kid ]\ndescription = x")]
#[case("type = alias\nremote = ROOT\ndescription = current,versions of it elsewhere")]
#[case("type = archive\nremote = ROOT")]
fn a_section_that_leads_to_a_folder(#[case] section: &str) {
    leads_to_a_folder("s3", &format!("[s3]\n{section}\n"), &[]);
}

/// The names of variables have the section's own dashes.
#[rstest]
#[case("[other]\ntype = local\n", &[("RCLONE_CONFIG_MY-S3_TYPE", "alias"), ("RCLONE_CONFIG_MY-S3_REMOTE", "ROOT")])]
#[case("[my-s3]\ntype = alias\n", &[("RCLONE_CONFIG_MY-S3_REMOTE", "ROOT")])]
#[case("[my-s3]\ntype = alias\nremote = my-base:ROOT\n", &[("RCLONE_CONFIG_MY-BASE_TYPE", "local")])]
fn a_variable_that_leads_to_a_folder(#[case] conf: &str, #[case] vars: &[(&str, &str)]) {
    leads_to_a_folder("my-s3", conf, vars);
}

fn leads_to_a_folder(section: &str, conf: &str, vars: &[(&str, &str)]) {
    let site = Site::at(&Site::on(Backend::Local).server, &format!("{section}:bucket/path"));
    write(site.source.path(), "a", "a");
    let root = TempDir::new().unwrap();
    fs::create_dir(root.path().join("x")).unwrap();
    fs::create_dir(root.path().join("y")).unwrap();
    for (name, text) in [("rclone.conf", conf)].iter().chain(vars) {
        fs::write(site.secret.path().join(name), text.replace("ROOT", root.path().to_str().unwrap())).unwrap();
    }
    for (verb, volume) in [("push", site.source.path()), ("pull", site.dest.path())] {
        let output = mover(&site, verb, volume, &[]).output().unwrap();
        assert!(output.status.success(), "{verb}: {}", report(&output).message);
    }
    assert_eq!(fs::read(site.dest.path().join("a")).unwrap(), b"a");
}
