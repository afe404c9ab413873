//! What lies on a path that scribe-agent did not write, and whether it changed between two listings.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::path::Path;

use jiff::Timestamp;
use sha2::{Digest as _, Sha256};

use super::super::observe::has_lost_and_found;
use crate::digest::Digest;
use crate::error::{Failure, Result};
use crate::format::names::{CLAIM, COMMIT, CONTROL_DIR, mangled};
use crate::remote::{Detail, Remote};
use crate::report::Reason;
use crate::volume::beneath::Root;
use crate::volume::path::RelPath;
use crate::volume::{LONGEST_NAME, LONGEST_PATH, LOST_AND_FOUND, STAGING_DIR};

/// A listing of files and directories.
#[derive(Debug, Default)]
pub(super) struct Listing {
    /// By path.
    pub(super) files: BTreeMap<RelPath, Detail>,
    /// Directories: every empty one, and others as the backend shows them.
    pub(super) dirs: BTreeSet<RelPath>,
    /// Owners, modes and ACLs, written beside the files by VolSync and Scribe: under which name.
    pub(super) facl: Option<&'static str>,
    /// Whether there is something of a `lost+found` that is left out.
    pub(super) lost_and_found: bool,
    /// Differs when anything else lies there.
    digest: String,
}

/// Where `getfacl -R` was written to: today, and by Scribe and the first versions of VolSync. Where both are, the first is the newer one.
pub(super) const FACLS: [&str; 2] = ["permissions.facl", "permissons.facl"];

impl Listing {
    /// Lists the path, for a volume where a path may have `longest` bytes; `hashes` says whether the backend knows them without reading.
    pub(super) fn read(remote: &Remote, hashes: bool, longest: usize) -> Result<Self> {
        let mut details = remote.details(hashes)?;
        let ours = [COMMIT, CLAIM].map(|name| format!("{CONTROL_DIR}/{name}"));
        if details.iter().any(|detail| ours.contains(&detail.path)) {
            return Err(Failure::new(
                Reason::PathNotOurs,
                format!("{} was pushed by scribe-agent: leave layout: Plain out, and it is pulled as it was committed", remote.name()),
            ));
        }
        details.sort_by(|a, b| a.path.cmp(&b.path));
        Self::of(details, longest).map_err(|what| Failure::new(Reason::RemoteInconsistent, format!("{} holds {what}", remote.name())))
    }

    /// The inner error is what nothing can be made of.
    pub(super) fn of(details: Vec<Detail>, longest: usize) -> std::result::Result<Self, String> {
        let mut listing = Self::default();
        let mut sum = Sha256::new();
        for detail in details {
            let path = readable(&detail.path, longest)?;
            if detail.is_dir {
                listing.dirs.insert(path);
                continue;
            }
            if detail.size == u64::MAX {
                return Err(format!(
                    "{:?}, a file whose size the backend does not report: a copy of it could not be verified",
                    detail.path
                ));
            }
            sum.update(format!("{:?}\n{} {} {:?}\n", detail.path, detail.size, detail.mod_time, detail.md5()));
            listing.files.insert(path, detail);
        }
        let full: HashSet<RelPath> = listing.files.keys().flat_map(RelPath::ancestors).collect();
        if let Some(both) = listing.files.keys().find(|path| full.contains(path)) {
            return Err(format!(
                "a file {both} and others below {both}/, which no volume can hold: rename the one or the other at its source"
            ));
        }
        // Directories of files add nothing, and not every backend lists them.
        for empty in listing.dirs.iter().filter(|dir| !full.contains(dir)) {
            sum.update(format!("{empty:?}/\n"));
        }
        listing.digest = Digest(sum.finalize().into()).hex();
        for name in FACLS {
            let there = RelPath::new(name.as_bytes()).is_some_and(|path| listing.files.remove(&path).is_some());
            listing.facl = listing.facl.or(there.then_some(name));
        }
        // What fsck found belongs to the file system that it was found on.
        let within = |path: &RelPath| path.first() == LOST_AND_FOUND.as_bytes();
        listing.dirs.retain(|dir| !within(dir));
        let files = listing.files.len();
        listing.files.retain(|path, _| !within(path) || path.as_bytes() == LOST_AND_FOUND.as_bytes());
        listing.lost_and_found = listing.files.len() < files;
        Ok(listing)
    }

    /// Leaves out a file `lost+found` where the volume's file system has its directory of that name.
    pub(super) fn make_way(mut self, root: &Root) -> Result<Self> {
        if has_lost_and_found(root)? {
            self.lost_and_found |= self.files.remove(&RelPath::own(LOST_AND_FOUND)).is_some();
        }
        Ok(self)
    }

    /// Stands for the state of the path, as a revision of our own layout does.
    pub(super) fn revision(&self) -> String {
        format!("plain-{}", self.digest.get(..24).unwrap_or_default())
    }

