//! The watched kinds, cut down to what is used.
//!
//! A watch keeps every object in memory; the full types cost ten times as much, most of it in unused `managedFields`.

use crate::api::labels;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta, OwnerReference, Time};
use kube::Resource;
use serde::{Deserialize, Deserializer};
use std::borrow::Cow;
use std::collections::BTreeMap;

/// Reads metadata and drops what is not used.
pub(super) fn trimmed<'de, D: Deserializer<'de>>(deserializer: D) -> Result<ObjectMeta, D::Error> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Trimmed {
        name: Option<String>,
        namespace: Option<String>,
        uid: Option<String>,
        resource_version: Option<String>,
        creation_timestamp: Option<Time>,
        deletion_timestamp: Option<Time>,
        labels: Option<BTreeMap<String, String>>,
        annotations: Option<BTreeMap<String, String>>,
        owner_references: Option<Vec<OwnerReference>>,
        finalizers: Option<Vec<String>>,
    }
    let meta = Trimmed::deserialize(deserializer)?;
    let ours = |map: Option<BTreeMap<String, String>>| {
        map.map(|mut map| {
            map.retain(|key, _| key.starts_with("scribe.backube/") || key == labels::COMPONENT);
            map
        })
    };
    Ok(ObjectMeta {
        name: meta.name,
        namespace: meta.namespace,
        uid: meta.uid,
        resource_version: meta.resource_version,
        creation_timestamp: meta.creation_timestamp,
        labels: ours(meta.labels),
        annotations: ours(meta.annotations),
        owner_references: meta.owner_references,
        // Of interest only where they keep something from going.
        finalizers: meta.finalizers.filter(|_| meta.deletion_timestamp.is_some()),
        deletion_timestamp: meta.deletion_timestamp,
        ..ObjectMeta::default()
    })
}

macro_rules! resource {
    ($name:ident, $group:literal, $version:literal, $kind:literal, $plural:literal) => {
        impl Resource for $name {
            type DynamicType = ();
            type Scope = kube::core::NamespaceResourceScope;

            fn kind(_: &()) -> Cow<'_, str> {
                $kind.into()
            }
            fn group(_: &()) -> Cow<'_, str> {
                $group.into()
            }
            fn version(_: &()) -> Cow<'_, str> {
                $version.into()
            }
            fn plural(_: &()) -> Cow<'_, str> {
                $plural.into()
            }
            fn meta(&self) -> &ObjectMeta {
                &self.metadata
            }
            fn meta_mut(&mut self) -> &mut ObjectMeta {
                &mut self.metadata
            }
        }
    };
}

pub(super) use resource;

/// A `Job`.
#[derive(Deserialize, Clone, Debug, Default)]
pub struct Job {
    /// Metadata, trimmed.
    #[serde(deserialize_with = "trimmed")]
    pub metadata: ObjectMeta,
    /// Spec.
    #[serde(default)]
    pub spec: JobSpec,
    /// Status.
    #[serde(default)]
    pub status: JobStatus,
}
resource!(Job, "batch", "v1", "Job", "jobs");

/// Spec of a `Job`.
#[derive(Deserialize, Clone, Debug, Default)]
pub struct JobSpec {
    /// Of its pods.
    #[serde(default)]
    pub template: JobTemplate,
}

/// What the pods of a `Job` are made of.
#[derive(Deserialize, Clone, Debug, Default)]
pub struct JobTemplate {
    /// Their spec.
    #[serde(default)]
    pub spec: PodSpec,
}

/// Status of a `Job`.
#[derive(Deserialize, Clone, Debug, Default)]
pub struct JobStatus {
    /// Conditions.
    #[serde(default)]
    pub conditions: Vec<JobCondition>,
}

/// One condition of a `Job`.
#[derive(Deserialize, Clone, Debug)]
pub struct JobCondition {
    /// `Complete` or `Failed`, among others.
    #[serde(rename = "type")]
    pub kind: String,
    /// `True` or not.
    pub status: String,
    /// Why, in CamelCase.
    pub reason: Option<String>,
    /// The controller's message.
    pub message: Option<String>,
}

