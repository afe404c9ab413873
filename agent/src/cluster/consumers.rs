//! The pods that use a claim, whoever they belong to: read when a mover is about to mount it, and never watched.

use super::slim::{resource, trimmed};
use crate::api::labels;
use crate::core::model::placement::Consumer;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource;
use serde::Deserialize;
use serde_json::Value;
use std::borrow::Cow;

/// Any `Pod` of the namespace, cut down to what says where it is and which claims it uses.
#[derive(Deserialize, Clone, Debug)]
pub struct User {
    #[serde(deserialize_with = "trimmed")]
    metadata: ObjectMeta,
    spec: Spec,
    #[serde(default)]
    status: Status,
}
resource!(User, "", "v1", "Pod", "pods");

#[derive(Deserialize, Clone, Debug)]
#[serde(rename_all = "camelCase")]
struct Spec {
    node_name: Option<String>,
    #[serde(default)]
    tolerations: Vec<Value>,
    #[serde(default)]
    scheduling_gates: Vec<Value>,
    #[serde(default)]
    volumes: Vec<Volume>,
}

#[derive(Deserialize, Clone, Debug)]
#[serde(rename_all = "camelCase")]
struct Volume {
    name: String,
    persistent_volume_claim: Option<super::slim::ClaimVolume>,
    /// Its claim is named after the pod and the volume.
    ephemeral: Option<Value>,
}

#[derive(Deserialize, Clone, Debug, Default)]
struct Status {
    phase: Option<String>,
}

/// The pod as one that uses `claim`, if it does and has not ended. The movers of the object with the UID `owner` are none: no other one of
/// it starts while they live.
pub fn consumer(pod: &User, claim: &str, owner: &str) -> Option<Consumer> {
    let name = pod.metadata.name.clone().unwrap_or_default();
    let uses = |volume: &Volume| match &volume.persistent_volume_claim {
        Some(used) => used.claim_name == claim,
        None => volume.ephemeral.is_some() && format!("{name}-{}", volume.name) == claim,
    };
    let phase = pod.status.phase.as_deref();
    let own = pod.metadata.labels.as_ref().and_then(|labels| labels.get(labels::OWNER_UID)).is_some_and(|uid| uid == owner);
    if own || matches!(phase, Some("Succeeded" | "Failed")) || !pod.spec.volumes.iter().any(uses) {
        return None;
    }
    Some(Consumer {
        pod: name,
        node: pod.spec.node_name.clone().filter(|node| !node.is_empty()),
        running: phase == Some("Running"),
        deleting: pod.metadata.deletion_timestamp.is_some(),
        gated: !pod.spec.scheduling_gates.is_empty(),
        tolerations: pod.spec.tolerations.clone(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn seen(pod: Value) -> Option<Consumer> {
        consumer(&serde_json::from_value(pod).unwrap(), "data", "owner")
    }

    fn pod(volume: &Value, phase: &str) -> Value {
        let spec = json!({ "nodeName": "far", "tolerations": [{ "operator": "Exists" }], "volumes": [volume] });
        json!({ "metadata": { "name": "app" }, "spec": spec, "status": { "phase": phase } })
    }

    #[test]
    fn pods_that_use_the_claim_are_found() {
        let by_name = json!({ "name": "v", "persistentVolumeClaim": { "claimName": "data" } });
        let tolerations = vec![json!({ "operator": "Exists" })];
        let expected = Consumer { pod: "app".into(), node: Some("far".into()), running: true, tolerations, ..Consumer::default() };
        assert_eq!(seen(pod(&by_name, "Running")), Some(expected.clone()));
        assert_eq!(seen(pod(&by_name, "Pending")), Some(Consumer { running: false, ..expected }));
        for ended in ["Succeeded", "Failed"] {
            assert_eq!(seen(pod(&by_name, ended)), None);
        }
        assert_eq!(seen(pod(&json!({ "name": "v", "persistentVolumeClaim": { "claimName": "other" } }), "Running")), None);
        assert_eq!(seen(pod(&json!({ "name": "v", "emptyDir": {} }), "Running")), None);
        let ephemeral = seen(json!({
            "metadata": { "name": "da" },
            "spec": { "schedulingGates": [{ "name": "g" }], "volumes": [{ "name": "ta", "ephemeral": {} }] },
        }));
        assert_eq!(ephemeral, None, "the name is da-ta");
        let mut own = pod(&by_name, "Running");
        own["metadata"]["labels"] = json!({ "scribe.backube/owner-uid": "owner" });
        assert_eq!(seen(own), None);
    }

    #[test]
    fn a_volume_of_the_pods_own_is_a_claim_as_well() {
        let gated = json!({
            "metadata": { "name": "app" },
            "spec": { "schedulingGates": [{ "name": "g" }], "volumes": [{ "name": "v", "ephemeral": {} }] },
        });
        let consumer = consumer(&serde_json::from_value(gated).unwrap(), "app-v", "owner").unwrap();
        assert_eq!((consumer.gated, consumer.node), (true, None));
    }
}
