//! The Jobs and pods that move data: what they are of, what they mount, and how they are.

use super::{annotation, meta, time};
use crate::api::labels;
use crate::cluster::slim;
use crate::core::model::facts::{Job, Meta, Pod, Role};
use crate::core::model::names;
use crate::manifests::job::{CONTAINER, DISRUPTED};

/// Why a Job failed, where that was its `podFailurePolicy`: the agent's Jobs have a rule for disrupted pods, and no other.
const FAILED_BY_POLICY: &str = "PodFailurePolicy";

/// A Job, as `owner` sees it.
pub fn job(job: &slim::Job, owner: &str) -> Job {
    let condition = |kind: &str| job.status.conditions.iter().find(|c| c.kind == kind && c.status == "True");
    let failed = condition("Failed");
    let annotation = |key: &str| annotation(&job.metadata, key).map(str::to_owned);
    Job {
        meta: meta(&job.metadata, owner),
        claim_uid: annotation(labels::PVC_UID),
        subject: annotation(labels::SUBJECT),
        placement: annotation(labels::PLACEMENT),
        succeeded: if failed.is_some() { Some(false) } else { condition("Complete").map(|_| true) },
        message: failed.and_then(|c| c.message.clone()).unwrap_or_default(),
        disrupted: failed.and_then(|c| c.reason.as_deref()) == Some(FAILED_BY_POLICY),
    }
}

/// Whether this pod is a mover of the object with this UID, or of one before it of the same name: its Job has the name of theirs.
pub fn moves_for(pod: &slim::Pod, owner: &str, job: &str) -> bool {
    let meta = &pod.metadata;
    let ours = self::owner(pod) == Some(owner);
    ours || meta.owner_references.iter().flatten().any(|r| r.kind == "Job" && r.name == job)
}

/// Whether this pod is a destination's mover, of whichever object, that has this claim as its volume.
pub fn pulls_into(pod: &slim::Pod, claim: &str) -> bool {
    let pulls = pod.metadata.owner_references.iter().flatten().any(|r| r.kind == "Job" && names::is_destination_job(&r.name));
    pulls && mounts(&pod.spec, claim)
}

/// Whether this Job gets no pod any more.
pub fn has_ended(job: &slim::Job) -> bool {
    job.status.conditions.iter().any(|c| matches!(c.kind.as_str(), "Complete" | "Failed") && c.status == "True")
}

/// Whether the mover of this Job neither reads nor writes any more, by its pod: each of these that is the Job's. The Job itself shows it two
/// seconds later, and not at all while it is being deleted. It makes one pod only (`backoffLimit` 0), whose containers are never restarted.
pub fn has_worked<'a>(job: &slim::Job, pods: impl Iterator<Item = &'a slim::Pod>) -> bool {
    // One that somebody has suspended gets another pod once it is resumed.
    let is_suspended = job.status.conditions.iter().any(|condition| condition.kind == "Suspended");
    let Some(uid) = job.metadata.uid.as_ref().filter(|_| !is_suspended) else { return false };
    let mut of_it = pods.filter(|pod| pod.metadata.owner_references.iter().flatten().any(|owner| owner.uid == *uid)).peekable();
    of_it.peek().is_some() && of_it.all(|pod| has_terminated(&self::pod(pod)))
}

/// Whether the mover's container of this pod has ended for good, whatever else keeps the pod.
pub fn has_terminated(pod: &Pod) -> bool {
    pod.ended || pod.finished.is_some()
}

/// Whether this Job is a destination's, of whichever object, that has this claim as its volume and may still get a pod.
pub fn will_pull_into(job: &slim::Job, claim: &str) -> bool {
    !has_ended(job) && job.metadata.name.as_deref().is_some_and(names::is_destination_job) && mounts(&job.spec.template.spec, claim)
}

/// Claims beside its volume are only read (`moverVolumes`).
fn mounts(pod: &slim::PodSpec, claim: &str) -> bool {
    let claims = pod.volumes.iter().filter_map(|volume| volume.persistent_volume_claim.as_ref());
    claims.filter(|used| !used.read_only).any(|used| used.claim_name == claim)
}

