//! From the cluster's types to the facts that decisions are made of.

use super::slim;
use crate::api::{ReplicationDestination, ReplicationSource, Status, labels};
use crate::core::model::copy::{CopyStatus, CopyTrigger};
use crate::core::model::facts::{Claim, Growth, Job, Kind, Meta, Object, Pod, Role, Snapshot};
use crate::core::model::names;
use crate::core::model::spec::{ClaimShape, InvalidSpec, Spec};
use crate::core::syntax::quantity;
use crate::core::validate;
use crate::manifests::job::{CONTAINER, DISRUPTED};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

/// Why a Job failed, where that was its `podFailurePolicy`: the agent's Jobs have a rule for disrupted pods, and no other.
const FAILED_BY_POLICY: &str = "PodFailurePolicy";

/// One of the two kinds, reduced to what they share.
#[derive(Clone, Debug)]
pub struct Replication {
    /// The object.
    pub object: Object,
    /// Its spec, or what is wrong with it.
    pub spec: Result<Spec, InvalidSpec>,
    /// Its status.
    pub status: Status,
}

/// Makes a [`Replication`] of an API object.
pub trait Replicated {
    /// Which kind it is.
    const KIND: Kind;
    /// Reads the object.
    fn replication(&self) -> Replication;
}

impl Replicated for ReplicationSource {
    const KIND: Kind = Kind::Source;
    fn replication(&self) -> Replication {
        Replication {
            object: object(Self::KIND, &self.metadata, None),
            spec: validate::source(&self.spec, uid(&self.metadata)),
            status: self.status.clone().unwrap_or_default(),
        }
    }
}

impl Replicated for ReplicationDestination {
    const KIND: Kind = Kind::Destination;
    fn replication(&self) -> Replication {
        Replication {
            object: object(Self::KIND, &self.metadata, self.spec.rclone.destination_pvc.clone()),
            spec: validate::destination(&self.spec, uid(&self.metadata)),
            status: self.status.clone().unwrap_or_default(),
        }
    }
}

/// The value of an annotation; a blank one counts as absent.
pub fn annotation<'a>(meta: &'a ObjectMeta, key: &str) -> Option<&'a str> {
    meta.annotations.as_ref().and_then(|all| all.get(key)).map(String::as_str).filter(|value| !value.trim().is_empty())
}

fn uid(meta: &ObjectMeta) -> &str {
    meta.uid.as_deref().unwrap_or_default()
}

fn object(kind: Kind, meta: &ObjectMeta, destination_pvc: Option<String>) -> Object {
    let annotation = |key: &str| annotation(meta, key).map(str::to_owned);
    Object {
        kind,
        namespace: meta.namespace.clone().unwrap_or_default(),
        name: meta.name.clone().unwrap_or_default(),
        uid: uid(meta).to_owned(),
        resource_version: meta.resource_version.clone().unwrap_or_default(),
        generation: meta.generation.unwrap_or_default(),
        created: time(meta.creation_timestamp.as_ref()),
        deleting: meta.deletion_timestamp.is_some(),
        adopt_path: annotation(labels::ADOPT_PATH),
        allow_deletions: annotation(labels::ALLOW_DELETIONS),
        sync_now: annotation(labels::SYNC_NOW),
        // A destination verifies all that it pulls.
        verify_now: annotation(labels::VERIFY_NOW).filter(|_| kind == Kind::Source),
        abort: annotation(labels::ABORT),
        destination_pvc,
    }
}

/// The user's or our own child, with a role only where `owner` really owns it.
fn meta(meta: &ObjectMeta, owner: &str) -> Meta {
    let label = |key: &str| meta.labels.as_ref().and_then(|l| l.get(key)).cloned();
    let owned = belongs_to(meta, owner);
    Meta {
        name: meta.name.clone().unwrap_or_default(),
        uid: meta.uid.clone().unwrap_or_default(),
        role: label(labels::COMPONENT).as_deref().and_then(Role::parse).filter(|_| owned),
        run: label(labels::RUN).filter(|_| owned),
        attempt: label(labels::ATTEMPT).and_then(|a| a.parse().ok()),
        created: time(meta.creation_timestamp.as_ref()),
        deleting: meta.deletion_timestamp.is_some(),
        deleting_since: time(meta.deletion_timestamp.as_ref()),
        namesake: !owned && label(labels::OWNER_UID).is_some() && meta.owner_references.as_ref().is_some_and(|r| !r.is_empty()),
        held_by: meta.finalizers.clone().unwrap_or_default(),
    }
}

