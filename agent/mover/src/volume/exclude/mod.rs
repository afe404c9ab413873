//! What a source leaves out of its revisions: patterns that mean what they would in a `.gitignore` in the volume's root.

mod glob;

use std::fmt;
use std::path::Path;

use ignore::gitignore::{Gitignore, GitignoreBuilder};
use sha2::{Digest as _, Sha256};

use crate::digest::Digest;
use crate::volume::entry::{Entry, Kind, Meta};
use crate::volume::path::RelPath;

/// How many patterns there may be: every name of the volume is held against all of them.
pub const MOST_PATTERNS: usize = 100;
/// How long each may be, in characters.
pub const LONGEST_PATTERN: usize = 256;

/// Patterns in their order: the last one that matches decides, and `!` takes back what an earlier one leaves out. Nothing of a directory
/// that is left out can be taken back.
#[derive(Clone)]
pub struct Exclude {
    patterns: Gitignore,
    digest: Option<String>,
}

/// What is compiled of them is long.
impl fmt::Debug for Exclude {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Exclude").field(&self.digest).finish()
    }
}

/// Nothing is left out.
impl Default for Exclude {
    fn default() -> Self {
        Self { patterns: Gitignore::empty(), digest: None }
    }
}

impl Exclude {
    /// Reads the patterns.
    ///
    /// # Errors
    /// A sentence that quotes the pattern which cannot be meant, and says what to write instead.
    pub fn new<S: AsRef<str>>(patterns: &[S]) -> Result<Self, String> {
        if patterns.is_empty() {
            return Ok(Self::default());
        }
        let mut digest = Sha256::new();
        for pattern in patterns {
            digest.update(pattern.as_ref());
            digest.update("\n");
        }
        let patterns = read(patterns)?.build().map_err(|error| format!("the patterns are too much together: {error}"))?;
        Ok(Self { patterns, digest: Some(Digest(digest.finalize().into()).hex()) })
    }

    /// Whether [`Self::new`] takes the patterns, without compiling them.
    ///
    /// # Errors
    /// As that.
    pub fn check<S: AsRef<str>>(patterns: &[S]) -> Result<(), String> {
        read(patterns).map(drop)
    }

    /// Which patterns these are: the sha256 of all of them, one a line. None where there are none.
    pub fn digest(&self) -> Option<&str> {
        self.digest.as_deref()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.digest.is_none()
    }

    /// Whether an entry is left out that lies in a directory which is not.
    pub fn leaves_out(&self, path: &RelPath, is_dir: bool) -> bool {
        !self.is_empty() && self.patterns.matched(path.under(Path::new("")), is_dir).is_ignore()
    }

    /// The same of an entry of any type.
    pub fn leaves_out_any(&self, path: &RelPath) -> bool {
        self.leaves_out(path, false) && self.leaves_out(path, true)
    }

    /// Whether a pull of either entry gives the same result. What is left out moves the time of its directory whenever it comes or goes:
    /// where something may be, that time alone is no difference.
    pub fn same_result(&self, a: &Entry, b: &Entry) -> bool {
        let timed = |b: &Entry| Entry { meta: Meta { mtime: a.meta.mtime, ..b.meta.clone() }, ..b.clone() };
        a.same_result(b) || !self.is_empty() && a.kind == Kind::Dir && a.same_result(&timed(b))
    }
}

fn read<S: AsRef<str>>(patterns: &[S]) -> Result<GitignoreBuilder, String> {
    if patterns.len() > MOST_PATTERNS {
        return Err(format!("there are {} patterns: write at most {MOST_PATTERNS}", patterns.len()));
    }
    let mut all = GitignoreBuilder::new("");
    for pattern in patterns.iter().map(AsRef::as_ref) {
        add(&mut all, pattern).map_err(|what| format!("pattern {pattern:?} {what}"))?;
    }
    Ok(all)
}

fn add(all: &mut GitignoreBuilder, pattern: &str) -> Result<(), String> {
    if pattern.chars().count() > LONGEST_PATTERN {
        return Err(format!("is longer than {LONGEST_PATTERN} characters"));
    }
    if pattern.starts_with('#') {
        return Err("is a comment to gitignore: write \\# for a name that begins with #".to_owned());
    }
    if pattern.contains(|c: char| c.is_control()) {
        return Err("has a control character in it: write ? in its place, and each pattern as an item of its own".to_owned());
    }
    if let Some(blank) = pattern.chars().last().filter(|last| last.is_whitespace() && *last != ' ') {
        let code = u32::from(blank);
        return Err(format!("ends in a blank that nobody sees, U+{code:04X}: remove it, or write ? in its place"));
    }
    let named = pattern.strip_prefix('!').unwrap_or(pattern).trim_matches(['/', ' ']);
    if named.is_empty() {
        return Err("names nothing: write a name, such as *.tmp, or remove it".to_owned());
    }
    let glob = glob::of(pattern)?;
    match all.allow_unclosed_class(false).add_line(None, &glob) {
        Ok(_) => Ok(()),
        Err(error) => Err(format!("cannot be read: {error}")),
    }
}

#[cfg(test)]
mod tests;
