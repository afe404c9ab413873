//! An amount of a resource in the notation of Kubernetes, which may also be a plain number.

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;

/// An amount such as `10m`, `64Mi` or `2`, as text.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(from = "Written")]
pub struct Quantity(pub String);

/// As users write it.
#[derive(Deserialize)]
#[serde(untagged)]
enum Written {
    Text(String),
    Number(serde_json::Number),
}

impl From<Written> for Quantity {
    fn from(written: Written) -> Self {
        Quantity(match written {
            Written::Text(text) => text,
            Written::Number(number) => number.to_string(),
        })
    }
}

impl JsonSchema for Quantity {
    fn schema_name() -> Cow<'static, str> {
        "Quantity".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "x-kubernetes-int-or-string": true })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_an_amount() {
        for (written, text) in [("\"64Mi\"", "64Mi"), ("2", "2"), ("4294967296", "4294967296"), ("0.5", "0.5")] {
            assert_eq!(serde_json::from_str::<Quantity>(written).unwrap(), Quantity(text.to_owned()));
        }
        assert_eq!(serde_json::to_string(&Quantity("2".to_owned())).unwrap(), "\"2\"");
        assert!(serde_json::from_str::<Quantity>("true").is_err());
    }
}
