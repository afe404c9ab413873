//! Movers that a drain, a preemption or another eviction ends: the next attempt goes on where the last one was, and nothing has failed.

use crate::support::history::History;
use crate::support::replication::{Replication, SYNC, status_of};
use crate::support::s3;
use crate::support::site::{Site, site};
use crate::support::until::until;
use crate::support::volume::Claim;
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::EvictParams;
use scribe_agent::api::Status;
use serde_json::json;
use std::collections::BTreeSet;

const FILES: &str = "for i in $(seq 20); do head -c 40000 /dev/urandom >file-$i; done";
const FILE: i64 = 40_000;
const BYTES: i64 = 20 * FILE;
/// Files that may be under way at a time; a part of a file is sent again.
const AT_A_TIME: i64 = 4;
/// A sync takes half a minute at this speed.
const SLOW: u64 = 30_000;

/// Evicts the mover's pod as `kubectl drain` does.
async fn evict(site: &Site, history: &History) {
    let pods = history.made("Pod");
    let [pod] = pods.as_slice() else { panic!("one mover, not {pods:?}") };
    let api: Api<Pod> = Api::namespaced(site.client.clone(), &site.namespace);
    api.evict(pod, &EvictParams::default()).await.unwrap();
}

/// Two attempts of one run, the first of which was no failure.
async fn assert_uncounted(history: &History, object: &Replication<'_>) {
    let all: Vec<Status> = history.all(object.kind).iter().map(|seen| status_of(&seen.object)).collect();
    let runs: BTreeSet<_> = all.iter().filter_map(|status| status.run.as_ref()).map(|run| run.id.clone()).collect();
    assert_eq!(runs.len(), 1, "{runs:?}");
    assert!(all.iter().all(|status| status.attempts.is_none() && status.last_error.is_none()), "{all:#?}");
    assert_eq!(history.made("Job").len(), 2);
    let events = object.events().await;
    let reasons: Vec<_> = events.iter().filter_map(|event| event.reason.as_deref()).filter(|reason| *reason == "MoverDisrupted").collect();
    assert_eq!(reasons.len(), 1, "{events:#?}");
}

#[tokio::test]
async fn a_push_goes_on_where_it_was_evicted() {
    site("evicted-push", async |site| {
        site.claim(&Claim { name: "data", class: None, image: None });
        let source = site.hand("data").await;
        source.run("echo small >small");
        let push = site.source("push", "data", json!({}));
        push.synced("first").await;
        site.only_children(&[]).await;
        source.run(FILES);
        let history = site.history().await;
        site.slow_down(SLOW);
        push.patch(json!({ "trigger": { "manual": "second" } })).await;
        let there = until("some data is on the remote", SYNC, async || {
            let there = s3::list(&site.path).iter().filter(|object| object.starts_with("file-")).count();
            if there >= 5 { Ok(i64::try_from(there).unwrap()) } else { Err(there) }
        })
        .await;
        site.speed_up();
        evict(site, &history).await;
        let pushed = push.synced("second").await;
        assert_uncounted(&history, &push).await;
        assert_eq!((history.made("VolumeSnapshot").len(), history.made("PersistentVolumeClaim").len()), (1, 1), "captured once");
        let sent = pushed.transferred.unwrap();
        assert!(sent <= BYTES - there * FILE, "{sent} bytes were sent, although {there} files were there");
        println!("{there} files were there, and {sent} bytes were sent after that");
    })
    .await;
}

#[tokio::test]
async fn a_pull_goes_on_where_it_was_evicted() {
    site("evicted-pull", async |site| {
        site.claim(&Claim { name: "data", class: None, image: None });
        let source = site.hand("data").await;
        source.run(FILES);
        site.source("push", "data", json!({ "rclone": { "copyMethod": "Direct" } })).synced("first").await;
        site.only_children(&[]).await;
        let history = site.history().await;
        site.slow_down(SLOW);
        let pull = site.destination("pull", json!({ "rclone": { "copyMethod": "Direct" } }));
        let enough = BYTES / 4 + AT_A_TIME * FILE;
        let done = |status: &Status| status.run.as_ref().and_then(|run| run.bytes_done).unwrap_or_default();
        let status = pull.until("some data is there", SYNC, |status| done(status) >= enough).await;
        site.speed_up();
        evict(site, &history).await;
        let pulled = pull.synced("first").await;
        assert_uncounted(&history, &pull).await;
        let (done, fetched) = (done(&status), pulled.transferred.unwrap());
        assert!(fetched <= BYTES - done + AT_A_TIME * FILE, "{fetched} bytes were fetched, although {done} were there");
        println!("{done} bytes were there, and {fetched} were fetched after that");
        site.listing_of_claim("scribe-dest-pull").await.assert_is(&source.listing());
    })
    .await;
}
