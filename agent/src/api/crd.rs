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
        &["latestImage", "latestImageUID", "firstPush", "images", "volumeTouched"],
    );
    let destination = without(serde_json::to_value(ReplicationDestination::crd())?, &["lastHandledVerifyNow", "adoptedPath"]);
    Ok(vec![
        ("scribe.backube_replicationsources.yaml", yaml(&source)?),
        ("scribe.backube_replicationdestinations.yaml", yaml(&destination)?),
    ])
}

/// The CRD without the status fields that only the other kind sets.
fn without(mut crd: Value, fields: &[&str]) -> Value {
    if let Some(Value::Object(properties)) = crd.pointer_mut("/spec/versions/0/schema/openAPIV3Schema/properties/status/properties") {
        properties.retain(|name, _| !fields.contains(&name.as_str()));
    }
    crd
}

fn yaml(crd: &Value) -> anyhow::Result<String> {
    Ok(format!("# Generated from agent/src/api by `make generate`; do not edit.\n{}", serde_saphyr::to_string(crd)?))
}
