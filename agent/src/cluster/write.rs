//! Does what a plan says, one request a step, in order.

use super::refusal::{Answer, classify};
use crate::api::{ReplicationDestination, ReplicationSource, Status, labels, recorded};
use crate::core::model::copy::CopyStatus;
use crate::core::model::facts::{Kind, Object};
use crate::core::model::plan::{Child, ChildKind, ChildRef, CopyNote, Event, Step};
use crate::manifests::{claim, event, job, snapshot};
use jiff::Timestamp;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams, Preconditions, PropagationPolicy};
use kube::core::{ApiResource, DynamicObject, GroupVersionKind};
use kube::{Api, Client};
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// Writes to one namespace.
#[derive(Clone)]
pub struct Writer {
    client: Client,
    namespace: String,
    instance: String,
}

impl Writer {
    /// Writes to `namespace`; events carry `instance` (the agent's pod) as their reporter.
    pub fn new(client: Client, namespace: &str, instance: &str) -> Self {
        Writer { client, namespace: namespace.to_owned(), instance: instance.to_owned() }
    }

    /// Does one step. A child that is gone already is as good as deleted.
    ///
    /// # Errors
    /// What the API server's answer means for the plan.
    pub async fn step(&self, object: &Object, step: &Step, mover: &job::Mover, now: Timestamp) -> Result<(), Answer> {
        let done = match step {
            Step::WriteStatus(status) => {
                let left_out = self.status(object, status).await.map_err(|error| classify(step, error))?;
                return if left_out.is_empty() { Ok(()) } else { Err(Answer::Undeclared(left_out)) };
            }
            Step::Create(child) => self.create(object, child, mover).await,
            Step::Delete(target) => self.delete(target).await,
            Step::Release(target) => self.release(object, target).await,
            Step::Resize(target, size) => self.resize(target, *size).await,
            Step::Publish(event) => return self.publish(object, event, now).await,
            Step::NoteCopy(note) => self.note_copy(note).await,
        };
        done.map_err(|error| classify(step, error))
    }

    /// Publishes an event; one that is there already is as good as published.
    ///
    /// # Errors
    /// What the API server's answer means for it.
    pub async fn publish(&self, object: &Object, event: &Event, now: Timestamp) -> Result<(), Answer> {
        match self.post("", "v1", "Event", &event::build(object, event, &self.instance, now)).await {
            Err(kube::Error::Api(status)) if status.reason == "AlreadyExists" => Ok(()),
            other => other.map_err(|error| classify(&Step::Publish(event.clone()), error)),
        }
    }

    /// Puts the whole status in place of the one that is there, but only onto the very version that the decision was made on. Returns the
    /// fields that the cluster's CRD did not keep, because it is older than this agent.
    ///
    /// No server-side apply: what a field manager leaves out stays where another one owns it too, as after a restored backup. A run that
    /// is closed would be found open again.
    ///
    /// # Errors
    /// What the API server says; 409 where the object has changed since.
    pub async fn status(&self, object: &Object, status: &Status) -> kube::Result<BTreeSet<String>> {
        // A version that is not the present one makes the API server refuse the rest.
        let version = json!({ "op": "replace", "path": "/metadata/resourceVersion", "value": object.resource_version });
        self.put(object, status, Some(version), false).await
    }

    /// The fields that the cluster's CRD would not keep of this status. Nothing is written.
    ///
    /// # Errors
    /// What the API server says.
    pub async fn would_drop(&self, object: &Object, status: &Status) -> kube::Result<BTreeSet<String>> {
        self.put(object, status, None, true).await
    }

    async fn put(&self, object: &Object, status: &Status, first: Option<Value>, dry_run: bool) -> kube::Result<BTreeSet<String>> {
        let status = json!(status);
        let operations: Vec<_> = first.into_iter().chain([json!({ "op": "add", "path": "/status", "value": status })]).collect();
        let patch = Patch::<()>::Json(serde_json::from_value(json!(operations)).map_err(kube::Error::SerdeError)?);
        let params = PatchParams { field_manager: Some(labels::MANAGER.to_owned()), dry_run, ..PatchParams::default() };
        let kept = match object.kind {
            Kind::Source => {
                let api: Api<ReplicationSource> = Api::namespaced(self.client.clone(), &self.namespace);
                json!(api.patch_status(&object.name, &params, &patch).await?.status)
            }
            Kind::Destination => {
                let api: Api<ReplicationDestination> = Api::namespaced(self.client.clone(), &self.namespace);
                json!(api.patch_status(&object.name, &params, &patch).await?.status)
            }
        };
        // The API server drops without an error what the CRD does not declare.
        Ok(recorded::dropped(&status, &kept))
    }

