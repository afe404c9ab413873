//! `docs/metrics.md`: every metric of `/metrics`, from what the agent says of them itself.

use crate::{compare, root};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use scribe_agent::api::Status;
use scribe_agent::core::model::facts::{Kind, Object};
use scribe_agent::metrics::{Metrics, Sample};
use std::collections::BTreeMap;
use std::fmt::Write;

const INTRODUCTION: &str = "\
<!-- Generated from agent/src/metrics.rs by `make generate`; do not edit. -->
# Metrics

The agent serves them on port 8080 under `/metrics` (Service `scribe-agent`), in the OpenMetrics text format that Prometheus reads. The series of
an object exist from its creation, counters from 0, and vanish with it; those of `scribe_sync_total` with `result=\"failure\"` appear with the first
failure of that reason. Counters begin again at 0 when the agent is restarted.

| metric | type | labels | meaning |
|---|---|---|---|
";

const ALERTS: &str = "
With the Prometheus operator, one object for each namespace with an agent; it sets the label `service` of the first alert below to the name of the Service:

```yaml
apiVersion: monitoring.coreos.com/v1
kind: ServiceMonitor
metadata: {name: scribe-agent, namespace: source}
spec:
  selector: {matchLabels: {app.kubernetes.io/name: scribe-agent}}
  endpoints: [{port: http}]
```

Without it, scrape port 8080 of the pods with the label `app.kubernetes.io/component=agent`, and adapt that alert to the labels of your job.

Useful alerts, for sites that sync at least once an hour:

| what | expression |
|---|---|
| An agent does not run: nothing else would say so | `up{service=\"scribe-agent\"} == 0 or absent(up{service=\"scribe-agent\"})` |
| An object requires action, or has failed `maxAttempts` times in a row | `scribe_stalled == 1` |
| A site's data is old although its source has newer, or its source is dead | `time() - scribe_source_checked_timestamp_seconds > 4 * 3600` |
| Nothing has succeeded here for long, although nothing is paused | `time() - scribe_last_success_timestamp_seconds > 4 * 3600 unless scribe_paused == 1` |
| A destination still waits for its first push, after `firstPushPatience` | `scribe_first_push_overdue == 1` |
| No sync has ever succeeded, long after the object was created | `time() - scribe_never_synced_since_timestamp_seconds > 4 * 3600 unless scribe_paused == 1` |
| Attempts fail | `increase(scribe_sync_failures_total[1h]) > 3` |
| The settings have a mistake | `scribe_config_reload_success == 0` |
";

fn page() -> String {
    let now: jiff::Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
    let object = |kind| Object { created: Some(now), ..Object::new(kind, "ns", "a", "uid") };
    let (source, destination, time) = (object(Kind::Source), object(Kind::Destination), || Some(Time(now)));
    let status = Status {
        data_time: time(),
        source_checked_time: time(),
        last_sync_time: time(),
        next_sync_time: time(),
        last_sync_duration: Some("1s".into()),
        ..Status::default()
    };
    let new = Status::default();
    let samples = [(&source, &status), (&destination, &new)].map(|(object, status)| Sample { object, status, paused: false });
    let text = Metrics::default().exposition(&samples, true, now).unwrap();
    let mut metrics: BTreeMap<&str, (&str, String, &str)> = BTreeMap::new();
    for line in text.lines() {
        if let Some((name, help)) = line.strip_prefix("# HELP ").and_then(|line| line.split_once(' ')) {
            metrics.entry(name).or_default().2 = help.trim_end_matches('.');
        } else if let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|line| line.split_once(' ')) {
            metrics.entry(name).or_default().0 = kind;
        } else if let Some((name, labels)) = line.split_once(['{', ' ']).filter(|_| !line.starts_with('#')) {
            let labels: Vec<_> =
                labels.split_once('}').map_or("", |(labels, _)| labels).split(',').filter_map(|label| label.split_once('=')).collect();
            let labels: Vec<_> = labels.into_iter().map(|(label, _)| format!("`{label}`")).collect();
            metrics.entry(name.trim_end_matches("_total")).or_default().1 = labels.join(", ");
        }
    }
    let mut page = INTRODUCTION.to_owned();
    for (name, (kind, labels, meaning)) in metrics {
        let total = if kind == "counter" { "_total" } else { "" };
        writeln!(page, "| `{name}{total}` | {kind} | {labels} | {meaning} |").unwrap();
    }
    page + ALERTS
}

#[test]
fn the_metrics() {
    compare(&root().join("docs/metrics.md"), &page());
}
