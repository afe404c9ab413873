//! One kind of request fails for as long as it likes: the object says which, and what it depends on goes on where it can.

use super::proxy::{Call, Fault};
use super::reports::trouble;
use super::site::Site;
use super::until::until;
use hyper::Method;
use kube::api::{Patch, PatchParams};
use scribe_agent::api::Status;
use serde_json::json;

/// What the proxy answers with 500.
const ANSWER: &str = "etcdserver: leader changed";

fn manual(tag: &str) -> serde_json::Value {
    json!({ "trigger": { "manual": tag } })
}

async fn ask(site: &Site, kind: &str, name: &str, tag: &str) {
    let api = site.api("scribe.backube", "v1alpha1", kind);
    api.patch(name, &PatchParams::default(), &Patch::Merge(json!({ "spec": manual(tag) }))).await.unwrap();
}

fn synchronizing(status: &Status) -> &str {
    status.conditions.iter().find(|c| c.type_ == "Synchronizing").map_or("", |c| c.message.as_str())
}

async fn images(site: &Site) -> Vec<String> {
    site.children("snapshot.storage.k8s.io", "v1", "VolumeSnapshot").await
}

/// A webhook for deletions is down for one image: that is reported, the other images are deleted, and syncs are not delayed.
#[tokio::test]
async fn an_image_that_cannot_be_deleted() {
    let site = Site::start("undeleted-image").await;
    let pull = site.destination("pull", manual("0")).await;
    let first = pull.sync("1", 60).await.latest_image.unwrap().name;
    let path = format!("/volumesnapshots/{first}");
    site.proxy
        .rule(move |call| if *call.method == Method::DELETE && call.path.ends_with(&path) { Fault::ServerError } else { Fault::None });
    for tag in 2..6 {
        pull.sync(&tag.to_string(), 30).await;
    }
    let status = pull.until("it is reported", 60, |s| trouble(s).is_some()).await;
    let message = trouble(&status).unwrap();
    assert!(message.contains(&format!("VolumeSnapshot {first} is left over")) && message.contains(ANSWER), "{message}");
    let latest = pull.status().await.latest_image.unwrap().name;
    until("the others are deleted", 60, async || match images(&site).await {
        there if there.iter().all(|name| *name == first || *name == latest) => Ok(()),
        there => Err(there),
    })
    .await;
    let asked = site.proxy.counted()[&Fault::ServerError];
    assert!(asked <= 20, "{asked} requests for what fails");
    site.proxy.rule(|_| Fault::None);
    pull.until("it is as it should be", 90, |s| trouble(s).is_none()).await;
    assert_eq!(images(&site).await, [latest]);
}

/// What stands in the way of the next sync is not being deleted: its deletion fails, and that is what the status says.
#[tokio::test]
async fn what_is_in_the_way_cannot_be_deleted() {
    let settings = "{snapshotTimeout: 20s, podStartTimeout: 20s, retry: {initial: 1s, max: 4s}}";
    let site = Site::start_with("undeleted-children", settings).await;
    let push = site.source("push", manual("0")).await;
    push.sync("1", 60).await;
    until("its children are gone", 60, async || match images(&site).await {
        there if there.is_empty() => Ok(()),
        there => Err(there),
    })
    .await;
    site.proxy.rule(|call| if *call.method == Method::DELETE { Fault::ServerError } else { Fault::None });
    push.sync("2", 60).await;
    ask(&site, "ReplicationSource", "push", "3").await;
    let status = push.until("an attempt fails", 90, |s| s.last_error.is_some()).await;
    let message = status.last_error.as_ref().unwrap().message.clone();
    assert!(
        message.contains("could not be deleted") && message.contains(ANSWER) && !message.contains("is still being deleted"),
        "{message}"
    );
    let message = trouble(&status).unwrap_or_default();
    assert!(message.contains("is left over") && message.contains(ANSWER), "{status:#?}");
    site.proxy.rule(|_| Fault::None);
    push.until("its sync", 120, |s| s.last_manual_sync.as_deref() == Some("3") && trouble(s).is_none()).await;
}

