//! What an API server's "no" means: which ones pass, and which a person must hear about.
//!
//! Imports `core` and `api`.

use crate::api::reason::Reason;
use crate::core::facts::Refusal;
use crate::core::plan::{Child, Step};
use kube::core::Status;

/// What became of a write that the API server did not do.
#[derive(Debug)]
pub enum Answer {
    /// Something changed since the decision: decide again.
    Conflict,
    /// The name is taken: by an earlier look's child that the cache does not show yet, or by a stranger's, which must not be used.
    Taken,
    /// The server is in trouble, or we are too fast: the same write may work later.
    Transient(kube::Error),
    /// The write will not work as it is; a person should hear why.
    Refused(Refusal),
}

/// Reads the answer to `step`.
pub fn classify(step: &Step, error: kube::Error) -> Answer {
    let kube::Error::Api(status) = &error else { return Answer::Transient(error) };
    match status.code {
        409 if status.reason == "AlreadyExists" => Answer::Taken,
        409 => Answer::Conflict,
        400 | 403 | 404 | 405 | 413 | 422 => refused(step, status),
        _ => Answer::Transient(error),
    }
}

fn refused(step: &Step, status: &Status) -> Answer {
    let words = status.message.trim();
    let (reason, hint) = match (status.code, step) {
        // A status or event that cannot be written means that the object is gone.
        (404, Step::WriteStatus(_) | Step::Publish(_) | Step::Delete(_) | Step::Release(_)) => return Answer::Conflict,
        (404, Step::Create(Child::Snapshot(_))) => (
            Reason::SnapshotsUnsupported,
            "the cluster does not serve VolumeSnapshots: install the CSI snapshot CRDs and controller, or use another copyMethod",
        ),
        (403, _) if words.contains("cannot") && words.contains("is forbidden: User") => {
            (Reason::MissingPermission, "give the agent's Role this verb; kustomize/base has the whole Role")
        }
        (403, Step::Create(Child::Job(_))) => (Reason::PodRejected, "the namespace's policy or quota does not allow the mover"),
        (403, Step::Create(_)) => (Reason::NoSpace, "the namespace's quota or policy does not allow this volume"),
        _ => (Reason::InvalidSpec, "the API server does not accept what the spec asks for"),
    };
    Answer::Refused(Refusal { reason, message: format!("{words} ({hint})") })
}
