//! Whether two statuses are the same in the cluster, whose CRD may be older than the agent and drop fields without an error.

use super::Status;
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// Whether `one` and `other` are the same but for the fields that the CRD does not declare: a write would never make them equal.
pub fn same(one: &Status, other: &Status, undeclared: &BTreeSet<String>) -> bool {
    one == other || !undeclared.is_empty() && stored(one, undeclared) == stored(other, undeclared)
}

/// The status as such a CRD keeps it.
pub fn stored(status: &Status, undeclared: &BTreeSet<String>) -> Value {
    let mut stored = json!(status);
    for path in undeclared {
        remove(&mut stored, path);
    }
    stored
}

fn remove(value: &mut Value, path: &str) {
    match path.split_once('.') {
        Some((name, rest)) => value.get_mut(name).into_iter().for_each(|part| remove(part, rest)),
        None => {
            value.as_object_mut().and_then(|object| object.remove(path));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_declared_fields_make_a_difference() {
        let run = |syncs: &str, files: i64| -> Status {
            let time = "2026-01-01T00:00:00.000000Z";
            let run = json!({ "id": "r", "phase": "Transferring", "startTime": time, "attempt": 1, "phaseTime": time, "generation": 1, "syncNow": syncs });
            serde_json::from_value(json!({ "reason": syncs, "files": files, "run": run })).unwrap()
        };
        let fields = |names: &[&str]| -> BTreeSet<String> { names.iter().map(|name| (*name).to_owned()).collect() };
        let (old, all) = (fields(&["reason", "run.syncNow", "firstPush.overdue"]), fields(&[]));
        assert!(same(&run("a", 1), &run("b", 1), &old) && !same(&run("a", 1), &run("b", 1), &all));
        assert!(!same(&run("a", 1), &run("a", 2), &old) && !same(&run("a", 1), &run("b", 1), &fields(&["reason"])));
        assert!(same(&run("a", 1), &run("a", 1), &all));
    }
}
