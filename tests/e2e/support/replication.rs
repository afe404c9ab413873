//! A `ReplicationSource` or `ReplicationDestination`, as its user sees it.

use super::s3::SECTION;
use super::site::{SECRET, Site};
use super::until::until;
use super::volume::Hand;
use k8s_openapi::api::events::v1::Event;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::api::{DeleteParams, DynamicObject, ListParams, Patch, PatchParams};
use kube::core::{ApiResource, GroupVersionKind};
use kube::{Api, ResourceExt};
use scribe_agent::api::Status;
use serde_json::{Value, json};

/// How long one sync may take on a loaded machine.
pub const SYNC: u64 = 90;

/// Kinds of children, as kubectl and watches name them.
pub const CHILDREN: [(&str, &str, &str); 4] =
    [("batch", "v1", "Job"), ("", "v1", "Pod"), ("", "v1", "PersistentVolumeClaim"), ("snapshot.storage.k8s.io", "v1", "VolumeSnapshot")];

/// One object of the user's.
pub struct Replication<'a> {
    /// Where it is.
    pub site: &'a Site,
    /// Its kind.
    pub kind: &'static str,
    /// Its name.
    pub name: String,
    api: Api<DynamicObject>,
}

impl Site {
    /// Makes a source of `claim` that pushes to the site's path. `spec` is merged over the defaults.
    pub fn source(&self, name: &str, claim: &str, spec: Value) -> Replication<'_> {
        let default = json!({ "sourcePVC": claim, "trigger": { "manual": "first" }, "rclone": self.rclone() });
        self.replication("ReplicationSource", name, &merged(default, spec))
    }

    /// Makes a destination that pulls from the site's path. `spec` is merged over the defaults.
    pub fn destination(&self, name: &str, spec: Value) -> Replication<'_> {
        let default = json!({ "trigger": { "manual": "first" }, "rclone": merged(self.rclone(), json!({ "capacity": "1Gi" })) });
        self.replication("ReplicationDestination", name, &merged(default, spec))
    }

    /// A volume, a source `push` and a destination `pull` of it that have synced once, and the image of that.
    pub async fn replicated(&self, source: Value, destination: Value) -> (Hand<'_>, Replication<'_>, Replication<'_>, String) {
        let volume = self.filled("data").await;
        let push = self.source("push", "data", source);
        push.synced("first").await;
        let pull = self.destination("pull", destination);
        let image = image_of(&pull.synced("first").await);
        (volume, push, pull, image)
    }

    fn rclone(&self) -> Value {
        json!({ "rcloneConfig": SECRET, "rcloneConfigSection": SECTION, "rcloneDestPath": self.path })
    }

    fn replication(&self, kind: &'static str, name: &str, spec: &Value) -> Replication<'_> {
        self.apply(json!({ "apiVersion": "scribe.backube/v1alpha1", "kind": kind, "metadata": { "name": name }, "spec": spec }));
        self.existing(kind, name)
    }

    /// An object that is there already.
    pub fn existing(&self, kind: &'static str, name: &str) -> Replication<'_> {
        self.existing_of("scribe.backube", kind, name)
    }

    /// The same of another group, whose objects have such triggers too.
    pub fn existing_of(&self, group: &str, kind: &'static str, name: &str) -> Replication<'_> {
        let api = self.api(group, "v1alpha1", kind);
        Replication { site: self, kind, name: name.to_owned(), api }
    }

    /// Any kind of object in the site's namespace.
    pub fn api(&self, group: &str, version: &str, kind: &str) -> Api<DynamicObject> {
        let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind));
        Api::namespaced_with(self.client.clone(), &self.namespace, &resource)
    }

    /// Everything that the agent has made and that is still there, as `Kind/name`.
    pub async fn children(&self) -> Vec<String> {
        self.labelled("app.kubernetes.io/managed-by=scribe-agent").await
    }

    /// All objects of the children's kinds that have this label, as `Kind/name`.
    pub async fn labelled(&self, label: &str) -> Vec<String> {
        let ours = ListParams::default().labels(label);
        let mut found = Vec::new();
        for (group, version, kind) in CHILDREN {
            let all = self.api(group, version, kind).list(&ours).await.unwrap();
            found.extend(all.iter().map(|object| format!("{kind}/{}", object.name_any())));
        }
        found
    }

    /// Waits until of all that the agent made nothing but `left` is there.
    pub async fn only_children(&self, left: &[&str]) {
        let mut left = left.to_vec();
        left.sort_unstable();
        // Less than the minute that the agent takes at most between two looks: something wakes it for every change.
        until(&format!("of all children only {left:?} are left"), 45, async || {
            let mut found = self.children().await;
            found.sort();
            if found == left { Ok(()) } else { Err(found) }
        })
        .await;
    }

    /// Waits until all that the agent made and that is still there is like this.
    pub async fn only_children_like(&self, wanted: impl Fn(&str) -> bool) {
        until("the other children are gone", 60, async || {
            let others: Vec<_> = self.children().await.into_iter().filter(|child| !wanted(child)).collect();
            if others.is_empty() { Ok(()) } else { Err(others) }
        })
        .await;
    }
}

