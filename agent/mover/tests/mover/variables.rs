//! Variables `RCLONE_*` in a user's Secret: none changes what the mover's commands mean, or hides what rclone left out.

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;

use assert_fs::TempDir;
use rstest::rstest;
use scribe_mover::rclone::environment::from_mount;
use scribe_mover::report::Reason;

use crate::support::proxy::Action;
use crate::support::server::Backend;
use crate::support::tree::write;
use crate::support::{Site, opened, rclone};

/// What the mover runs.
const COMMANDS: [&str; 11] = ["backend", "cat", "copy", "copyto", "delete", "hashsum", "lsjson", "mkdir", "moveto", "rmdirs", "size"];

/// Flags of these commands alone, as variables, by rclone's own help.
fn flags_of_commands() -> BTreeSet<String> {
    let mut flags = BTreeSet::new();
    for command in COMMANDS {
        let output = Command::new(rclone()).args([command, "--help"]).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let of_command = text.lines().skip_while(|line| *line != "Flags:").skip(1).take_while(|line| !line.is_empty());
        for line in of_command {
            let flag = line.split_whitespace().find_map(|word| word.strip_prefix("--")).unwrap();
            flags.insert(format!("RCLONE_{}", flag.to_uppercase().replace('-', "_")));
        }
    }
    flags.remove("RCLONE_HELP");
    flags
}

/// `RCLONE_DIRS_ONLY` made every listing an empty one, and a first push overwrote the files of others.
#[test]
fn no_flag_of_a_command_is_set_by_a_secret() {
    let flags = flags_of_commands();
    assert!(flags.len() > 20 && flags.contains("RCLONE_DIRS_ONLY"), "{flags:?}");
    for name in flags {
        let secret = TempDir::new().unwrap();
        fs::write(secret.path().join("rclone.conf"), "[s]\ntype = local\n").unwrap();
        fs::write(secret.path().join(&name), "true").unwrap();
        let failure = from_mount(secret.path(), None, &[]).map(|_| ()).unwrap_err();
        assert_eq!(failure.reason, Reason::SecretInvalid);
        assert!(failure.message.contains(&name), "{name}: {}", failure.message);
    }
}

/// Whatever way it takes to rclone.
#[rstest]
#[case::backend("remote = base:", ("RCLONE_ALIAS_REMOTE", "base,global.retries=3:"), "RCLONE_ALIAS_REMOTE")]
#[case::crypt("remote = base:", ("RCLONE_CRYPT_REMOTE", "base,global.retries=3:"), "RCLONE_CRYPT_REMOTE")]
#[case::union("remote = base:", ("RCLONE_UNION_UPSTREAMS", "base,global.retries=3:"), "RCLONE_UNION_UPSTREAMS")]
#[case::any("remote = base:", ("RCLONE_OTHER", "base,override.retries=3:"), "RCLONE_OTHER")]
#[case::quoted("remote = base:\n\"\"\"global.retries\"\"\" = 3", ("RCLONE_TRANSFERS", "2"), "section [s3]")]
#[case::one_backtick("remote = base:\ndescription = `\nglobal.retries = 3", ("RCLONE_TRANSFERS", "2"), "section [s3]")]
#[case::three_quotes("remote = base:\ndescription = \"\"\"\nglobal.retries = 3", ("RCLONE_TRANSFERS", "2"), "section [s3]")]
#[case::composed("remote = base,%(g)s.retries=3:\ng = global", ("RCLONE_TRANSFERS", "2"), "option remote of section [s3]")]
#[case::in_a_value("remote = :alias,remote='base,global.retries=3:':", ("RCLONE_TRANSFERS", "2"), "option remote of section [s3]")]
fn an_option_that_hides_what_was_left_out(#[case] section: &str, #[case] variable: (&str, &str), #[case] words: &str) {
    let secret = TempDir::new().unwrap();
    fs::write(secret.path().join("rclone.conf"), format!("[s3]\ntype = alias\n{section}\n[base]\ntype = local\n")).unwrap();
    fs::write(secret.path().join(variable.0), variable.1).unwrap();
    let failure = opened(secret.path(), "s3").map(drop).unwrap_err();
    assert_eq!(failure.reason, Reason::SecretInvalid);
    assert!(failure.message.contains(".retries") && failure.message.contains(words), "{}", failure.message);
}

/// A retry of rclone's counts again what it transfers again, and the count is what shows that a file was left out.
#[test]
fn more_retries_do_not_hide_what_was_left_out() {
    let site = Site::on(Backend::WebDav);
    for name in ["a", "b", "c"] {
        write(site.source.path(), name, format!("old {name}"));
    }
    site.push();
    for name in ["a", "b", "c"] {
        write(site.source.path(), name, format!("new content of {name}"));
    }
    fs::write(site.secret.path().join("RCLONE_RETRIES"), "3").unwrap();
    let (mut refused, mut committed) = (false, false);
    site.proxy.rule(move |request| {
        committed |= request.is("MOVE", "commit.json");
        let staged = request.target.contains("/staged/");
        if committed && staged && request.method == "PROPFIND" && request.target.ends_with("/a") {
            return Action::Answer("404 Not Found", "");
        }
        if request.is("COPY", "/staged/") && request.target.ends_with("/c") && !refused {
            refused = true;
            return Action::Answer("409 Conflict", "");
        }
        Action::Pass
    });
    let pushed = site.try_push();
    assert!(pushed.is_err(), "{pushed:?}");
    site.proxy.behave();
    site.push();
    site.pull();
}
