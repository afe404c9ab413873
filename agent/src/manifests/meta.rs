//! Metadata that all children share: labels to find them by, and the owner that takes them along.

use crate::api::{GROUP, VERSION, labels};
use crate::core::model::facts::{Object, Role};
use serde_json::{Map, Value, json};

/// Labels of a child.
pub fn labels(owner: &Object, role: Role, run: Option<&str>, attempt: Option<i64>) -> Value {
    let mut labels = Map::new();
    let mut set = |key: &str, value: &str| labels.insert(key.to_owned(), Value::from(value));
    set(labels::APP_NAME, labels::MANAGER);
    set(labels::MANAGED_BY, labels::MANAGER);
    set(labels::COMPONENT, role.as_str());
    set(labels::OWNER_UID, &owner.uid);
    if let Some(run) = run {
        set(labels::RUN, run);
    }
    if let Some(attempt) = attempt {
        set(labels::ATTEMPT, &attempt.to_string());
    }
    Value::Object(labels)
}

/// `metadata` of a child. Its owner does not wait for it: an agent may be uninstalled at any time.
pub fn metadata(owner: &Object, name: &str, labels: &Value) -> Value {
    json!({
        "name": name,
        "namespace": owner.namespace,
        "labels": labels,
        "ownerReferences": [{
            "apiVersion": format!("{GROUP}/{VERSION}"),
            "kind": owner.kind.as_str(),
            "name": owner.name,
            "uid": owner.uid,
            "controller": true,
        }],
    })
}
