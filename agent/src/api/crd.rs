//! The two CRDs as YAML, for `kustomize/crds`.

use super::{ReplicationDestination, ReplicationSource};
use kube::CustomResourceExt;
use serde_json::Value;

/// File name and content of each CRD.
///
/// # Errors
/// When a schema cannot be written as YAML, which a test would have seen.
pub fn files() -> anyhow::Result<Vec<(&'static str, String)>> {
    let source = without(
        serde_json::to_value(ReplicationSource::crd())?,
        &["latestImage", "latestImageUID", "lastRepublishTime", "firstPush", "images", "pinned", "volumeTouched", "unfinishedPulls"],
    );
    let destination =
        without(serde_json::to_value(ReplicationDestination::crd())?, &["lastHandledVerifyNow", "adoptedPath", "sent", "stored"]);
    Ok(vec![
        ("scribe.backube_replicationsources.yaml", yaml(&tidy(source))?),
        ("scribe.backube_replicationdestinations.yaml", yaml(&tidy(destination))?),
    ])
}

/// The CRD without the status fields that only the other kind sets.
fn without(mut crd: Value, fields: &[&str]) -> Value {
    if let Some(Value::Object(properties)) = crd.pointer_mut("/spec/versions/0/schema/openAPIV3Schema/properties/status/properties") {
        properties.retain(|name, _| !fields.contains(&name.as_str()));
    }
    crd
}

/// The CRD as the API server and kubectl should have it: integers in a format that Kubernetes knows, and a status that a newer agent can
/// write although this CRD is older. Its words are open, and no field of it is required, but for those of conditions, which are a list
/// by their types.
fn tidy(mut crd: Value) -> Value {
    let schema = "/spec/versions/0/schema/openAPIV3Schema";
    if let Some(schema) = crd.pointer_mut(schema) {
        know_formats(schema);
    }
    let properties = crd.pointer_mut(&format!("{schema}/properties/status/properties")).and_then(Value::as_object_mut);
    for (_, field) in properties.into_iter().flatten().filter(|(name, _)| *name != "conditions") {
        open(field);
    }
    crd
}

fn know_formats(schema: &mut Value) {
    match schema {
        Value::Object(fields) => {
            if fields.get("type").is_some_and(|kind| kind == "integer") {
                fields.insert("format".to_owned(), "int64".into());
            }
            fields.values_mut().for_each(know_formats);
        }
        Value::Array(items) => items.iter_mut().for_each(know_formats),
        _ => {}
    }
}

fn open(schema: &mut Value) {
    let Value::Object(fields) = schema else { return };
    fields.remove("required");
    if let Some(Value::Array(words)) = fields.remove("enum") {
        let words: Vec<_> = words.iter().filter_map(Value::as_str).map(|word| format!("`{word}`")).collect();
        let meaning = fields.get("description").and_then(Value::as_str).unwrap_or_default();
        let described = format!("{meaning} One of {}.", words.join(", "));
        fields.insert("description".to_owned(), described.trim().into());
    }
    for field in fields.get_mut("properties").and_then(Value::as_object_mut).into_iter().flatten() {
        open(field.1);
    }
    if let Some(items) = fields.get_mut("items") {
        open(items);
    }
}

fn yaml(crd: &Value) -> anyhow::Result<String> {
    Ok(format!("# Generated from agent/src/api by `make generate`; do not edit.\n{}", serde_saphyr::to_string(crd)?))
}