/// A `Pod`.
#[derive(Deserialize, Clone, Debug, Default)]
pub struct Pod {
    /// Metadata, trimmed.
    #[serde(deserialize_with = "trimmed")]
    pub metadata: ObjectMeta,
    /// Spec.
    #[serde(default)]
    pub spec: PodSpec,
    /// Status.
    #[serde(default)]
    pub status: PodStatus,
}
resource!(Pod, "", "v1", "Pod", "pods");

/// Spec of a `Pod`.
#[derive(Deserialize, Clone, Debug, Default)]
pub struct PodSpec {
    /// Volumes.
    #[serde(default)]
    pub volumes: Vec<PodVolume>,
}

/// A volume of a `Pod`.
#[derive(Deserialize, Clone, Debug)]
#[serde(rename_all = "camelCase")]
pub struct PodVolume {
    /// The claim behind it, if it is one.
    pub persistent_volume_claim: Option<ClaimVolume>,
}

/// A claim that a `Pod` uses.
#[derive(Deserialize, Clone, Debug)]
#[serde(rename_all = "camelCase")]
pub struct ClaimVolume {
    /// Its name.
    pub claim_name: String,
    /// Whether the pod only reads it.
    #[serde(default)]
    pub read_only: bool,
}

/// Status of a `Pod`.
#[derive(Deserialize, Clone, Debug, Default)]
#[serde(rename_all = "camelCase")]
pub struct PodStatus {
    /// `Pending`, `Running`, `Succeeded`, `Failed` or `Unknown`.
    pub phase: Option<String>,
    /// Why the pod is as it is (`Evicted`, …).
    pub reason: Option<String>,
    /// The message that belongs to it.
    pub message: Option<String>,
    /// Conditions.
    #[serde(default)]
    pub conditions: Vec<PodCondition>,
    /// Containers.
    #[serde(default)]
    pub container_statuses: Vec<ContainerStatus>,
}

/// One condition of a `Pod` or `PersistentVolumeClaim`.
#[derive(Deserialize, Clone, Debug)]
pub struct PodCondition {
    /// `PodScheduled`, among others.
    #[serde(rename = "type")]
    pub kind: String,
    /// `True` or not.
    pub status: String,
    /// The scheduler's message.
    pub message: Option<String>,
}

/// State of a container.
#[derive(Deserialize, Clone, Debug, Default)]
pub struct ContainerStatus {
    /// The container's name.
    #[serde(default)]
    pub name: String,
    /// At most one is set.
    #[serde(default)]
    pub state: ContainerState,
}

/// What a container is doing.
#[derive(Deserialize, Clone, Debug, Default)]
pub struct ContainerState {
    /// It cannot start yet.
    pub waiting: Option<Waiting>,
    /// It runs.
    pub running: Option<Running>,
    /// It has ended.
    pub terminated: Option<Terminated>,
}

/// A container that cannot start yet.
#[derive(Deserialize, Clone, Debug)]
pub struct Waiting {
    /// `ErrImagePull`, among others.
    pub reason: Option<String>,
    /// The message that belongs to it.
    pub message: Option<String>,
}

/// A container that runs.
#[derive(Deserialize, Clone, Debug)]
pub struct Running {}

/// A container that has ended.
#[derive(Deserialize, Clone, Debug)]
#[serde(rename_all = "camelCase")]
pub struct Terminated {
    /// Its exit code.
    pub exit_code: i32,
    /// `Completed`, `Error`, `OOMKilled`, …
    pub reason: Option<String>,
    /// The termination message.
    pub message: Option<String>,
    /// When it ended.
    pub finished_at: Option<Time>,
}

/// A `PersistentVolumeClaim`.
#[derive(Deserialize, Clone, Debug, Default)]
pub struct Claim {
    /// Metadata, trimmed.
    #[serde(deserialize_with = "trimmed")]
    pub metadata: ObjectMeta,
    /// Spec.
    #[serde(default)]
    pub spec: ClaimSpec,
    /// Status.
    #[serde(default)]
    pub status: ClaimStatus,
}
resource!(Claim, "", "v1", "PersistentVolumeClaim", "persistentvolumeclaims");

