//! Commands of the guides do what the text around them says.

use scribe_agent::api::labels;
use scribe_agent::cluster::view;
use scribe_agent::core::model::copy::{CopyBy, CopyTrigger};
use serde_json::{Value, json};

/// What stands on the claim of a source that was deleted, after the command for that.
fn cleaned_up(mut annotations: Value) -> CopyTrigger {
    let guide = std::fs::read_to_string(super::root().join("docs/usage.md")).unwrap();
    let (_, after) = guide.split_once("A source that is deleted cannot:").unwrap();
    let (_, command) = after.split_once("`kubectl annotate pvc <name> ").unwrap();
    let (removed, _) = command.split_once('`').unwrap();
    for word in removed.split_whitespace() {
        assert!(annotations.as_object_mut().unwrap().remove(word.strip_suffix('-').unwrap()).is_some(), "{word}");
    }
    let claim = json!({ "apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": { "name": "data", "annotations": annotations }, "spec": {} });
    view::claim(&serde_json::from_value(claim).unwrap(), "of the next source").copy
}

/// Nothing is waited for there, and a value whose copy failed makes none for the next source: the application has gone on since.
#[test]
fn a_value_stays_used_once_its_source_is_gone() {
    let by = CopyBy { source: "app".into(), uid: "gone".into(), run: "r".into(), attempt: 1, taken: Some("one".into()) };
    let copy = cleaned_up(json!({
        labels::USE_COPY_TRIGGER: "", labels::COPY_TRIGGER: "one", labels::LATEST_COPY_STATUS: "InProgress",
        labels::LATEST_COPY_WAITING_SINCE: "2026-01-01T00:00:00Z", labels::LATEST_COPY_BY: json!(by).to_string(),
    }));
    assert_eq!((copy.status, copy.waiting_since, copy.asked()), (None, None, None));
}
