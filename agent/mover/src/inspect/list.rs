//! What is committed at a path: the commit, who pushes, and on request what the objects take.

use std::collections::HashSet;

use jiff::Timestamp;
use serde::Serialize;

use super::ATTEMPTS;
use super::objects::{Objects, Total};
use super::places::Places;
use super::state::{Nothing, damaged_commit, missing_manifest, moving, nothing, read_claim, read_commit};
use crate::digest::Digest;
use crate::error::{Failure, Result};
use crate::format::documents::{self, Claim, Control, ManifestRef, Owner};
use crate::format::names::{CLAIM, COMMIT, CONTROL_DIR, StagedDir, manifest};
use crate::format::revision::Revision;
use crate::packs;
use crate::packs::commit::AnyCommit;
use crate::packs::manifest::Retained;
use crate::remote::committed::{self, Committed, read_manifest};
use crate::remote::{Read, Remote, contradiction};
use crate::report::Reason;
use crate::scratch;
use crate::volume::entry::Location;
use crate::volume::hash::of_scratch;

/// What a listing has found.
#[derive(Clone, Debug)]
pub enum Contents {
    /// There is no commit.
    Nothing(Nothing),
    /// The commit, or a manifest that had to be read, is missing or damaged; with what is wrong.
    Damaged(String),
    /// What is committed.
    Committed(Box<Standing>),
}

/// How a revision lies on the remote.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Layout {
    /// Every file under its own name.
    Files,
    /// Files in packs.
    Packs,
}

/// A path that something is committed at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Standing {
    /// How it lies there.
    pub layout: Layout,
    /// The revision.
    pub revision: String,
    /// When the source volume was captured.
    pub data_time: Timestamp,
    /// The latest capture that is known to have had this content.
    pub checked_time: Timestamp,
    /// When every object was last seen to be in place.
    pub verified_time: Timestamp,
    /// Whose it is.
    pub owner: Owner,
    /// Regular files.
    pub files: u64,
    /// Their size in bytes.
    pub bytes: u64,
    /// Whether the source left something out by patterns.
    pub excludes: bool,
    /// Whether replaced files still wait in the staged folder to be put in place.
    pub staged: bool,
    /// A push that is under way, or has died.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub claim: Option<Claim>,
    /// Older revisions that are kept, the newest first. Layout Files keeps none.
    pub retained: Vec<Kept>,
    /// What the objects take, if asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sizes: Option<Sizes>,
}

/// An older revision.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Kept {
    /// Its name.
    pub revision: String,
    /// When its data was captured.
    pub data_time: Timestamp,
    /// Entries of every type; absent in a list of an older version.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub entries: Option<u64>,
    /// The total size of its files in bytes; absent as that.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
}

/// What the objects of a path take.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Sizes {
    /// All that the path holds.
    pub all: Total,
    /// What the revision needs, its documents included.
    pub needed: Total,
    /// The rest: what pushes left, and objects of others.
    pub rest: Total,
    /// Objects that the revision needs and the listing does not show.
    pub missing: u64,
}

/// Looks at what is committed; with `sizes`, lists the whole path.
pub fn list(remote: &Remote, sizes: bool) -> Result<Contents> {
    let mut last = moving(remote);
    for attempt in 1..=ATTEMPTS {
        let commit = match read_commit(remote)? {
            Control::Present(commit) => commit,
            Control::Absent => match nothing(remote)? {
                Some(nothing) => return Ok(Contents::Nothing(nothing)),
                None => {
                    last = contradiction(remote, COMMIT);
                    continue;
                }
            },
            Control::Corrupt(_) if attempt < ATTEMPTS => continue,
            Control::Corrupt(what) => return Ok(Contents::Damaged(damaged_commit(&what))),
        };
        let contents = match &commit {
            AnyCommit::Files(commit) => files(remote, commit, sizes),
            AnyCommit::Packs(commit) => in_packs(remote, commit, sizes),
        };
        // What was read of the commit alone was there at one moment; the rest was not.
        let at_once = !sizes && matches!(commit, AnyCommit::Files(_));
        if at_once || read_commit(remote)?.present() == Some(&commit) {
            return contents;
        }
        last = moving(remote);
    }
    Err(last)
}