/// Without what is read nothing can be decided, and no deadline ends it: it has to be said.
#[tokio::test]
async fn reads_that_fail() {
    for (name, end) in [("unread-pods", "/pods"), ("unread-object", "/replicationsources/push")] {
        let site = Site::start_with(name, "{maxConcurrentSyncs: 1, podStartTimeout: 20s, retry: {initial: 1s, max: 4s}}").await;
        let push = site.source("push", manual("0")).await;
        push.sync("1", 60).await;
        let reads = move |call: &Call| *call.method == Method::GET && !call.watch && !call.lists() && call.path.ends_with(end);
        site.proxy.rule(move |call| if reads(call) { Fault::ServerError } else { Fault::None });
        ask(&site, "ReplicationSource", "push", "2").await;
        let status = push.until("it is reported", 60, |s| trouble(s).is_some()).await;
        assert!(trouble(&status).unwrap().contains(ANSWER), "{end}: {status:#?}");
        site.proxy.rule(|_| Fault::None);
        push.until("its sync", 90, |s| s.last_manual_sync.as_deref() == Some("2") && trouble(s).is_none()).await;
    }
}

/// Nothing is to be done but to take the report back: that is tried less and less often.
#[tokio::test]
async fn a_read_that_fails_while_nothing_is_to_be_done() {
    let site = Site::start("unread-idle").await;
    let push = site.source("push", manual("0")).await;
    push.sync("1", 60).await;
    let reads = |call: &Call| *call.method == Method::GET && !call.watch && call.path.ends_with("/replicationsources/push");
    site.proxy.rule(move |call| if reads(call) { Fault::Forbidden } else { Fault::None });
    // Something is to be written, which needs the read.
    ask(&site, "ReplicationSource", "push", "2").await;
    push.until("it is reported", 60, |s| trouble(s).is_some()).await;
    ask(&site, "ReplicationSource", "push", "1").await;
    let asked = || site.proxy.counted().get(&Fault::Forbidden).copied().unwrap_or_default();
    let (before, began) = (asked(), tokio::time::Instant::now());
    let long = std::time::Duration::from_secs(60);
    until("a minute has passed", 90, async || if began.elapsed() >= long { Ok(()) } else { Err(()) }).await;
    let asked = asked() - before;
    assert!((1..=12).contains(&asked), "{asked} reads of one object in a minute");
    site.proxy.rule(|_| Fault::None);
    push.until("it is as it should be", 120, |s| trouble(s).is_none()).await;
}

/// One read that fails is no trouble: it is made again, and the status stays as it is.
#[tokio::test]
async fn reads_that_fail_once() {
    let site = Site::start("unread-once").await;
    let push = site.source("push", manual("0")).await;
    push.sync("1", 60).await;
    let mut failed = 0;
    site.proxy.rule(move |call| {
        let read = *call.method == Method::GET && !call.watch && !call.lists() && call.path.ends_with("/pods");
        failed += usize::from(read);
        if read && failed == 1 { Fault::ServerError } else { Fault::None }
    });
    let before = push.status().await;
    let status = push.sync("2", 60).await;
    assert_eq!(site.proxy.counted().get(&Fault::ServerError), Some(&1));
    let since = |status: &Status| status.conditions.iter().find(|c| c.type_ == "Reconciled").unwrap().last_transition_time.clone();
    assert_eq!(since(&status), since(&before), "{status:#?}");
}

/// The agent makes what it may not list, and then finds the name taken: by its own child, and that is not what is wrong.
#[tokio::test]
async fn lists_that_are_forbidden() {
    for (name, kind) in [("unlisted-jobs", "/jobs"), ("unlisted-snapshots", "/volumesnapshots")] {
        let forbidden = move |call: &Call| *call.method == Method::GET && call.path.ends_with(kind);
        let site = Site::behind(name, Box::new(move |call| if forbidden(call) { Fault::Forbidden } else { Fault::None })).await;
        let source = site.source("it", manual("first")).await;
        let status = source.until("it is reported", 75, |s| trouble(s).is_some()).await;
        let message = trouble(&status).unwrap();
        assert!(message.contains(&kind[1..]) && message.contains("kustomize/base has the complete Role"), "{message}");
        let status = source.until("it has waited", 75, |s| synchronizing(s).contains("to be created")).await;
        assert!(!synchronizing(&status).contains("is taken") && synchronizing(&status).contains("already exists"), "{status:#?}");
        site.proxy.rule(|_| Fault::None);
        source.until("its sync", 200, |s| s.last_manual_sync.is_some() && trouble(s).is_none()).await;
    }
}

