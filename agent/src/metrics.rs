//! Prometheus metrics, made anew at each scrape from the objects as they are, so that a deleted object's series vanish.

use crate::api::Status;
use crate::api::reason::Reason;
use crate::core::model::facts::{Kind, Object};
use crate::core::syntax::go_duration;
use jiff::Timestamp;
use prometheus_client::encoding::{EncodeLabelSet, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What is counted while the agent runs.
#[derive(Clone, Debug, Default)]
pub struct Metrics {
    counts: Arc<Mutex<Counts>>,
}

#[derive(Debug, Default)]
struct Counts {
    syncs: BTreeMap<SyncLabels, u64>,
    /// Those of an object in one number: what `increase()` sees from the first of them on.
    failures: BTreeMap<ObjectLabels, u64>,
    bytes: BTreeMap<ObjectLabels, u64>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, EncodeLabelSet)]
struct SyncLabels {
    kind: &'static str,
    name: String,
    result: &'static str,
    reason: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, EncodeLabelSet)]
struct ObjectLabels {
    kind: &'static str,
    name: String,
}

impl ObjectLabels {
    fn of(kind: Kind, name: &str) -> Self {
        Self { kind: kind.as_str(), name: name.to_owned() }
    }
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

type Counters = Family<ObjectLabels, Counter>;
type Values = Family<ObjectLabels, Gauge<f64, AtomicU64>>;

impl Metrics {
    /// A sync ended well, and transferred so many bytes, where that is known.
    pub fn synced(&self, kind: Kind, name: &str, transferred: Option<i64>) {
        self.count(kind, name, "success", Reason::SyncCompleted);
        let bytes = transferred.and_then(|bytes| u64::try_from(bytes).ok()).unwrap_or(0);
        *self.counts().bytes.entry(ObjectLabels::of(kind, name)).or_default() += bytes;
    }

