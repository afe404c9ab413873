//! Classifies rejections of the API server: those that pass, and those that are reported.

use crate::api::reason::Reason;
use crate::core::model::facts::Refusal;
use crate::core::model::plan::{Child, Step};
use kube::core::Status;
use std::collections::BTreeSet;

/// What became of a write that the API server did not do.
#[derive(Debug)]
pub enum Answer {
    /// Something changed since the decision: decide again.
    Conflict,
    /// The name is taken: by a child of an earlier reconcile that the cache does not show yet, or by another object, which must not be used.
    Taken,
    /// The namespace is being deleted: nothing can be made in it any more.
    Ending,
    /// The server is in trouble, or we are too fast: the same write may work later.
    Transient(kube::Error),
    /// The write cannot succeed unchanged; the reason is reported.
    Refused(Refusal),
    /// The status was written but for these fields, which the cluster's CRD does not declare.
    Undeclared(BTreeSet<String>),
}

/// Reads the answer to `step`.
pub fn classify(step: &Step, error: kube::Error) -> Answer {
    let kube::Error::Api(status) = &error else { return Answer::Transient(error) };
    match status.code {
        409 if status.reason == "AlreadyExists" => Answer::Taken,
        // What does not exist yet conflicts with nothing that a fresh read would show: a webhook or a quota has chosen this code.
        409 if matches!(step, Step::Create(_)) => Answer::Transient(error),
        409 => Answer::Conflict,
        // The object was there a moment ago. If it is gone, the next reconcile finds that.
        404 if matches!(step, Step::WriteStatus(_)) => Answer::Transient(error),
        403 if ending(status) => Answer::Ending,
        400 | 403 | 404 | 405 | 413 | 422 => refused(step, status),
        _ => Answer::Transient(error),
    }
}

/// What to do where the agent's Role lacks a verb.
pub const COMPLETE_ROLE: &str = "add this verb to the agent's Role; kustomize/base has the complete Role";

/// What to report of an answer that says that the agent's Role lacks a verb; none for any other.
pub fn missing_permission(error: &kube::Error) -> Option<String> {
    let kube::Error::Api(answer) = error else { return None };
    let message = answer.message.trim();
    (answer.code == 403).then(|| format!("The agent lacks a permission: {message} ({COMPLETE_ROLE})"))
}

fn ending(status: &Status) -> bool {
    let causes = status.details.as_ref().map(|d| d.causes.as_slice()).unwrap_or_default();
    causes.iter().any(|c| c.reason == "NamespaceTerminating") || status.message.contains("because it is being terminated")
}

/// Whether a policy refused this: a webhook may choose any code, and says so in these words.
fn denied(message: &str) -> bool {
    message.contains("denied the request") || message.contains("ValidatingAdmissionPolicy")
}

