//! `VolumeSnapshot`s: a source's temporary one, and a destination's images.

use super::meta;
use crate::api::labels;
use crate::core::model::facts::Object;
use crate::core::model::plan::NewSnapshot;
use serde_json::{Value, json};

/// The snapshot as it is created.
pub fn build(owner: &Object, new: &NewSnapshot) -> Value {
    let mut metadata = meta::metadata(owner, &new.name, &meta::labels(owner, new.role, Some(&new.run), None));
    if let Some((revision, claim_uid)) = &new.content {
        metadata["annotations"] = json!({ labels::REVISION: revision, labels::PVC_UID: claim_uid });
    }
    if let Some(value) = &new.copied_for {
        metadata["annotations"] = json!({ labels::COPY_TRIGGER: value });
    }
    let mut spec = json!({ "source": { "persistentVolumeClaimName": new.claim } });
    if let Some(class) = &new.class.0 {
        spec["volumeSnapshotClassName"] = json!(class);
    }
    json!({ "apiVersion": "snapshot.storage.k8s.io/v1", "kind": "VolumeSnapshot", "metadata": metadata, "spec": spec })
}
