//! The oldest rclone that works.

use std::fmt;

use crate::error::{Failure, Result};
use crate::report::Reason;

/// The first that knows the size of an object on S3 that it has copied there and does not look at, see `no_head_object`: an older one takes the
/// copy for a damaged one. Before 1.74.4 it does not say of an object there that it is missing, before 1.72 a broken configuration ends the
/// daemon, and before 1.71 `override.` in the name of a remote is not known.
pub(super) const OLDEST: Version = Version([1, 75, 1]);

/// A version of rclone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Version(pub(super) [u64; 3]);

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self([major, minor, patch]) = self;
        write!(f, "{major}.{minor}.{patch}")
    }
}

impl Version {
    /// Of numbers as rclone answers them.
    pub(super) fn of(numbers: &[u64]) -> Option<Self> {
        numbers.try_into().ok().map(Self)
    }

    /// Of what `rclone version` prints: `rclone v1.60.1-DEV`, and more lines.
    pub(super) fn printed(text: &str) -> Option<Self> {
        let version = text.lines().next()?.strip_prefix("rclone v")?;
        let end = version.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(version.len());
        let numbers: Option<Vec<u64>> = version.split_at(end).0.split('.').map(|number| number.parse().ok()).collect();
        Self::of(&numbers?)
    }

    /// Fails if this one is too old; `more` is what else there is to say.
    pub(super) fn check(self, more: &str) -> Result<()> {
        if self >= OLDEST {
            return Ok(());
        }
        Err(Failure::new(Reason::MoverFailed, format!("rclone {self} is too old: the mover needs {OLDEST} or newer{more}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case("rclone v1.60.1-DEV\n- os/version: debian 12.11", Some("1.60.1"))]
    #[case("rclone v1.75.2\n", Some("1.75.2"))]
    #[case("rclone v1.71.0-beta.8850.a1b2c3\n", Some("1.71.0"))]
    #[case("rclone v1.71\n", None)]
    #[case("rclone DEV\n", None)]
    #[case("", None)]
    fn a_version_is_read(#[case] text: &str, #[case] expected: Option<&str>) {
        assert_eq!(Version::printed(text).map(|version| version.to_string()).as_deref(), expected);
    }

    #[rstest]
    #[case([1, 75, 0], false)]
    #[case([1, 9, 0], false)]
    #[case([1, 75, 1], true)]
    #[case([1, 100, 0], true)]
    #[case([2, 0, 0], true)]
    fn an_old_one_is_refused_by_name(#[case] numbers: [u64; 3], #[case] works: bool) {
        let checked = Version::of(&numbers).unwrap().check("");
        let [major, minor, patch] = numbers;
        let names =
            |failure: &Failure| failure.message.contains(&format!("{major}.{minor}.{patch} ")) && failure.message.contains("1.75.1");
        assert!(checked.as_ref().map_or_else(names, |()| works) && checked.is_ok() == works, "{checked:?}");
    }
}
