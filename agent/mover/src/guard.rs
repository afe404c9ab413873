//! The deletion guard: whether a sync may delete what it wants to. Pure.
//!
//! Imports [`crate::failure`] and [`crate::entry`].

use sha2::{Digest as _, Sha256};

use crate::entry::Digest;
use crate::failure::{Failure, Result};
use crate::report::Reason;

/// The limits, and the one exception a person may have granted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Guard {
    /// More than this share of the files…
    pub percent: u64,
    /// …and more than this number of them is too much.
    pub floor: u64,
    /// The token of an earlier refusal.
    pub allowed: Option<String>,
}

/// What a sync is about to delete.
#[derive(Clone, Copy, Debug)]
pub struct Deletions<'a> {
    /// `the remote path` or `the volume`.
    pub place: &'static str,
    /// What the deletions are counted from; a token is good for this state only.
    pub base: &'a str,
    /// Files there now.
    pub before: u64,
    /// Files that would go.
    pub gone: u64,
    /// Files there would be afterwards.
    pub after: u64,
}

impl Guard {
    /// `Err(DeletionGuard)` with the numbers and a one-time token when it is too much.
    pub fn check(&self, deletions: &Deletions) -> Result<()> {
        let Deletions { place, base, before, gone, after } = *deletions;
        let emptied = after == 0 && before > 0;
        let too_many = gone > self.floor && u128::from(gone) * 100 > u128::from(before) * u128::from(self.percent);
        if !emptied && !too_many {
            return Ok(());
        }
        let token = token(place, base, gone);
        if self.allowed.as_ref() == Some(&token) {
            return Ok(());
        }
        let what = if emptied {
            format!("this sync would replace the {before} files of {place} by nothing")
        } else {
            format!("this sync would delete {gone} of the {before} files of {place} (guard: {}% and {})", self.percent, self.floor)
        };
        Err(Failure::new(
            Reason::DeletionGuard,
            format!(
                "{what}; nothing was deleted. If it is meant so, allow it once by the annotation scribe.backube/allow-deletions: {token}"
            ),
        ))
    }
}

/// Good for this number of deletions from this state: after it was used, the state is another one.
fn token(place: &str, base: &str, gone: u64) -> String {
    let digest = Digest(Sha256::digest(format!("{place}\n{base}\n{gone}")).into()).hex();
    format!("{gone}-{}", digest.get(..10).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(before: u64, gone: u64, after: u64, allowed: Option<&str>) -> Result<()> {
        let guard = Guard { percent: 90, floor: 10, allowed: allowed.map(str::to_owned) };
        guard.check(&Deletions { place: "the volume", base: "r", before, gone, after })
    }

    #[test]
    fn small_or_partial_deletions_pass() {
        for (before, gone, after) in [(0, 0, 0), (10, 9, 1), (11, 10, 1), (1000, 900, 100), (5, 0, 5), (0, 0, 7)] {
            assert_eq!(check(before, gone, after, None), Ok(()), "{before} {gone} {after}");
        }
    }

    #[test]
    fn large_ones_need_the_token_they_were_given() {
        let refused = check(1000, 901, 99, None).unwrap_err();
        let token = refused.message.rsplit(' ').next().unwrap().to_owned();
        assert_eq!(check(1000, 901, 99, Some(&token)), Ok(()));
        assert!(check(1000, 902, 98, Some(&token)).is_err());
    }

    #[test]
    fn nothing_never_replaces_something_whatever_the_floor() {
        assert_eq!(check(1, 1, 0, None).unwrap_err().reason, Reason::DeletionGuard);
        assert_eq!(check(1, 0, 0, None).unwrap_err().reason, Reason::DeletionGuard);
    }
}
