//! One thing goes wrong for a while and is put right again, one test each: the agent goes on by itself.

use super::agent::Agent;
use super::proxy::Fault;
use super::reports::trouble;
use super::site::{Replication, Site};
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

/// A cluster may get its snapshots later: meanwhile what does without them works, and what needs them says so.
#[tokio::test]
async fn snapshots_that_come_later() {
    let site = Site::without_snapshots("no-snapshots").await;
    let direct = json!({ "trigger": { "manual": "first" }, "rclone": { "copyMethod": "Direct" } });
    let (push, pull) = (site.source("push", direct.clone()).await, site.destination("pull", direct).await);
    push.until("the first push", 60, |s| s.last_manual_sync.is_some()).await;
    pull.until("the first pull", 60, |s| s.last_manual_sync.is_some()).await;
    let source = site.source("late", manual("first")).await;
    source.until("it says what is missing", 60, |s| stalled(s, "SnapshotsUnsupported")).await;
    push.sync("second", 60).await;
    site.install_snapshots().await;
    // Its first snapshot tells the watch to ask again at once.
    source.sync("second", 60).await;
    let log = || site.agent.log();
    let told = |what: &str| log().lines().filter(|l| l.contains("volumesnapshots") && l.contains(what)).count();
    assert_eq!((told("a watch failed"), told("works again")), (1, 1), "{}", log());
}

/// A list of snapshots that is answered 404 once does not mean that there are none: all images stay.
#[tokio::test]
async fn snapshots_that_are_not_served_for_a_moment() {
    let site = Site::start("unlisted").await;
    let pull = site.destination("pull", json!({ "rclone": { "retain": 9 }, "trigger": { "manual": "0" } })).await;
    for tag in 1..4 {
        pull.sync(&tag.to_string(), 60).await;
    }
    let before: Vec<_> = pull.status().await.images.into_iter().map(|image| image.name).collect();
    assert!(before.len() >= 3, "{before:?}");

    // One read at the time when a new image is published.
    let mut answers = 0;
    site.proxy.rule(move |call| {
        let read = call.path.ends_with("/volumesnapshots") && !call.writes() && !call.watch && !call.lists();
        answers += usize::from(read);
        if read && answers == 1 { Fault::NotServed } else { Fault::None }
    });
    pull.sync("next", 90).await;
    assert_eq!(site.proxy.counted().get(&Fault::NotServed), Some(&1), "the agent has not asked");
    pull.sync("last", 90).await;
    the_images_are_there(&site, &pull, &before).await;

    // All watches break, and lists and reads of snapshots are answered 404 for a while: what the cache knew stays.
    site.proxy.rule(|call| if call.path.ends_with("/volumesnapshots") { Fault::NotServed } else { Fault::None });
    site.proxy.cut();
    let asked = site.proxy.counted()[&Fault::NotServed];
    until("it has asked five times in vain", 60, async || match site.proxy.counted()[&Fault::NotServed] - asked {
        5.. => Ok(()),
        other => Err(other),
    })
    .await;
    the_images_are_there(&site, &pull, &before).await;
    site.proxy.rule(|_| Fault::None);
    pull.sync("after", 90).await;
    the_images_are_there(&site, &pull, &before).await;
}

async fn the_images_are_there(site: &Site, pull: &Replication<'_>, images: &[String]) {
    let listed: Vec<_> = pull.status().await.images.into_iter().map(|image| image.name).collect();
    let there = site.children("snapshot.storage.k8s.io", "v1", "VolumeSnapshot").await;
    for image in images {
        assert!(listed.contains(image) && there.contains(image), "{image} is gone: {listed:?} are published, {there:?} are there");
    }
}

/// While the API server is away it is asked less and less often, and every watch says so once.
#[tokio::test]
async fn lists_of_a_server_that_is_away() {
    let site = Site::behind("lists", Box::new(|call| if call.lists() { Fault::CutBefore } else { Fault::None })).await;
    let asked = || site.proxy.counted().get(&Fault::CutBefore).copied().unwrap_or_default();
    until("it has begun to ask", 60, async || if asked() > 0 { Ok(()) } else { Err(asked()) }).await;
    let (began, long) = (tokio::time::Instant::now(), std::time::Duration::from_secs(60));
    until("a minute has passed", 70, async || if began.elapsed() >= long { Ok(()) } else { Err(()) }).await;
    // Six watches, each after 0, 1, 3, 7, 15, 31 seconds and so on, less up to a quarter.
    let lists = asked();
    assert!((30..=54).contains(&lists), "{lists} lists in a minute");
    let lines = site.agent.log().lines().filter(|line| line.contains("a watch failed")).count();
    assert_eq!(lines, 6, "{}", site.agent.log());
    site.proxy.rule(|_| Fault::None);
    let source = site.source("it", manual("first")).await;
    source.until("the first sync", 120, |s| s.last_manual_sync.is_some()).await;
}

