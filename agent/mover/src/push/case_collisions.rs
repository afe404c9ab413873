//! Names that are the same to a remote that does not distinguish case, such as OneDrive, Dropbox or an SMB share.
//!
//! There, writing `makefile` overwrites `Makefile`, and deleting the one deletes the other.

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};

use crate::error::Result;
use crate::format::entries::Entries;
use crate::format::names::without_case;
use crate::volume::merge_join::join;
use crate::volume::path::RelPath;

/// Names that are alike, though not the same.
#[derive(Debug, Default)]
pub(super) struct CaseCollisions(HashSet<u64>);

impl CaseCollisions {
    /// Of all entries of both trees taken together, and of the objects `strays` that are to be deleted: a directory's name is in a file's
    /// way as much as another file's.
    pub(super) fn of<'a>(committed: Option<&Entries>, tree: &Entries, strays: impl Iterator<Item = &'a [u8]>) -> Result<Self> {
        // Hashes instead of names: there may be a million. Two names with one hash count as a collision, which does no harm.
        let key = |name: &[u8]| (folded(name), hash(name));
        let mut seen: Vec<(u64, u64)> = strays.map(key).collect();
        let committed = committed.map(Entries::read).transpose()?.into_iter().flatten();
        for pair in join(committed, tree.read()?) {
            let (old, new) = pair?;
            seen.extend(old.or(new).map(|entry| key(entry.path.as_bytes())));
        }
        seen.sort_unstable();
        seen.dedup();
        let collisions = seen.windows(2).filter_map(|pair| match pair {
            [(one, _), (other, _)] if one == other => Some(*one),
            _ => None,
        });
        Ok(Self(collisions.collect()))
    }

    /// Whether there are any.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether there is another name like this one.
    pub(super) fn contains(&self, path: &RelPath) -> bool {
        !self.0.is_empty() && self.0.contains(&folded(path.as_bytes()))
    }
}

fn folded(name: &[u8]) -> u64 {
    hash(without_case(&String::from_utf8_lossy(name)).as_bytes())
}

fn hash(bytes: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    bytes.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::entries::tests::tree;
    use crate::scratch::Scratch;
    use crate::volume::entry::{Entry, Kind, Meta};

    #[test]
    fn names_that_differ_in_case_alone_are_alike_across_both_trees() {
        let scratch = Scratch::new().unwrap();
        let path = |name: &str| RelPath::new(name.as_bytes()).unwrap();
        let stored = |names: &[&str]| {
            let names = [""].into_iter().chain(names.iter().copied());
            tree(&scratch, &names.map(|name| Entry { path: path(name), meta: Meta::default(), kind: Kind::Dir }).collect::<Vec<_>>())
        };
        let old = stored(&["Makefile", "both", "gone", "\u{c9}t\u{e9}"]);
        let new = stored(&["a", "a/x", "both", "makefile", "\u{e9}T\u{c9}"]);
        let collisions = CaseCollisions::of(Some(&old), &new, [&b"stray"[..], b"both"].into_iter()).unwrap();
        let found =
            ["Makefile", "makefile", "MAKEFILE", "both", "gone", "a", "a/x", "\u{e9}t\u{e9}"].map(|name| collisions.contains(&path(name)));
        assert_eq!(found, [true, true, true, false, false, false, false, true]);
        assert!(CaseCollisions::of(Some(&old), &old, [&b"Makefile"[..]].into_iter()).unwrap().is_empty());
        assert!(CaseCollisions::of(None, &new, [&b"A/X"[..]].into_iter()).unwrap().contains(&path("a/x")));
    }
}
