//! The two CRDs as YAML, for `kustomize/crds`.

use super::{ReplicationDestination, ReplicationSource};
use kube::CustomResourceExt;
use serde_json::Value;

/// File name and content of each CRD.
///
/// # Errors
/// When a schema cannot be written as YAML, which a test would have seen.
pub fn files() -> anyhow::Result<Vec<(&'static str, String)>> {
    let mut source = serde_json::to_value(ReplicationSource::crd())?;
    if let Some(status) = source.pointer_mut("/spec/versions/0/schema/openAPIV3Schema/properties/status/properties")
        && let Value::Object(properties) = status
    {
        properties.remove("latestImage");
        properties.remove("images");
    }
    let destination = serde_json::to_value(ReplicationDestination::crd())?;
    Ok(vec![
        ("scribe.backube_replicationsources.yaml", yaml(&source)?),
        ("scribe.backube_replicationdestinations.yaml", yaml(&destination)?),
    ])
}

fn yaml(crd: &Value) -> anyhow::Result<String> {
    Ok(format!("# Generated from agent/src/api by `make generate`; do not edit.\n{}", serde_saphyr::to_string(crd)?))
}