    async fn create(&self, object: &Object, child: &Child, mover: &job::Mover) -> kube::Result<()> {
        match child {
            Child::Snapshot(new) => self.post("snapshot.storage.k8s.io", "v1", "VolumeSnapshot", &snapshot::build(object, new)).await,
            Child::Claim(new) => self.post("", "v1", "PersistentVolumeClaim", &claim::build(object, new)).await,
            Child::Job(new) => self.post("batch", "v1", "Job", &job::build(object, new, mover)).await,
        }
    }

    async fn post(&self, group: &str, version: &str, kind: &str, body: &Value) -> kube::Result<()> {
        let object: DynamicObject = serde_json::from_value(body.clone()).map_err(kube::Error::SerdeError)?;
        self.api(group, version, kind).create(&PostParams::default(), &object).await?;
        Ok(())
    }

    async fn delete(&self, target: &ChildRef) -> kube::Result<()> {
        let params = DeleteParams {
            // A Job stays until its pods are gone, so that its name cannot start a second mover beside them.
            propagation_policy: (target.kind == ChildKind::Job).then_some(PropagationPolicy::Foreground),
            preconditions: Some(Preconditions { uid: Some(target.uid.clone()), resource_version: None }),
            ..DeleteParams::default()
        };
        match self.children(target.kind).delete(&target.name, &params).await {
            // 404: gone already. 409: another object has taken the name, which is not ours to delete.
            Err(kube::Error::Api(status)) if status.code == 404 || status.code == 409 => Ok(()),
            other => other.map(|_| ()),
        }
    }

    /// Takes the owner reference and our labels off, so that neither the agent nor the garbage collector touches the image again.
    async fn release(&self, object: &Object, target: &ChildRef) -> kube::Result<()> {
        let api = self.children(target.kind);
        let Some(image) = api.get_opt(&target.name).await?.filter(|i| i.metadata.uid.as_deref() == Some(&target.uid)) else {
            return Ok(());
        };
        let ours = [labels::MANAGED_BY, labels::APP_NAME, labels::COMPONENT, labels::OWNER_UID, labels::RUN];
        let removed: serde_json::Map<String, Value> = ours.iter().map(|key| ((*key).to_owned(), Value::Null)).collect();
        let others: Vec<_> = image.metadata.owner_references.iter().flatten().filter(|r| r.uid != object.uid).cloned().collect();
        let patch = json!({ "metadata": {
            "uid": target.uid, "resourceVersion": image.metadata.resource_version, "labels": removed, "ownerReferences": others,
        }});
        api.patch(&target.name, &PatchParams::default(), &Patch::Merge(patch)).await?;
        Ok(())
    }

    /// Asks for more room. The UID keeps it from another claim of that name.
    async fn resize(&self, target: &ChildRef, size: u64) -> kube::Result<()> {
        let patch = json!({
            "metadata": { "uid": target.uid },
            "spec": { "resources": { "requests": { "storage": size.to_string() } } },
        });
        self.children(target.kind).patch(&target.name, &PatchParams::default(), &Patch::Merge(patch)).await?;
        Ok(())
    }

    /// Writes how far a copy is onto the claim. Its version keeps two sources, or two agents, from taking the same value; and a user who
    /// withdraws a value knows from the answer whether it was taken.
    async fn note_copy(&self, note: &CopyNote) -> kube::Result<()> {
        let mut annotations = json!({
            labels::LATEST_COPY_STATUS: note.status.map(CopyStatus::as_str),
            labels::LATEST_COPY_WAITING_SINCE: note.waiting_since.map(|time| time.to_string()),
            labels::LATEST_COPY_BY: json!(note.by).to_string(),
        });
        if let Some(value) = &note.latest {
            annotations[labels::LATEST_COPY_TRIGGER] = json!(value);
        }
        let patch = json!({ "metadata": { "uid": note.claim.uid, "resourceVersion": note.version, "annotations": annotations } });
        self.children(note.claim.kind).patch(&note.claim.name, &PatchParams::default(), &Patch::Merge(patch)).await?;
        Ok(())
    }

    fn children(&self, kind: ChildKind) -> Api<DynamicObject> {
        match kind {
            ChildKind::Job => self.api("batch", "v1", "Job"),
            ChildKind::Claim => self.api("", "v1", "PersistentVolumeClaim"),
            ChildKind::Snapshot => self.api("snapshot.storage.k8s.io", "v1", "VolumeSnapshot"),
        }
    }

    fn api(&self, group: &str, version: &str, kind: &str) -> Api<DynamicObject> {
        let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind));
        Api::namespaced_with(self.client.clone(), &self.namespace, &resource)
    }
}
