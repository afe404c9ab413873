//! From the cluster's types to the facts that decisions are made of.

mod mover;

pub use mover::{has_ended, has_terminated, has_worked, job, moves_for, owner, pod, pulls_into, will_pull_into};

use super::slim;
use crate::api::{ReplicationDestination, ReplicationSource, Status, labels};
use crate::core::model::copy::{CopyStatus, CopyTrigger};
use crate::core::model::facts::{Claim, Growth, Kind, Meta, Object, Role, Snapshot};
use crate::core::model::spec::{ClaimShape, InvalidSpec, Spec};
use crate::core::syntax::quantity;
use crate::core::validate;
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

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

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use serde_json::json;

    pub(crate) fn parsed<K: serde::de::DeserializeOwned>(metadata: &serde_json::Value) -> K {
        serde_json::from_value(json!({ "metadata": metadata })).unwrap()
    }

    pub(crate) fn owned_by(kind: &str, name: &str, uid: &str) -> serde_json::Value {
        json!([{ "apiVersion": "v1", "kind": kind, "name": name, "uid": uid }])
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
}
