//! Status fields that the cluster's CRD does not declare, because it is older than the agent: the API server refuses a whole apply for one
//! of them, with an internal error.

use serde_json::Value;
use std::collections::BTreeSet;

/// How the API server ends its complaint about each field.
const COMPLAINT: &str = ": field not declared in schema";

/// The fields that this answer complains of, as paths below `status`.
pub(super) fn fields(error: &kube::Error) -> BTreeSet<String> {
    let kube::Error::Api(answer) = error else { return BTreeSet::new() };
    let complaints = answer.message.lines().filter_map(|line| line.trim_end().strip_suffix(COMPLAINT));
    complaints.filter_map(|line| Some(line.split_once(".status.")?.1.to_owned())).collect()
}

/// Takes these fields off. Returns whether any was there.
pub(super) fn remove(status: &mut Value, fields: &BTreeSet<String>) -> bool {
    let mut removed = false;
    for field in fields {
        let (parents, name) = field.rsplit_once('.').unwrap_or(("", field));
        let parent = parents.split('.').filter(|part| !part.is_empty()).try_fold(&mut *status, |value, part| value.get_mut(part));
        removed |= parent.and_then(Value::as_object_mut).and_then(|parent| parent.remove(name)).is_some();
    }
    removed
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn answer(message: &str) -> kube::Error {
        kube::Error::Api(Box::new(kube::core::Status { code: 500, message: message.to_owned(), ..kube::core::Status::default() }))
    }

    /// As kube-apiserver words it for one field and for several.
    #[test]
    fn the_fields_of_the_complaint_are_left_out() {
        let one = "failed to create typed patch object (/a; scribe.backube/v1alpha1, Kind=ReplicationSource): .status.run.adopt: field not declared in schema";
        let two = "failed to create typed patch object (/a; scribe.backube/v1alpha1, Kind=ReplicationSource): errors:\n  .status.synced: field not declared in schema\n  .status.run.adopt: field not declared in schema";
        assert_eq!(fields(&answer(one)).into_iter().collect::<Vec<_>>(), ["run.adopt"]);
        let both = fields(&answer(two));
        assert_eq!(both.iter().collect::<Vec<_>>(), ["run.adopt", "synced"]);
        let mut status = json!({ "run": { "id": "a", "adopt": "p" }, "synced": {}, "files": 0 });
        assert!(remove(&mut status, &both));
        assert_eq!(status, json!({ "run": { "id": "a" }, "files": 0 }));
        assert!(!remove(&mut status, &both), "what cannot be left out again ends the attempt");
        assert!(fields(&answer("etcdserver: leader changed")).is_empty());
    }
}
