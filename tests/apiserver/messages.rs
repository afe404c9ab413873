//! Every rule that the CRDs carry is tried by `refused.rs` or `mover_pod.rs`: a rule that nobody tries may refuse nothing, or everything.

use serde_json::Value;
use std::collections::BTreeSet;

/// The messages of all validation rules below this part of a schema.
fn messages(schema: &Value, found: &mut BTreeSet<String>) {
    match schema {
        Value::Object(fields) => {
            for rule in fields.get("x-kubernetes-validations").and_then(Value::as_array).into_iter().flatten() {
                let message = rule["message"].as_str();
                found.insert(message.unwrap_or_else(|| panic!("a rule without a message: {rule}")).to_owned());
            }
            fields.values().for_each(|value| messages(value, found));
        }
        Value::Array(items) => items.iter().for_each(|item| messages(item, found)),
        _ => {}
    }
}

#[test]
fn every_rule_is_tried() {
    let mut found = BTreeSet::new();
    for (_, crd) in scribe_agent::api::crd::files().unwrap() {
        messages(&serde_saphyr::from_str(&crd).unwrap(), &mut found);
    }
    assert!(!found.is_empty());
    let tried = concat!(include_str!("refused.rs"), include_str!("mover_pod.rs"));
    let untried: Vec<_> = found.iter().filter(|message| !tried.contains(&format!("{message:?}"))).collect();
    assert!(untried.is_empty(), "no case expects these messages: {untried:#?}");
}