/// UID of the object that this pod is a mover of.
pub fn owner(pod: &slim::Pod) -> Option<&str> {
    pod.metadata.labels.as_ref()?.get(labels::OWNER_UID).map(String::as_str)
}

/// A mover's pod. It belongs to its Job, and to the object by the label that only the agent's Jobs set.
pub fn pod(pod: &slim::Pod) -> Pod {
    let label = |key: &str| pod.metadata.labels.as_ref().and_then(|l| l.get(key)).cloned();
    let status = &pod.status;
    let state = status.container_statuses.iter().find(|c| c.name == CONTAINER).map(|c| c.state.clone()).unwrap_or_default();
    // One whose image cannot be pulled keeps the pod from ending as well as one that runs.
    let unended = status.container_statuses.iter().find(|c| c.name != CONTAINER && c.state.terminated.is_none());
    let ended = matches!(status.phase.as_deref(), Some("Succeeded" | "Failed"));
    Pod {
        meta: Meta {
            name: pod.metadata.name.clone().unwrap_or_default(),
            uid: pod.metadata.uid.clone().unwrap_or_default(),
            role: Some(Role::Mover),
            run: label(labels::RUN),
            attempt: label(labels::ATTEMPT).and_then(|a| a.parse().ok()),
            created: time(pod.metadata.creation_timestamp.as_ref()),
            deleting: pod.metadata.deletion_timestamp.is_some(),
            deleting_since: time(pod.metadata.deletion_timestamp.as_ref()),
            namesake: false,
            held_by: pod.metadata.finalizers.clone().unwrap_or_default(),
        },
        started: state.running.is_some() || state.terminated.is_some(),
        ended,
        ends_by: time(pod.metadata.deletion_timestamp.as_ref()),
        report: state.terminated.as_ref().and_then(|t| t.message.clone()),
        finished: state.terminated.as_ref().and_then(|t| time(t.finished_at.as_ref())),
        succeeded: state.terminated.as_ref().is_some_and(|t| t.exit_code == 0),
        // A shell's convention, and the kubelet's: 128 and more is a signal.
        by_itself: state.terminated.as_ref().is_some_and(|t| (0..128).contains(&t.exit_code) && t.reason.as_deref() != Some("OOMKilled")),
        kept_by: unended.filter(|_| state.terminated.is_some() && !ended).map(|c| c.name.clone()),
        disrupted: status.conditions.iter().any(|c| c.kind == DISRUPTED && c.status == "True"),
        cause: pod_cause(status, &state),
        scheduled: status.conditions.iter().any(|c| c.kind == SCHEDULED && c.status == "True"),
        unscheduled: unscheduled(status),
    }
}

/// The condition of a pod that has a node.
const SCHEDULED: &str = "PodScheduled";

fn unscheduled(status: &slim::PodStatus) -> Option<String> {
    status.conditions.iter().find(|c| c.kind == SCHEDULED && c.status == "False").and_then(|c| c.message.clone())
}

