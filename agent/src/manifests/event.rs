//! Events on the user's object, for `kubectl describe`.
//!
//! Their names are derived from what they tell, so that a write repeated after a crash makes no second event.

use crate::api::reason::Reason;
use crate::api::{GROUP, VERSION};
use crate::core::model::facts::Object;
use crate::core::model::plan::Event;
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use scribe_mover::digest::hex;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// Longest note that the API server takes, in bytes.
const NOTE_LIMIT: usize = 1024;

/// The event as it is created.
pub fn build(owner: &Object, event: &Event, instance: &str, now: Timestamp) -> Value {
    let digest = hex(&Sha256::digest(format!("{}/{}", owner.uid, event.key)));
    let prefix = owner.name.get(..200).unwrap_or(&owner.name).trim_end_matches(['-', '.']);
    json!({
        "apiVersion": "events.k8s.io/v1",
        "kind": "Event",
        "metadata": { "name": format!("{prefix}.{}", &digest[..16]), "namespace": owner.namespace },
        "eventTime": MicroTime(now),
        "type": if event.warning { "Warning" } else { "Normal" },
        "reason": event.reason.as_str(),
        "action": "Sync",
        "note": shorten(&event.note),
        "reportingController": "scribe.backube/agent",
        "reportingInstance": instance,
        "regarding": {
            "apiVersion": format!("{GROUP}/{VERSION}"),
            "kind": owner.kind.as_str(),
            "name": owner.name,
            "namespace": owner.namespace,
            "uid": owner.uid,
            "resourceVersion": owner.resource_version,
        },
    })
}

/// A warning on the agent's own pod.
pub fn of_the_agent(namespace: &str, pod: &str, uid: &str, reason: Reason, note: &str, now: Timestamp) -> Value {
    let digest = hex(&Sha256::digest(format!("{uid}/{}/{note}", reason.as_str())));
    let prefix = pod.get(..200).unwrap_or(pod).trim_end_matches(['-', '.']);
    json!({
        "apiVersion": "events.k8s.io/v1",
        "kind": "Event",
        "metadata": { "name": format!("{prefix}.{}", &digest[..16]), "namespace": namespace },
        "eventTime": MicroTime(now),
        "type": "Warning",
        "reason": reason.as_str(),
        "action": "Reload",
        "note": shorten(note),
        "reportingController": "scribe.backube/agent",
        "reportingInstance": pod,
        "regarding": { "apiVersion": "v1", "kind": "Pod", "name": pod, "namespace": namespace, "uid": uid },
    })
}

fn shorten(note: &str) -> &str {
    let mut end = note.len().min(NOTE_LIMIT);
    while !note.is_char_boundary(end) {
        end -= 1;
    }
    note.get(..end).unwrap_or_default()
}
