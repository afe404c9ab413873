//! Two destinations that pull into one PVC: an outsider saw both start at once, and both publish the mixture as their own.

use super::site::Site;
use super::until::until;
use kube::api::DeleteParams;
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
