//! A file of a terabyte that is nearly all holes, through movers that have 128 MiB: layout Packs, there and back.

use crate::support::history::History;
use crate::support::host::Process;
use crate::support::replication::Replication;
use crate::support::site::site;
use crate::support::volume::Claim;
use serde_json::json;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Names that no other test's objects have: the movers are looked for on the whole node.
const PUSH: &str = "terabyte-up";
const PULL: &str = "terabyte-down";
/// Some data at the beginning, in the middle and at the very end.
const FILL: &str = "truncate -s 1099511627776 big
  for at in 0 1 77 33554432 50000001 67108863; do dd if=/dev/urandom of=big bs=16384 count=1 seek=$at conv=notrunc 2>/dev/null; done";
const CHANGE: &str = "dd if=/dev/urandom of=big bs=16384 count=1 seek=60000000 conv=notrunc 2>/dev/null; truncate -s 1099511627000 big";
/// Reading all of it would take half an hour. What is zero around the data is looked at too.
const LOOK: &str = "stat -c '%s %y' big
  for at in 0 1 77 33554432 50000001 60000000 67108863; do dd if=big bs=16384 count=2 skip=$at 2>/dev/null | sha256sum; done";

#[tokio::test]
async fn a_terabyte_of_holes_is_moved_within_128_mebibytes() {
    site("terabyte", async |site| {
        site.claim(&Claim { name: "data", class: None, image: None });
        let source = site.hand("data").await;
        source.run(FILL);
        let history = site.history().await;
        let small = json!({ "limits": { "memory": "128Mi" } });
        let packs = json!({ "layout": "Packs", "copyMethod": "Direct", "moverResources": small });
        let start = async || site.source(PUSH, "data", json!({ "rclone": packs }));
        let push = measured(&history, &format!("src-{PUSH}"), "first", start).await;
        let start = async || site.destination(PULL, json!({ "rclone": { "copyMethod": "Direct", "moverResources": small } }));
        let pull = measured(&history, &format!("dest-{PULL}"), "first", start).await;
        let copy = site.hand(&format!("scribe-dest-{PULL}")).await;
        assert_eq!(copy.run(LOOK), source.run(LOOK));

        source.run(CHANGE);
        for (object, mover) in [(push, format!("src-{PUSH}")), (pull, format!("dest-{PULL}"))] {
            let start = async || {
                object.patch(json!({ "trigger": { "manual": "second" } })).await;
                object
            };
            measured(&history, &mover, "second", start).await;
        }
        assert_eq!(copy.run(LOOK), source.run(LOOK));
        let blocks: u64 = copy.run("stat -c %b big").trim().parse().unwrap();
        assert!(blocks * 512 < 8 << 20, "the holes are filled: {blocks} blocks of 512 bytes");
    })
    .await;
}

/// Has a sync started, waits until it is over and prints what its only mover took. It is looked for from before the start, because the mover of a
/// small change lives for less than a second.
async fn measured<'a>(history: &History, mover: &str, tag: &str, start: impl AsyncFnOnce() -> Replication<'a>) -> Replication<'a> {
    let over = Arc::new(AtomicBool::new(false));
    let memory = Process::memory_of_the_next(format!("HOSTNAME=scribe-rclone-{mover}-"), over.clone());
    let sync = async {
        let object = start().await;
        let status = object.synced(tag).await;
        over.store(true, Ordering::Relaxed);
        (object, status)
    };
    let (memory, (object, status)) = tokio::join!(memory, sync);
    let (all, kept) = memory.expect("the mover was seen");
    let limit = 128 << 20;
    let took = &status.last_sync_duration;
    println!("1 TiB of holes, {mover}, {tag}: {all} bytes at most count against the limit of {limit}, {kept} of them no files; {took:?}");
    assert!(kept > 0 && kept < limit, "{kept}");
    assert!(status.attempts.is_none() && status.last_error.is_none(), "{status:#?}");
    let movers: Vec<_> = history.made("Pod").into_iter().filter(|pod| pod.contains(mover)).collect();
    let expected = if tag == "first" { 1 } else { 2 };
    assert_eq!(movers.len(), expected, "killed and tried again: {movers:?}");
    object
}
