//! The agent's settings: from the text of `agent.yaml` to values that can be worked with.

pub mod mover;

use crate::api::mover::{MoverPod, MoverResources};
use crate::api::quantity::Quantity;
use crate::core::model::limits::{Limits, RequestRate};
use crate::core::model::pod::PodOptions;
use crate::core::syntax::{go_duration, quantity};
use jiff::SignedDuration;
use mover::RawMover;
use serde::Deserialize;

/// Settings that are known to make sense.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Settings {
    /// Durations that decisions depend on.
    pub limits: Limits,
    /// How many requests the API server gets.
    pub requests: RequestRate,
    /// What movers are started with.
    pub mover: MoverSettings,
}

/// What movers are started with.
#[derive(Clone, Debug, PartialEq)]
pub struct MoverSettings {
    /// What their pods are like where the spec of an object does not say otherwise. Where no `ServiceAccount` and no security context are
    /// set, those of the agent's Deployment.
    pub pod: MoverPod,
    /// And what of it no spec can say.
    pub options: PodOptions,
    /// Size of the temporary directory in which a mover keeps lists of entries.
    pub temporary_space: String,
    /// How often a push lists its remote path and repairs it.
    pub verify_interval: SignedDuration,
    /// Within which time a push reads every file again, changed or not.
    pub rehash_interval: SignedDuration,
    /// How often a push that finds nothing new says on the remote that its source is alive.
    pub heartbeat_interval: SignedDuration,
}

/// The file as it is written. Every field has a default, which also holds where its value is null: a section without fields reads so.
#[derive(Deserialize, Debug, Default)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Raw {
    continuous_interval: Option<String>,
    verify_interval: Option<String>,
    rehash_interval: Option<String>,
    heartbeat_interval: Option<String>,
    snapshot_timeout: Option<String>,
    pod_start_timeout: Option<String>,
    stall_timeout: Option<String>,
    first_push_patience: Option<String>,
    max_attempts: Option<u16>,
    max_concurrent_syncs: Option<u16>,
    #[serde(rename = "kubeAPIQPS")]
    kube_api_qps: Option<u16>,
    #[serde(rename = "kubeAPIBurst")]
    kube_api_burst: Option<u16>,
    retry: Option<RawRetry>,
    mover: Option<RawMover>,
}

#[derive(Deserialize, Debug, Default)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct RawRetry {
    initial: Option<String>,
    max: Option<String>,
}

impl Default for MoverSettings {
    fn default() -> Self {
        MoverSettings {
            pod: MoverPod { resources: Some(default_resources()), ..MoverPod::default() },
            options: PodOptions::default(),
            temporary_space: "4Gi".to_owned(),
            verify_interval: SignedDuration::from_hours(24),
            rehash_interval: SignedDuration::from_hours(168),
            heartbeat_interval: SignedDuration::from_hours(1),
        }
    }
}

