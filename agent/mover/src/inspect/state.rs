//! What is committed at a path, in either layout, and what a path without a commit is.

use serde::Serialize;

use super::objects::Objects;
use crate::error::{Failure, Result};
use crate::format::documents::{Claim, Control};
use crate::format::names::{CLAIM, COMMIT, CONTROL_DIR, is_manifest, manifest, revision_of_manifest};
use crate::format::revision::Revision;
use crate::packs::commit::{self, AnyCommit};
use crate::remote::committed::MENDING;
use crate::remote::{Remote, contradiction};
use crate::report::Reason;

/// A path that has no commit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Nothing {
    /// Objects that are there all the same.
    pub objects: u64,
    /// Whether one of them is a manifest that no first push explains: something was committed once.
    pub lost: bool,
    /// Whether its bucket exists, where that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bucket_exists: Option<bool>,
}

/// Reads the commit.
pub(super) fn read_commit(remote: &Remote) -> Result<Control<AnyCommit>> {
    remote.read_document(COMMIT, commit::read)
}

/// What is said of a damaged commit.
pub(super) fn damaged_commit(what: &str) -> String {
    format!("{CONTROL_DIR}/{COMMIT} is damaged ({what}). {MENDING}")
}

/// Reads the claim; one that is damaged is as good as none to a reader.
pub(super) fn read_claim(remote: &Remote) -> Result<Option<Claim>> {
    Ok(match remote.read_document(CLAIM, commit::read_claim)? {
        Control::Present(claim) => Some(claim),
        Control::Absent | Control::Corrupt(_) => None,
    })
}

/// What the path is where a read did not find its commit; `None` where a listing shows it.
pub(super) fn nothing(remote: &Remote) -> Result<Option<Nothing>> {
    let own = |name: &str| format!("{CONTROL_DIR}/{name}").into_bytes();
    let (commit, claim) = (own(COMMIT), own(CLAIM));
    let (mut objects, mut committed, mut claimed, mut manifests, mut follows) = (0, false, false, false, false);
    remote.each_listed(false, |object, _| {
        objects += 1;
        committed |= object.name == commit;
        claimed |= object.name == claim;
        manifests |= is_manifest(object.name);
        follows |= revision_of_manifest(object.name).is_some_and(|revision| revision.generation() > 1);
    })?;
    if committed {
        return Ok(None);
    }
    if objects == 0 {
        remote.confirm_root()?;
        remote.confirm_password()?;
    }
    Ok(Some(Nothing { objects, lost: follows || manifests && !claimed, bucket_exists: remote.has_bucket() }))
}

/// What is wrong where a read did not find the manifest of the committed revision: absence needs two witnesses.
pub(super) fn missing_manifest(remote: &Remote, revision: &str) -> Result<String> {
    let name = Revision::parse(revision).map(|revision| manifest(&revision)).unwrap_or_default();
    if Objects::list(remote, false)?.size(format!("{CONTROL_DIR}/{name}").as_bytes()).is_some() {
        return Err(contradiction(remote, &name));
    }
    Ok(format!("{CONTROL_DIR}/{name}, the manifest that the commit names, is missing"))
}

/// Pushes commit faster than the path can be looked at.
pub(super) fn moving(remote: &Remote) -> Failure {
    let what = "a push commits while the path is looked at, each time; try again when it has ended";
    Failure::new(Reason::RemoteInconsistent, format!("{}: {what}", remote.name()))
}
