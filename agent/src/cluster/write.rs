//! Does what a plan says, one request a step, in order.
//!
//! Imports `manifests`, `refusal`, `core`, `api`.

use super::refusal::{Answer, classify};
use crate::api::{GROUP, ReplicationDestination, ReplicationSource, Status, VERSION, labels};
use crate::core::facts::{Kind, Object};
use crate::core::plan::{Child, ChildKind, Step, Target};
use crate::manifests::{claim, event, job, snapshot};
use jiff::Timestamp;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams, Preconditions, PropagationPolicy};
use kube::core::{ApiResource, DynamicObject, GroupVersionKind};
use kube::{Api, Client};
use serde_json::{Value, json};

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
            Step::WriteStatus(status) => self.status(object, status).await,
            Step::Create(child) => self.create(object, child, mover).await,
            Step::Delete(target) => self.delete(target).await,
            Step::Release(target) => self.release(object, target).await,
            Step::Resize(target, size) => self.resize(target, *size).await,
            Step::Publish(new) => {
                told_already(self.post("events.k8s.io", "v1", "Event", &event::build(object, new, &self.instance, now)).await)
            }
        };
        done.map_err(|error| classify(step, error))
    }

    /// Writes the whole status, but only onto the very version that the decision was made on.
    ///
    /// # Errors
    /// What the API server says.
    pub async fn status(&self, object: &Object, status: &Status) -> kube::Result<()> {
        let status = &json!(status);
        let body = json!({
            "apiVersion": format!("{GROUP}/{VERSION}"),
            "kind": object.kind.as_str(),
            "metadata": { "name": object.name, "resourceVersion": object.resource_version, "uid": object.uid },
            "status": status,
        });
        let params = PatchParams::apply(labels::MANAGER).force();
        match object.kind {
            Kind::Source => {
                let api: Api<ReplicationSource> = Api::namespaced(self.client.clone(), &self.namespace);
                let written = api.patch_status(&object.name, &params, &Patch::Apply(body)).await?;
                warn_about_dropped_fields(object, status, &json!(written.status));
            }
            Kind::Destination => {
                let api: Api<ReplicationDestination> = Api::namespaced(self.client.clone(), &self.namespace);
                let written = api.patch_status(&object.name, &params, &Patch::Apply(body)).await?;
                warn_about_dropped_fields(object, status, &json!(written.status));
            }
        }
        Ok(())
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

    async fn delete(&self, target: &Target) -> kube::Result<()> {
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
    async fn release(&self, object: &Object, target: &Target) -> kube::Result<()> {
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
    async fn resize(&self, target: &Target, size: u64) -> kube::Result<()> {
        let patch = json!({
            "metadata": { "uid": target.uid },
            "spec": { "resources": { "requests": { "storage": size.to_string() } } },
        });
        self.children(target.kind).patch(&target.name, &PatchParams::default(), &Patch::Merge(patch)).await?;
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

/// An event of this name tells the same story already.
fn told_already(result: kube::Result<()>) -> kube::Result<()> {
    match result {
        Err(kube::Error::Api(status)) if status.reason == "AlreadyExists" => Ok(()),
        other => other,
    }
}

/// An older CRD drops unknown fields without a word; then the agent would believe that it wrote them.
fn warn_about_dropped_fields(object: &Object, sent: &Value, kept: &Value) {
    let fields = |status: &Value| status.as_object().map(|s| s.keys().cloned().collect::<Vec<_>>()).unwrap_or_default();
    let dropped: Vec<_> = fields(sent).into_iter().filter(|field| kept.get(field).is_none_or(Value::is_null)).collect();
    if !dropped.is_empty() {
        tracing::error!(
            name = object.name,
            ?dropped,
            "the cluster's CRD is older than this agent and drops status fields: apply kustomize/crds"
        );
    }
}
