//! What the user's annotations on an object approve: taking over a path, and a deletion that the guard refused.

use super::facts::{Kind, Object};
use super::spec::Spec;
use super::subject::trimmed;
use crate::api::Status;
use crate::api::status::Run;
use scribe_mover::digest::hex;
use sha2::{Digest, Sha256};

impl Object {
    /// Whether the user's annotations approve something that the last attempt of this run did not know of.
    pub fn has_new_approvals(&self, status: &Status, run: &Run) -> bool {
        are_new(self.adopt_path.as_deref(), self.allow_deletions.as_deref(), status, run)
    }

    /// A digest of what the user's annotations still permit, where they permit anything.
    pub fn approvals(&self, status: &Status) -> Option<String> {
        digest(pending_adoption(self.adopt_path.as_deref(), status), self.allow_deletions.as_deref())
    }
}

/// A digest of what a user's annotations permit: the path to take over, and the deletion to let through. None where they permit nothing.
pub fn digest(adopt_path: Option<&str>, allow_deletions: Option<&str>) -> Option<String> {
    adopt_path.or(allow_deletions)?;
    let text = serde_json::json!([adopt_path, allow_deletions]).to_string();
    Some(hex(&Sha256::digest(text))[..16].to_owned())
}

/// Whether annotations approve something that the last attempt of this run did not know of. The withdrawal of an adoption is no approval.
pub fn are_new(adopt_path: Option<&str>, allow_deletions: Option<&str>, status: &Status, run: &Run) -> bool {
    let approved = digest(pending_adoption(adopt_path, status), allow_deletions);
    let withdrawn = adopt_path.is_none() && run.adopt.is_some() && run.permits == digest(run.adopt.as_deref(), allow_deletions);
    let known = if withdrawn { digest(None, allow_deletions) } else { run.permits.clone() };
    approved.is_some() && approved != known
}

/// The path that the annotation names, unless it has been taken over since the annotation was set.
pub fn pending_adoption<'a>(annotation: Option<&'a str>, status: &Status) -> Option<&'a str> {
    annotation.map(trimmed_path).filter(|path| status.adopted_path.as_deref() != Some(*path))
}

/// The path that an attempt which begins now may take over.
pub fn adoption(object: &Object, spec: &Spec, status: &Status) -> Option<String> {
    let path = pending_adoption(adopt_path(object), status)?;
    (path == trimmed_path(&spec.remote.path)).then(|| path.to_owned())
}

/// Whether the user still wants the run's adoption. An annotation that was removed before the mover started counts as removed.
pub fn still_adopts(object: &Object, run: &Run) -> bool {
    run.adopt.is_some() && adopt_path(object).map(trimmed_path) == run.adopt.as_deref()
}

/// The annotation of a source; on a destination it has no meaning.
pub fn adopt_path(object: &Object) -> Option<&str> {
    object.adopt_path.as_deref().filter(|_| object.kind == Kind::Source)
}

/// A path as it is compared: without blanks around it and slashes at its end.
pub fn trimmed_path(path: &str) -> &str {
    trimmed(path.trim())
}