fn refused(step: &Step, status: &Status) -> Answer {
    let words = status.message.trim();
    let (reason, hint) = match (status.code, step) {
        // What was to be written to is gone.
        (404, Step::Publish(_) | Step::Delete(_) | Step::Release(_) | Step::Resize(..) | Step::NoteCopy(_)) => return Answer::Conflict,
        (404, Step::Create(Child::Snapshot(_))) => (
            Reason::SnapshotsUnsupported,
            "the cluster does not serve VolumeSnapshots: install the CSI snapshot CRDs and controller, or use another copyMethod",
        ),
        (403, _) if words.contains("cannot") && words.contains("is forbidden: User") => (Reason::MissingPermission, COMPLETE_ROLE),
        (_, Step::Resize(..)) => (Reason::ResizeRefused, "the volume keeps its size; syncs continue"),
        (403, Step::Create(Child::Job(_))) => (Reason::PodRejected, "the namespace's policy or quota does not allow the mover"),
        (403, Step::Create(_)) if words.contains("exceeded quota") => (Reason::NoSpace, "the namespace's quota does not allow this volume"),
        (403, Step::Create(_)) => (Reason::AdmissionDenied, "a policy of the cluster does not allow this volume or snapshot"),
        (_, Step::Create(Child::Job(_))) if denied(words) => (Reason::PodRejected, "a policy of the cluster does not allow the mover"),
        (_, Step::Create(_)) if denied(words) => {
            (Reason::AdmissionDenied, "a policy of the cluster does not allow this volume or snapshot")
        }
        (_, Step::NoteCopy(_)) => {
            (Reason::AdmissionDenied, "the agent could not set its annotations scribe.backube/latest-copy-… on the source's PVC")
        }
        _ => (Reason::InvalidSpec, "the API server does not accept what the spec asks for"),
    };
    Answer::Refused(Refusal { reason, message: format!("{words} ({hint})") })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::model::facts::Role;
    use crate::core::model::plan::{ChildKind, ChildRef, NewSnapshot};
    use crate::core::model::spec::SnapshotClass;

    fn create() -> Step {
        let (name, claim, run) = ("s".to_owned(), "c".to_owned(), "r".to_owned());
        Step::Create(Child::Snapshot(NewSnapshot {
            name,
            role: Role::Capture,
            run,
            claim,
            class: SnapshotClass(None),
            content: None,
            copied_for: None,
        }))
    }

    fn answer(step: &Step, code: u16, reason: &str, message: &str) -> Answer {
        let status = Status { code, reason: reason.to_owned(), message: message.to_owned(), ..Status::default() };
        classify(step, kube::Error::Api(Box::new(status)))
    }

    /// It is no failure of an attempt.
    #[test]
    fn a_namespace_that_is_being_deleted_is_no_refusal() {
        let words = "volumesnapshots.snapshot.storage.k8s.io \"s\" is forbidden: unable to create new content in namespace site because it is being terminated";
        assert!(matches!(answer(&create(), 403, "Forbidden", words), Answer::Ending));
        let quota = "pods \"x\" is forbidden: exceeded quota";
        assert!(matches!(answer(&create(), 403, "Forbidden", quota), Answer::Refused(r) if r.reason == Reason::NoSpace));
    }

    /// An outsider saw NoSpace where a policy did not want the labels.
    #[test]
    fn a_policy_is_not_a_full_quota() {
        let reason = |step: &Step, code, words: &str| match answer(step, code, "Forbidden", words) {
            Answer::Refused(refusal) => Some(refusal.reason),
            _ => None,
        };
        let webhook = "admission webhook \"validate.kyverno.svc\" denied the request: label team is required";
        let policy = "volumesnapshots \"s\" is forbidden: ValidatingAdmissionPolicy 'teams' with binding 'all' denied request: no team";
        for (code, words) in [(403, webhook), (400, webhook), (422, policy), (403, policy), (403, "is forbidden: violates something")] {
            assert_eq!(reason(&create(), code, words), Some(Reason::AdmissionDenied), "{code} {words}");
        }
        assert_eq!(reason(&create(), 403, "is forbidden: exceeded quota: q, requested: count/volumesnapshots=1"), Some(Reason::NoSpace));
        assert_eq!(reason(&create(), 403, "is forbidden: User \"a\" cannot create resource \"x\""), Some(Reason::MissingPermission));
        assert_eq!(reason(&create(), 422, "spec.source: Required value"), Some(Reason::InvalidSpec));
    }

    #[test]
    fn a_volume_that_cannot_grow_is_reported_with_the_servers_message() {
        let step = Step::Resize(ChildRef { kind: ChildKind::Claim, name: "c".into(), uid: "u".into() }, 2);
        let words = "persistentvolumeclaims \"c\" is forbidden: only dynamically provisioned pvc can be resized and the storageclass that provisions the pvc must support resize";
        let answer = answer(&step, 403, "Forbidden", words);
        assert!(matches!(answer, Answer::Refused(r) if r.reason == Reason::ResizeRefused && r.message.starts_with(words)));
    }
}
