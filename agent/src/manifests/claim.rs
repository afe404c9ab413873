//! `PersistentVolumeClaim`s: a source's temporary one, and a destination's volume.

use super::meta;
use crate::api::labels;
use crate::core::model::facts::Object;
use crate::core::model::plan::{NewClaim, Origin};
use serde_json::{Value, json};

/// The claim as it is created.
pub fn build(owner: &Object, new: &NewClaim) -> Value {
    let mut metadata = meta::metadata(owner, &new.name, &meta::labels(owner, new.role, new.run.as_deref(), None));
    if let Some(value) = &new.copied_for {
        metadata["annotations"] = json!({ labels::COPY_TRIGGER: value });
    }
    let mut spec = json!({
        "accessModes": new.shape.access_modes.clone().unwrap_or_else(|| vec!["ReadWriteOnce".to_owned()]),
        "resources": { "requests": { "storage": new.shape.size.unwrap_or(0).to_string() } },
    });
    if let Some(class) = &new.shape.storage_class {
        spec["storageClassName"] = json!(class);
    }
    match &new.from {
        Origin::Empty => {}
        Origin::Snapshot(name) => {
            spec["dataSource"] = json!({ "apiGroup": "snapshot.storage.k8s.io", "kind": "VolumeSnapshot", "name": name });
        }
        Origin::Claim(name) => spec["dataSource"] = json!({ "kind": "PersistentVolumeClaim", "name": name }),
    }
    json!({ "apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": metadata, "spec": spec })
}