    /// An attempt failed.
    pub fn failed(&self, kind: Kind, name: &str, reason: Reason) {
        self.count(kind, name, "failure", reason);
        *self.counts().failures.entry(ObjectLabels::of(kind, name)).or_default() += 1;
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn count(&self, kind: Kind, name: &str, result: &'static str, reason: Reason) {
        let labels = SyncLabels { kind: kind.as_str(), name: name.to_owned(), result, reason: reason.as_str() };
        *self.counts().syncs.entry(labels).or_default() += 1;
    }

    /// The exposition text. `settings_good` says whether the settings file as it is now was accepted.
    ///
    /// # Errors
    /// Never in practice: writing to a string does not fail.
    pub fn exposition(&self, samples: &[Sample<'_>], settings_good: bool, now: Timestamp) -> Result<String, std::fmt::Error> {
        let mut registry = Registry::default();
        self.counters(samples, &mut registry);
        for (name, help, value) in GAUGES {
            let values = Values::default();
            for sample in samples {
                if let Some(value) = value(sample, now) {
                    values.get_or_create(&ObjectLabels::of(sample.object.kind, &sample.object.name)).set(value);
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

    /// Those of an object are there from the start: of a series that begins with its first event, `increase()` does not see that one.
    fn counters(&self, samples: &[Sample<'_>], registry: &mut Registry) {
        let mut counts = self.counts();
        let live: BTreeSet<_> = samples.iter().map(|s| (s.object.kind.as_str(), s.object.name.as_str())).collect();
        counts.syncs.retain(|labels, _| live.contains(&(labels.kind, labels.name.as_str())));
        counts.failures.retain(|labels, _| live.contains(&(labels.kind, labels.name.as_str())));
        counts.bytes.retain(|labels, _| live.contains(&(labels.kind, labels.name.as_str())));
        let (syncs, failures, bytes) = (Family::default(), Counters::default(), Counters::default());
        for sample in samples {
            let labels = ObjectLabels::of(sample.object.kind, &sample.object.name);
            let ObjectLabels { kind, name } = labels.clone();
            let reason = Reason::SyncCompleted.as_str();
            let succeeded: &Family<SyncLabels, Counter> = &syncs;
            drop(succeeded.get_or_create(&SyncLabels { kind, name, result: "success", reason }));
            failures.get_or_create(&labels).inc_by(counts.failures.get(&labels).copied().unwrap_or(0));
            bytes.get_or_create(&labels).inc_by(counts.bytes.get(&labels).copied().unwrap_or(0));
        }
        for (labels, count) in &counts.syncs {
            syncs.get_or_create(labels).inc_by(*count);
        }
        registry.register("scribe_sync", "Attempts to sync, by how they ended", syncs);
        registry.register("scribe_sync_failures", "Attempts that failed, whatever the reason", failures);
        let help =
            "File content that successful syncs have sent or fetched; of layout Packs, pushes count it before compression, pulls after";
        registry.register("scribe_bytes_transferred", help, bytes);
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
    (
        "scribe_never_synced_since_timestamp_seconds",
        "When an object that has never synced successfully was created; absent from its first success on",
        |s, _| s.object.created.filter(|_| s.status.last_sync_time.is_none()).map(unix),
    ),
    (
        "scribe_first_push_overdue",
        "Whether a destination has waited for the first push to its path for longer than firstPushPatience",
        |s, _| (s.object.kind == Kind::Destination).then(|| flag(s.status.first_push.as_ref().is_some_and(|wait| wait.overdue))),
    ),
    ("scribe_sync_duration_seconds", "How long the last successful sync took", |s, _| {
        s.status.last_sync_duration.as_deref().and_then(go_duration::seconds)
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
    use crate::api::status::FirstPush;
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

    fn object(name: &str) -> Object {
        Object::new(Kind::Source, "ns", name, name)
    }

    #[test]
    fn series_carry_their_object_and_vanish_with_it() {
        let metrics = Metrics::default();
        metrics.synced(Kind::Source, "a", Some(1000));
        metrics.synced(Kind::Source, "a", None);
        metrics.failed(Kind::Source, "a", Reason::Unreachable);
        metrics.synced(Kind::Source, "gone", Some(1));
        let now: Timestamp = "2026-01-01T00:01:00Z".parse().unwrap();
        let checked = Some(Time("2030-01-01T00:00:00Z".parse().unwrap()));
        let status = Status {
            attempts: Some(7),
            source_checked_time: checked,
            last_sync_duration: Some("1m7.5s".into()),
            data_time: Some(Time("2026-01-01T00:00:00Z".parse().unwrap())),
            ..Status::default()
        };
        let (a, text_of) = (object("a"), |samples: &[Sample<'_>]| metrics.exposition(samples, true, now).unwrap());
        let text = text_of(&[Sample { object: &a, status: &status, paused: true }]);
        for line in [
            r#"scribe_sync_total{kind="ReplicationSource",name="a",result="failure",reason="Unreachable"} 1"#,
            r#"scribe_sync_total{kind="ReplicationSource",name="a",result="success",reason="SyncCompleted"} 2"#,
            r#"scribe_sync_failures_total{kind="ReplicationSource",name="a"} 1"#,
            r#"scribe_bytes_transferred_total{kind="ReplicationSource",name="a"} 1000"#,
            r#"scribe_sync_duration_seconds{kind="ReplicationSource",name="a"} 67.5"#,
            r#"scribe_data_age_seconds{kind="ReplicationSource",name="a"} 60.0"#,
            r#"scribe_paused{kind="ReplicationSource",name="a"} 1.0"#,
            r#"scribe_attempts{kind="ReplicationSource",name="a"} 7.0"#,
            // A time in the future counts as now.
            r#"scribe_source_checked_timestamp_seconds{kind="ReplicationSource",name="a"} 1767225660.0"#,
            "scribe_config_reload_success 1",
        ] {
            assert!(text.lines().any(|l| l == line), "{line} is missing from\n{text}");
        }
        // One that nothing has happened to yet counts from zero.
        let (new, none) = (object("new"), Status::default());
        let text_of_new = text_of(&[Sample { object: &new, status: &none, paused: false }]);
        for line in [
            r#"scribe_sync_total{kind="ReplicationSource",name="new",result="success",reason="SyncCompleted"} 0"#,
            r#"scribe_sync_failures_total{kind="ReplicationSource",name="new"} 0"#,
            r#"scribe_bytes_transferred_total{kind="ReplicationSource",name="new"} 0"#,
        ] {
            assert!(text_of_new.lines().any(|l| l == line), "{line} is missing from\n{text_of_new}");
        }
        assert!(!text.contains("gone"));
        assert!(!text_of(&[]).contains("name="));
    }

    /// An alert on what was last synced says nothing of what was never synced.
    #[test]
    fn what_was_never_synced_can_be_told() {
        let created: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        let text_of = |kind: Kind, status: &Status| {
            let object = Object { created: Some(created), ..Object::new(kind, "ns", "a", "a") };
            Metrics::default().exposition(&[Sample { object: &object, status, paused: false }], true, created).unwrap()
        };
        let never =
            |kind: Kind| format!(r#"scribe_never_synced_since_timestamp_seconds{{kind="{}",name="a"}} 1767225600.0"#, kind.as_str());
        let late = |overdue: u8| format!(r#"scribe_first_push_overdue{{kind="ReplicationDestination",name="a"}} {overdue}.0"#);
        for kind in [Kind::Source, Kind::Destination] {
            assert!(text_of(kind, &Status::default()).contains(&never(kind)));
            let synced = Status { last_sync_time: Some(Time(created)), ..Status::default() };
            assert!(!text_of(kind, &synced).contains("scribe_never_synced_since_timestamp_seconds{"));
        }
        for overdue in [false, true] {
            let wait = FirstPush { since: Time(created), message: "Nothing has been pushed to r:p yet".into(), overdue };
            // Also of one that had another path before.
            let status = Status { first_push: Some(wait), last_sync_time: Some(Time(created)), ..Status::default() };
            let text = text_of(Kind::Destination, &status);
            assert!(text.contains(&late(overdue.into())), "{text}");
        }
        assert!(text_of(Kind::Destination, &Status::default()).contains(&late(0)), "a series from the start");
        assert!(!text_of(Kind::Source, &Status::default()).contains("scribe_first_push_overdue{"));
    }
}
