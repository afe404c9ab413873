//! What does not work although syncs go on is reported where users look, and no event is lost.

use super::proxy::{Call, Fault};
use super::site::{Replication, Site};
use super::until::until;
use hyper::Method;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{ListParams, Patch, PatchParams, PostParams};
use kube::{Api, ResourceExt};
use scribe_agent::api::Status;
use serde_json::json;

fn manual(tag: &str) -> serde_json::Value {
    json!({ "trigger": { "manual": tag } })
}

fn publishes(call: &Call) -> bool {
    call.writes() && call.path.ends_with("/events")
}

/// The message of the condition Reconciled, where that is False.
pub fn trouble(status: &Status) -> Option<&str> {
    status.conditions.iter().find(|c| c.type_ == "Reconciled" && c.status == "False").map(|c| c.message.as_str())
}

async fn reasons(site: &Site) -> Vec<String> {
    let events = site.api("events.k8s.io", "v1", "Event").list(&ListParams::default()).await.unwrap();
    events.iter().map(|event| event.data["reason"].as_str().unwrap_or_default().to_owned()).collect()
}

/// Syncs do not wait for events, and events wait until they can be published.
#[tokio::test]
async fn events_that_do_not_get_through_for_a_while() {
    let site = Site::start("lost-events").await;
    site.proxy.rule(|call| if publishes(call) { Fault::ServerError } else { Fault::None });
    let source = site.source("it", manual("first")).await;
    source.until("the first sync", 60, |s| s.last_manual_sync.is_some()).await;
    assert_eq!(reasons(&site).await, Vec::<String>::new());
    site.proxy.rule(|_| Fault::None);
    until("the events are there", 120, async || {
        let mut reasons = reasons(&site).await;
        reasons.sort();
        if reasons == ["SyncCompleted", "SyncStarted"] { Ok(()) } else { Err(reasons) }
    })
    .await;
}

#[tokio::test]
async fn events_that_are_forbidden() {
    let site = Site::start("forbidden-events").await;
    site.proxy.rule(|call| if publishes(call) { Fault::Forbidden } else { Fault::None });
    let source = site.source("it", manual("first")).await;
    let status = source.until("it is reported", 60, |s| s.last_manual_sync.is_some() && trouble(s).is_some()).await;
    assert!(trouble(&status).unwrap().contains("The API server rejects events"), "{status:#?}");
    site.proxy.rule(|_| Fault::None);
    // The sync that follows may be a year away.
    source.until("it is as it should be", 120, |s| trouble(s).is_none()).await;
    let mut reasons = reasons(&site).await;
    reasons.sort();
    assert_eq!(reasons, ["SyncCompleted", "SyncStarted"]);
}

/// No status can say that none can be written; an event does.
#[tokio::test]
async fn a_status_that_may_not_be_written() {
    let site = Site::start("forbidden-status").await;
    site.proxy.rule(|call| if call.path.ends_with("/status") { Fault::Forbidden } else { Fault::None });
    let source = site.source("it", manual("first")).await;
    until("an event says so", 60, async || {
        let reasons = reasons(&site).await;
        if reasons == ["MissingPermission"] { Ok(()) } else { Err(reasons) }
    })
    .await;
    site.proxy.rule(|_| Fault::None);
    source.until("its sync", 90, |s| s.last_manual_sync.is_some()).await;
}

/// The status is written, and the connection breaks before the answer: no later decision brings its events again.
#[tokio::test]
async fn events_of_a_status_whose_answer_is_lost() {
    for (name, fault) in [("lost-answer", Fault::CutAfter), ("lost-answer-504", Fault::TimeoutAfter)] {
        let site = Site::start(name).await;
        let writes_status = |call: &Call| *call.method == Method::PATCH && call.path.ends_with("/status");
        site.proxy.rule(move |call| if writes_status(call) { fault } else { Fault::None });
        let source = site.source("it", manual("first")).await;
        source.until("the first sync", 120, |s| s.last_manual_sync.is_some() && s.run.is_none()).await;
        site.proxy.rule(|_| Fault::None);
        until("the events are there", 90, async || {
            let mut reasons = reasons(&site).await;
            reasons.sort();
            if reasons == ["SyncCompleted", "SyncStarted"] { Ok(()) } else { Err(reasons) }
        })
        .await;
    }
}

