//! Keeps a pod to one node, on top of whatever affinity it has.

use crate::core::model::placement::Pin;
use serde_json::{Value, json};

/// Adds the pin to the spec of a pod: the scheduler goes by it as well as by all that stands there.
pub fn onto(pod: &mut Value, pin: &Pin) {
    let field = json!({ "key": "metadata.name", "operator": "In", "values": [pin.node] });
    let required = &mut pod["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"];
    // One of these terms must hold, and in it all that it names: so each of them gets it.
    match required["nodeSelectorTerms"].as_array_mut().filter(|terms| !terms.is_empty()) {
        Some(terms) => {
            for term in terms {
                append(&mut term["matchFields"], &field);
            }
        }
        None => required["nodeSelectorTerms"] = json!([{ "matchFields": [field] }]),
    }
    for toleration in &pin.tolerations {
        append(&mut pod["tolerations"], toleration);
    }
}

/// Appends to a list that may not be there yet, unless it has that already.
fn append(list: &mut Value, value: &Value) {
    match list.as_array_mut() {
        Some(list) if list.contains(value) => {}
        Some(list) => list.push(value.clone()),
        None => *list = json!([value]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pin(tolerations: &Value) -> Pin {
        Pin { node: "far".into(), tolerations: tolerations.as_array().unwrap().clone(), why: String::new() }
    }

    #[test]
    fn a_pod_without_affinity_is_kept_to_the_node() {
        let mut pod = json!({ "restartPolicy": "Never" });
        onto(&mut pod, &pin(&json!([])));
        let field = json!({ "key": "metadata.name", "operator": "In", "values": ["far"] });
        let required = json!({ "nodeSelectorTerms": [{ "matchFields": [field] }] });
        let expected = json!({
            "restartPolicy": "Never",
            "affinity": { "nodeAffinity": { "requiredDuringSchedulingIgnoredDuringExecution": required } },
        });
        assert_eq!(pod, expected);
    }

    /// Terms are alternatives: in each of them the node must be that one; and nothing of what stood there is lost.
    #[test]
    fn what_stood_there_holds_as_well() {
        let (gold, silver) = (json!({ "key": "gold", "operator": "Exists" }), json!({ "key": "silver", "operator": "Exists" }));
        let other = json!({ "key": "metadata.name", "operator": "NotIn", "values": ["near"] });
        let terms = json!([{ "matchExpressions": [gold] }, { "matchExpressions": [silver], "matchFields": [other] }]);
        let anti = json!({ "preferredDuringSchedulingIgnoredDuringExecution": [] });
        let (own, copied) = (json!({ "key": "own", "operator": "Exists" }), json!({ "key": "spot", "operator": "Exists" }));
        let mut pod = json!({
            "affinity": {
                "nodeAffinity": { "requiredDuringSchedulingIgnoredDuringExecution": { "nodeSelectorTerms": terms } },
                "podAntiAffinity": anti,
            },
            "tolerations": [own],
        });
        onto(&mut pod, &pin(&json!([copied, own])));
        let field = json!({ "key": "metadata.name", "operator": "In", "values": ["far"] });
        let required = &pod["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"];
        let expected = json!([{ "matchExpressions": [gold], "matchFields": [field] }, { "matchExpressions": [silver], "matchFields": [other, field] }]);
        assert_eq!(*required, expected);
        assert_eq!((&pod["affinity"]["podAntiAffinity"], &pod["tolerations"]), (&anti, &json!([own, copied])));
    }
}
