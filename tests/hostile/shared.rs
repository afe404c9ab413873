//! Two destinations that pull into one PVC: an outsider saw both start at once, and both publish the mixture as their own.

use super::proxy::{Call, Fault};
use super::site::Site;
use super::until::until;
use hyper::Method;
use kube::ResourceExt;
use kube::api::{DeleteParams, ListParams};
use scribe_agent::api::Status;
use serde_json::{Value, json};

fn condition<'a>(status: &'a Status, kind: &str) -> Option<(&'a str, &'a str)> {
    status.conditions.iter().find(|c| c.type_ == kind).map(|c| (c.status.as_str(), c.message.as_str()))
}

fn is_refused(status: &Status, by: &str) -> bool {
    let named = format!("ReplicationDestination {by:?} also pulls into PVC");
    condition(status, "Stalled").is_some_and(|(word, message)| word == "True" && message.contains(&named))
        && condition(status, "Ready").is_some_and(|(word, _)| word == "False")
}

fn into(claim: &str) -> Value {
    json!({ "trigger": { "manual": "0" }, "rclone": { "destinationPVC": claim, "capacity": null } })
}

/// One goes on, the other is refused and named; once it is alone it pulls by itself.
#[tokio::test]
async fn two_destinations_of_one_claim_do_not_mix() {
    let site = Site::start("shared").await;
    // Makes the claim data-x.
    site.source("x", json!({ "trigger": { "manual": "0" } })).await.sync("1", 60).await;
    let (a, b) = (site.destination("a", into("data-x")).await, site.destination("b", into("data-x")).await);
    // Which one is older is a matter of milliseconds, and their times have whole seconds.
    let synced = until("one of them is synced", 60, async || {
        let (a, b) = (a.status().await.last_sync_time.is_some(), b.status().await.last_sync_time.is_some());
        if a || b { Ok(a) } else { Err(()) }
    });
    let (first, second) = if synced.await { (a, b) } else { (b, a) };
    let refused = second.until("the other one is refused", 60, |s| is_refused(s, &first.name)).await;
    assert_eq!((refused.last_sync_time, refused.latest_image), (None, None));
    first.sync("1", 60).await;
    assert!(is_refused(&second.status().await, &first.name), "the one that has synced keeps its right");
    let destinations = site.api("scribe.backube", "v1alpha1", "ReplicationDestination");
    destinations.delete(&first.name, &DeleteParams::default()).await.unwrap();
    second.until("it is alone", 60, |s| s.last_sync_time.is_some() && s.last_error.is_none()).await;
}

/// Nor is the volume that was created for one destination another one's, whichever is older.
#[tokio::test]
async fn a_private_volume_is_private() {
    let site = Site::start("private").await;
    let thief = site.destination("a", into("scribe-dest-b")).await;
    thief.until("there is no such PVC", 60, |s| s.last_error.as_ref().is_some_and(|e| e.reason == "DestinationPVCMissing")).await;
    let owner = site.destination("b", json!({ "trigger": { "manual": "0" } })).await;
    owner.sync("1", 60).await;
    let refused = thief.until("it is refused", 60, |s| is_refused(s, "b")).await;
    assert_eq!(refused.last_sync_time, None);
    owner.sync("2", 60).await;
}

fn manual(tag: &str) -> Value {
    json!({ "trigger": { "manual": tag } })
}

/// An API server that takes its time over what a reconcile reads before it writes.
fn slow(call: &Call) -> Fault {
    let read = *call.method == Method::GET && !call.watch && !call.lists();
    if read && ["/pods", "/persistentvolumeclaims", "/jobs"].iter().any(|kind| call.path.ends_with(kind)) {
        Fault::LateAnswer
    } else {
        Fault::None
    }
}

fn synced_into(status: &Status, claim: &str) -> bool {
    status.synced.as_ref().is_some_and(|synced| synced.claim.as_deref() == Some(claim))
}

