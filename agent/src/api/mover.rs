//! What users set of the mover's pod, under the names that VolSync has for it. The same for both kinds.

use super::quantity::Quantity;
use k8s_openapi::api::core::v1::{Affinity, PodSecurityContext, SecretVolumeSource};
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The name of an object of Kubernetes: another one cannot exist.
pub(super) const NAME: &str = "self.matches('^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$')";

/// The pod of one object's mover: what is set comes before what the agent's settings say for all movers of the namespace.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct MoverPod {
    /// CPU, memory and other resources of the mover's container, for example `{limits: {memory: 1Gi}}`. Replaces that of the settings as a
    /// whole. Default: that of the settings (`mover.resources`).
    #[serde(default, rename = "moverResources", skip_serializing_if = "Option::is_none")]
    pub resources: Option<MoverResources>,

    /// Security context of the mover's pod, for example `{runAsUser: 1000, runAsGroup: 1000, fsGroup: 1000}`. With a `runAsUser` other than 0,
    /// or `runAsNonRoot: true`, the mover runs without root and without capabilities: it pushes only what that user may read, and counts what
    /// it cannot restore. Default: that of the settings (`mover.securityContext`), or root with five capabilities.
    #[serde(default, rename = "moverSecurityContext", skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new("!has(self.windowsOptions)").message("movers run on Linux: remove windowsOptions"))]
    #[x_kube(validation = Rule::new("!has(self.runAsNonRoot) || !self.runAsNonRoot || !has(self.runAsUser) || self.runAsUser != 0")
        .message("runAsUser 0 is root, which runAsNonRoot forbids: remove one of the two"))]
    #[x_kube(validation = Rule::new("!has(self.runAsUser) || (self.runAsUser >= 0 && self.runAsUser <= 2147483647)")
        .message("write a runAsUser from 0 to 2147483647"))]
    #[x_kube(validation = Rule::new("!has(self.runAsGroup) || (self.runAsGroup >= 0 && self.runAsGroup <= 2147483647)")
        .message("write a runAsGroup from 0 to 2147483647"))]
    #[x_kube(validation = Rule::new("!has(self.fsGroup) || (self.fsGroup >= 0 && self.fsGroup <= 2147483647)")
        .message("write an fsGroup from 0 to 2147483647"))]
    #[x_kube(validation = Rule::new("!has(self.fsGroupChangePolicy) || self.fsGroupChangePolicy in ['Always', 'OnRootMismatch']")
        .message("write the fsGroupChangePolicy Always or OnRootMismatch"))]
    pub security_context: Option<Box<PodSecurityContext>>,

    /// Name of the `ServiceAccount` of the mover's pod, in the same namespace, for example one that the cloud provider knows. Its token is
    /// not mounted. Default: that of the settings (`mover.serviceAccountName`), or `scribe-mover`.
    #[serde(default, rename = "moverServiceAccount", skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new(NAME)
        .message("write the name of a ServiceAccount of this namespace, such as 'scribe-mover'"))]
    #[schemars(length(min = 1, max = 253))]
    pub service_account: Option<String>,

    /// Labels of the mover's pod, for example `{team: storage}`, beside those of the agent and of the settings. Default: no other labels.
    #[serde(default, rename = "moverPodLabels", skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new("self.all(k, size(k) <= 317 && k.matches('^([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$'))")
        .message("write labels whose names are such as 'team' or 'example.org/team'"))]
    #[x_kube(validation = Rule::new("self.all(k, self[k].matches('^([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?$'))")
        .message("write label values of letters, digits, '-', '_' and '.', which begin and end with a letter or digit"))]
    #[x_kube(validation = Rule::new("self.all(k, !k.startsWith('scribe.backube/') && !k.startsWith('batch.kubernetes.io/') && !(k in ['app.kubernetes.io/name', 'app.kubernetes.io/managed-by', 'app.kubernetes.io/component', 'controller-uid', 'job-name']))")
        .message("the labels scribe.backube/…, batch.kubernetes.io/…, app.kubernetes.io/name, managed-by and component, controller-uid and job-name are how movers are found: remove them"))]
    #[schemars(with = "Option<BTreeMap<String, LabelValue>>", extend("maxProperties" = 32))]
    pub pod_labels: Option<BTreeMap<String, String>>,

    /// Affinity of the mover's pod: which nodes it may run on, and beside which pods, as in a pod. For example `{nodeAffinity:
    /// {requiredDuringSchedulingIgnoredDuringExecution: {nodeSelectorTerms: [{matchExpressions: [{key: pool, operator: In, values:
    /// [backup]}]}]}}}`. Replaces that of the settings as a whole. Default: that of the settings (`mover.affinity`).
    #[serde(default, rename = "moverAffinity", skip_serializing_if = "Option::is_none")]
    pub affinity: Option<Box<Affinity>>,

    /// Secrets and PVCs of the same namespace that the mover has below `/mnt`, read-only, for example key files that `rclone.conf` names:
    /// `[{mountPath: keys, volumeSource: {secret: {secretName: ssh-keys}}}]`. At most 16. Default: those of the settings (`mover.volumes`).
    #[serde(default, rename = "moverVolumes", skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["mountPath"]))]
    pub volumes: Option<Vec<MoverVolume>>,

    /// Certificates of your own that the mover trusts beside those of the system, for example `{secretName: ca, key: ca.crt}`: of a storage
    /// server with a self-signed certificate, or of a proxy. Default: that of the settings (`mover.customCA`), or none.
    #[serde(default, rename = "customCA", skip_serializing_if = "Option::is_none")]
    pub custom_ca: Option<CustomCa>,
}

