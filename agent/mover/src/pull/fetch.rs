//! Brings missing content into the staging folder and verifies every byte of it.

use std::collections::BTreeMap;

use super::plan::Fetch;
use super::staging::{Incoming, Staging};
use crate::digest::Digest;
use crate::error::Result;
use crate::format::names::{Folder, StagedDir};
use crate::format::revision::Revision;
use crate::remote::committed::Committed;
use crate::remote::{LARGE, Remote};
use crate::store::{Class, Fetch as How, StoreError, slices};
use crate::volume::entry::Location;
use crate::volume::hash::Hasher;
use crate::volume::path::RelPath;

/// The result of a fetch.
#[derive(Debug)]
pub(super) enum Fetched {
    /// All of it is verified.
    All,
    /// This file's content is not on the remote as the manifest says.
    Inconsistent(RelPath),
}

/// One folder of the remote, and where its content goes.
struct Source<'a> {
    remote: Folder<'a>,
    local: Incoming<'a>,
}

/// What a fetch is of, and where it goes.
pub(super) struct Fetching<'a> {
    pub(super) remote: &'a Remote,
    pub(super) committed: &'a Committed,
    pub(super) staging: &'a Staging,
    /// Not counted as reading the volume.
    pub(super) verifier: &'a Hasher,
}

impl Fetching<'_> {
    /// Fetches `missing`, whose replaced files are still staged, as the commit says, or promoted by now.
    pub(super) fn fetch(&self, missing: &BTreeMap<Digest, Fetch>) -> Result<Fetched> {
        let Self { remote, committed: Committed { commit, revision, .. }, staging, verifier } = *self;
        fetch(remote, revision, commit.staged, missing, staging, verifier)
    }
}

fn fetch(
    remote: &Remote,
    revision: &Revision,
    staged: bool,
    missing: &BTreeMap<Digest, Fetch>,
    staging: &Staging,
    hasher: &Hasher,
) -> Result<Fetched> {
    // A push may promote and tidy up while we read, so content that is not staged any more is under its own name.
    let mut first = BTreeMap::new();
    let mut left = BTreeMap::new();
    for (digest, fetch) in missing {
        let to = if staged && fetch.at == Location::Staged { &mut first } else { &mut left };
        to.insert(*digest, fetch.clone());
    }
    if !first.is_empty() {
        let again = pass(remote, revision, true, &first, staging, hasher)?;
        left.extend(first.into_iter().filter(|(digest, _)| again.contains(digest)));
    }
    let mut wrong = pass(remote, revision, false, &left, staging, hasher)?;
    // Lost content that the push has sent again, and not put in place yet.
    let objects: BTreeMap<Digest, Fetch> = left
        .iter()
        .filter(|(digest, fetch)| staged && fetch.at == Location::Object && wrong.contains(digest))
        .map(|(digest, fetch)| (*digest, fetch.clone()))
        .collect();
    if !objects.is_empty() {
        let still = pass(remote, revision, true, &objects, staging, hasher)?;
        wrong.retain(|digest| !objects.contains_key(digest) || still.contains(digest));
    }
    let name = wrong.first().and_then(|digest| left.get(digest));
    Ok(name.map_or(Fetched::All, |fetch| Fetched::Inconsistent(fetch.path.clone())))
}

/// One attempt at each of `wanted`; returns what is not there, or not as it should be.
fn pass(
    remote: &Remote,
    revision: &Revision,
    staged: bool,
    wanted: &BTreeMap<Digest, Fetch>,
    staging: &Staging,
    hasher: &Hasher,
) -> Result<Vec<Digest>> {
    let mut wrong = Vec::new();
    let staged_dir = StagedDir::of(revision);
    for object in [false, true] {
        let source = match (object, staged) {
            (true, true) => Source { remote: Folder::StagedObjects(&staged_dir), local: staging.incoming("objects") },
            (true, false) => Source { remote: Folder::Objects, local: staging.incoming("objects") },
            (false, true) => Source { remote: Folder::Staged(&staged_dir), local: staging.incoming("staged") },
            (false, false) => Source { remote: Folder::Live, local: staging.incoming("own") },
        };
        let due: Vec<(&Digest, &Fetch)> = wanted.iter().filter(|(_, fetch)| (fetch.at == Location::Object) == object).collect();
        let name = |digest: &Digest, fetch: &Fetch| {
            if object { digest.hex().into_bytes() } else { fetch.path.as_bytes().to_vec() }
        };
        let mut error: Option<StoreError> = None;
        for (how, large) in [(How::Content, false), (How::Large, true)] {
            let names: Vec<Vec<u8>> =
                due.iter().filter(|(_, fetch)| (fetch.size >= LARGE) == large).map(|(digest, fetch)| name(digest, fetch)).collect();
            match remote.fetch(source.remote, &source.local.for_rclone(), &slices(&names), how) {
                Err(failed) if failed.class == Class::Mover => return Err(failed.into()),
                Err(failed) => {
                    error.get_or_insert(failed);
                }
                Ok(()) => {}
            }
        }
        let files: Vec<(Digest, RelPath)> = due
            .iter()
            .map(|(digest, fetch)| {
                let local = if object { source.local.file(&Staging::content(digest)) } else { source.local.file(&fetch.path) };
                (**digest, local)
            })
            .collect();
        let bad = staging.verify(&files, hasher, &remote.context.stop)?;
        staging.clear_incoming(&remote.context.stop)?;
        match error {
            // What is missing is judged by its absence, and what is altered by its hash. The manifest could be deciphered.
            Some(error) if !bad.is_empty() && !matches!(error.class, Class::NotFound | Class::SourceChanging | Class::Undecipherable) => {
                return Err(error.into());
            }
            _ => wrong.extend(bad),
        }
    }
    Ok(wrong)
}