/// Whether an owner reference names this UID. Labels can be copied with a namespace, UIDs cannot.
pub fn belongs_to(meta: &ObjectMeta, owner: &str) -> bool {
    meta.owner_references.iter().flatten().any(|r| r.uid == owner)
}

fn time(time: Option<&k8s_openapi::apimachinery::pkg::apis::meta::v1::Time>) -> Option<Timestamp> {
    time.map(|t| t.0)
}

/// A claim, as `owner` sees it.
pub fn claim(claim: &slim::Claim, owner: &str) -> Claim {
    let size = |sizes: &std::collections::BTreeMap<String, String>| sizes.get("storage").and_then(|s| quantity::bytes(s));
    Claim {
        meta: meta(&claim.metadata, owner),
        bound: claim.status.phase.as_deref() == Some("Bound"),
        shape: ClaimShape {
            size: size(&claim.spec.resources.requests).max(size(&claim.status.capacity)),
            access_modes: claim.spec.access_modes.clone(),
            storage_class: claim.spec.storage_class_name.clone(),
        },
        block: claim.spec.volume_mode.as_deref() == Some("Block"),
        made_from: claim.image().map(str::to_owned),
        copy: copy_trigger(&claim.metadata),
        copied_for: copied_for(&claim.metadata, owner),
        growth: growth(claim),
    }
}

/// What the annotations of a claim say of its copies.
fn copy_trigger(meta: &ObjectMeta) -> CopyTrigger {
    let value = |key: &str| annotation(meta, key).map(str::to_owned);
    CopyTrigger {
        used: meta.annotations.as_ref().is_some_and(|all| all.contains_key(labels::USE_COPY_TRIGGER)),
        value: value(labels::COPY_TRIGGER),
        latest: value(labels::LATEST_COPY_TRIGGER),
        status: annotation(meta, labels::LATEST_COPY_STATUS).and_then(CopyStatus::parse),
        waiting_since: annotation(meta, labels::LATEST_COPY_WAITING_SINCE).and_then(|time| time.parse().ok()),
        by: annotation(meta, labels::LATEST_COPY_BY).and_then(|text| serde_json::from_str(text).ok()),
        version: meta.resource_version.clone().unwrap_or_default(),
    }
}

/// Whether the status of a copy on this claim is of the source with this UID.
pub fn is_copied_by(claim: &slim::Claim, uid: &str) -> bool {
    copy_trigger(&claim.metadata).by.is_some_and(|by| by.uid == uid)
}

/// The value that asked for this temporary child. A user's own claim may have that annotation for its own copies.
fn copied_for(meta: &ObjectMeta, owner: &str) -> Option<String> {
    annotation(meta, labels::COPY_TRIGGER).filter(|_| belongs_to(meta, owner)).map(str::to_owned)
}

/// The expansion of a bound claim that was requested and has not ended.
fn growth(claim: &slim::Claim) -> Option<Growth> {
    let (to, from) = (claim.spec.resources.requests.get("storage")?, claim.status.capacity.get("storage")?);
    if quantity::bytes(from)? >= quantity::bytes(to)? {
        return None;
    }
    let said = |c: &slim::PodCondition| c.message.as_ref().map_or_else(|| c.kind.clone(), |message| format!("{}: {message}", c.kind));
    let states: Vec<_> = claim.status.conditions.iter().filter(|c| c.status == "True").map(said).collect();
    let state = (!states.is_empty()).then(|| states.join("; "));
    Some(Growth { from: from.clone(), to: to.clone(), state })
}

/// Name of the snapshot that this claim is still being made from. One that is lost (phase `Lost`) was made before.
pub fn image_in_use(claim: &slim::Claim) -> Option<String> {
    let pending = matches!(claim.status.phase.as_deref(), None | Some("Pending")) && claim.metadata.deletion_timestamp.is_none();
    claim.image().filter(|_| pending).map(str::to_owned)
}

/// A snapshot, as `owner` sees it.
pub fn snapshot(snapshot: &slim::Snapshot, owner: &str) -> Snapshot {
    let status = snapshot.status.clone().unwrap_or_default();
    let annotation = |key: &str| annotation(&snapshot.metadata, key).map(str::to_owned);
    Snapshot {
        meta: meta(&snapshot.metadata, owner),
        ready: status.ready_to_use == Some(true),
        // Not every driver reports it; the request was never later than the capture.
        captured: time(status.creation_time.as_ref().or(snapshot.metadata.creation_timestamp.as_ref())),
        restore_size: status.restore_size.as_deref().and_then(quantity::bytes),
        error: status.error.and_then(|e| e.message),
        taken: status.creation_time.is_some(),
        keep: snapshot.metadata.labels.as_ref().is_some_and(|l| l.contains_key(labels::DO_NOT_DELETE)),
        revision: annotation(labels::REVISION),
        claim_uid: annotation(labels::PVC_UID),
        copied_for: copied_for(&snapshot.metadata, owner),
    }
}

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

