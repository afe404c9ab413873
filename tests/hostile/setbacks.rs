//! One thing goes wrong for a while and is put right again, one test each: the agent goes on by itself.

use super::agent::Agent;
use super::proxy::Fault;
use super::site::Site;
use super::until::until;
use hyper::Method;
use kube::api::{Patch, PatchParams};
use scribe_agent::api::Status;
use serde_json::json;

fn stalled(status: &Status, reason: &str) -> bool {
    status.conditions.iter().any(|c| c.type_ == "Stalled" && c.status == "True" && c.reason == reason)
}

fn manual(tag: &str) -> serde_json::Value {
    json!({ "trigger": { "manual": tag } })
}

/// The agent may be installed before an administrator has installed the CRDs, and before the cluster has snapshots.
#[tokio::test]
async fn crds_that_come_later() {
    let site = Site::without_crds("crds").await;
    site.install_crds().await;
    let source = site.source("late", manual("first")).await;
    source.until("the first sync", 120, |s| s.last_manual_sync.is_some()).await;
    assert_eq!(site.agent.starts(), 1, "it had to be started again");
}

/// An object that this version of the agent cannot read does not keep it from the others.
#[tokio::test]
async fn an_object_that_cannot_be_read() {
    let site = Site::start("unreadable").await;
    site.source("good", manual("first")).await.sync("first", 60).await;
    // As if it had been written by a newer version, whose CRD is in the cluster.
    let crds =
        kube::Api::<k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition>::all(site.client.clone());
    let anything = json!([{ "op": "replace", "path": "/spec/versions/0/schema/openAPIV3Schema/properties/spec",
        "value": { "type": "object", "x-kubernetes-preserve-unknown-fields": true } }]);
    let patch = Patch::<()>::Json(serde_json::from_value(anything).unwrap());
    crds.patch("replicationsources.scribe.backube", &PatchParams::default(), &patch).await.unwrap();
    let bad = site.source("bad", json!({ "sourcePVC": ["of", "another", "kind"] })).await;
    assert!(bad.spec().await["sourcePVC"].is_array(), "the API server does not take it");
    let good = site.source("good-too", manual("first")).await;
    good.until("its sync", 60, |s| s.last_manual_sync.is_some()).await;
    // The lists of a new start hold it, too.
    site.proxy.rule(|call| if call.watch { Fault::Expired } else { Fault::None });
    let third = site.source("third", manual("first")).await;
    until("lists were read again", 60, async || match site.proxy.counted().get(&Fault::Expired) {
        Some(8..) => Ok(()),
        other => Err(other.copied()),
    })
    .await;
    site.proxy.rule(|_| Fault::None);
    third.until("its sync", 90, |s| s.last_manual_sync.is_some()).await;
    good.sync("second", 90).await;
    assert!(site.agent.log().contains("\"bad\""), "nobody is told of the object that cannot be read");
}

/// A verb is taken away: the object says which, and goes on once it is given back.
#[tokio::test]
async fn a_missing_permission() {
    let site = Site::start("permission").await;
    site.proxy.rule(|call| if call.writes() && call.path.ends_with("/jobs") { Fault::Forbidden } else { Fault::None });
    let source = site.source("it", manual("first")).await;
    source.until("it says what is missing", 60, |s| stalled(s, "MissingPermission")).await;
    site.proxy.rule(|_| Fault::None);
    let status = source.until("the sync", 60, |s| s.last_manual_sync.is_some()).await;
    assert!(!stalled(&status, "MissingPermission"));
}

/// A token that is replaced, as the kubelet does every hour.
#[tokio::test]
async fn a_new_token() {
    let site = Site::start("token").await;
    let source = site.source("it", manual("first")).await;
    source.until("the first sync", 60, |s| s.last_manual_sync.is_some()).await;
    std::fs::write(Agent::token_file(site.plane.dir()), "second-token").unwrap();
    site.proxy.rule(|call| if call.authorization == "Bearer second-token" { Fault::None } else { Fault::Unauthorized });
    source.sync("second", 180).await;
}

/// The API server is away for a while, from before the agent starts.
#[tokio::test]
async fn a_server_that_is_away() {
    let site = Site::start("away").await;
    site.proxy.rule(|_| Fault::CutBefore);
    let source = site.source("it", manual("first")).await;
    until("it has asked three times", 60, async || match site.proxy.counted().get(&Fault::CutBefore) {
        Some(3..) => Ok(()),
        other => Err(other.copied()),
    })
    .await;
    site.proxy.rule(|_| Fault::None);
    source.until("the first sync", 120, |s| s.last_manual_sync.is_some()).await;
}

/// All watches end and expire again and again while syncs run: nothing is missed.
#[tokio::test]
async fn watches_that_do_not_last() {
    let site = Site::start("watches").await;
    let mut turn = 0;
    site.proxy.rule(move |call| {
        turn += usize::from(call.watch);
        match (call.watch, turn % 3) {
            (true, 0) => Fault::Expired,
            (true, 1) => Fault::WatchCut,
            _ => Fault::None,
        }
    });
    let source = site.source("it", manual("0")).await;
    for tag in 0..5 {
        source.sync(&tag.to_string(), 90).await;
    }
    let reads = site.proxy.counted().into_values().sum::<usize>();
    assert!(reads < 1_000, "{reads} requests for five syncs");
}

/// Refusals for being too fast are obeyed: no storm.
#[tokio::test]
async fn a_server_that_has_had_enough() {
    let site = Site::start("enough").await;
    site.source("it", manual("first")).await.until("the first sync", 60, |s| s.last_manual_sync.is_some()).await;
    let began = tokio::time::Instant::now();
    site.proxy.rule(|call| if call.method == Method::GET && !call.watch || call.writes() { Fault::TooManyRequests } else { Fault::None });
    let other = site.source("other", manual("first")).await;
    let long = std::time::Duration::from_secs(20);
    until("twenty seconds have passed", 30, async || if began.elapsed() >= long { Ok(()) } else { Err(()) }).await;
    let refused = site.proxy.counted()[&Fault::TooManyRequests];
    assert!(refused <= 30, "{refused} requests in 20 s to a server that said Retry-After: 1");
    site.proxy.rule(|_| Fault::None);
    other.until("its sync", 90, |s| s.last_manual_sync.is_some()).await;
}
