//! Copies of a source's PVC that were asked for and may still be made at any moment: a snapshot that the driver has not taken, a clone without
//! its volume. They would show what a pull has written by then. Those of a paused source are deleted when its attempt ends, see `core::children::cleanup`.

use crate::cluster::cache::Cache;
use crate::cluster::{slim, view};
use crate::core::model::facts::{Meta, Role};

/// Whether a copy for this source may still be made.
pub(super) fn any(cache: &Cache, source: &str) -> bool {
    let (snapshots, claims) = (cache.snapshots.state(), cache.claims.state());
    let mut snapshots = snapshots.iter().filter(|snapshot| view::belongs_to(&snapshot.metadata, source));
    let mut claims = claims.iter().filter(|claim| view::belongs_to(&claim.metadata, source));
    snapshots.any(|snapshot| is_untaken(snapshot, source)) || claims.any(|claim| is_unfilled(claim, source))
}

fn is_untaken(snapshot: &slim::Snapshot, source: &str) -> bool {
    let snapshot = view::snapshot(snapshot, source);
    is_capture(&snapshot.meta) && !snapshot.taken && !snapshot.ready
}

fn is_unfilled(claim: &slim::Claim, source: &str) -> bool {
    let claim = view::claim(claim, source);
    // One from a snapshot shows what that does.
    is_capture(&claim.meta) && claim.made_from.is_none() && !claim.bound
}

/// What is being deleted is used for nothing.
fn is_capture(meta: &Meta) -> bool {
    meta.role == Some(Role::Capture) && !meta.deleting
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::labels;
    use serde_json::{Value, json};

    fn meta(role: &str, deleting: bool) -> Value {
        let time = deleting.then_some("1970-01-01T00:00:00Z");
        let owner = json!({ "apiVersion": "scribe.backube/v1alpha1", "kind": "ReplicationSource", "name": "app", "uid": "app" });
        json!({ "labels": { labels::COMPONENT: role }, "ownerReferences": [owner], "deletionTimestamp": time })
    }

    #[test]
    fn a_copy_that_is_made_holds_nobody() {
        let snapshot = |role: &str, deleting, status: Value| -> slim::Snapshot {
            serde_json::from_value(json!({ "metadata": meta(role, deleting), "status": status })).unwrap()
        };
        for (role, deleting, status, expected) in [
            ("capture", false, json!(null), true),
            ("capture", false, json!({ "error": { "message": "no" } }), true),
            ("capture", false, json!({ "creationTime": "1970-01-01T00:00:00Z" }), false),
            ("capture", false, json!({ "readyToUse": true }), false),
            ("capture", true, json!(null), false),
            ("image", false, json!(null), false),
        ] {
            assert_eq!(is_untaken(&snapshot(role, deleting, status.clone()), "app"), expected, "{role} {deleting} {status}");
        }
        assert!(!is_untaken(&snapshot("capture", false, json!(null)), "other"));
        let claim = |from: &str, phase: &str| -> slim::Claim {
            let spec = json!({ "dataSource": { "kind": from, "name": "data" } });
            serde_json::from_value(json!({ "metadata": meta("capture", false), "spec": spec, "status": { "phase": phase } })).unwrap()
        };
        assert!(is_unfilled(&claim("PersistentVolumeClaim", "Pending"), "app"));
        assert!(!is_unfilled(&claim("PersistentVolumeClaim", "Bound"), "app") && !is_unfilled(&claim("VolumeSnapshot", "Pending"), "app"));
    }
}