    /// When the newest of its files was written.
    pub(super) fn newest(&self) -> Timestamp {
        self.files.values().filter_map(|detail| detail.mod_time.parse().ok()).max().unwrap_or_default()
    }
}

/// A listed name, unless it cannot be pulled: why not. What is too long for us to write may be read, up to what the volume takes.
fn readable(name: &str, longest: usize) -> std::result::Result<RelPath, String> {
    let rename = "rename it at its source";
    if mangled(name) {
        return Err(format!("{name:?}, a name that rclone cannot be trusted with: {rename}"));
    }
    if let Some(part) = name.split('/').find(|part| part.len() > LONGEST_NAME) {
        return Err(format!("{name:?}, with a name of {} bytes, where file systems take {LONGEST_NAME}: {rename}", part.len()));
    }
    if name.len() > longest {
        return Err(format!("{name:?}, a path of {} bytes, where this volume takes {longest}: {rename}", name.len()));
    }
    let path = RelPath::new(name.as_bytes()).filter(|path| !path.is_root());
    let path = path.ok_or_else(|| format!("{name:?}, which is no name of a file: {rename}"))?;
    if path.first() == STAGING_DIR.as_bytes() {
        return Err(format!("{name:?}, below a name that pulls use themselves on a volume: {rename}"));
    }
    Ok(path)
}

/// Bytes that a path may have on the volume while it is being pulled into the folder `incoming`.
pub(super) fn longest(incoming: &Path) -> usize {
    LONGEST_PATH.saturating_sub(incoming.as_os_str().len() + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str) -> Detail {
        Detail::example(path, false, 1)
    }

    fn dir(path: &str) -> Detail {
        Detail::example(path, true, 0)
    }

    fn of(details: &[Detail]) -> Listing {
        Listing::of(details.to_vec(), 4000).unwrap()
    }

    fn names(listing: &Listing) -> Vec<String> {
        listing.files.keys().map(ToString::to_string).collect()
    }

    #[test]
    fn what_a_file_system_takes_can_be_read() {
        for name in ["a".repeat(203), "\u{65e5}".repeat(70), "a".repeat(255), "abcdefghi/".repeat(72) + "x", ".scribe/x".into()] {
            assert_eq!(names(&of(&[file(&name)])), [name]);
        }
    }

    #[test]
    fn what_cannot_be_pulled_is_named() {
        let long = "a/".repeat(1999) + "abc";
        for (name, why) in [
            ("a\nb", "rclone cannot be trusted with"),
            ("x\u{2400}", "rclone cannot be trusted with"),
            (&*"a".repeat(256), "a name of 256 bytes"),
            (&long, "a path of 4001 bytes"),
            ("a/../b", "no name of a file"),
            (".scribe-staging/ok/x", "pulls use themselves"),
        ] {
            for listed in [file(name), dir(name)] {
                let refused = Listing::of(vec![listed], 4000).unwrap_err();
                assert!(refused.contains(why) && refused.starts_with(&format!("{name:?}")), "{refused}");
            }
        }
        let both = Listing::of(vec![file("a"), file("a/b")], 4000).unwrap_err();
        assert!(both.contains("a file a and others below a/"), "{both}");
        let unknown = Listing::of(vec![Detail::example("doc", false, u64::MAX)], 4000).unwrap_err();
        assert!(unknown.contains("doc"), "{unknown}");
    }

    #[test]
    fn only_empty_directories_make_another_revision() {
        let plain = of(&[file("a/b")]);
        assert_eq!(of(&[dir("a"), file("a/b")]).revision(), plain.revision());
        assert_ne!(of(&[file("a/b"), dir("e")]).revision(), plain.revision());
        assert_ne!(of(&[file("a/b"), dir("e")]).revision(), of(&[file("a/b"), dir("f")]).revision());
    }

    #[test]
    fn the_facl_has_two_spellings_and_neither_is_a_file() {
        let (right, wrong) = ("permissions.facl", "permissons.facl");
        for (there, facl) in [(vec![file("a"), file(wrong)], Some(wrong)), (vec![file("a"), file(right), file(wrong)], Some(right))] {
            let listing = of(&there);
            assert_eq!((listing.facl, names(&listing)), (facl, vec!["a".to_owned()]));
        }
        let elsewhere = of(&[file("d/permissons.facl")]);
        assert_eq!((elsewhere.facl, elsewhere.files.len()), (None, 1));
    }

    #[test]
    fn lost_and_found_is_left_out_and_counts_if_it_holds_anything() {
        let empty = of(&[file("a"), dir("lost+found")]);
        assert!(!empty.lost_and_found && empty.dirs.is_empty());
        let full = of(&[file("a"), dir("lost+found"), file("lost+found/#123"), file("sub/lost+found/x")]);
        assert!(full.lost_and_found);
        assert_eq!(names(&full), ["a", "sub/lost+found/x"]);
        assert!(!of(&[file("lost+found")]).lost_and_found, "it depends on the volume");
    }
}