impl Settings {
    /// Reads the text of `agent.yaml`. An empty text gives the defaults.
    ///
    /// # Errors
    /// A sentence that names the field.
    pub fn parse(text: &str) -> Result<Settings, String> {
        let empty = text.lines().all(|line| line.trim().is_empty() || line.trim_start().starts_with('#'));
        let raw: Raw = if empty { Raw::default() } else { serde_saphyr::from_str(text).map_err(|e| format!("agent.yaml: {e}"))? };
        let (retry, mover) = (raw.retry.unwrap_or_default(), raw.mover.unwrap_or_default());
        let default = Limits::default();
        let limits = Limits {
            continuous_interval: duration("continuousInterval", raw.continuous_interval.as_deref(), default.continuous_interval)?,
            snapshot_timeout: duration("snapshotTimeout", raw.snapshot_timeout.as_deref(), default.snapshot_timeout)?,
            pod_start_timeout: duration("podStartTimeout", raw.pod_start_timeout.as_deref(), default.pod_start_timeout)?,
            stall_timeout: duration("stallTimeout", raw.stall_timeout.as_deref(), default.stall_timeout)?,
            retry_initial: duration("retry.initial", retry.initial.as_deref(), default.retry_initial)?,
            retry_cap: duration("retry.max", retry.max.as_deref(), default.retry_cap)?,
            first_push_patience: duration("firstPushPatience", raw.first_push_patience.as_deref(), default.first_push_patience)?,
            max_attempts: count("maxAttempts", raw.max_attempts, default.max_attempts)?,
            max_concurrent_syncs: count("maxConcurrentSyncs", raw.max_concurrent_syncs, default.max_concurrent_syncs)?,
        };
        if limits.retry_initial > limits.retry_cap {
            return Err("agent.yaml: retry.initial is longer than retry.max".to_owned());
        }
        let rate = RequestRate::default();
        let requests = RequestRate {
            qps: count("kubeAPIQPS", raw.kube_api_qps, rate.qps)?,
            burst: count("kubeAPIBurst", raw.kube_api_burst, rate.burst)?,
        };
        let default = MoverSettings::default();
        let (pod, options) = (mover.pod(default.pod)?, mover.options()?);
        let mover = MoverSettings {
            pod,
            options,
            temporary_space: mover.temporary_space.map_or(Ok(default.temporary_space), |size| temporary_space(&size))?,
            verify_interval: duration("verifyInterval", raw.verify_interval.as_deref(), default.verify_interval)?,
            rehash_interval: duration("rehashInterval", raw.rehash_interval.as_deref(), default.rehash_interval)?,
            heartbeat_interval: duration("heartbeatInterval", raw.heartbeat_interval.as_deref(), default.heartbeat_interval)?,
        };
        Ok(Settings { limits, requests, mover })
    }
}

fn default_resources() -> MoverResources {
    let amounts = |amounts: &[(&str, &str)]| {
        Some(amounts.iter().map(|(resource, amount)| ((*resource).to_owned(), Quantity((*amount).to_owned()))).collect())
    };
    MoverResources {
        requests: amounts(&[("cpu", "10m"), ("memory", "64Mi"), ("ephemeral-storage", "64Mi")]),
        limits: amounts(&[("memory", "384Mi")]),
    }
}

fn temporary_space(text: &str) -> Result<String, String> {
    let size = text.trim();
    if quantity::bytes(size).is_none_or(|bytes| bytes == 0) {
        return Err(format!("agent.yaml: mover.temporarySpace: {size:?} is no size: write for example 4Gi"));
    }
    Ok(size.to_owned())
}

fn count<N: Copy + From<u16>>(field: &str, number: Option<u16>, default: N) -> Result<N, String> {
    match number {
        None => Ok(default),
        Some(0) => Err(format!("agent.yaml: {field}: write a number of 1 or more")),
        Some(number) => Ok(N::from(number)),
    }
}