fn pod_cause(status: &slim::PodStatus, state: &slim::ContainerState) -> Option<String> {
    let join = |reason: Option<&String>, message: Option<&String>| match (reason, message) {
        (Some(reason), Some(message)) => Some(format!("{reason}: {message}")),
        (reason, message) => reason.or(message).cloned(),
    };
    if let Some(ended) = &state.terminated {
        let reason = ended.reason.clone().unwrap_or_else(|| "Error".to_owned());
        return Some(format!("{reason}, exit code {}", ended.exit_code));
    }
    if let Some(waiting) = state.waiting.as_ref().filter(|w| w.reason.as_deref() != Some("ContainerCreating")) {
        return join(waiting.reason.as_ref(), waiting.message.as_ref());
    }
    unscheduled(status).or_else(|| join(status.reason.as_ref(), status.message.as_ref()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::view::tests::{owned_by, parsed};
    use serde_json::json;

    /// A claim that a mover only reads is in nobody's way.
    #[test]
    fn a_destination_pulls_into_its_volume_alone() {
        let pod: slim::PodSpec = serde_json::from_value(json!({ "volumes": [
            { "name": "volume", "persistentVolumeClaim": { "claimName": "data" } },
            { "name": "mnt-0", "persistentVolumeClaim": { "claimName": "keys", "readOnly": true } },
            { "name": "mnt-1", "secret": { "secretName": "keys" } },
        ] }))
        .unwrap();
        assert!(mounts(&pod, "data") && !mounts(&pod, "keys"));
    }

    /// The kubelet sorts containers by name, and a service mesh has injected one.
    #[test]
    fn the_movers_container_is_found_by_its_name() {
        let terminated = |exit: i32, message: &str| json!({ "terminated": { "exitCode": exit, "message": message, "finishedAt": "2026-01-01T00:00:00Z" } });
        let seen = |sidecar: serde_json::Value, phase: &str| {
            let statuses =
                [("istio-proxy", sidecar), ("mover", terminated(1, "{}"))].map(|(name, state)| json!({ "name": name, "state": state }));
            pod(&serde_json::from_value(json!({ "metadata": {}, "status": { "phase": phase, "containerStatuses": statuses } })).unwrap())
        };
        let ended = seen(terminated(0, "none of ours"), "Failed");
        assert_eq!((ended.report.as_deref(), ended.kept_by), (Some("{}"), None));
        let kept = seen(json!({ "running": {} }), "Running");
        assert_eq!((kept.report.as_deref(), kept.kept_by.as_deref(), kept.ended), (Some("{}"), Some("istio-proxy"), false));
        assert!(!kept.succeeded, "the sidecar's exit code");
        // One that never starts keeps the pod just the same, until the kubelet has said what becomes of it.
        for state in [json!({ "waiting": { "reason": "ImagePullBackOff" } }), json!({})] {
            let kept = seen(state.clone(), "Pending");
            assert_eq!((kept.kept_by.as_deref(), kept.ended), (Some("istio-proxy"), false), "{state}");
        }
        assert_eq!(seen(terminated(0, "none of ours"), "Running").kept_by, None, "its phase follows");
    }

    /// Drained, preempted or evicted: the pod shows it, and its Job once the pod is gone.
    #[test]
    fn a_disruption_is_seen_on_the_pod_and_on_the_job() {
        let condition = |kind: &str, status: &str, reason: &str| json!({ "type": kind, "status": status, "reason": reason });
        let pod = |status: &str| json!({ "metadata": {}, "status": { "conditions": [condition("DisruptionTarget", status, "EvictionByEvictionAPI")] } });
        let seen = |status: &str| super::pod(&serde_json::from_value(pod(status)).unwrap()).disrupted;
        assert!(seen("True") && !seen("False"));
        for (reason, disrupted) in [("PodFailurePolicy", true), ("BackoffLimitExceeded", false)] {
            let job = json!({ "metadata": {}, "status": { "conditions": [condition("Failed", "True", reason)] } });
            let seen = super::job(&serde_json::from_value(job).unwrap(), "owner");
            assert_eq!((seen.disrupted, seen.succeeded), (disrupted, Some(false)), "{reason}");
        }
    }

    /// A mover of the object before counts as one of this object: its Job has the same name.
    #[test]
    fn an_old_objects_mover_is_found_by_the_name_of_its_job() {
        let pod =
            |job: &str| parsed(&json!({ "labels": { "scribe.backube/owner-uid": "old" }, "ownerReferences": owned_by("Job", job, "j") }));
        assert!(moves_for(&pod("scribe-rclone-src-a"), "new", "scribe-rclone-src-a"));
        assert!(!moves_for(&pod("scribe-rclone-src-b"), "new", "scribe-rclone-src-a"));
        assert!(moves_for(&pod("scribe-rclone-src-b"), "old", "scribe-rclone-src-a"));
    }
}