/// An older destination is edited to the PVC of a new one, while that one has not recorded yet what it has begun: an outsider saw two movers
/// at once, and two images of the mixture.
#[tokio::test]
async fn a_pvc_that_is_being_given_out_is_given_to_one() {
    let site = Site::start("shared-edit").await;
    site.source("x", manual("0")).await.sync("1", 60).await;
    site.source("y", manual("0")).await.sync("1", 60).await;
    let b = site.destination("b", into("data-y")).await;
    b.sync("1", 60).await;
    site.proxy.rule(slow);
    let a = site.destination("a", into("data-x")).await;
    until("the new one is at work", 60, async || {
        let counted = site.proxy.counted();
        if counted.contains_key(&Fault::LateAnswer) { Ok(()) } else { Err(counted) }
    })
    .await;
    b.edit(json!({ "rclone": { "destinationPVC": "data-x" }, "trigger": { "manual": "2" } })).await;
    until("one of them is synced, and the other is refused", 60, async || {
        let (a, b) = (a.status().await, b.status().await);
        let done = [(&a, &b, "a"), (&b, &a, "b")];
        if done.iter().any(|(first, second, name)| synced_into(first, "data-x") && is_refused(second, name)) { Ok(()) } else { Err((a, b)) }
    })
    .await;
    assert_eq!(site.world.record.lock().unwrap().violations, Vec::<String>::new());
}

async fn jobs_into(site: &Site, claim: &str) -> Vec<String> {
    let jobs = site.api("batch", "v1", "Job").list(&ListParams::default()).await.unwrap();
    let volumes = |job: &kube::api::DynamicObject| job.data["spec"]["template"]["spec"]["volumes"].to_string();
    jobs.iter().filter(|job| volumes(job).contains(&format!("\"{claim}\""))).map(ResourceExt::name_any).collect()
}

/// A Job that has no pod (a quota, a Job controller that is away) and cannot be deleted: its pod may come at any time.
#[tokio::test]
async fn a_job_without_a_pod_is_not_joined_by_another() {
    let site = Site::start("shared-job").await;
    for name in ["x", "y"] {
        site.source(name, manual("0")).await.sync("1", 60).await;
    }
    site.world.record.lock().unwrap().asleep = true;
    let a = site.destination("a", into("data-x")).await;
    let there = async || match jobs_into(&site, "data-x").await {
        jobs if jobs.is_empty() => Err(jobs),
        jobs => Ok(jobs),
    };
    assert_eq!(until("its Job is there", 60, there).await, ["scribe-rclone-dest-a"]);
    site.proxy.rule(|call| if *call.method == Method::DELETE && call.path.contains("/jobs/") { Fault::ServerError } else { Fault::None });
    a.edit(json!({ "rclone": { "destinationPVC": "data-y" } })).await;
    a.until("it has seen the edit", 60, |s| s.observed_generation == Some(2)).await;
    let b = site.destination("b", into("data-x")).await;
    let named = "Job scribe-rclone-dest-a of another destination";
    b.until("it names the Job", 90, |s| condition(s, "Synchronizing").is_some_and(|(_, message)| message.contains(named))).await;
    assert_eq!(jobs_into(&site, "data-x").await, ["scribe-rclone-dest-a"]);
    site.world.record.lock().unwrap().asleep = false;
    site.proxy.rule(|_| Fault::None);
    b.until("it pulls", 120, |s| synced_into(s, "data-x")).await;
    assert_eq!(site.world.record.lock().unwrap().violations, Vec::<String>::new());
}

