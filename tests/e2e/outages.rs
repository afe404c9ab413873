//! What breaks for a while on a real node, and is put right again: the storage server, a disk, a quota, the agent itself. Afterwards the
//! data is exact, nothing is left over, and the status says so.

use crate::support::host::Process;
use crate::support::replication::{Replication, SYNC, condition, image_of, is};
use crate::support::s3;
use crate::support::site::{SECRET, SETTINGS, Site, site, site_for};
use crate::support::until::until;
use crate::support::volume::{Claim, Hand};
use k8s_openapi::api::core::v1::Pod;
use kube::api::ListParams;
use kube::{Api, ResourceExt};
use serde_json::json;
use std::time::{Duration, Instant};

/// The storage server stands still for a minute in the middle of a transfer: connections stay open and nothing comes.
#[tokio::test]
async fn a_storage_server_that_stands_still_for_a_minute() {
    site_for(Duration::from_secs(400), "standstill", SETTINGS, async |site| {
        let server = s3::start(site.client.clone(), &site.namespace).await;
        site.secret(SECRET, &[("rclone.conf", &server.config()), ("RCLONE_BWLIMIT", "40000B")]);
        site.claim(&Claim { name: "data", class: None, image: None });
        let data = site.hand("data").await;
        data.run("for i in $(seq 20); do head -c 40000 /dev/urandom >file-$i; done");
        let push = site.source("push", "data", json!({ "rclone": { "copyMethod": "Direct" } }));
        push.until("bytes move", SYNC, |s| s.run.as_ref().is_some_and(|run| run.bytes_done > Some(0))).await;

        let process = server_process(site).await;
        process.stop();
        let stopped = Instant::now();
        let failed = push.until("it is told", 120, |s| s.last_error.is_some()).await;
        assert_eq!(failed.last_error.unwrap().reason, "Unreachable");
        until("a minute has passed", 120, async || if stopped.elapsed() >= Duration::from_secs(60) { Ok(()) } else { Err(()) }).await;
        process.go_on();

        site.secret(SECRET, &[("rclone.conf", &server.config())]);
        push.synced("first").await;
        site.kubectl(&["patch", "secret", SECRET, "--type=json", r#"--patch=[{"op": "remove", "path": "/data/RCLONE_BWLIMIT"}]"#]);
        round_trip_is_exact(site, &data, &push).await;
    })
    .await;
}

async fn server_process(site: &Site) -> Process {
    let pods: Api<Pod> = Api::namespaced(site.client.clone(), &site.namespace);
    until("the server has a process", 30, async || {
        let all = pods.list(&ListParams::default().labels("app=s3")).await.unwrap();
        all.iter().find_map(|pod| Process::rclone_of(&pod.name_any())).ok_or(all.items.len())
    })
    .await
}

/// The destination's volume is too small: told with the figures, nothing that was there is lost, and what fits is pulled again.
#[tokio::test]
async fn a_full_destination_disk() {
    site("full-disk", async |site| {
        site.claim(&Claim { name: "data", class: None, image: None });
        let data = site.hand("data").await;
        data.run("echo first >file; head -c 1000000 /dev/urandom >small");
        let push = site.source("push", "data", json!({}));
        push.synced("first").await;
        let pull = site.destination("pull", json!({ "rclone": { "capacity": "128Mi" } }));
        let image = image_of(&pull.synced("first").await);
        let first = data.listing();

        data.run("for i in $(seq 4); do head -c 50000000 /dev/urandom >big-$i; done");
        push.sync("too much").await;
        pull.patch(json!({ "trigger": { "manual": "too much" } })).await;
        let full = pull.until("it says that there is no room", SYNC, |s| is(s, "Stalled", "True", "NoSpace")).await;
        let message = full.last_error.unwrap().message;
        assert!(message.contains("bytes") || message.contains("iB"), "no figures: {message}");
        assert_eq!(full.latest_image.map(|image| image.name), Some(image.clone()));
        site.listing_of_image(&image).await.assert_is(&first);

        data.run("rm big-*; echo second >file");
        push.sync("less").await;
        let image = image_of(&pull.sync("less").await);
        site.listing_of_image(&image).await.assert_is(&data.listing());
        site.only_children(&["PersistentVolumeClaim/scribe-dest-pull", &format!("VolumeSnapshot/{image}")]).await;
    })
    .await;
}

/// The namespace's quota has no room for one more claim: told in the API server's words, and over when there is.
#[tokio::test]
async fn a_full_quota() {
    site("full-quota", async |site| {
        let data = site.filled("data").await;
        let quota = |claims: usize| {
            let hard = json!({ "persistentvolumeclaims": claims.to_string() });
            json!({ "apiVersion": "v1", "kind": "ResourceQuota", "metadata": { "name": "few" }, "spec": { "hard": hard } })
        };
        site.apply(quota(1));
        until("the quota is counted", 30, async || {
            let used = site.kubectl(&["get", "resourcequota", "few", "--output=jsonpath={.status.used.persistentvolumeclaims}"]);
            if used == "1" { Ok(()) } else { Err(used) }
        })
        .await;
        let push = site.source("push", "data", json!({}));
        let refused = push.until("it is told", SYNC, |s| s.last_error.is_some()).await;
        let error = refused.last_error.unwrap();
        assert!(error.message.contains("exceeded quota: few"), "{error:?}");
        site.apply(quota(5));
        push.synced("first").await;
        round_trip_is_exact(site, &data, &push).await;
    })
    .await;
}

/// The Deployment is rolled out anew in the middle of a sync: the new agent goes on with it.
#[tokio::test]
async fn a_rollout_restart() {
    site("rollout", async |site| {
        let (data, push) = slow_push(site).await;
        site.kubectl(&["rollout", "restart", "deployment/scribe-agent"]);
        let run = push.status().await.run.unwrap();
        site.kubectl(&["rollout", "status", "deployment/scribe-agent", "--timeout=90s"]);
        ended_as_it_began(&push, &run.id).await;
        round_trip_is_exact(site, &data, &push).await;
    })
    .await;
}

/// The agent is uninstalled in the middle of a sync, and installed again: nothing waits for it, and it finds what it left.
#[tokio::test]
async fn an_agent_that_is_uninstalled_and_comes_back() {
    site("reinstall", async |site| {
        let (data, push) = slow_push(site).await;
        let run = push.status().await.run.unwrap();
        site.kubectl(&["delete", "deployment,role,rolebinding,serviceaccount,configmap", "--selector=app.kubernetes.io/part-of=scribe"]);
        let pods = ["get", "pods", "--selector=app.kubernetes.io/component=agent", "--output=name"];
        until("the agent is gone", 60, async || match site.kubectl(&pods) {
            none if none.is_empty() => Ok(()),
            some => Err(some),
        })
        .await;
        site.install(SETTINGS);
        ended_as_it_began(&push, &run.id).await;
        round_trip_is_exact(site, &data, &push).await;
    })
    .await;
}

/// A push that takes ten seconds, in the middle of it.
async fn slow_push(site: &Site) -> (Hand<'_>, Replication<'_>) {
    let data = site.filled("data").await;
    site.slow_down(30_000);
    let push = site.source("push", "data", json!({}));
    site.mover().await;
    site.speed_up();
    (data, push)
}

/// It was one sync, by one mover.
async fn ended_as_it_began(push: &Replication<'_>, run: &str) {
    push.synced("first").await;
    let events = push.events().await;
    let started = events.iter().filter(|event| event.reason.as_deref() == Some("SyncStarted")).count();
    assert_eq!(started, 1, "run {run} was opened again: {events:#?}");
}

/// A destination made now has exactly what the source has, and nothing temporary is left.
async fn round_trip_is_exact(site: &Site, data: &Hand<'_>, push: &Replication<'_>) {
    let status = push.status().await;
    assert!(status.last_error.is_none() && condition(&status, "Ready").status == "True", "{status:#?}");
    let pull = site.destination("afterwards", json!({}));
    let pulled = pull.synced("first").await;
    assert_eq!(pulled.revision, status.revision);
    let image = image_of(&pulled);
    site.listing_of_image(&image).await.assert_is(&data.listing());
    site.only_children(&["PersistentVolumeClaim/scribe-dest-afterwards", &format!("VolumeSnapshot/{image}")]).await;
}
