//! A file of a terabyte that is nearly all holes, through movers that have 128 MiB: layout Packs, there and back.

use crate::support::history::History;
use crate::support::host::Process;
use crate::support::replication::Replication;
use crate::support::site::site;
use crate::support::volume::Claim;
use serde_json::json;

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
        let push = site.source("push", "data", json!({ "rclone": packs }));
        measured(&history, &push, "push", "first").await;
        let pull = site.destination("pull", json!({ "rclone": { "copyMethod": "Direct", "moverResources": small } }));
        measured(&history, &pull, "pull", "first").await;
        let copy = site.hand("scribe-dest-pull").await;
        assert_eq!(copy.run(LOOK), source.run(LOOK));

        source.run(CHANGE);
        for (object, what) in [(&push, "push of a change"), (&pull, "pull of a change")] {
            object.patch(json!({ "trigger": { "manual": "second" } })).await;
            measured(&history, object, what, "second").await;
        }
        assert_eq!(copy.run(LOOK), source.run(LOOK));
        let blocks: u64 = copy.run("stat -c %b big").trim().parse().unwrap();
        assert!(blocks * 512 < 8 << 20, "the holes are filled: {blocks} blocks of 512 bytes");
    })
    .await;
}

/// Waits until a sync is over that is under way, and prints what its only mover took.
async fn measured(history: &History, object: &Replication<'_>, what: &str, tag: &str) {
    let mover = object.site.mover().await;
    let ((all, kept), status) = tokio::join!(Process::memory_until_its_end(mover), object.synced(tag));
    let limit = 128 << 20;
    let took = &status.last_sync_duration;
    println!("1 TiB of holes, {what}: {all} bytes at most count against the limit of {limit}, {kept} of them no files; {took:?}");
    assert!(kept > 0 && kept < limit, "{kept}");
    assert!(status.attempts.is_none() && status.last_error.is_none(), "{status:#?}");
    let job = format!("-{}", object.name);
    let movers: Vec<_> = history.made("Pod").into_iter().filter(|pod| pod.contains(&job)).collect();
    let expected = if tag == "first" { 1 } else { 2 };
    assert_eq!(movers.len(), expected, "killed and tried again: {movers:?}");
}
