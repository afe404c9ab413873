//! `mover:` of the settings: what holds for all movers of the namespace. Fields that pods have are written as in a pod.

use crate::api::mover::MoverPod;
use crate::core::model::pod::{self, PodOptions};
use k8s_openapi::api::core::v1::PodSecurityContext;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;

/// As it is written. What is an object of Kubernetes is read further on, so that no field of it is overlooked.
#[derive(Deserialize, Debug, Default)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct RawMover {
    pub(super) temporary_space: Option<String>,
    service_account_name: Option<String>,
    resources: Option<Value>,
    security_context: Option<Value>,
    affinity: Option<Value>,
    volumes: Option<Value>,
    tolerations: Option<Value>,
    pod_labels: Option<BTreeMap<String, String>>,
    pod_annotations: Option<BTreeMap<String, String>>,
    node_selector: Option<BTreeMap<String, String>>,
    priority_class_name: Option<String>,
    host_users: Option<bool>,
    #[serde(rename = "customCA")]
    custom_ca: Option<Value>,
}

impl RawMover {
    /// What a spec can say, too.
    pub(super) fn pod(&self, default: MoverPod) -> Result<MoverPod, String> {
        let set = MoverPod {
            resources: read("resources", self.resources.as_ref())?.or(default.resources),
            security_context: read("securityContext", self.security_context.as_ref())?,
            service_account: self.service_account_name.clone(),
            pod_labels: self.pod_labels.clone(),
            affinity: read("affinity", self.affinity.as_ref())?,
            volumes: read("volumes", self.volumes.as_ref())?,
            custom_ca: read("customCA", self.custom_ca.as_ref())?,
        };
        pod::check(&set, |field| format!("agent.yaml: mover.{}", name(field)))?;
        Ok(set)
    }

    /// What only the settings say.
    pub(super) fn options(&self) -> Result<PodOptions, String> {
        Ok(PodOptions {
            node_selector: self.node_selector.clone().unwrap_or_default(),
            tolerations: read("tolerations", self.tolerations.as_ref())?.unwrap_or_default(),
            priority_class: self.priority_class_name.clone(),
            annotations: self.pod_annotations.clone().unwrap_or_default(),
            host_users: self.host_users,
        })
    }
}

/// Reads the security context that movers have where neither the spec nor the settings say one.
///
/// # Errors
/// A sentence that says what is wrong with it.
pub fn security_context(text: &str) -> Result<PodSecurityContext, String> {
    let value: Value = serde_saphyr::from_str(text).map_err(|error| error.to_string())?;
    let context: PodSecurityContext = exact(&value)?;
    let set = MoverPod { security_context: Some(Box::new(context.clone())), ..MoverPod::default() };
    pod::check(&set, |_| "it".to_owned())?;
    Ok(context)
}

/// The name in the settings of what is called so in a spec.
fn name(field: &str) -> String {
    match field.strip_prefix("mover") {
        Some("ServiceAccount") => "serviceAccountName".to_owned(),
        Some(rest) => rest.chars().take(1).flat_map(char::to_lowercase).chain(rest.chars().skip(1)).collect(),
        None => field.to_owned(),
    }
}

fn read<T: DeserializeOwned + Serialize>(field: &str, value: Option<&Value>) -> Result<Option<T>, String> {
    value.map(exact).transpose().map_err(|problem| format!("agent.yaml: mover.{field}: {problem}"))
}

/// Reads all of it: types of Kubernetes leave out what they do not know, and so would a mistyped name be lost.
fn exact<T: DeserializeOwned + Serialize>(value: &Value) -> Result<T, String> {
    let read: T = serde_json::from_value(value.clone()).map_err(|error| error.to_string())?;
    let kept = serde_json::to_value(&read).map_err(|error| error.to_string())?;
    match lost(value, &kept) {
        Some(path) => Err(format!("there is no field {}", path.trim_start_matches('.'))),
        None => Ok(read),
    }
}

