//! A thousand sources whose PVC is missing, beside one that works: what they cost the API server, and how long a sync of that one takes.

use super::audit::requests;
use super::support::replication::Replication;
use super::support::site::Site;
use super::support::until::until;
use super::{Row, mebibytes, row};
use futures::future::join_all;
use jiff::{SignedDuration, Timestamp};
use kube::Api;
use kube::api::PostParams;
use scribe_agent::api::ReplicationSource;
use serde_json::json;
use std::time::{Duration, Instant};

const OBJECTS: usize = 1000;
/// A busy machine takes its time.
const PATIENCE: u64 = 600;
/// Between two syncs of the one that works.
const PAUSE: Duration = Duration::from_secs(5);

/// Minutes to count for, if that is to be measured.
pub fn minutes() -> Option<usize> {
    std::env::var("BUDGET_MINUTES").ok().map(|minutes| minutes.parse().unwrap())
}

/// Requests of each minute from the creation on, and the syncs meanwhile.
pub async fn of_missing_claims(site: &Site, minutes: usize) -> Vec<Row> {
    site.filled("data").await;
    let healthy = site.source("healthy", "data", json!({}));
    healthy.synced("first").await;
    let alone = timed(&healthy, "alone").await;
    let began = Timestamp::now();
    create(site).await;
    let created = Timestamp::now().duration_since(began);
    let (mut taken, mut each_minute) = (Vec::new(), Vec::new());
    for minute in 0..minutes {
        let from = began.saturating_add(SignedDuration::from_mins(i64::try_from(minute).unwrap())).unwrap();
        let to = from.saturating_add(SignedDuration::from_mins(1)).unwrap();
        while Timestamp::now() < to {
            taken.push(timed(&healthy, &format!("at {}", Timestamp::now())).await);
            let pause = Instant::now();
            until("some time has passed", 10, async || if pause.elapsed() >= PAUSE { Ok(()) } else { Err(()) }).await;
        }
        let counted = requests(site, from, to);
        eprintln!("minute {}: {}", minute + 1, counted.describe());
        each_minute.push(counted.total().to_string());
    }
    taken.sort_by(f64::total_cmp);
    let slowest = taken.last().copied().unwrap_or_default();
    let median = taken.get(taken.len() / 2).copied().unwrap_or_default();
    vec![
        row(
            "API requests of each minute with 1,000 sources whose PVC is missing, and one that works",
            format!("{} (created within {} s)", each_minute.join(", "), created.as_secs()),
        ),
        row(
            "a sync of the one that works meanwhile",
            format!("{median:.1} s (median of {}), {slowest:.1} s (slowest); {alone:.1} s before", taken.len()),
        ),
        row("the agent's peak of resident memory", mebibytes(site.agent().await.kibibytes("VmHWM") * 1024)),
    ]
}

async fn create(site: &Site) {
    let sources: &Api<ReplicationSource> = &Api::namespaced(site.client.clone(), &site.namespace);
    for chunk in (0..OBJECTS).collect::<Vec<_>>().chunks(25) {
        join_all(chunk.iter().map(|number| async move {
            let rclone =
                json!({ "rcloneConfig": "rclone-secret", "rcloneConfigSection": "s3", "rcloneDestPath": format!("bucket/o{number}") });
            let spec = json!({ "sourcePVC": format!("missing-{number}"), "trigger": { "schedule": "*/5 * * * *" }, "rclone": rclone });
            let object = json!({ "apiVersion": "scribe.backube/v1alpha1", "kind": "ReplicationSource",
                "metadata": { "name": format!("o{number}") }, "spec": spec });
            sources.create(&PostParams::default(), &serde_json::from_value(object).unwrap()).await.unwrap();
        }))
        .await;
    }
}

/// Seconds that one sync takes from its request on.
async fn timed(healthy: &Replication<'_>, tag: &str) -> f64 {
    let began = Instant::now();
    healthy.patch(json!({ "trigger": { "manual": tag } })).await;
    healthy.until("it is synced", PATIENCE, |s| s.last_manual_sync.as_deref() == Some(tag)).await;
    began.elapsed().as_secs_f64()
}