fn duration(field: &str, text: Option<&str>, default: SignedDuration) -> Result<SignedDuration, String> {
    match text {
        None => Ok(default),
        Some(text) => go_duration::parse(text.trim()).map_err(|e| format!("agent.yaml: {field}: {e}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_shipped_file_says_what_the_defaults_are() {
        let shipped = include_str!("../../../config/agent.yaml");
        assert_eq!(Settings::parse(shipped).unwrap(), Settings::default());
        assert_eq!(Settings::parse("").unwrap(), Settings::default());
        let durations = [
            "continuousInterval",
            "verifyInterval",
            "rehashInterval",
            "heartbeatInterval",
            "firstPushPatience",
            "snapshotTimeout",
            "podStartTimeout",
            "stallTimeout",
            "initial",
            "max",
        ];
        for field in durations.into_iter().chain([
            "maxAttempts",
            "maxConcurrentSyncs",
            "kubeAPIQPS",
            "kubeAPIBurst",
            "serviceAccountName",
            "temporarySpace",
            "resources",
            "securityContext",
            "podLabels",
            "podAnnotations",
            "nodeSelector",
            "affinity",
            "tolerations",
            "priorityClassName",
            "hostUsers",
            "volumes",
            "customCA",
        ]) {
            assert!(shipped.contains(&format!("{field}:")), "{field} is missing from config/agent.yaml");
        }
    }

    /// A section whose fields are all commented out is null.
    #[test]
    fn an_empty_section_means_the_defaults() {
        for text in [
            "mover:",
            "retry:",
            "mover: null\nretry: ~",
            "mover:\n  # serviceAccountName: other\nmaxAttempts:",
            "mover: {resources: , nodeSelector: , podAnnotations: }",
        ] {
            assert_eq!(Settings::parse(text).as_ref(), Ok(&Settings::default()), "{text}");
        }
        let none = Settings::parse("mover: {resources: {limits: , requests: {cpu: 1}}}").unwrap().mover.pod.resources;
        assert_eq!(json!(none), json!({ "requests": { "cpu": "1" } }));
    }

    #[test]
    fn blanks_around_a_value_do_not_reach_a_job() {
        let settings = Settings::parse("retry: {max: ' 1h '}\nmover: {temporarySpace: ' 8Gi '}").unwrap();
        assert_eq!((settings.limits.retry_cap, settings.mover.temporary_space.as_str()), (SignedDuration::from_hours(1), "8Gi"));
    }

    /// What stands there as an example is one that can be used.
    #[test]
    fn the_examples_of_the_shipped_file_are_settings() {
        let shipped = include_str!("../../../config/agent.yaml");
        let is_example = |line: &&str| {
            line.strip_prefix("  # ").is_some_and(|rest| {
                rest.split_once(": ").is_some_and(|(name, value)| {
                    name.chars().all(char::is_alphanumeric) && name.starts_with(char::is_lowercase) && !value.contains(". ")
                })
            })
        };
        let examples: Vec<_> = shipped.lines().filter(is_example).map(|line| line.replacen("# ", "", 1)).collect();
        let mover = Settings::parse(&format!("mover:\n{}\n", examples.join("\n"))).unwrap().mover;
        assert_eq!(examples.len(), 11, "{examples:#?}");
        assert!(mover.pod.custom_ca.is_some() && mover.options.host_users == Some(false));
    }

    #[test]
    fn mistakes_are_named() {
        for (text, expected) in [
            ("continuousInterval: soon", "continuousInterval"),
            ("continousInterval: 60s", "continousInterval"),
            ("retry: {initial: 1h}", "retry.initial"),
            ("rehashInterval: weekly", "rehashInterval"),
            ("maxAttempts: 0", "maxAttempts"),
            ("maxConcurrentSyncs: -1", "maxConcurrentSyncs"),
            ("kubeAPIQPS: 0", "kubeAPIQPS"),
            ("kubeAPIBurst: many", "kubeAPIBurst"),
            ("mover: [", "agent.yaml"),
            ("mover: {temporarySpace: none}", "mover.temporarySpace"),
            ("mover: {serviceAccountName: 'scribe-mover '}", "mover.serviceAccountName: \"scribe-mover \" begins or ends with a blank"),
            ("mover: {serviceAccountName: ''}", "mover.serviceAccountName: the name is empty"),
            ("mover: {serviceAccountName: Scribe_Mover}", "mover.serviceAccountName: \"Scribe_Mover\" is no name"),
            ("mover: {resources: {limits: {memory: }}}", "mover.resources: "),
            ("mover: {resources: {limits: {'memory ': 1Gi}}}", "mover.resources.limits.memory : \"memory \" is no resource"),
            ("mover: {resources: {limits: {memory: lots}}}", "mover.resources.limits.memory: \"lots\""),
            ("mover: {resources: {requests: {memory: 2Gi}, limits: {memory: 1024Mi}}}", "mover.resources.requests.memory: 2Gi is more"),
        ] {
            let error = Settings::parse(text).unwrap_err();
            assert!(error.contains(expected), "{text}: {error}");
        }
    }
}
