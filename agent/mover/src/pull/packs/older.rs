//! The revision that is wanted of those that a path has: the committed one, or one that its manifest lists as retained, whose own manifest that
//! list pins.

use crate::error::{Failure, Result};
use crate::format::documents::Control;
use crate::packs::commit::{AnyCommit, Commit};
use crate::packs::manifest::Manifest;
use crate::pull::REPAIR;
use crate::pull::wanted::{Known, Wanted};
use crate::remote::Remote;
use crate::remote::committed::inconsistent;
use crate::remote::packed::read_packs_manifest;

/// What helps where the remote has lost a part of an older revision.
const LOST: &str = "nothing that is pushed brings that back: pull another revision, of which `mover list` has the names, or restore the objects in the bucket";

/// The revision that is pulled.
pub(super) struct Chosen {
    /// What its commit says, or would say.
    pub(super) commit: Commit,
    pub(super) manifest: Manifest,
    /// It is not the committed one.
    pub(super) is_older: bool,
}

/// Finds it, by the `manifest` of the `commit`. The inner error means that the remote does not hold what it says.
pub(super) fn choose(
    remote: &Remote,
    (commit, manifest): (&Commit, Manifest),
    wanted: &Wanted,
) -> Result<std::result::Result<Chosen, Failure>> {
    if wanted.is_met_by(&AnyCommit::Packs(Box::new(commit.clone()))) {
        return Ok(Ok(Chosen { commit: commit.clone(), manifest, is_older: false }));
    }
    let Some(kept) = manifest.document.retained.iter().find(|kept| wanted.is((&kept.revision, kept.data_time))) else {
        let newest = (commit.statement.revision.as_str(), commit.statement.data_time);
        let retained = manifest.document.retained.iter().map(|kept| (kept.revision.as_str(), kept.data_time));
        let all: Vec<Known> = [newest].into_iter().chain(retained).collect();
        return Err(wanted.missing(remote, &all));
    };
    let revision = &kept.revision;
    let manifest = match read_packs_manifest(remote, revision, &kept.manifest)? {
        Control::Present(manifest) => manifest,
        Control::Absent => return Ok(Err(inconsistent(remote, &format!("the manifest of {revision} is missing; {LOST}")))),
        Control::Corrupt(what) => return Ok(Err(inconsistent(remote, &format!("{what}; {LOST}")))),
    };
    let commit = Commit::new(manifest.document.statement.clone(), kept.manifest.clone());
    Ok(Ok(Chosen { commit, manifest, is_older: true }))
}

/// What a failure says of an older revision: no push repairs one.
pub(super) fn explain(mut failure: Failure) -> Failure {
    failure.message = failure.message.replace(REPAIR, LOST);
    failure
}
