//! Prometheus metrics, made anew at each scrape from the objects as they are, so that a deleted object's series vanish.

use crate::api::Status;
use crate::api::reason::Reason;
use crate::core::model::facts::{Kind, Object};
use jiff::Timestamp;
use prometheus_client::encoding::{EncodeLabelSet, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, PoisonError};

/// What is counted while the agent runs.
#[derive(Clone, Debug, Default)]
pub struct Metrics {
    syncs: Arc<Mutex<BTreeMap<SyncLabels, u64>>>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, EncodeLabelSet)]
struct SyncLabels {
    kind: &'static str,
    name: String,
    result: &'static str,
    reason: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ObjectLabels {
    kind: &'static str,
    name: String,
}

/// One object as a scrape sees it.
#[derive(Debug)]
pub struct Sample<'a> {
    /// The object.
    pub object: &'a Object,
    /// Its status.
    pub status: &'a Status,
    /// `spec.paused`
    pub paused: bool,
}

type Values = Family<ObjectLabels, Gauge<f64, AtomicU64>>;

impl Metrics {
    /// A sync ended well.
    pub fn synced(&self, kind: Kind, name: &str) {
        self.count(kind, name, "success", Reason::SyncCompleted);
    }

    /// An attempt failed.
    pub fn failed(&self, kind: Kind, name: &str, reason: Reason) {
        self.count(kind, name, "failure", reason);
    }

    fn count(&self, kind: Kind, name: &str, result: &'static str, reason: Reason) {
        let labels = SyncLabels { kind: kind.as_str(), name: name.to_owned(), result, reason: reason.as_str() };
        *self.syncs.lock().unwrap_or_else(PoisonError::into_inner).entry(labels).or_default() += 1;
    }

    /// The exposition text. `settings_good` says whether the settings file as it is now was accepted.
    ///
    /// # Errors
    /// Never in practice: writing to a string does not fail.
    pub fn exposition(&self, samples: &[Sample<'_>], settings_good: bool, now: Timestamp) -> Result<String, std::fmt::Error> {
        let mut registry = Registry::default();
        registry.register("scribe_sync", "Attempts to sync, by how they ended", self.counters(samples));
        for (name, help, value) in GAUGES {
            let values = Values::default();
            for sample in samples {
                if let Some(value) = value(sample, now) {
                    values.get_or_create(&ObjectLabels { kind: sample.object.kind.as_str(), name: sample.object.name.clone() }).set(value);
                }
            }
            registry.register(*name, *help, values);
        }
        let reload: Gauge = Gauge::default();
        reload.set(i64::from(settings_good));
        registry.register("scribe_config_reload_success", "Whether the settings file as it is now was accepted", reload);
        let mut text = String::new();
        text::encode(&mut text, &registry)?;
        Ok(text)
    }

    fn counters(&self, samples: &[Sample<'_>]) -> Family<SyncLabels, Counter> {
        let mut syncs = self.syncs.lock().unwrap_or_else(PoisonError::into_inner);
        let live: BTreeSet<_> = samples.iter().map(|s| (s.object.kind.as_str(), s.object.name.as_str())).collect();
        syncs.retain(|labels, _| live.contains(&(labels.kind, labels.name.as_str())));
        let family = Family::<SyncLabels, Counter>::default();
        for (labels, count) in syncs.iter() {
            family.get_or_create(labels).inc_by(*count);
        }
        family
    }
}

type Reading = fn(&Sample<'_>, Timestamp) -> Option<f64>;

const GAUGES: &[(&str, &str, Reading)] = &[
    ("scribe_data_age_seconds", "How long ago the source volume of the current data was captured", |s, now| {
        s.status.data_time.as_ref().map(|t| now.duration_since(t.0).as_secs_f64())
    }),
    (
        "scribe_source_checked_timestamp_seconds",
        "When the source was last known to have the current data; it renews that while it is alive",
        |s, now| s.status.source_checked_time.as_ref().map(|t| unix(t.0.min(now))),
    ),
    ("scribe_last_success_timestamp_seconds", "When the last successful sync ended", |s, _| {
        s.status.last_sync_time.as_ref().map(|t| unix(t.0))
    }),
    ("scribe_next_sync_timestamp_seconds", "When the next sync is due", |s, _| s.status.next_sync_time.as_ref().map(|t| unix(t.0))),
    ("scribe_attempts", "Attempts in a row that failed", |s, _| Some(count(s.status.attempts))),
    ("scribe_stalled", "Whether the object requires action by a person", |s, _| {
        Some(flag(s.status.conditions.iter().any(|c| c.type_ == "Stalled" && c.status == "True")))
    }),
    ("scribe_paused", "Whether spec.paused is set", |s, _| Some(flag(s.paused))),
];

fn unix(time: Timestamp) -> f64 {
    time.as_duration().as_secs_f64()
}

fn count(number: Option<i64>) -> f64 {
    number.and_then(|n| u32::try_from(n).ok()).map_or(0.0, f64::from)
}

fn flag(on: bool) -> f64 {
    if on { 1.0 } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

    fn object(name: &str) -> Object {
        Object::new(Kind::Source, "ns", name, name)
    }

    #[test]
    fn series_carry_their_object_and_vanish_with_it() {
        let metrics = Metrics::default();
        metrics.synced(Kind::Source, "a");
        metrics.failed(Kind::Source, "a", Reason::Unreachable);
        metrics.synced(Kind::Source, "gone");
        let now: Timestamp = "2026-01-01T00:01:00Z".parse().unwrap();
        let checked = Some(Time("2030-01-01T00:00:00Z".parse().unwrap()));
        let status = Status {
            attempts: Some(7),
            source_checked_time: checked,
            data_time: Some(Time("2026-01-01T00:00:00Z".parse().unwrap())),
            ..Status::default()
        };
        let (a, text_of) = (object("a"), |samples: &[Sample<'_>]| metrics.exposition(samples, true, now).unwrap());
        let text = text_of(&[Sample { object: &a, status: &status, paused: true }]);
        for line in [
            r#"scribe_sync_total{kind="ReplicationSource",name="a",result="failure",reason="Unreachable"} 1"#,
            r#"scribe_sync_total{kind="ReplicationSource",name="a",result="success",reason="SyncCompleted"} 1"#,
            r#"scribe_data_age_seconds{kind="ReplicationSource",name="a"} 60.0"#,
            r#"scribe_paused{kind="ReplicationSource",name="a"} 1.0"#,
            r#"scribe_attempts{kind="ReplicationSource",name="a"} 7.0"#,
            // A time in the future counts as now.
            r#"scribe_source_checked_timestamp_seconds{kind="ReplicationSource",name="a"} 1767225660.0"#,
            "scribe_config_reload_success 1",
        ] {
            assert!(text.lines().any(|l| l == line), "{line} is missing from\n{text}");
        }
        assert!(!text.contains("gone"));
        assert!(!text_of(&[]).contains("name="));
    }
}
