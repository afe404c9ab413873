use super::*;

fn path(bytes: &[u8]) -> RelPath {
    RelPath::new(bytes).unwrap()
}

fn left_out(patterns: &[&str], name: &str) -> bool {
    Exclude::new(patterns).unwrap().leaves_out(&path(name.as_bytes()), name.ends_with("dir"))
}

#[test]
fn patterns_mean_what_they_mean_to_git() {
    for (patterns, name, expected) in [
        (&["*.tmp"][..], "a.tmp", true),
        (&["*.tmp"], "sub/a.tmp", true),
        (&["*.tmp"], "a.tmp.b", false),
        (&["/cache"], "cache", true),
        (&["/cache"], "sub/cache", false),
        (&["sub/cache"], "sub/cache", true),
        (&["sub/cache"], "a/sub/cache", false),
        (&["**/sub/cache"], "a/sub/cache", true),
        (&["sub/**"], "sub/a/b", true),
        (&["sub/**"], "sub", false),
        (&["a/**/b"], "a/b", true),
        (&["a/**/b"], "a/x/y/b", true),
        (&["*dir/"], "a-dir", true),
        (&["file/"], "file", false),
        (&["*", "!keep"], "keep", false),
        (&["!keep", "*"], "keep", true),
        (&["{a,b}"], "a", false),
        (&["{a,b}"], "{a,b}", true),
        (&["x/a[!b]c"], "x/a/c", false),
        (&["x/a[!b]c"], "x/adc", true),
        (&["a[+-0]c"], "a/c", false),
        (&["a[+-0]c"], "a0c", true),
        (&["[]-]"], "]", true),
        (&["\\#a"], "#a", true),
        (&["\\!a"], "!a", true),
        (&["a\\*"], "a*", true),
        (&["a\\*"], "ab", false),
        (&["a\\ "], "a ", true),
        (&["a."], "a.", true),
    ] {
        assert_eq!(left_out(patterns, name), expected, "{patterns:?} {name}");
    }
}

#[test]
fn names_are_bytes() {
    let exclude = Exclude::new(&["*.tmp", "?", "caf\u{e9}"]).unwrap();
    assert!(exclude.leaves_out_any(&path(b"\xff\xfe.tmp")) && exclude.leaves_out_any(&path(b"a/\xff")));
    assert!(exclude.leaves_out_any(&path("caf\u{e9}".as_bytes())) && !exclude.leaves_out_any(&path(b"caf\xe9")));
    assert!(!exclude.leaves_out_any(&path("\u{e9}".as_bytes())), "two bytes");
}

#[test]
fn what_cannot_be_meant_is_quoted() {
    for (pattern, advice) in [
        ("", "names nothing"),
        ("  ", "names nothing"),
        ("/", "names nothing"),
        ("!", "names nothing"),
        ("# note", "\\#"),
        ("a\nb", "control character"),
        ("a\\", "\\\\"),
        ("a\\/", "\\\\"),
        ("a***b", "** beside"),
        ("a**/b", "** beside"),
        ("a//b", "two slashes"),
        ("*\u{3000}", "U+3000"),
        ("cache\u{a0}", "U+00A0"),
        ("\u{a0}", "U+00A0"),
        ("!\u{2003}", "U+2003"),
        ("[a", "\\["),
        ("a ", "\\ and a space"),
        ("a\\\\ ", "\\ and a space"),
        ("[z-a]", "[a-z]"),
        ("[[:alpha:]]", "ASCII"),
        ("[\\]]", "without a backslash"),
        ("[\u{e9}]", "ASCII"),
        ("[a-c-e]", "first or last"),
        ("[/]", "begins no set"),
    ] {
        let error = Exclude::new(&["fine", pattern]).unwrap_err();
        assert!(error.starts_with(&format!("pattern {pattern:?} ")) && error.contains(advice), "{pattern:?}: {error}");
    }
    assert!(Exclude::new(&["a".repeat(257)]).unwrap_err().contains("longer than 256"));
    assert!(Exclude::new(&vec!["a"; 101]).unwrap_err().contains("at most 100"));
    let many: Vec<String> = (0..MOST_PATTERNS).map(|n| format!("{n}{}", "*a?".repeat(84))).collect();
    assert!(Exclude::new(&many).is_ok(), "the largest that is allowed");
}

#[test]
fn the_digest_is_that_of_the_patterns_in_their_order() {
    let digest = |patterns: &[&str]| Exclude::new(patterns).unwrap().digest().map(str::to_owned);
    assert_eq!(digest(&[]), None);
    let expected = Digest(Sha256::digest("a\n!b\n").into()).hex();
    assert_eq!(digest(&["a", "!b"]), Some(expected.clone()));
    assert_ne!(digest(&["!b", "a"]), Some(expected));
}