/// What a sync leaves over stands in its status, and the next one is done.
#[tokio::test]
async fn a_removal_that_is_forbidden() {
    let site = Site::start("removal").await;
    site.proxy.rule(|call| {
        let removes = call.method == Method::DELETE && call.path.contains("/persistentvolumeclaims/");
        if removes { Fault::Forbidden } else { Fault::None }
    });
    let source = site.source("it", manual("first")).await;
    let status = source.until("it is reported", 60, |s| s.last_manual_sync.is_some() && trouble(s).is_some()).await;
    let message = trouble(&status).unwrap();
    assert!(message.contains("PersistentVolumeClaim scribe-src-it is left over") && message.contains("Role"), "{message}");
    let asked = || site.proxy.counted()[&Fault::Forbidden];
    let (before, began) = (asked(), tokio::time::Instant::now());
    let long = std::time::Duration::from_secs(15);
    until("15 seconds have passed", 30, async || if began.elapsed() >= long { Ok(()) } else { Err(()) }).await;
    assert!(asked() - before <= 8, "{} requests in 15 s for what is forbidden", asked() - before);
    site.proxy.rule(|_| Fault::None);
    source.until("it is as it should be", 90, |s| trouble(s).is_none()).await;
    assert_eq!(site.children("", "v1", "PersistentVolumeClaim").await, Vec::<String>::new());
}

/// The CRDs are older than the agent: what could not be recorded is not done, least of all again and again.
#[tokio::test]
async fn a_crd_that_is_older_than_the_agent() {
    let site = Site::alone("older-crd").await;
    let crds = Api::<CustomResourceDefinition>::all(site.client.clone());
    let status = "/spec/versions/0/schema/openAPIV3Schema/properties/status/properties";
    let fields =
        ["/lastHandledVerifyNow", "/adoptedPath", "/run/properties/verifyNow", "/run/properties/adopt", "/run/properties/adoptedState"];
    let removed: Vec<_> = fields.iter().map(|field| json!({ "op": "remove", "path": format!("{status}{field}") })).collect();
    let patch = Patch::<()>::Json(serde_json::from_value(json!(removed)).unwrap());
    crds.patch("replicationsources.scribe.backube", &PatchParams::default(), &patch).await.unwrap();

    let (verified, adopted) = (site.source("verified", manual("first")).await, site.source("adopted", manual("first")).await);
    for source in [&verified, &adopted] {
        source.until("the first sync", 60, |s| s.last_manual_sync.is_some()).await;
    }
    annotate(&site, &verified, json!({ "scribe.backube/verify-now": "1" })).await;
    annotate(&site, &adopted, json!({ "scribe.backube/adopt-path": "bucket/adopted" })).await;
    for tag in ["second", "third"] {
        adopted.sync(tag, 60).await;
    }
    for source in [&verified, &adopted] {
        let status = source.until("it is reported", 60, |s| trouble(s).is_some()).await;
        assert!(trouble(&status).unwrap().contains("apply kustomize/crds"), "{status:#?}");
    }
    let record = site.world.record.lock().unwrap();
    let asked: Vec<_> = record.arguments.iter().filter(|argument| ["--adopt", "--verify-now"].contains(&argument.as_str())).collect();
    assert!(asked.is_empty(), "{asked:?}");
    assert!(record.movers.len() <= 5, "{} syncs: two first ones, two that were asked for, and one for the annotation", record.movers.len());
}