impl Claim {
    /// Name of the snapshot that it is filled from.
    pub fn image(&self) -> Option<&str> {
        self.spec.data_source.as_ref().filter(|source| source.kind == "VolumeSnapshot").map(|source| source.name.as_str())
    }
}

/// Spec of a `PersistentVolumeClaim`.
#[derive(Deserialize, Clone, Debug, Default)]
#[serde(rename_all = "camelCase")]
pub struct ClaimSpec {
    /// Access modes.
    pub access_modes: Option<Vec<String>>,
    /// Storage class.
    pub storage_class_name: Option<String>,
    /// `Filesystem` or `Block`.
    pub volume_mode: Option<String>,
    /// What it is filled from.
    pub data_source: Option<DataSource>,
    /// Size.
    #[serde(default)]
    pub resources: Resources,
}

/// What a claim is filled from.
#[derive(Deserialize, Clone, Debug)]
pub struct DataSource {
    /// Kind of the source.
    pub kind: String,
    /// Name of the source.
    pub name: String,
}

/// Requested resources.
#[derive(Deserialize, Clone, Debug, Default)]
pub struct Resources {
    /// By name; `storage` is the size.
    #[serde(default)]
    pub requests: BTreeMap<String, String>,
}

/// Status of a `PersistentVolumeClaim`.
#[derive(Deserialize, Clone, Debug, Default)]
pub struct ClaimStatus {
    /// `Pending`, `Bound` or `Lost`.
    pub phase: Option<String>,
    /// By name; `storage` is the size.
    #[serde(default)]
    pub capacity: BTreeMap<String, String>,
    /// `Resizing` and `FileSystemResizePending`, among others.
    #[serde(default)]
    pub conditions: Vec<PodCondition>,
}

/// A `VolumeSnapshot`.
#[derive(Deserialize, Clone, Debug, Default)]
pub struct Snapshot {
    /// Metadata, trimmed.
    #[serde(deserialize_with = "trimmed")]
    pub metadata: ObjectMeta,
    /// Status.
    #[serde(default)]
    pub status: Option<SnapshotStatus>,
}
resource!(Snapshot, "snapshot.storage.k8s.io", "v1", "VolumeSnapshot", "volumesnapshots");

/// Status of a `VolumeSnapshot`.
#[derive(Deserialize, Clone, Debug, Default)]
#[serde(rename_all = "camelCase")]
pub struct SnapshotStatus {
    /// Whether a volume can be made from it.
    pub ready_to_use: Option<bool>,
    /// When the data was captured.
    pub creation_time: Option<Time>,
    /// Smallest size of a volume made from it.
    pub restore_size: Option<String>,
    /// What the driver complains of.
    pub error: Option<SnapshotError>,
}

/// What a driver complains of.
#[derive(Deserialize, Clone, Debug)]
pub struct SnapshotError {
    /// The message.
    pub message: Option<String>,
}

/// A `core/v1` event: the cluster's warnings about children.
#[derive(Deserialize, Clone, Debug)]
#[serde(rename_all = "camelCase")]
pub struct ClusterEvent {
    /// Metadata, trimmed.
    #[serde(deserialize_with = "trimmed")]
    pub metadata: ObjectMeta,
    /// `Warning` or `Normal`.
    #[serde(rename = "type")]
    pub kind: Option<String>,
    /// In CamelCase.
    pub reason: Option<String>,
    /// A sentence.
    pub message: Option<String>,
    /// What it is about.
    pub involved_object: Involved,
    /// When it was last seen, by reporters of the older kind.
    pub last_timestamp: Option<Time>,
    /// When it was first seen, by reporters of the newer kind.
    pub event_time: Option<MicroTime>,
    /// Its repetitions, by reporters of the newer kind.
    pub series: Option<EventSeries>,
}
resource!(ClusterEvent, "", "v1", "Event", "events");

/// Repetitions of an event.
#[derive(Deserialize, Clone, Debug)]
#[serde(rename_all = "camelCase")]
pub struct EventSeries {
    /// When it was last seen.
    pub last_observed_time: Option<MicroTime>,
}

/// What an event is about.
#[derive(Deserialize, Clone, Debug)]
pub struct Involved {
    /// UID of the object.
    pub uid: Option<String>,
}
