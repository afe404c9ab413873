//! Which names patterns leave out, held against git itself: this test requires git.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::Command;

use assert_fs::TempDir;
use proptest::prelude::*;
use proptest::sample::select;
use scribe_mover::stop::Stop;
use scribe_mover::volume::beneath::Root;
use scribe_mover::volume::exclude::Exclude;
use scribe_mover::volume::walk::{FoundKind, walk};

use crate::support::tree::write;

const FOLDERS: &[&str] = &["", "a", "a/b", "a/b/a", "b", "b/a", "ab", "ab/a/b", ".c", "a.b", "\u{fc}"];
const FILES: &[&[u8]] = &[
    b"f",
    b"a-",
    b"b-",
    b"ab-",
    b"ba",
    b"a.tmp",
    b".tmp",
    b"b.",
    b"..c",
    b"{a,b}",
    b"{",
    b"!a",
    b"#a",
    b"a b",
    b" a",
    b"a ",
    b"A",
    b"[ab]",
    b"*",
    b"?",
    b"\\",
    b"a\\b",
    b"\xff",
    b"\xff\xfe.tmp",
    b"\xc3\xa9",
    b"-",
    b"]",
    b"^",
    b"0",
    b"+",
    b",",
];

/// A volume with names that patterns may take for each other.
fn volume() -> TempDir {
    let volume = TempDir::new_in("/dev/shm").unwrap();
    for folder in FOLDERS {
        for file in FILES {
            write(volume.path(), Path::new(folder).join(OsStr::from_bytes(file)), "");
        }
    }
    volume
}

/// The files that git, asked for all that are not tracked, does not leave out.
fn by_git(volume: &Path, repository: &Path, patterns: &[String]) -> BTreeSet<Vec<u8>> {
    let file = repository.join("patterns");
    fs::write(&file, patterns.join("\n") + "\n").unwrap();
    let mut git = Command::new("git");
    git.env_clear().env("PATH", std::env::var_os("PATH").unwrap()).env("GIT_CONFIG_NOSYSTEM", "1").env("HOME", repository);
    git.arg("--git-dir").arg(repository.join("git")).arg("--work-tree").arg(volume).current_dir(volume);
    let listed = git.args(["ls-files", "--others", "-z", "--exclude-from"]).arg(&file).output().unwrap();
    assert!(listed.status.success(), "{}", String::from_utf8_lossy(&listed.stderr));
    listed.stdout.split(|byte| *byte == 0).filter(|name| !name.is_empty()).map(<[u8]>::to_vec).collect()
}

fn by_walk(volume: &Path, exclude: &Exclude) -> BTreeSet<Vec<u8>> {
    let (root, stop) = (Root::open(volume).unwrap(), Stop::default());
    let found = walk(&root, &stop).unwrap().without(exclude).map(Result::unwrap);
    found.filter(|found| matches!(found.kind, FoundKind::File(_))).map(|found| found.path.as_bytes().to_vec()).collect()
}

/// Patterns as people write them, and some that nobody would.
fn pattern() -> impl Strategy<Value = String> {
    const PARTS: &[&str] = &[
        "a",
        "b",
        "ab",
        "f",
        "tmp",
        ".",
        "-",
        "*",
        "*",
        "**",
        "?",
        "/",
        "/",
        "/",
        "[ab]",
        "[!a]",
        "[^b.]",
        "[a-c]",
        "[+-0]",
        "[]-]",
        "[!]a]",
        "[!-]",
        "[a^]",
        "[,-\u{5b}]",
        "{a,b}",
        "{",
        "}",
        ",",
        "\\a",
        "\\*",
        "\\[",
        "\\\\",
        "\\ ",
        " ",
        "!",
        "#",
        "^",
        "+",
        "0",
        "\u{e9}",
        "A",
        "a/**/b",
        "**/",
        "/**",
    ];
    let parts = prop::collection::vec(select(PARTS), 1..5).prop_map(|parts| parts.concat());
    let ends = (select(&["", "", "", "/", "!", "!/", "\\!", "\\#", "**/"][..]), select(&["", "", "", "", "/", "/*", "/**"][..]));
    (parts, ends).prop_map(|(pattern, (start, end))| format!("{start}{pattern}{end}"))
}

#[test]
fn the_same_files_are_left_out_as_by_git() {
    let (volume, repository) = (volume(), TempDir::new().unwrap());
    let made = Command::new("git").args(["init", "--quiet", "--bare"]).arg(repository.path().join("git")).status();
    assert!(made.expect("this test requires git in PATH").success());
    let cases = std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(300);
    let mut runner =
        proptest::test_runner::TestRunner::new(ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() });
    let some = |pattern: &String| Exclude::new(&[pattern]).is_ok();
    let patterns = prop::collection::vec(pattern().prop_filter("is refused", some), 1..5);
    let ran = runner.run(&patterns, |patterns| {
        let expected = by_git(volume.path(), repository.path(), &patterns);
        let found = by_walk(volume.path(), &Exclude::new(&patterns).unwrap());
        let shown = |names: Vec<&Vec<u8>>| names.into_iter().map(|name| String::from_utf8_lossy(name).into_owned()).collect::<Vec<_>>();
        let (more, less) = (shown(found.difference(&expected).collect()), shown(expected.difference(&found).collect()));
        prop_assert!(more.is_empty() && less.is_empty(), "only git leaves out {:?}, and only we {:?}", more, less);
        Ok(())
    });
    ran.unwrap_or_else(|failure| panic!("{failure}"));
}