/// Not even once: the next agent would not know that it was done, and end the sync again.
#[tokio::test]
async fn an_abort_that_cannot_be_recorded() {
    let site = Site::alone("older-abort").await;
    let crds = Api::<CustomResourceDefinition>::all(site.client.clone());
    let status = "/spec/versions/0/schema/openAPIV3Schema/properties/status/properties";
    let removed = json!([{ "op": "remove", "path": format!("{status}/aborted") }]);
    let patch = Patch::<()>::Json(serde_json::from_value(removed).unwrap());
    crds.patch("replicationsources.scribe.backube", &PatchParams::default(), &patch).await.unwrap();
    site.world.record.lock().unwrap().hung = true;
    let source = site.source("it", manual("first")).await;
    let movers = || site.world.record.lock().unwrap().movers.values().sum::<usize>();
    until("a mover runs", 60, async || if movers() == 1 { Ok(()) } else { Err(movers()) }).await;
    let run = source.until("the run is known", 60, |s| s.run.is_some()).await.run.unwrap();
    annotate(&site, &source, json!({ "scribe.backube/abort": run.id })).await;
    for starts in 1..=2 {
        let status = source.until("it is reported", 60, |s| trouble(s).is_some_and(|trouble| trouble.contains("(aborted)"))).await;
        assert_eq!((status.run.map(|run| run.id), status.last_handled_abort, movers()), (Some(run.id.clone()), None, 1), "agent {starts}");
        site.agent.kill();
        until("the next agent has started", 60, async || if site.agent.starts() > starts { Ok(()) } else { Err(starts) }).await;
        let found_out = || site.agent.log().matches("older than this agent").count();
        until("it has found out as well", 60, async || if found_out() > starts { Ok(()) } else { Err(found_out()) }).await;
    }
}

/// The annotation waits for the CRD, and is handled soon after that was brought up to date; nothing else makes the agent write the field.
#[tokio::test]
async fn a_crd_that_is_brought_up_to_date() {
    let site = Site::alone("updated-crd").await;
    let crds = Api::<CustomResourceDefinition>::all(site.client.clone());
    let path = "/spec/versions/0/schema/openAPIV3Schema/properties/status/properties/lastHandledVerifyNow";
    let name = "replicationsources.scribe.backube";
    let change = |op: serde_json::Value| Patch::<()>::Json(serde_json::from_value(json!([op])).unwrap());
    crds.patch(name, &PatchParams::default(), &change(json!({ "op": "remove", "path": path }))).await.unwrap();
    let (source, idle) = (site.source("it", manual("first")).await, site.source("idle", manual("first")).await);
    for source in [&source, &idle] {
        source.until("the first sync", 60, |s| s.last_manual_sync.is_some()).await;
    }
    annotate(&site, &source, json!({ "scribe.backube/verify-now": "1" })).await;
    for source in [&source, &idle] {
        source
            .until("it is reported", 120, |s| trouble(s).is_some_and(|t| t.contains("(lastHandledVerifyNow): apply kustomize/crds")))
            .await;
    }
    let whole = json!({ "op": "add", "path": path, "value": { "type": "string" } });
    crds.patch(name, &PatchParams::default(), &change(whole)).await.unwrap();
    for source in [&source, &idle] {
        source.until("it is as it should be", 150, |s| trouble(s).is_none()).await;
    }
    source.until("the annotation is handled", 60, |s| s.last_handled_verify_now.as_deref() == Some("1")).await;
}

async fn annotate(site: &Site, object: &Replication<'_>, annotations: serde_json::Value) {
    let patch = json!({ "metadata": { "annotations": annotations } });
    let sources = site.api("scribe.backube", "v1alpha1", "ReplicationSource");
    sources.patch(&object.name, &PatchParams::default(), &Patch::Merge(patch)).await.unwrap();
}