/// A paused destination names another PVC, and another one pulls into its volume: its next mover is not given the revision that it holds no more.
#[tokio::test]
async fn a_volume_that_another_has_pulled_into_is_compared() {
    let site = Site::start("shared-left").await;
    let foo = site.destination("foo", manual("0")).await;
    foo.sync("1", 60).await;
    foo.edit(json!({ "paused": true, "rclone": { "destinationPVC": "nowhere" } })).await;
    site.destination("bar", into("scribe-dest-foo")).await.until("it pulls", 60, |s| synced_into(s, "scribe-dest-foo")).await;
    site.world.record.lock().unwrap().arguments.clear();
    foo.edit(json!({ "paused": false, "rclone": { "destinationPVC": null } })).await;
    foo.sync("2", 60).await;
    let arguments = site.world.record.lock().unwrap().arguments.clone();
    assert!(arguments.iter().any(|argument| argument == "pull"), "{arguments:?}");
    assert!(!arguments.iter().any(|argument| argument.starts_with("--applied-revision")), "{arguments:?}");
}

/// The same with copyMethod Direct: it is not Ready with what is there no more, and pulls again without a new tag.
#[tokio::test]
async fn a_direct_volume_that_another_has_pulled_into_is_pulled_again() {
    let site = Site::start("shared-direct").await;
    for name in ["x", "z"] {
        site.source(name, manual("0")).await.sync("1", 60).await;
    }
    let direct = |claim: &str, paused: bool| {
        let rclone = json!({ "destinationPVC": claim, "capacity": null, "copyMethod": "Direct" });
        json!({ "paused": paused, "trigger": { "manual": "1" }, "rclone": rclone })
    };
    let a = site.destination("a", direct("data-x", false)).await;
    a.until("it is synced", 60, |s| synced_into(s, "data-x")).await;
    a.edit(direct("data-z", true)).await;
    let b = site.destination("b", into("data-x")).await;
    let pulled = b.until("it pulls", 60, |s| synced_into(s, "data-x")).await;
    b.edit(json!({ "paused": true, "rclone": { "destinationPVC": "data-z" } })).await;
    b.until("it has left the PVC", 60, |s| s.observed_generation == Some(2)).await;
    a.edit(direct("data-x", true)).await;
    let left = a.until("it has seen the last edit", 60, |s| s.observed_generation == Some(3)).await;
    assert_eq!(condition(&left, "Ready").map(|(word, _)| word), Some("False"), "{left:#?}");
    a.edit(direct("data-x", false)).await;
    a.until("it pulls again", 60, |s| s.last_sync_time >= pulled.last_sync_time && !s.volume_touched && s.run.is_none()).await;
}

/// A destination that would pull into the PVC of a source what that source pushes: everything written since the push would be lost. An outsider saw
/// it happen, and Ready. A paused source is what going back to the last push needs.
#[tokio::test]
async fn what_a_source_pushes_is_not_pulled_back_into_it() {
    let site = Site::start("loop").await;
    let source = site.source("x", manual("0")).await;
    source.sync("1", 60).await;
    // A chain: what is pulled comes from another path.
    let chained = into("data-x");
    site.destination("chain", chained).await.sync("1", 60).await;
    site.api("scribe.backube", "v1alpha1", "ReplicationDestination").delete("chain", &DeleteParams::default()).await.unwrap();
    until("its Job is gone", 60, async || match jobs_into(&site, "data-x").await {
        jobs if jobs.is_empty() => Ok(()),
        jobs => Err(jobs),
    })
    .await;
    let back = |copy_method: &str| {
        let rclone = json!({ "destinationPVC": "data-x", "capacity": null, "rcloneDestPath": "bucket/x", "copyMethod": copy_method });
        json!({ "trigger": { "manual": "0" }, "rclone": rclone })
    };
    let named = |s: &Status| {
        condition(s, "Stalled").is_some_and(|(word, message)| word == "True" && message.contains("ReplicationSource \"x\" pushes PVC"))
    };
    let destination = site.destination("back", back("Direct")).await;
    destination.until("it is refused, and the source named", 60, named).await;
    assert_eq!(jobs_into(&site, "data-x").await, Vec::<String>::new());
    source.edit(json!({ "paused": true })).await;
    source.until("it is paused", 60, |s| s.observed_generation > Some(2)).await;
    destination.edit(back("Snapshot")).await;
    destination.until("it pulls", 60, |s| synced_into(s, "data-x") && s.last_error.is_none()).await;
}
