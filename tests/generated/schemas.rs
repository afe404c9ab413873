//! What the CRDs tell `kubectl explain`, and what they take from a newer agent.

use scribe_agent::api::crd;
use serde_json::Value;

fn schemas() -> Vec<Value> {
    let crds = crd::files().unwrap().into_iter().map(|(_, text)| serde_saphyr::from_str::<Value>(&text).unwrap());
    crds.map(|crd| crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"].clone()).collect()
}

/// Calls `see` with every schema below this one, and its path.
fn each(path: &str, schema: &Value, see: &mut impl FnMut(&str, &Value)) {
    see(path, schema);
    for (name, schema) in schema["properties"].as_object().into_iter().flatten() {
        each(&format!("{path}.{name}"), schema, see);
    }
    if schema["items"].is_object() {
        each(&format!("{path}[]"), &schema["items"], see);
    }
}

/// A field that has words of its own says what they mean, and which one is the default.
#[test]
fn the_words_of_a_field_are_explained() {
    let mut seen = 0;
    for schema in schemas() {
        each("spec", &schema["spec"], &mut |path, schema| {
            let words: Vec<_> = schema["enum"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
            if words.is_empty() || path.contains("accessModes") {
                return;
            }
            seen += 1;
            let description = schema["description"].as_str().unwrap_or_default();
            assert!(words.iter().all(|word| description.contains(&format!("`{word}`"))), "{path}: {description}");
            assert!(description.contains("default"), "{path}: {description}");
        });
    }
    assert!(seen >= 3, "{seen} fields with words");
}

/// kubectl warns of a format that Kubernetes does not know.
#[test]
fn formats_are_those_of_kubernetes() {
    for schema in schemas() {
        for part in ["spec", "status"] {
            each(part, &schema[part], &mut |path, schema| {
                if let Some(format) = schema["format"].as_str() {
                    assert!(["int32", "int64", "date-time"].contains(&format), "{path}: {format}");
                }
            });
        }
    }
}

/// An agent that is newer than the CRDs may have words that they do not know, and leave out what they have.
#[test]
fn a_newer_agent_can_write_its_status() {
    for schema in schemas() {
        each("status", &schema["status"], &mut |path, schema| {
            let of_conditions = path.starts_with("status.conditions");
            assert!(schema["enum"].is_null() || of_conditions, "{path} is closed: {}", schema["enum"]);
            assert!(schema["required"].is_null() || of_conditions, "{path} requires {}", schema["required"]);
        });
    }
}