/// Where certificates are: a key of a Secret or of a ConfigMap.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.secretName) != has(self.configMapName)").message("write secretName or configMapName, one of the two"))]
#[x_kube(validation = Rule::new("has(self.key)").message("write key: where in the Secret or ConfigMap the certificate is, such as ca.crt"))]
pub struct CustomCa {
    /// Name of the Secret, for example `ca`. Default: no Secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub secret_name: Option<String>,

    /// Name of the `ConfigMap`, for example `ca`. Default: no ConfigMap.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub config_map_name: Option<String>,

    /// The key that holds one or more certificates in PEM, for example `ca.crt`. Default: none, it has to be there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new("self.matches('^[-._a-zA-Z0-9]+$')").message("write a key such as ca.crt"))]
    #[schemars(length(min = 1, max = 253))]
    pub key: Option<String>,
}

/// Requests and limits of the mover's container.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[x_kube(validation = Rule::new("!has(self.requests) || !has(self.limits) || self.requests.all(k, !(k in self.limits) || quantity(string(self.requests[k])).compareTo(quantity(string(self.limits[k]))) <= 0)")
    .message("a request is more than its limit: lower the request or raise the limit"))]
pub struct MoverResources {
    /// The most that the container may use of each resource, in the units of Kubernetes, for example `{memory: 1Gi}`. Default: no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new("self.all(k, isQuantity(string(self[k])) && !quantity(string(self[k])).isLessThan(quantity('0')))")
        .message("write amounts such as 500m of cpu or 1Gi of memory"))]
    #[schemars(extend("maxProperties" = 6))]
    pub limits: Option<BTreeMap<String, Quantity>>,

    /// What the node must have free of each resource, in the units of Kubernetes, for example `{cpu: 10m, memory: 64Mi}`. Default: the limits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new("self.all(k, isQuantity(string(self[k])) && !quantity(string(self[k])).isLessThan(quantity('0')))")
        .message("write amounts such as 500m of cpu or 1Gi of memory"))]
    #[schemars(extend("maxProperties" = 6))]
    pub requests: Option<BTreeMap<String, Quantity>>,
}

/// A Secret or PVC that the mover has below `/mnt`.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct MoverVolume {
    /// Name of the folder below `/mnt`, for example `keys` for `/mnt/keys`.
    #[x_kube(validation = Rule::new("self.matches('^[A-Za-z0-9][A-Za-z0-9_.-]*$')")
        .message("write the name of a folder below /mnt, such as 'keys', without slashes"))]
    #[schemars(length(min = 1, max = 63))]
    pub mount_path: String,

    /// What is mounted there: `secret` or `persistentVolumeClaim`.
    pub volume_source: MoverVolumeSource,
}

/// What is mounted: a Secret or a PVC.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.secret) != has(self.persistentVolumeClaim)").message("write secret or persistentVolumeClaim, one of the two"))]
pub struct MoverVolumeSource {
    /// A Secret, as in a pod, for example `{secretName: ssh-keys, defaultMode: 288}` (288 is 0440). Default: no Secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new("has(self.secretName) && self.secretName != ''").message("write secretName: the Secret to mount"))]
    pub secret: Option<SecretVolumeSource>,

    /// A PVC, mounted read-only, for example `{claimName: keys}`. Default: no PVC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub persistent_volume_claim: Option<MoverClaim>,
}

/// A PVC that the mover has below `/mnt`.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct MoverClaim {
    /// Name of the PVC, for example `keys`.
    #[schemars(length(min = 1, max = 253))]
    pub claim_name: String,

    /// Always true: the mover writes to no other volume than the one that it replicates. Default: true, the only value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new("self").message("these volumes are mounted read-only: remove readOnly or set it to true"))]
    pub read_only: Option<bool>,
}

/// The value of a label, for the schema.
#[derive(JsonSchema)]
#[allow(dead_code, reason = "only its schema is used")]
#[schemars(transparent)]
struct LabelValue(#[schemars(length(max = 63))] String);
