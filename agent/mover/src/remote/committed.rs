//! The committed revision as read from a remote path: commit, then the manifest the commit pins.
//!
//! Shared by push and pull.

use std::path::PathBuf;

use crate::digest::Digest;
use crate::error::{Failure, Result};
use crate::format::documents::{Claim, Commit, Control};
use crate::format::entries::Entries;
use crate::format::names;
use crate::format::revision::Revision;
use crate::packs;
use crate::packs::commit::AnyCommit;
use crate::remote::{Read, Remote};
use crate::report::Reason;
use crate::scratch;
use crate::volume::hash::of_scratch;

/// A commit with its manifest.
#[derive(Debug)]
pub struct Committed {
    /// The document.
    pub commit: Commit,
    /// Its revision, parsed.
    pub revision: Revision,
    /// Every entry, in path order.
    pub entries: Entries,
}

impl Committed {
    /// Whether this revision is `other`, or is known to descend from it. A generation does not show it: a path that was put back to an older
    /// state, and pushed to since, has others of the same numbers.
    pub fn descends_from(&self, other: &Revision) -> bool {
        let is_other = |name: &String| name == other.as_str();
        let follows = self.revision.lineage() == other.lineage() && other.generation() < self.revision.generation();
        let is_named = || self.commit.parent.iter().chain(self.entries.ancestors()).any(is_other);
        self.revision == *other || follows && is_named()
    }
}

/// Reads the commit.
pub fn read_commit(remote: &Remote) -> Result<Control<Commit>> {
    remote.read_control(names::COMMIT)
}

/// Reads the commit, of either layout.
pub fn read_any_commit(remote: &Remote) -> Result<Control<AnyCommit>> {
    remote.read_document(names::COMMIT, packs::commit::read)
}

/// Reads the claim, of either layout.
pub fn read_any_claim(remote: &Remote) -> Result<Control<Claim>> {
    remote.read_document(names::CLAIM, packs::commit::read_claim)
}

/// What became of reading a manifest.
#[derive(Debug)]
pub enum Manifest {
    /// It is there, and the one that the commit names.
    Whole(Box<Committed>),
    /// This read did not find it.
    Missing(Commit),
    /// It is not, or not any more, what the commit names; with what is wrong.
    Damaged(Commit, String),
}

/// Reads the manifest of `commit`.
pub fn read_manifest(remote: &Remote, commit: Commit) -> Result<Manifest> {
    let Some(revision) = Revision::parse(&commit.revision) else {
        let what = format!("the commit names an impossible revision {:?}", commit.revision);
        return Ok(Manifest::Damaged(commit, what));
    };
    let file = match remote.read_object(&names::manifest(&revision), commit.manifest.size)? {
        Read::Absent => return Ok(Manifest::Missing(commit)),
        Read::Damaged(what) => {
            let what = format!("the manifest of {} is damaged ({what})", commit.revision);
            return Ok(Manifest::Damaged(commit, what));
        }
        Read::Content(file) => file,
    };
    match open_manifest(file, &commit, remote) {
        Ok(entries) => Ok(Manifest::Whole(Box::new(Committed { commit, revision, entries }))),
        Err(Failure { reason: Reason::RemoteInconsistent, message, .. }) => Ok(Manifest::Damaged(commit, message)),
        Err(failure) => Err(failure),
    }
}

/// What helps where a commit is damaged.
pub const MENDING: &str = "The next push of its source mends it where the path is of layout Packs; of layout Files, annotate that source with scribe.backube/adopt-path: <path>, and it pushes everything again";

/// The failure of a manifest that cannot be read.
pub fn inconsistent(remote: &Remote, what: &str) -> Failure {
    Failure::new(Reason::RemoteInconsistent, format!("{}: {what}", remote.name()))
}

fn open_manifest(file: PathBuf, commit: &Commit, remote: &Remote) -> Result<Entries> {
    let digest = of_scratch(scratch::open(&file)?, &remote.context.stop)?;
    if Some(digest) != Digest::parse(&commit.manifest.sha256) {
        return Err(Failure::new(Reason::RemoteInconsistent, format!("the manifest of {} is not the one committed", commit.revision)));
    }
    Entries::open(file, &commit.revision)
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::format::documents::{ManifestRef, Owner};
    use crate::format::entries::EntriesWriter;
    use crate::format::manifest::FORMAT;
    use crate::scratch::Scratch;
    use crate::volume::entry::{Entry, Kind, Meta};
    use crate::volume::path::RelPath;

    fn revision(lineage: &str, generation: u64) -> String {
        format!("20261123T032858Z-{lineage}-{generation}-0a91")
    }

    fn tree(scratch: &Scratch, revision: &str, parent: Option<&Entries>) -> Entries {
        let mut writer = EntriesWriter::following(scratch, revision, parent).unwrap();
        writer.push(&Entry { path: RelPath::root(), meta: Meta::default(), kind: Kind::Dir }).unwrap();
        writer.finish().unwrap()
    }

    /// Whoever may write to the bucket says in commit and manifest what he likes: that the volume holds what is newer than all that they have would
    /// have files taken for right by their sizes and times.
    #[test]
    fn no_revision_descends_from_one_that_is_not_older() {
        let (scratch, time) = (Scratch::new().unwrap(), Timestamp::UNIX_EPOCH);
        let (ours, others) = ("1c9a77e0", "00000001");
        let own = "20261123T042858Z-1c9a77e0-17-5f2e";
        let commit = |parent: Option<String>| Commit {
            format: FORMAT,
            revision: own.into(),
            parent,
            data_time: time,
            checked_time: None,
            hints_time: time,
            rehashed_time: None,
            verified_time: time,
            latest_listed: None,
            owner: Owner { namespace: "shop".into(), name: "db".into(), uid: "uid-1".into() },
            exclude: None,
            manifest: ManifestRef { size: 0, sha256: String::new() },
            files: 0,
            entries: None,
            bytes: 0,
            staged: false,
        };
        let own_revision = Revision::parse(own).unwrap();
        for (named, descends) in [
            (revision(ours, 16), true),
            (revision(ours, 3), true),
            (revision(ours, 17), false),
            (revision(ours, 99), false),
            (revision(others, 16), false),
        ] {
            let other = Revision::parse(&named).unwrap();
            let by_parent = (Some(named.clone()), tree(&scratch, own, None));
            let by_ancestor = (None, tree(&scratch, own, Some(&tree(&scratch, &named, None))));
            for (parent, entries) in [by_parent, by_ancestor] {
                let committed = Committed { commit: commit(parent), revision: own_revision.clone(), entries };
                assert_eq!(committed.descends_from(&other), descends, "{named}");
                // Only those that are named, and itself.
                assert!(!committed.descends_from(&Revision::parse(&revision(ours, 15)).unwrap()));
                assert!(committed.descends_from(&own_revision));
            }
        }
    }
}