/// The path of the first field that only the first one has.
fn lost(written: &Value, kept: &Value) -> Option<String> {
    match written {
        Value::Object(fields) => fields.iter().filter(|(_, value)| !value.is_null()).find_map(|(name, value)| match kept.get(name) {
            Some(kept) => lost(value, kept).map(|path| format!(".{name}{path}")),
            None => Some(format!(".{name}")),
        }),
        Value::Array(items) => items.iter().enumerate().find_map(|(n, item)| {
            let path = kept.get(n).map_or_else(|| Some(String::new()), |kept| lost(item, kept))?;
            Some(format!("[{n}]{path}"))
        }),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::Settings;
    use super::*;
    use rstest::rstest;
    use serde_json::json;

    /// All of them, and beside each other.
    #[test]
    fn every_field_is_read() {
        let text = "
mover:
  serviceAccountName: account
  resources: {limits: {memory: 1Gi, cpu: 2}}
  securityContext: {runAsUser: 1000, fsGroup: 1000, seccompProfile: {type: RuntimeDefault}}
  podLabels: {team: storage}
  podAnnotations: {example.org/scrape: 'no'}
  affinity: {nodeAffinity: {requiredDuringSchedulingIgnoredDuringExecution: {nodeSelectorTerms: [{matchExpressions: [{key: a, operator: Exists}]}]}}}
  volumes: [{mountPath: keys, volumeSource: {secret: {secretName: keys, defaultMode: 288}}}]
  nodeSelector: {pool: backup}
  tolerations: [{key: backup, operator: Exists, effect: NoSchedule}]
  priorityClassName: low
  hostUsers: false
  customCA: {configMapName: ca, key: ca.crt}
";
        let mover = Settings::parse(text).unwrap().mover;
        let expected = json!({
            "moverServiceAccount": "account",
            "moverResources": {"limits": {"memory": "1Gi", "cpu": "2"}},
            "moverSecurityContext": {"runAsUser": 1000, "fsGroup": 1000, "seccompProfile": {"type": "RuntimeDefault"}},
            "moverPodLabels": {"team": "storage"},
            "moverAffinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution":
                {"nodeSelectorTerms": [{"matchExpressions": [{"key": "a", "operator": "Exists"}]}]}}},
            "moverVolumes": [{"mountPath": "keys", "volumeSource": {"secret": {"secretName": "keys", "defaultMode": 288}}}],
            "customCA": {"configMapName": "ca", "key": "ca.crt"},
        });
        assert_eq!(json!(mover.pod), expected);
        let options = mover.options;
        assert_eq!((options.node_selector["pool"].as_str(), options.annotations["example.org/scrape"].as_str()), ("backup", "no"));
        assert_eq!(json!(options.tolerations), json!([{"key": "backup", "operator": "Exists", "effect": "NoSchedule"}]));
        assert_eq!((options.priority_class.as_deref(), options.host_users), (Some("low"), Some(false)));
    }

    #[rstest]
    #[case::of_the_mover("{nodeselector: {}}", "nodeselector")]
    #[case::of_a_pods_type("{securityContext: {runAsUsr: 5}}", "mover.securityContext: there is no field runAsUsr")]
    #[case::deep_in_one(
        "{affinity: {nodeAffinity: {preferredDuringSchedulingIgnoredDuringExecution: [{weight: 1, preference: {matchExpression: []}}]}}}",
        "there is no field nodeAffinity.preferredDuringSchedulingIgnoredDuringExecution[0].preference.matchExpression"
    )]
    #[case::of_another_type("{tolerations: {key: a}}", "mover.tolerations: ")]
    #[case::of_our_own_type(
        "{volumes: [{mountPath: a, volumeSource: {nfs: {}}}]}",
        "mover.volumes: there is no field [0].volumeSource.nfs"
    )]
    #[case::a_request_above_its_limit("{resources: {requests: {cpu: 2}, limits: {cpu: 1}}}", "mover.resources.requests.cpu: 2 is more")]
    #[case::an_unknown_kind_of_resources("{resources: {claims: []}}", "mover.resources: there is no field claims")]
    #[case::two_users("{securityContext: {runAsUser: 0, runAsNonRoot: true}}", "mover.securityContext: runAsUser 0 is root")]
    #[case::a_label_of_ours("{podLabels: {job-name: a}}", "mover.podLabels: by the label job-name")]
    #[case::an_authority_without_a_key("{customCA: {secretName: ca}}", "mover.customCA: write key")]
    #[case::no_account("{serviceAccountName: ''}", "mover.serviceAccountName: the name is empty")]
    fn mistakes_are_named(#[case] mover: &str, #[case] words: &str) {
        let error = Settings::parse(&format!("mover: {mover}")).unwrap_err();
        assert!(error.starts_with("agent.yaml: ") && error.contains(words), "{error}");
    }

    #[test]
    fn a_default_security_context_is_read() {
        let context = security_context("{runAsNonRoot: true, fsGroup: 65532, fsGroupChangePolicy: OnRootMismatch}").unwrap();
        assert_eq!((context.run_as_non_root, context.fs_group), (Some(true), Some(65532)));
        for (text, words) in [("{runAsUsr: 1}", "no field runAsUsr"), ("[", ""), ("{runAsUser: -1}", "it.runAsUser")] {
            let error = security_context(text).unwrap_err();
            assert!(error.contains(words), "{error}");
        }
    }
}
