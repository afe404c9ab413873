//! Movers whose logs cannot be read, so that it is unknown whether they hang.

use super::proxy::{Call, Fault};
use super::site::{Replication, Site};
use super::until::until;
use scribe_agent::api::Status;
use serde_json::json;

const SETTINGS: &str = "{stallTimeout: 15s, retry: {initial: 1s, max: 2s}}";

fn condition<'a>(status: &'a Status, kind: &str) -> Option<(&'a str, &'a str)> {
    status.conditions.iter().find(|c| c.type_ == kind).map(|c| (c.status.as_str(), c.message.as_str()))
}

async fn with_hung_mover(site: &Site, fault: Fault) -> Replication<'_> {
    site.world.record.lock().unwrap().hung = true;
    site.proxy.rule(move |call| if call.path.ends_with("/log") { fault } else { Fault::None });
    site.source("it", json!({ "trigger": { "manual": "1" }, "rclone": { "copyMethod": "Direct" } })).await
}

/// That is reported, and does not last for ever: an outsider saw a mover hang in silence for as long as the kubelet did not answer.
#[tokio::test]
async fn a_hung_mover_whose_log_cannot_be_read() {
    let site = Site::start_with("unreadable-log", SETTINGS).await;
    let source = with_hung_mover(&site, Fault::ServerError).await;
    let reported =
        |s: &Status| condition(s, "Synchronizing").is_some_and(|(_, message)| message.contains("progress unknown: the log of pod"));
    let status = source.until("it is reported", 60, reported).await;
    assert!(condition(&status, "Synchronizing").is_some_and(|(_, message)| message.contains("leader changed")), "{status:#?}");
    assert_eq!(status.last_error, None);
    let status = source.until("it ends", 150, |s| s.last_error.is_some()).await;
    let error = status.last_error.unwrap();
    assert!(error.reason == "MoverStalled" && error.message.contains("6 times stallTimeout (15s, agent.yaml)"), "{error:?}");
    site.world.record.lock().unwrap().hung = false;
    site.proxy.rule(|_| Fault::None);
    source.until("its sync", 60, |s| s.last_manual_sync.as_deref() == Some("1") && s.last_error.is_none()).await;
}

/// A kubelet that answers every second read only: a log that shows the same line each time proves that its mover hangs.
#[tokio::test]
async fn a_hung_mover_whose_log_can_be_read_now_and_then() {
    let site = Site::start_with("unreadable-at-times", "{stallTimeout: 40s, retry: {initial: 1s, max: 2s}}").await;
    site.world.record.lock().unwrap().hung = true;
    let mut reads = 0_usize;
    site.proxy.rule(move |call| {
        let read = call.path.ends_with("/log");
        reads += usize::from(read);
        if !read {
            Fault::None
        } else if reads.is_multiple_of(2) {
            Fault::ServerError
        } else {
            Fault::Log
        }
    });
    let source = site.source("it", json!({ "trigger": { "manual": "1" }, "rclone": { "copyMethod": "Direct" } })).await;
    let status = source.until("it ends", 100, |s| s.last_error.is_some()).await;
    let error = status.last_error.unwrap();
    assert!(error.reason == "MoverStalled" && error.message.contains("has made no progress for 40s"), "{error:?}");
}

/// There is something to write all the time, and none of it can be written. The log is read all the same: otherwise the mover seems to hang
/// once it can.
#[tokio::test]
async fn a_mover_that_works_while_no_status_can_be_written() {
    let site = Site::start_with("unwritten-progress", SETTINGS).await;
    site.world.record.lock().unwrap().hung = true;
    let log = |call: &Call| if call.path.ends_with("/log") { Fault::MovingLog } else { Fault::None };
    site.proxy.rule(log);
    let source = site.source("it", json!({ "trigger": { "manual": "1" }, "rclone": { "copyMethod": "Direct" } })).await;
    let began = source.until("its progress", 60, |s| s.run.as_ref().is_some_and(|run| run.bytes_done.is_some())).await.run.unwrap();
    site.proxy.rule(move |call| if call.writes() && call.path.ends_with("/it/status") { Fault::ServerError } else { log(call) });
    source.edit(json!({ "rclone": { "deletionGuard": { "percent": 80 } } })).await;
    let since = tokio::time::Instant::now();
    let long = std::time::Duration::from_secs(40);
    until("more than twice stallTimeout has passed", 60, async || if since.elapsed() >= long { Ok(()) } else { Err(()) }).await;
    site.proxy.rule(log);
    let status = source.until("the edit is noted", 90, |s| s.observed_generation == Some(2)).await;
    assert_eq!((status.last_error, status.run.map(|run| (run.id, run.attempt))), (None, Some((began.id, began.attempt))));
}

/// A Role without `pods/log` is reported like any other verb that is missing, and no longer once it is complete.
#[tokio::test]
async fn logs_that_are_forbidden() {
    let site = Site::start_with("unreadable-role", SETTINGS).await;
    let source = with_hung_mover(&site, Fault::Forbidden).await;
    let lacking = |s: &Status| {
        condition(s, "Reconciled").is_some_and(|(word, message)| word == "False" && message.contains("The agent lacks a permission"))
    };
    source.until("it is reported", 60, lacking).await;
    site.proxy.rule(|_| Fault::None);
    source.until("it is as it should be", 90, |s| !lacking(s)).await;
}
