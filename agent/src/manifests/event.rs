//! Events on the user's object, for `kubectl describe`.
//!
//! Their names are derived from what they tell, so that a write repeated after a crash makes no second event.

use crate::api::reason::Reason;
use crate::api::{GROUP, VERSION};
use crate::core::model::clock::seconds;
use crate::core::model::facts::Object;
use crate::core::model::plan::Event;
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, Time};
use scribe_mover::digest::hex;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// Longest note that the API server takes of an event, in bytes.
const NOTE_LIMIT: usize = 1024;

/// The event as it is created.
pub fn build(owner: &Object, event: &Event, instance: &str, now: Timestamp) -> Value {
    let told = Told { warning: event.warning, reason: event.reason, action: "Sync", note: &event.note, instance };
    let about = json!({
        "apiVersion": format!("{GROUP}/{VERSION}"),
        "kind": owner.kind.as_str(),
        "name": owner.name,
        "namespace": owner.namespace,
        "uid": owner.uid,
        "resourceVersion": owner.resource_version,
    });
    told.about((&owner.namespace, &owner.name), &about, &format!("{}/{}", owner.uid, event.key), now)
}

/// A warning on the agent's own pod.
pub fn of_the_agent(namespace: &str, pod: &str, uid: &str, reason: Reason, note: &str, now: Timestamp) -> Value {
    let told = Told { warning: true, reason, action: "Reload", note, instance: pod };
    let about = json!({ "apiVersion": "v1", "kind": "Pod", "name": pod, "namespace": namespace, "uid": uid });
    told.about((namespace, pod), &about, &format!("{uid}/{}/{note}", reason.as_str()), now)
}

/// What an event tells.
struct Told<'a> {
    warning: bool,
    reason: Reason,
    action: &'static str,
    note: &'a str,
    instance: &'a str,
}

impl Told<'_> {
    /// The event about this object; `key` tells it from others of the object.
    ///
    /// Of the API group "", because only there it may have a `lastTimestamp`: `kubectl describe` and `--sort-by=.lastTimestamp` sort by that
    /// alone, and show events without it in no order, before all others.
    fn about(&self, (namespace, name): (&str, &str), about: &Value, key: &str, now: Timestamp) -> Value {
        let digest = hex(&Sha256::digest(key));
        let prefix = name.get(..200).unwrap_or(name).trim_end_matches(['-', '.']);
        json!({
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": { "name": format!("{prefix}.{}", &digest[..16]), "namespace": namespace },
            "eventTime": MicroTime(now),
            "firstTimestamp": Time(seconds(now)),
            "lastTimestamp": Time(seconds(now)),
            "count": 1,
            "type": if self.warning { "Warning" } else { "Normal" },
            "reason": self.reason.as_str(),
            "action": self.action,
            "message": shorten(self.note),
            "reportingComponent": "scribe.backube/agent",
            "reportingInstance": self.instance,
            "involvedObject": about,
        })
    }
}

fn shorten(note: &str) -> &str {
    let mut end = note.len().min(NOTE_LIMIT);
    while !note.is_char_boundary(end) {
        end -= 1;
    }
    note.get(..end).unwrap_or_default()
}