/// A mover of an earlier object of the same name hangs on a lost node (a finalizer plays that): the new object waits for it, and nobody else does.
#[tokio::test]
async fn a_namesakes_mover_that_never_ends_keeps_nobody_else_waiting() {
    let site = Site::start_with("namesake", "{maxConcurrentSyncs: 1, continuousInterval: 1h, retry: {initial: 1s, max: 4s}}").await;
    let job = "scribe-rclone-src-first";
    let pod = json!({ "apiVersion": "v1", "kind": "Pod", "spec": { "containers": [{ "name": "mover", "image": "played" }] },
        "metadata": { "name": "left-over", "finalizers": ["example.com/lost-node"], "ownerReferences": [{ "apiVersion": "batch/v1", "kind": "Job", "name": job, "uid": "gone" }],
            "labels": { "app.kubernetes.io/managed-by": "scribe-agent", "app.kubernetes.io/component": "mover", "scribe.backube/owner-uid": "gone" } } });
    let pods = site.api("", "v1", "Pod");
    let pod = pods.create(&PostParams::default(), &serde_json::from_value(pod).unwrap()).await.unwrap();
    let running = json!({ "status": { "phase": "Running" } });
    pods.patch_status(&pod.name_any(), &PatchParams::default(), &Patch::Merge(running)).await.unwrap();

    let first = site.source("first", json!({ "trigger": { "schedule": "* * * * *" } })).await;
    first.until("its attempt ends", 150, |s| s.last_error.is_some()).await;
    until("its slot has passed", 90, async || match first.status().await.next_sync_time {
        Some(slot) if slot.0 <= jiff::Timestamp::now() => Ok(()),
        other => Err(other),
    })
    .await;
    let second = site.source("second", manual("1")).await;
    second.until("its sync", 60, |s| s.last_manual_sync.is_some()).await;
    assert_eq!(first.status().await.last_sync_time, None, "it started beside the old mover");
}

/// A service mesh has injected a container that does not end: the mover's result counts, and its pod is deleted with its Job.
#[tokio::test]
async fn a_container_that_outlives_the_mover() {
    let site = Site::start("injected").await;
    site.world.record.lock().unwrap().injected = true;
    let (push, pull) = (site.source("push", manual("0")).await, site.destination("pull", manual("0")).await);
    for tag in ["1", "2"] {
        for object in [&push, &pull] {
            object.sync(tag, 60).await;
        }
    }
    until("the pods are gone", 60, async || match site.children("", "v1", "Pod").await {
        pods if pods.is_empty() => Ok(()),
        pods => Err(pods),
    })
    .await;
    assert!(reasons(&site).await.contains(&"ContainerInjected".to_owned()));
    let record = site.world.record.lock().unwrap();
    assert_eq!((record.violations.as_slice(), record.movers.values().max()), (&[] as &[String], Some(&1)));
}

/// A webhook may choose any code to refuse with. It is no reason to ask twice a second for ever, and to say nothing.
#[tokio::test]
async fn a_create_that_meets_with_a_conflict_for_ever() {
    let settings = "{continuousInterval: 1h, podStartTimeout: 5s, snapshotTimeout: 5s, retry: {initial: 1s, max: 60s}}";
    let site = Site::start_with("conflict", settings).await;
    let began = tokio::time::Instant::now();
    site.proxy.rule(|call| if call.writes() && call.path.ends_with("/jobs") { Fault::Conflict } else { Fault::None });
    let source = site.source("it", json!({ "trigger": { "manual": "1" }, "rclone": { "copyMethod": "Direct" } })).await;
    let status = source.until("an attempt fails", 60, |s| s.last_error.is_some()).await;
    let message = status.last_error.unwrap().message;
    assert!(message.contains("scribe-rclone-src-it cannot be created: the object has been modified"), "{message}");
    let asked = site.proxy.counted()[&Fault::Conflict];
    assert!(asked <= 12, "{asked} requests in {:?}", began.elapsed());
    site.proxy.rule(|_| Fault::None);
    source.until("the sync", 90, |s| s.last_manual_sync.is_some()).await;
}