fn files(remote: &Remote, commit: &documents::Commit, sizes: bool) -> Result<Contents> {
    let claim = read_claim(remote)?;
    let sizes = if sizes {
        match read_manifest(remote, commit.clone())? {
            committed::Manifest::Whole(committed) => Some(sizes_of(remote, &committed, claim.is_some())?),
            committed::Manifest::Missing(commit) => return missing_manifest(remote, &commit.revision).map(Contents::Damaged),
            committed::Manifest::Damaged(_, what) => return Ok(Contents::Damaged(what)),
        }
    } else {
        None
    };
    Ok(Contents::Committed(Box::new(Standing {
        layout: Layout::Files,
        revision: commit.revision.clone(),
        data_time: commit.data_time,
        checked_time: commit.last_checked(),
        verified_time: commit.verified_time,
        owner: commit.owner.clone(),
        files: commit.files,
        bytes: commit.bytes,
        excludes: commit.exclude.is_some(),
        staged: commit.staged,
        claim,
        retained: Vec::new(),
        sizes,
    })))
}

fn sizes_of(remote: &Remote, committed: &Committed, claimed: bool) -> Result<Sizes> {
    let mut objects = Objects::list(remote, false)?;
    let (all, mut needed, mut missing) = (objects.rest(), Total::default(), 0);
    let own = [Some(COMMIT.to_owned()), claimed.then(|| CLAIM.to_owned()), Some(manifest(&committed.revision))];
    for name in own.into_iter().flatten() {
        objects.take(format!("{CONTROL_DIR}/{name}").as_bytes(), &mut needed);
    }
    let staged = committed.commit.staged.then(|| StagedDir::of(&committed.revision));
    let mut shared = HashSet::new();
    for entry in committed.entries.read()? {
        let entry = entry?;
        let Some(file) = entry.file() else { continue };
        if file.at == Location::Object && !shared.insert(file.sha256) {
            continue;
        }
        let Places { first, second } = Places::of(&entry.path, file, staged.as_ref());
        if !objects.take(&first, &mut needed) && !second.is_some_and(|second| objects.take(&second, &mut needed)) {
            missing += 1;
        }
    }
    Ok(Sizes { all, needed, rest: objects.rest(), missing })
}

fn in_packs(remote: &Remote, commit: &packs::commit::Commit, sizes: bool) -> Result<Contents> {
    if sizes {
        let what = "its layout is Packs, of which this version cannot tell what a revision needs: leave --sizes out";
        return Err(Failure::new(Reason::MoverFailed, format!("{}: {what}", remote.name())));
    }
    let says = &commit.statement;
    let Some(revision) = Revision::parse(&says.revision) else {
        return Ok(Contents::Damaged(format!("the commit names an impossible revision {:?}", says.revision)));
    };
    let ManifestRef { size, sha256 } = &commit.manifest;
    let file = match remote.read_object(&manifest(&revision), *size)? {
        Read::Absent => return missing_manifest(remote, &says.revision).map(Contents::Damaged),
        Read::Damaged(what) => return Ok(Contents::Damaged(format!("the manifest of {revision} is damaged ({what})"))),
        Read::Content(file) => file,
    };
    let open = || scratch::open(&file);
    if Some(of_scratch(open()?, &remote.context.stop)?) != Digest::parse(sha256) {
        return Ok(Contents::Damaged(format!("the manifest of {revision} is not the one committed")));
    }
    let document = match packs::manifest::Manifest::read(open()?, &says.revision) {
        Ok(manifest) => manifest.document,
        Err(failure) if failure.reason == Reason::RemoteInconsistent => return Ok(Contents::Damaged(failure.message)),
        Err(failure) => return Err(failure),
    };
    let kept = |kept: Retained| Kept { revision: kept.revision, data_time: kept.data_time, entries: kept.entries, bytes: kept.bytes };
    let retained = document.retained.into_iter().map(kept);
    Ok(Contents::Committed(Box::new(Standing {
        layout: Layout::Packs,
        revision: says.revision.clone(),
        data_time: says.data_time,
        checked_time: says.checked_time,
        verified_time: says.verified_time,
        owner: says.owner.clone(),
        files: says.files,
        bytes: says.bytes,
        excludes: says.exclude.is_some(),
        staged: false,
        claim: read_claim(remote)?,
        retained: retained.collect(),
        sizes: None,
    })))
}
