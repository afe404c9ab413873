//! Names of one folder that some file systems take for one: they differ in case, in the composition of letters, in characters that are not
//! seen, or in dots and blanks at their end. Pure.

use std::collections::HashSet;

use unicode_normalization::UnicodeNormalization;

use crate::format::names::without_case;
use crate::volume::path::RelPath;

/// Names that there are twice in this sense, of a tree and of the volume that it goes to taken together.
#[derive(Debug, Default)]
pub(in super::super) struct Alike {
    /// The folders above the name at hand, with what stands for the names that were met in each.
    open: Vec<(RelPath, HashSet<u64>)>,
    /// What stands for names that were met twice.
    twice: HashSet<u64>,
}

impl Alike {
    /// Adds a name; in path order, each once.
    pub(in super::super) fn add(&mut self, path: &RelPath) {
        let Some(dir) = path.parent().and_then(RelPath::new) else { return };
        while self.open.last().is_some_and(|(open, _)| *open != dir && !dir.is_below(open)) {
            self.open.pop();
        }
        if self.open.last().is_none_or(|(open, _)| *open != dir) {
            self.open.push((dir, HashSet::new()));
        }
        let key = key(path);
        if self.open.last_mut().is_some_and(|(_, names)| !names.insert(key)) {
            self.twice.insert(key);
        }
    }

    /// Whether there are none.
    pub(super) fn is_empty(&self) -> bool {
        self.twice.is_empty()
    }

    /// Whether this name, or that of a folder above it, is like another one.
    pub(in super::super) fn has_above(&self, path: &RelPath) -> bool {
        !self.is_empty() && (self.group(path).is_some() || path.ancestors().any(|dir| self.group(&dir).is_some()))
    }

    /// What this name has in common with those that are like it; `None` if there is no other.
    pub(super) fn group(&self, path: &RelPath) -> Option<u64> {
        if self.is_empty() {
            return None;
        }
        Some(key(path)).filter(|key| self.twice.contains(key))
    }
}

/// A hash instead of names: there may be a million of them. Two that have one by chance are tried out, too, which does no harm.
fn key(path: &RelPath) -> u64 {
    let name = path.name();
    let parent = path.parent().unwrap_or_default();
    let short = [parent, b"/", plain(&String::from_utf8_lossy(name)).as_bytes()].concat();
    u64::try_from(crate::name_set::key(&short) >> 64).unwrap_or_default()
}

/// The name without all that any file system is known to pass over.
fn plain(name: &str) -> String {
    let short = name.trim_end_matches(['.', ' ']);
    if short.is_ascii() {
        return short.to_ascii_lowercase();
    }
    let seen: String = short.nfkd().filter(|c| !unseen(*c)).collect();
    without_case(&seen).nfkd().collect()
}

/// Characters that Unicode calls ignorable.
fn unseen(c: char) -> bool {
    matches!(c,
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}'..='\u{1160}' | '\u{17b4}'..='\u{17b5}' | '\u{180b}'..='\u{180f}'
        | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}'
        | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fff8}' | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}'
        | '\u{e0000}'..='\u{e0fff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(name: &str) -> RelPath {
        RelPath::new(name.as_bytes()).unwrap()
    }

    #[test]
    fn names_of_one_folder_are_compared_and_no_others() {
        let mut alike = Alike::default();
        let mut names =
            ["", "a", "a/Makefile", "a/dir", "a/dir/makefile", "a/makefile", "b", "b/Makefile", "B", "B/makefile", "c"].map(path);
        names.sort();
        for name in &names {
            alike.add(name);
        }
        let found: Vec<_> = names.iter().filter(|name| alike.group(name).is_some()).map(ToString::to_string).collect();
        assert_eq!(found, ["B", "a/Makefile", "a/makefile", "b"]);
        assert_eq!(alike.group(&path("a/Makefile")), alike.group(&path("a/makefile")));
        assert_ne!(alike.group(&path("a/Makefile")), alike.group(&path("b")));
    }

    #[test]
    fn what_file_systems_pass_over_is_passed_over() {
        for (one, other) in [
            ("Makefile", "makefile"),
            ("\u{e9}", "E\u{301}"),
            ("\u{212b}", "a\u{30a}"),
            ("stra\u{df}e", "STRASSE"),
            ("\u{3c2}", "\u{3a3}"),
            ("name", "name. ."),
            ("soft\u{ad}", "SOFT"),
            ("\u{fb01}", "FI"),
        ] {
            assert_eq!(plain(one), plain(other), "{one} {other}");
        }
        assert_ne!(plain("a.b"), plain("ab"));
        assert_ne!(plain("e"), plain("\u{e9}"));
    }
}