/// A backup tool restores the status of a sync that was under way, and so owns its fields as well.
#[tokio::test]
async fn a_status_that_another_manager_wrote() {
    let site = Site::start("restored").await;
    site.proxy.rule(|call| if call.watch || call.writes() { Fault::None } else { Fault::Late });
    let spec =
        json!({ "paused": true, "trigger": { "schedule": "0 0 1 1 *", "runOnCreate": false }, "rclone": { "copyMethod": "Direct" } });
    let source = site.source("it", spec).await;
    source.until("it is looked at", 60, |s| s.observed_generation.is_some()).await;
    let time = "2026-01-01T00:00:00.000000Z";
    let run = json!({ "id": "0123456789abcdef", "phase": "Transferring", "startTime": time, "phaseTime": jiff::Timestamp::now().to_string(),
        "attempt": 1, "generation": 1 });
    let error = json!({ "reason": "AccessDenied", "message": "of the old cluster", "time": "2026-01-01T00:00:00Z" });
    let status = json!({ "status": { "run": run, "lastError": error, "attempts": 3 } });
    let by = |manager: &str| PatchParams { field_manager: Some(manager.to_owned()), ..PatchParams::default() };
    let sources = site.api("scribe.backube", "v1alpha1", "ReplicationSource");
    sources.patch_status("it", &by("backup"), &Patch::Merge(status)).await.unwrap();
    let unpaused = json!({ "spec": { "paused": false } });
    sources.patch("it", &PatchParams::default(), &Patch::Merge(unpaused)).await.unwrap();

    let status = source.until("its sync ends", 60, |s| s.last_sync_time.is_some() && s.run.is_none()).await;
    assert_eq!((status.last_error.as_ref(), status.attempts), (None, None));
    // Nothing more comes of it: the next sync is one that is asked for.
    let movers = site.world.record.lock().unwrap().movers.clone();
    assert!(movers.values().all(|movers| *movers == 1) && movers.len() <= 2, "{movers:?}");
    source.sync("next", 60).await;
    assert_eq!(site.world.record.lock().unwrap().movers.len(), movers.len() + 1);
}

/// An administrator changes one field of an open run.
#[tokio::test]
async fn a_run_that_was_edited_by_hand_ends() {
    let site = Site::start("edited").await;
    site.world.record.lock().unwrap().asleep = true;
    let source = site.source("it", json!({ "trigger": { "manual": "a" }, "rclone": { "copyMethod": "Direct" } })).await;
    source.until("a run", 60, |s| s.run.is_some()).await;
    let by = PatchParams { field_manager: Some("kubectl-edit".to_owned()), ..PatchParams::default() };
    let sources = site.api("scribe.backube", "v1alpha1", "ReplicationSource");
    sources.patch_status("it", &by, &Patch::Merge(json!({ "status": { "run": { "attempt": 7 } } }))).await.unwrap();
    site.world.record.lock().unwrap().asleep = false;
    source.until("its sync", 90, |s| s.last_manual_sync.is_some() && s.run.is_none()).await;
}

/// What cannot be read cannot be decided on; the object says so all the same.
#[tokio::test]
async fn a_read_that_is_forbidden() {
    let site = Site::start("unread").await;
    let source = site.source("it", json!({ "trigger": { "manual": "1" }, "rclone": { "copyMethod": "Direct" } })).await;
    source.until("the first sync", 60, |s| s.last_manual_sync.is_some()).await;
    let reads_pods = |call: &Call| !call.watch && !call.writes() && call.path.ends_with("/pods") && !call.lists();
    site.proxy.rule(move |call| if reads_pods(call) { Fault::Forbidden } else { Fault::None });
    let new_tag = json!({ "spec": { "trigger": { "manual": "2" } } });
    let sources = site.api("scribe.backube", "v1alpha1", "ReplicationSource");
    sources.patch("it", &PatchParams::default(), &Patch::Merge(new_tag)).await.unwrap();
    let status = source.until("it is reported", 60, |s| trouble(s).is_some()).await;
    assert!(trouble(&status).unwrap().contains("kustomize/base has the complete Role"), "{status:#?}");
    site.proxy.rule(|_| Fault::None);
    source.until("its sync", 90, |s| s.last_manual_sync.as_deref() == Some("2") && trouble(s).is_none()).await;
}
