//! The proxies of the agent's own container, as its movers get them: by the same entries, so that a value which comes from a Secret does not
//! stand in a Job.

use serde_json::{Value, json};
use std::collections::BTreeSet;

/// What programs read, in both cases: which of the two comes first differs.
const VARIABLES: [&str; 8] = ["HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "no_proxy", "all_proxy"];

/// The entries of `env` for movers. `is_set` says whether the agent has a variable at all, from wherever.
pub fn of(env: &[Value], env_from: &[Value], is_set: impl Fn(&str) -> bool) -> Vec<Value> {
    let mut wanted: BTreeSet<String> = VARIABLES.iter().filter(|name| is_set(name)).map(|name| (*name).to_owned()).collect();
    // A value may contain others: `http://$(USER):$(PASSWORD)@proxy:3128`.
    loop {
        let entries = env.iter().filter(|entry| entry["name"].as_str().is_some_and(|name| wanted.contains(name)));
        let more: Vec<String> = entries.filter_map(|entry| entry["value"].as_str()).flat_map(references).collect();
        let known = wanted.len();
        wanted.extend(more);
        if wanted.len() == known {
            break;
        }
    }
    let mut found = Vec::new();
    for source in env_from {
        let prefix = source["prefix"].as_str().unwrap_or_default();
        for name in &wanted {
            let Some(key) = name.strip_prefix(prefix).filter(|key| !key.is_empty()) else { continue };
            for (kind, reference) in [("configMapRef", "configMapKeyRef"), ("secretRef", "secretKeyRef")] {
                if let Some(holder) = source[kind]["name"].as_str() {
                    let value = json!({ reference: { "name": holder, "key": key, "optional": true } });
                    found.push(json!({ "name": name, "valueFrom": value }));
                }
            }
        }
    }
    // Of two entries of one name the later one counts, as it does for the agent.
    for entry in env.iter().filter(|entry| entry["name"].as_str().is_some_and(|name| wanted.contains(name))) {
        let mut entry = entry.clone();
        if let Some(value) = entry["value"].as_str() {
            entry["value"] = json!(as_the_agent_has_it(value, &is_set));
        }
        found.push(entry);
    }
    found
}

/// The value, so that a mover gets what the agent got: the kubelet leaves the name of a variable that the agent does not have as it stands
/// there, and would replace it in a mover that has one of this name.
fn as_the_agent_has_it(value: &str, is_set: impl Fn(&str) -> bool) -> String {
    let (mut found, mut rest) = (String::new(), value);
    while let Some(at) = rest.find('$') {
        found.push_str(&rest[..at]);
        let after = &rest[at + 1..];
        let name = after.strip_prefix('(').and_then(|rest| rest.split_once(')')).map(|(name, _)| name);
        let taken = match name {
            Some(name) => {
                found.push_str(if is_set(name) { "$(" } else { "$$(" });
                2
            }
            // The kubelet's own way to write one `$`.
            None if after.starts_with('$') => {
                found.push_str("$$");
                2
            }
            None => {
                found.push('$');
                1
            }
        };
        rest = &rest[at + taken..];
    }
    found + rest
}

/// Names that stand in a value as `$(NAME)`.
fn references(value: &str) -> Vec<String> {
    value.split("$(").skip(1).filter_map(|rest| rest.split_once(')')).map(|(name, _)| name.to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_cases_and_nothing_else() {
        let env: Vec<_> = ["HTTP_PROXY", "POD_NAME", "http_proxy", "NO_PROXY", "no_proxy", "https_proxy", "HTTPS_PROXY", "HTTP_PROXY_X"]
            .map(|name| json!({ "name": name, "value": "v" }))
            .into();
        let names: Vec<_> = of(&env, &[], |_| true).iter().map(|entry| entry["name"].as_str().unwrap().to_owned()).collect();
        assert_eq!(names, ["HTTP_PROXY", "http_proxy", "NO_PROXY", "no_proxy", "https_proxy", "HTTPS_PROXY"]);
        assert!(of(&env[1..2], &[], |_| true).is_empty());
    }

    /// A password in the agent's Secret is no reason to write it into a Job.
    #[test]
    fn values_of_secrets_stay_there() {
        let from_secret = |name: &str| json!({ "name": name, "valueFrom": { "secretKeyRef": { "name": "proxy", "key": "k" } } });
        let env = [
            from_secret("PASSWORD"),
            from_secret("UNRELATED"),
            json!({ "name": "USER_AND_PASSWORD", "value": "u:$(PASSWORD)" }),
            json!({ "name": "HTTPS_PROXY", "value": "http://$(USER_AND_PASSWORD)@proxy:3128" }),
            from_secret("https_proxy"),
        ];
        let found = of(&env, &[], |_| true);
        assert_eq!(found, [env[0].clone(), env[2].clone(), env[3].clone(), env[4].clone()]);
    }

    /// A variable of the mover's own would take the place of what the agent has as it stands.
    #[test]
    fn what_the_agent_has_literally_movers_have_literally() {
        let proxy = |value: &str| json!({ "name": "HTTP_PROXY", "value": value });
        for (value, expected) in [
            ("http://$(HOME)@proxy", "http://$$(HOME)@proxy"),
            ("http://$$(HOME)@proxy", "http://$$(HOME)@proxy"),
            ("$$$(HOME)", "$$$$(HOME)"),
            ("$(USER):$(HOME)", "$(USER):$$(HOME)"),
            ("100$ $(", "100$ $("),
        ] {
            let found = of(&[proxy(value)], &[], |name| ["HTTP_PROXY", "USER"].contains(&name));
            assert_eq!(found, [proxy(expected)], "{value}");
        }
    }

    #[test]
    fn whole_config_maps_and_secrets_are_followed() {
        let env_from = [json!({ "configMapRef": { "name": "proxies" } }), json!({ "secretRef": { "name": "secret" }, "prefix": "HTTPS_" })];
        let set = ["HTTP_PROXY", "HTTPS_PROXY"];
        let reference = |name: &str, kind: &str, holder: &str, key: &str| json!({ "name": name, "valueFrom": { kind: { "name": holder, "key": key, "optional": true } } });
        let expected = [
            reference("HTTPS_PROXY", "configMapKeyRef", "proxies", "HTTPS_PROXY"),
            reference("HTTP_PROXY", "configMapKeyRef", "proxies", "HTTP_PROXY"),
            reference("HTTPS_PROXY", "secretKeyRef", "secret", "PROXY"),
        ];
        assert_eq!(of(&[], &env_from, |name| set.contains(&name)), expected);
    }
}