/// Whether this Job is a destination's, of whichever object, that has this claim as its volume and may still get a pod.
pub fn will_pull_into(job: &slim::Job, claim: &str) -> bool {
    let ended = job.status.conditions.iter().any(|c| matches!(c.kind.as_str(), "Complete" | "Failed") && c.status == "True");
    !ended && job.metadata.name.as_deref().is_some_and(names::is_destination_job) && mounts(&job.spec.template.spec, claim)
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
    use serde_json::json;

    fn parsed<K: serde::de::DeserializeOwned>(metadata: &serde_json::Value) -> K {
        serde_json::from_value(json!({ "metadata": metadata })).unwrap()
    }

    fn owned_by(kind: &str, name: &str, uid: &str) -> serde_json::Value {
        json!([{ "apiVersion": "v1", "kind": kind, "name": name, "uid": uid }])
    }

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

    /// A claim of an earlier object of this name is garbage-collected; one that belongs to something else, or lost its owner reference, stays.
    #[test]
    fn what_a_namesake_left_is_not_what_another_has() {
        let labels = json!({ "scribe.backube/owner-uid": "old", "app.kubernetes.io/component": "volume" });
        let left = claim(&parsed(&json!({ "labels": labels, "ownerReferences": owned_by("ReplicationDestination", "a", "old") })), "new");
        assert!(left.meta.namesake && left.meta.role.is_none());
        let ours = claim(&parsed(&json!({ "labels": labels, "ownerReferences": owned_by("ReplicationDestination", "a", "new") })), "new");
        assert!(!ours.meta.namesake && ours.meta.role == Some(Role::Volume));
        for strange in [json!({}), json!({ "labels": labels }), json!({ "ownerReferences": owned_by("StatefulSet", "db", "x") })] {
            assert!(!claim(&parsed(&strange), "new").meta.namesake, "{strange}");
        }
    }

    /// That the API server has accepted a larger request says nothing of the volume.
    #[test]
    fn a_volume_that_is_to_grow_is_smaller_than_what_is_requested() {
        let seen = |capacity: &str, conditions: serde_json::Value| {
            let spec = json!({ "resources": { "requests": { "storage": "2Gi" } } });
            let status = json!({ "phase": "Bound", "capacity": { "storage": capacity }, "conditions": conditions });
            claim(&serde_json::from_value(json!({ "metadata": {}, "spec": spec, "status": status })).unwrap(), "owner").growth
        };
        let growth = |state: Option<&str>| Some(Growth { from: "1Gi".into(), to: "2Gi".into(), state: state.map(str::to_owned) });
        let condition = |kind: &str, status: &str, message: Option<&str>| json!({ "type": kind, "status": status, "message": message });
        assert_eq!((seen("2Gi", json!([])), seen("3Gi", json!([]))), (None, None));
        assert_eq!(seen("1Gi", json!([])), growth(None));
        assert_eq!(seen("1Gi", json!([condition("Resizing", "True", None)])), growth(Some("Resizing")));
        let pending = condition("FileSystemResizePending", "True", Some("waiting for a pod"));
        assert_eq!(
            seen("1Gi", json!([condition("Resizing", "False", None), pending])),
            growth(Some("FileSystemResizePending: waiting for a pod"))
        );
    }

    /// A mover of the object before counts as one of this object: its Job has the same name.
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

    #[test]
    fn an_old_objects_mover_is_found_by_the_name_of_its_job() {
        let pod =
            |job: &str| parsed(&json!({ "labels": { "scribe.backube/owner-uid": "old" }, "ownerReferences": owned_by("Job", job, "j") }));
        assert!(moves_for(&pod("scribe-rclone-src-a"), "new", "scribe-rclone-src-a"));
        assert!(!moves_for(&pod("scribe-rclone-src-b"), "new", "scribe-rclone-src-a"));
        assert!(moves_for(&pod("scribe-rclone-src-b"), "old", "scribe-rclone-src-a"));
    }
}