/// What a watch does not bring is never noticed, be it because the Role lacks a verb or because the API server fails.
#[tokio::test]
async fn a_watch_that_fails() {
    let watches = |call: &Call| (call.watch || call.lists()) && call.path.ends_with("/pods");
    let site = Site::behind("unwatched", Box::new(move |call| if watches(call) { Fault::ServerError } else { Fault::None })).await;
    let source = site.source("it", manual("first")).await;
    let status = source.until("it is reported", 200, |s| trouble(s).is_some()).await;
    let message = trouble(&status).unwrap();
    assert!(message.contains("pods") && message.contains(ANSWER), "{message}");
    site.proxy.rule(|_| Fault::None);
    source.until("its sync", 150, |s| s.last_manual_sync.is_some() && trouble(s).is_none()).await;
}

/// A watch that works again may bring nothing for a long time: that is no reason to go on reporting it.
#[tokio::test]
async fn a_watch_that_works_again_in_silence() {
    let site = Site::start("unwatched-for-a-while").await;
    let source = site.source("it", manual("0")).await;
    source.sync("1", 60).await;
    site.proxy.rule(|call| if call.watch && call.path.ends_with("/pods") { Fault::Forbidden } else { Fault::None });
    site.proxy.cut();
    let status = source.until("it is reported", 90, |s| trouble(s).is_some()).await;
    assert!(trouble(&status).unwrap().contains("The agent lacks a permission to watch pods"), "{status:#?}");
    site.proxy.rule(|_| Fault::None);
    source.until("it is as it should be", 200, |s| trouble(s).is_none()).await;
}

/// Something in between breaks the connections of watches as they open; everything else works.
#[tokio::test]
async fn a_watch_that_is_cut_as_it_opens() {
    let site = Site::start("cut-watch").await;
    let source = site.source("it", manual("0")).await;
    source.sync("1", 60).await;
    site.proxy.rule(|call| if call.watch && call.path.ends_with("/jobs") { Fault::CutBefore } else { Fault::None });
    site.proxy.cut();
    let status = source.until("it is reported", 240, |s| trouble(s).is_some()).await;
    assert!(trouble(&status).unwrap().contains("The agent cannot watch jobs"), "{status:#?}");
    site.proxy.rule(|_| Fault::None);
    source.until("it is as it should be", 200, |s| trouble(s).is_none()).await;
}

/// While the API server is away altogether nothing can be reported, and when it is back nothing is wrong any more.
#[tokio::test]
async fn an_api_server_that_was_away_leaves_no_report() {
    let site = Site::start("away-in-silence").await;
    let source = site.source("it", manual("0")).await;
    source.sync("1", 60).await;
    let before = source.status().await;
    site.proxy.rule(|_| Fault::CutBefore);
    site.proxy.cut();
    let began = tokio::time::Instant::now();
    let long = std::time::Duration::from_secs(150);
    until("two and a half minutes have passed", 180, async || if began.elapsed() >= long { Ok(()) } else { Err(()) }).await;
    site.proxy.rule(|_| Fault::None);
    // Each of the watches it waits for is tried again within a minute.
    let status = source.sync("2", 300).await;
    let since = |status: &Status| status.conditions.iter().find(|c| c.type_ == "Reconciled").unwrap().last_transition_time.clone();
    assert_eq!(since(&status), since(&before), "{status:#?}");
}

/// The API server forgets a list before its last page is read: the cache never knows what is in it.
#[tokio::test]
async fn a_list_that_expires_before_its_last_page() {
    let expires = |call: &Call| call.lists() && call.path.ends_with("/persistentvolumeclaims") && call.query.contains("continue=");
    let site = Site::start("expired-list").await;
    let source = site.source("it", manual("0")).await;
    for number in 0..60 {
        site.source(&format!("other-{number}"), json!({ "paused": true })).await;
    }
    source.sync("1", 60).await;
    site.proxy.rule(move |call| if expires(call) { Fault::ListExpired } else { Fault::None });
    site.agent.kill();
    let status = source.until("it is reported", 200, |s| trouble(s).is_some()).await;
    let message = trouble(&status).unwrap();
    assert!(message.contains("cannot watch persistentvolumeclaims") && message.contains("too old"), "{message}");
    let log = site.agent.log();
    assert!(log.lines().any(|line| line.contains("WARN") && line.contains("expires before its last page")), "{log}");
    site.proxy.rule(|_| Fault::None);
    source.until("it is as it should be", 150, |s| trouble(s).is_none()).await;
}
