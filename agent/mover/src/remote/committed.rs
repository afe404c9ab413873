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
