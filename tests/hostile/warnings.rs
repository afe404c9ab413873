//! A namespace with many warnings of other workloads: the cluster's reason is found among them, for a few requests and little memory.

use super::proxy::Fault;
use super::site::Site;
use futures::future::join_all;
use kube::ResourceExt;
use kube::api::PostParams;
use scribe_agent::api::Status;
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

const WARNINGS: usize = 3000;
const OBJECTS: usize = 40;
/// In KiB.
const LIMIT: u64 = 64 * 1024;

fn warning(namespace: &str, name: &str, (kind, uid): (&str, &str), message: &str) -> Value {
    json!({ "apiVersion": "v1", "kind": "Event", "metadata": { "name": name }, "type": "Warning", "reason": "BackOff",
        "message": message, "involvedObject": { "kind": kind, "namespace": namespace, "name": name, "uid": uid },
        "source": { "component": "kubelet", "host": "node-1" }, "firstTimestamp": "2026-11-27T07:00:00Z",
        "lastTimestamp": "2026-11-27T07:00:00Z", "reportingComponent": "kubelet", "reportingInstance": "node-1" })
}

/// Peak resident memory of the agent, in KiB.
pub fn peak(site: &Site) -> u64 {
    let dir = format!("{}/", site.dir.display());
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let Ok(command) = std::fs::read_to_string(entry.path().join("cmdline")) else { continue };
        if command.contains("scribe-agent") && command.contains(&dir) && command.contains("--listen") {
            let status = std::fs::read_to_string(entry.path().join("status")).unwrap();
            let line = status.lines().find(|line| line.starts_with("VmHWM")).unwrap();
            return line.split_whitespace().nth(1).unwrap().parse().unwrap();
        }
    }
    panic!("there is no agent")
}

fn waits_for(status: &Status, what: &str) -> bool {
    status.conditions.iter().any(|c| c.type_ == "Synchronizing" && c.message.contains(what))
}

#[tokio::test]
async fn objects_that_wait_share_one_list_of_warnings() {
    let site = Site::start_with("warnings", "{continuousInterval: 1h, maxConcurrentSyncs: 64, retry: {initial: 1s, max: 4s}}").await;
    let (events, namespace) = (&site.api("", "v1", "Event"), site.namespace.as_str());
    for chunk in (0..WARNINGS).collect::<Vec<_>>().chunks(50) {
        join_all(chunk.iter().map(|n| async move {
            let text = format!("Back-off restarting failed container web in pod web-{n}: {}", "w".repeat(500));
            let event = warning(namespace, &format!("e{n}"), ("Pod", &format!("uid-{n}")), &text);
            events.create(&PostParams::default(), &serde_json::from_value(event).unwrap()).await.unwrap();
        }))
        .await;
    }
    site.world.record.lock().unwrap().asleep = true;
    let (lists, whole) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    site.proxy.rule({
        let (lists, whole) = (lists.clone(), whole.clone());
        move |call| {
            if !call.writes() && call.path.ends_with("/events") {
                lists.fetch_add(usize::from(!call.query.contains("continue=")), Ordering::Relaxed);
                whole.fetch_add(usize::from(!call.query.contains("limit=")), Ordering::Relaxed);
            }
            Fault::None
        }
    });
    let began = tokio::time::Instant::now();
    let names: Vec<_> = (0..OBJECTS).map(|number| format!("o{number}")).collect();
    let objects = join_all(names.iter().map(|name| site.source(name, json!({ "trigger": { "manual": "0" } })))).await;
    for object in &objects {
        object.until("it says what it waits for", 120, |s| waits_for(s, "Waiting for VolumeSnapshot")).await;
    }
    let snapshot = site.api("snapshot.storage.k8s.io", "v1", "VolumeSnapshot").get("scribe-src-o7").await.unwrap();
    let event = warning(&site.namespace, "reason", ("VolumeSnapshot", &snapshot.uid().unwrap()), "the driver is on fire");
    events.create(&PostParams::default(), &serde_json::from_value(event).unwrap()).await.unwrap();
    objects[7].until("it says why", 150, |s| waits_for(s, "BackOff: the driver is on fire")).await;
    assert!(!objects[8].status().await.conditions.iter().any(|c| c.message.contains("on fire")), "another object's reason");

    let (lists, whole, minutes) = (lists.load(Ordering::Relaxed), whole.load(Ordering::Relaxed), began.elapsed().as_secs() / 60 + 1);
    println!("{lists} lists in {minutes} minutes, {whole} of them unpaged; peak {} KiB", peak(&site));
    assert!(peak(&site) < LIMIT, "{} KiB", peak(&site));
    assert!(whole == 0 && lists as u64 <= 4 * minutes, "{lists} lists in {minutes} minutes, {whole} of them unpaged");
}