/// An object that this version of the agent cannot read does not keep it from the others.
#[tokio::test]
async fn an_object_that_cannot_be_read() {
    let site = Site::alone("unreadable").await;
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
    // The lists of a new start hold it, too. The API server may have ended the watches, for the new CRD, before the rule was made.
    site.proxy.rule(|call| if call.watch { Fault::Expired } else { Fault::None });
    site.proxy.cut();
    let third = site.source("third", manual("first")).await;
    until("lists were read again", 60, async || match site.proxy.counted().get(&Fault::Expired) {
        Some(5..) => Ok(()),
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

/// Events make a message better. Where they cannot be read, attempts end all the same, and the log says once what is missing.
#[tokio::test]
async fn events_that_cannot_be_read() {
    let site = Site::start_with("events", "{podStartTimeout: 2s, retry: {initial: 1s, max: 2s}}").await;
    site.world.record.lock().unwrap().asleep = true;
    site.proxy.rule(|call| if call.path.ends_with("/events") && !call.writes() { Fault::Forbidden } else { Fault::None });
    let source = site.source("it", json!({ "trigger": { "manual": "first" }, "rclone": { "copyMethod": "Direct" } })).await;
    let status = source.until("a second attempt fails", 120, |s| s.attempts >= Some(2)).await;
    assert_eq!(status.last_error.as_ref().unwrap().reason, "PodRejected", "{status:#?}");
    let lacking = |s: &Status| trouble(s).is_some_and(|t| t.contains("The agent lacks a permission") && t.contains("complete Role"));
    source.until("it is reported", 90, lacking).await;
    // A list that failed is not asked for again within seconds.
    until("it has asked twice", 60, async || match site.proxy.counted().get(&Fault::Forbidden) {
        Some(2..) => Ok(()),
        other => Err(other.copied()),
    })
    .await;
    assert_eq!(site.agent.log().matches("cannot list events").count(), 1, "{}", site.agent.log());
}

/// A token that is replaced, as the kubelet does every hour.
#[tokio::test]
async fn a_new_token() {
    let site = Site::start("token").await;
    let source = site.source("it", manual("first")).await;
    source.until("the first sync", 60, |s| s.last_manual_sync.is_some()).await;
    std::fs::write(Agent::token_file(&site.dir), "second-token").unwrap();
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

/// A proxy, or an API server that goes down, ends every watch at once, and well: kube asks again in the same instant.
#[tokio::test]
async fn watches_that_end_at_once() {
    let site = Site::start("ended").await;
    let source = site.source("it", manual("first")).await;
    source.until("the first sync", 60, |s| s.last_manual_sync.is_some()).await;
    site.proxy.rule(|call| if call.watch { Fault::WatchEnded } else { Fault::None });
    site.proxy.cut();
    let (began, long) = (tokio::time::Instant::now(), std::time::Duration::from_secs(20));
    until("twenty seconds have passed", 30, async || if began.elapsed() >= long { Ok(()) } else { Err(()) }).await;
    let asked = site.proxy.counted()[&Fault::WatchEnded];
    // Six watches, each after 0, 1, 3, 7 and 15 seconds, less up to a quarter.
    assert!((12..=48).contains(&asked), "{asked} watches in twenty seconds");
    let told = site.agent.log().matches("watches end immediately").count();
    assert_eq!(told, 6, "{}", site.agent.log());
    site.proxy.rule(|_| Fault::None);
    source.sync("second", 120).await;
}

/// Statuses cannot be written: the ticker does not hurry what waits longer after each failure.
#[tokio::test]
async fn statuses_that_cannot_be_written() {
    const OBJECTS: usize = 8;
    let site = Site::start("unwritten").await;
    site.proxy.rule(|call| if call.path.ends_with("/status") { Fault::ServerError } else { Fault::None });
    let mut sources = Vec::new();
    for number in 0..OBJECTS {
        sources.push(site.source(&format!("o{number}"), json!({ "trigger": { "schedule": "* * * * *" } })).await);
    }
    site.proxy.rule(|_| Fault::None);
    for source in &sources {
        source.until("its first sync", 90, |s| s.last_sync_time.is_some()).await;
    }
    let refused = || site.proxy.counted().get(&Fault::ServerError).copied().unwrap_or_default();
    let before = refused();
    site.proxy.rule(|call| if call.path.ends_with("/status") { Fault::ServerError } else { Fault::None });
    until("a slot has come", 90, async || if refused() > before { Ok(()) } else { Err(refused()) }).await;
    let (began, first, long) = (tokio::time::Instant::now(), refused(), std::time::Duration::from_secs(40));
    until("forty seconds have passed", 60, async || if began.elapsed() >= long { Ok(()) } else { Err(()) }).await;
    let asked = refused() - first;
    // Each after 1, 3, 7, 15 and 31 seconds, and perhaps one of its mover's progress.
    assert!(asked <= OBJECTS * 7, "{asked} writes of {OBJECTS} statuses in forty seconds");
    site.proxy.rule(|_| Fault::None);
    sources[0].sync("next", 120).await;
}

/// A load balancer in maintenance asks for an hour: the agent is back as soon as the API server is.
#[tokio::test]
async fn a_server_that_asks_for_an_hour() {
    let site = Site::start("later").await;
    let source = site.source("it", manual("first")).await;
    source.until("the first sync", 60, |s| s.last_manual_sync.is_some()).await;
    site.proxy.rule(|_| Fault::Maintenance);
    site.proxy.cut();
    until("requests are refused", 60, async || {
        if site.proxy.counted().get(&Fault::Maintenance).is_some_and(|count| *count >= 8) { Ok(()) } else { Err(site.agent.log()) }
    })
    .await;
    site.proxy.rule(|_| Fault::None);
    source.sync("second", 120).await;
}
