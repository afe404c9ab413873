//! Whether two statuses are the same in the cluster, whose CRD may be older than the agent and drop fields without an error.
//!
//! Fields are named by their path, such as `run.adopt`; through a list it leads to all items, which share a schema: `images.revision`.

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

/// Paths of the fields in `sent` that `kept` lacks. One within a list is lacking where no item has it: items may come in another order.
pub fn dropped(sent: &Value, kept: &Value) -> BTreeSet<String> {
    let mut fields = BTreeSet::new();
    compare("", &[sent], &[kept], &mut fields);
    fields
}

fn compare(path: &str, sent: &[&Value], kept: &[&Value], fields: &mut BTreeSet<String>) {
    let names: BTreeSet<_> = sent.iter().filter_map(|value| value.as_object()).flat_map(|object| object.keys()).collect();
    for name in names {
        let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
        match (parts(sent, name), parts(kept, name)) {
            (None, _) => {}
            (Some(_), None) => {
                fields.insert(path);
            }
            (Some(sent), Some(kept)) => compare(&path, &sent, &kept, fields),
        }
    }
}

/// What these values have under this name, and the items of what is a list; none where they have nothing.
fn parts<'a>(values: &[&'a Value], name: &str) -> Option<Vec<&'a Value>> {
    let found: Vec<_> = values.iter().filter_map(|value| value.get(name)).filter(|value| !value.is_null()).collect();
    let items = |value: &'a Value| value.as_array().map_or_else(|| vec![value], |items| items.iter().collect());
    (!found.is_empty()).then(|| found.into_iter().flat_map(items).collect())
}

/// Whether the value has anything at this path.
pub fn has(value: &Value, path: &str) -> bool {
    let found = path.split('.').try_fold(vec![value], |values, name| parts(&values, name));
    found.is_some_and(|values| !values.is_empty())
}

fn remove(value: &mut Value, path: &str) {
    if let Some(items) = value.as_array_mut() {
        return items.iter_mut().for_each(|item| remove(item, path));
    }
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

    #[test]
    fn fields_that_the_crd_does_not_declare_are_named() {
        let named = |sent: &Value, kept: &Value| dropped(sent, kept).into_iter().collect::<Vec<_>>();
        let sent = json!({ "run": { "id": "a", "adopt": "p", "verifyNow": null }, "adoptedPath": "p", "images": [], "files": 0 });
        let kept = json!({ "run": { "id": "a" }, "images": [], "files": 0 });
        assert_eq!(named(&sent, &kept), ["adoptedPath", "run.adopt"]);
        assert_eq!(named(&sent, &sent), [""; 0]);
        // Of lists no item keeps it, in whatever order they come; and not every item needs to have had it.
        let sent = json!({ "images": [{ "name": "a", "revision": "r", "by": { "run": 1 } }, { "name": "b" }], "names": ["x"] });
        let kept = json!({ "images": [{ "name": "b" }, { "name": "a", "by": {} }], "names": ["x"] });
        assert_eq!(named(&sent, &kept), ["images.by.run", "images.revision"]);
        assert!(has(&sent, "images.revision") && has(&sent, "images.by.run") && !has(&kept, "images.revision") && has(&sent, "names"));
    }

    #[test]
    fn a_field_of_a_list_that_is_not_declared_makes_no_difference() {
        let images = |revision: Option<&str>| -> Status {
            serde_json::from_value(json!({ "images": [{ "name": "a", "revision": revision }, { "name": "b", "revision": revision }] }))
                .unwrap()
        };
        let old = BTreeSet::from(["images.revision".to_owned()]);
        assert!(same(&images(Some("r")), &images(None), &old) && !same(&images(Some("r")), &images(None), &BTreeSet::new()));
        assert!(!same(&images(Some("r")), &Status::default(), &old));
    }
}