/// `change` over `base`; null removes a field.
pub fn merged(mut base: Value, change: Value) -> Value {
    match (&mut base, change) {
        (Value::Object(base), Value::Object(change)) => {
            for (key, value) in change {
                if value.is_null() {
                    base.remove(&key);
                } else {
                    let old = base.remove(&key).unwrap_or(Value::Null);
                    base.insert(key, merged(old, value));
                }
            }
        }
        (base, change) => *base = change,
    }
    base
}

/// What the spec of a source says that lays its path out so.
pub fn laid_out(layout: &str) -> Value {
    json!({ "rclone": { "layout": layout } })
}

impl Replication<'_> {
    /// The object as it is.
    pub async fn object(&self) -> DynamicObject {
        self.api.get(&self.name).await.unwrap()
    }

    /// Its status as it is.
    pub async fn status(&self) -> Status {
        status_of(&self.object().await)
    }

    /// Waits until its status is as wanted, and returns it.
    pub async fn until(&self, what: &str, seconds: u64, wanted: impl Fn(&Status) -> bool) -> Status {
        until(&format!("{} {}: {what}", self.kind, self.name), seconds, async || {
            let status = self.status().await;
            if wanted(&status) { Ok(status) } else { Err(status) }
        })
        .await
    }

    /// Waits until the sync of this manual tag is complete.
    pub async fn synced(&self, tag: &str) -> Status {
        self.until(&format!("sync {tag:?} is complete"), SYNC, |s| s.last_manual_sync.as_deref() == Some(tag)).await
    }

    /// Starts a sync by a manual tag and waits until it is complete.
    pub async fn sync(&self, tag: &str) -> Status {
        self.patch(json!({ "trigger": { "manual": tag } })).await;
        self.synced(tag).await
    }

    /// Changes its spec.
    pub async fn patch(&self, spec: Value) {
        self.patch_object(json!({ "spec": spec })).await;
    }

    /// Changes any part of it.
    pub async fn patch_object(&self, change: Value) {
        self.api.patch(&self.name, &PatchParams::default(), &Patch::Merge(change)).await.unwrap();
    }

    /// Deletes it. Does not wait.
    pub async fn delete(&self) {
        self.api.delete(&self.name, &DeleteParams::default()).await.unwrap();
    }

    /// The events about it.
    pub async fn events(&self) -> Vec<Event> {
        let uid = self.object().await.uid();
        let api: Api<Event> = Api::namespaced(self.site.client.clone(), &self.site.namespace);
        let all = api.list(&ListParams::default()).await.unwrap();
        all.into_iter().filter(|event| event.regarding.as_ref().is_some_and(|object| object.uid == uid)).collect()
    }
}

/// Status of an object.
pub fn status_of(object: &DynamicObject) -> Status {
    object.data.get("status").map(|status| serde_json::from_value(status.clone()).unwrap()).unwrap_or_default()
}

/// One of a status' conditions.
#[track_caller]
pub fn condition<'a>(status: &'a Status, kind: &str) -> &'a Condition {
    status.conditions.iter().find(|c| c.type_ == kind).unwrap_or_else(|| panic!("no condition {kind} in {status:#?}"))
}

/// Whether a condition stands there with this status and reason.
pub fn is(status: &Status, kind: &str, holds: &str, reason: &str) -> bool {
    status.conditions.iter().any(|c| c.type_ == kind && c.status == holds && c.reason == reason)
}

/// Name of the published image.
#[track_caller]
pub fn image_of(status: &Status) -> String {
    status.latest_image.as_ref().unwrap_or_else(|| panic!("no image in {status:#?}")).name.clone()
}
