//! Which names can be trusted to rclone. Imports nothing of this crate.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Folder of the remote path that is ours.
pub(crate) const OURS: &str = ".scribe";
/// Folder of the volume in which a pull collects what it fetches.
pub(crate) const STAGING: &str = ".scribe-staging";

/// Whether every backend stores this relative path under its own name and gives it back unchanged. Content under other names goes
/// to `.scribe/objects`.
pub(crate) fn trusted(path: &str) -> bool {
    !path.is_empty() && path.len() <= 700 && path.split('/').next() != Some(OURS) && path.split('/').all(trusted_component)
}

fn trusted_component(name: &str) -> bool {
    let odd = |c: char| {
        c.is_control()
            || "\\:*?\"<>|".contains(c) // some backends' reserved characters
            || c == '\u{201b}' // rclone's own quoting character
            || ('\u{2400}'..='\u{2426}').contains(&c) // control pictures: rclone's encoding of control characters
            || ('\u{ff00}'..='\u{ffef}').contains(&c) // full-width forms: rclone's encoding of reserved ones
            || ('\u{0300}'..='\u{036f}').contains(&c) // combining marks: normal forms differ between backends
    };
    !name.is_empty()
        && name.len() <= 200
        && !name.contains(odd)
        && !name.starts_with([' ', '~'])
        && !name.ends_with([' ', '.'])
        && !name.ends_with(".partial")
        && !name.ends_with(".rclonelink")
}

/// A path of the volume, from its bytes.
pub(crate) fn os(path: &[u8]) -> &Path {
    Path::new(OsStr::from_bytes(path))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case("a/b c/d.txt", true)]
    #[case("ä/ß", true)]
    #[case(".scribe/x", false)]
    #[case("a/.scribe/x", true)]
    #[case("a\nb", false)]
    #[case("a‛b", false)]
    #[case("x.partial", false)]
    #[case("e\u{301}", false)]
    #[case("trailing ", false)]
    fn names(#[case] name: &str, #[case] expected: bool) {
        assert_eq!(trusted(name), expected);
    }
}
