//! The deletion guard: whether a sync may delete what it wants to. Pure. Entries of every type count; the root does not, because it
//! always stays.

use sha2::{Digest as _, Sha256};

use crate::digest::Digest;
use crate::error::{Failure, Result};
use crate::name_set::key;
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

/// How many entries of a tree, its root left out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    /// Regular files.
    pub files: u64,
    /// Entries of every type, files included.
    pub all: u64,
}

impl Count {
    /// So many files, and nothing else.
    pub fn of_files(files: u64) -> Self {
        Self { files, all: files }
    }

    /// The larger number of each kind.
    #[must_use]
    pub fn max(self, other: Self) -> Self {
        Self { files: self.files.max(other.files), all: self.all.max(other.all) }
    }

    /// Adds one entry.
    pub fn add(&mut self, is_file: bool) {
        self.files += u64::from(is_file);
        self.all += 1;
    }
}

impl std::ops::Add for Count {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self { files: self.files + other.files, all: self.all + other.all }
    }
}

/// Which names would go, whatever their order: a sum of their hashes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NamesSum(u128);

impl NamesSum {
    /// Adds a name; each but once.
    pub fn add(&mut self, name: &[u8]) {
        self.0 = self.0.wrapping_add(key(name));
    }
}

/// What a sync is about to delete.
#[derive(Clone, Copy, Debug)]
pub struct Deletions<'a> {
    /// `the remote path` or `the volume`.
    pub place: &'static str,
    /// What the deletions are counted from; a token is good for this state only.
    pub base: &'a str,
    /// What is there now.
    pub before: Count,
    /// What would go.
    pub gone: Count,
    /// Its names.
    pub names: NamesSum,
    /// What there would be afterwards.
    pub after: Count,
}

impl Guard {
    /// `Err(DeletionGuard)` with the numbers and a one-time token when it is too much.
    pub fn check(&self, deletions: &Deletions) -> Result<()> {
        let Deletions { place, base, before, gone, names, after } = *deletions;
        let emptied = |before, after| after == 0 && before > 0;
        let too_many = |before, gone| gone > self.floor && u128::from(gone) * 100 > u128::from(before) * u128::from(self.percent);
        // Files are also counted alone: directories that stay do not make up for files.
        let what = if emptied(before.files, after.files) {
            format!("replace the {} files of {place} by nothing", before.files)
        } else if emptied(before.all, after.all) {
            format!("replace the {} entries of {place} ({OTHERS}) by nothing", before.all)
        } else if too_many(before.files, gone.files) {
            format!("delete {} of the {} files of {place} ({})", gone.files, before.files, self.limits())
        } else if too_many(before.all, gone.all) {
            format!("delete {} of the {} entries of {place} ({OTHERS}; {})", gone.all, before.all, self.limits())
        } else {
            return Ok(());
        };
        let token = token(place, base, gone, names);
        if self.allowed.as_ref() == Some(&token) {
            return Ok(());
        }
        Err(Failure::new(
            Reason::DeletionGuard,
            format!(
                "this sync would {what}; nothing was deleted. If it is meant so, allow it once by the annotation scribe.backube/allow-deletions: {token}"
            ),
        ))
    }

    fn limits(&self) -> String {
        format!("guard: {}% and {}", self.percent, self.floor)
    }
}

/// What entries are.
const OTHERS: &str = "files, directories, links and pipes";

/// Good for the deletion of these very names from this state: after it was used, the state is another one.
fn token(place: &str, base: &str, gone: Count, names: NamesSum) -> String {
    let (Count { files, all: gone }, NamesSum(names)) = (gone, names);
    let digest = Digest(Sha256::digest(format!("{place}\n{base}\n{files}\n{gone}\n{names}")).into()).hex();
    format!("{gone}-{}", digest.get(..10).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(before: u64, gone: u64, after: u64, allowed: Option<&str>) -> Result<()> {
        let [before, gone, after] = [before, gone, after].map(Count::of_files);
        check_all(before, gone, after, allowed)
    }

    fn check_all(before: Count, gone: Count, after: Count, allowed: Option<&str>) -> Result<()> {
        let guard = Guard { percent: 90, floor: 10, allowed: allowed.map(str::to_owned) };
        guard.check(&Deletions { place: "the volume", base: "r", before, gone, names: NamesSum::default(), after })
    }

    fn count(files: u64, others: u64) -> Count {
        Count { files, all: files + others }
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
    fn a_token_is_good_for_its_names_alone() {
        let guard = |allowed: Option<String>, gone: [&str; 2]| {
            let mut names = NamesSum::default();
            for name in gone {
                names.add(name.as_bytes());
            }
            let [before, gone, after] = [2, 2, 0].map(Count::of_files);
            Guard { percent: 90, floor: 10, allowed }.check(&Deletions { place: "the volume", base: "r", before, gone, names, after })
        };
        let refused = guard(None, ["a", "b"]).unwrap_err();
        let token = refused.message.rsplit(' ').next().map(str::to_owned);
        assert_eq!(guard(token.clone(), ["b", "a"]), Ok(()), "in any order");
        assert!(guard(token, ["a", "c"]).is_err());
    }

    #[test]
    fn links_directories_and_pipes_count_too() {
        let refusal = |before, gone, after| check_all(before, gone, after, None).unwrap_err().message;
        let emptied = refusal(count(0, 400), count(0, 400), count(0, 0));
        assert!(emptied.contains("the 400 entries of the volume (files, directories, links and pipes) by nothing"), "{emptied}");
        let few_left = refusal(count(1, 400), count(0, 399), count(1, 1));
        assert!(few_left.contains("399 of the 401 entries"), "{few_left}");
        assert_eq!(check_all(count(100, 400), count(0, 400), count(100, 0), None), Ok(()), "80 %");
    }

    #[test]
    fn no_number_of_directories_makes_up_for_the_files() {
        let refusal = |before, gone, after| check_all(before, gone, after, None).unwrap_err().message;
        let all = refusal(count(5, 1000), count(5, 0), count(0, 1000));
        assert!(all.contains("replace the 5 files of the volume by nothing"), "{all}");
        let most = refusal(count(100, 1000), count(99, 0), count(1, 1000));
        assert!(most.contains("99 of the 100 files"), "{most}");
    }

    #[test]
    fn nothing_never_replaces_something_whatever_the_floor() {
        assert_eq!(check(1, 1, 0, None).unwrap_err().reason, Reason::DeletionGuard);
        assert_eq!(check(1, 0, 0, None).unwrap_err().reason, Reason::DeletionGuard);
    }
}
